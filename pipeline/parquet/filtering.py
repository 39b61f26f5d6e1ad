"""A filter over files: which row groups need not be fetched for it, as their statistics and then their page indexes tell.

Only the row groups that are asked for are looked at, and each once: a shuffled stream comes back to a file when many others
were in between. A page index costs a request while the stream waits, so it is read where it is small beside what it may spare,
and no more once several in a row have spared nothing: then pages are no more sorted than row groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.errors import CorruptFileError, DatasetError
from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret
from pipeline.parquet.footer import one_line
from pipeline.parquet.prune import FileFilter, PageIndex, kept_row_groups, page_index_ranges, possible_rows
from pipeline.parquet.task import ScanTask
from pipeline.predicate import Predicate
from pipeline.storage import FileRef, Meter, RangeReader

_INDEX_SHARE = 1 / 20  # of the bytes that it may spare
_MOST_USELESS = 4  # page indexes in a row
# One request for all of a row group's page index where possible; two where its halves are far apart.
_HOLES = (1 << 20, 16 << 10, 0)
_MOST_REQUESTS = 2
_OPEN_FILES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """A condition on rows, and the schema that it was compiled for, which is that of the rows that are read."""

    predicate: Predicate
    schema: pa.Schema


class GroupFilter:
    """Tells of row groups whether a filter may be true in them, and remembers it: two bits for each, for as long as it lives.

    It is asked by one thread.
    """

    def __init__(self, where: RowFilter, token: Secret | None, meter: Meter | None = None) -> None:
        self._where = where
        self._token = token
        self._meter = meter
        self._known: dict[FileRef, int] = {}
        self._useless = 0
        self._open: dict[FileRef, RangeReader] = {}

    def prune(self, task: ScanTask) -> ScanTask:
        """The task without the row groups in which the filter is true for no row.

        Raises CorruptFileError for a footer that does not have them, and what reading a range of the file raises.
        """
        try:
            self._look(task)
        except DatasetError:
            raise
        except (pa.ArrowException, OSError, LookupError, ValueError) as err:
            raise CorruptFileError(f"{task.file.uri}: its Parquet footer cannot be read ({one_line(err)})") from err
        known = self._known.get(task.file, 0)
        return replace(task, row_groups=tuple(group for group in task.row_groups if known >> 2 * group & 1))

    def _look(self, task: ScanTask) -> None:
        """See to it that the task's row groups are known: of each, whether it was looked at, and whether it is kept."""
        known = self._known.get(task.file, 0)
        new = [group for group in task.row_groups if group < 0 or not known >> 2 * group & 2]
        if not new:
            return
        about = FileFilter(footer=task.footer, schema=self._where.schema, predicate=self._where.predicate)
        places = dict(zip(_places(task, new), new, strict=True))
        kept = {places[place] for place in kept_row_groups(about, places)}
        for group in new:
            known |= (3 if group in kept and self._pages_may_match(task, group) else 2) << 2 * group
        self._known[task.file] = known

    def _pages_may_match(self, task: ScanTask, group: int) -> bool:
        """Whether the page index leaves rows of the row group; yes where it is not worth a look, or is none."""
        if self._useless >= _MOST_USELESS:
            return True
        alone = task.footer.only((group,))
        about = FileFilter(footer=alone, schema=self._where.schema, predicate=self._where.predicate)
        ranges = _worth_reading(about, task.file.size)
        if not ranges:
            return True
        pieces = [(start, self._read(task.file, start, end)) for start, end in ranges]
        found = bool(possible_rows(about, 0, PageIndex(pieces=pieces)))
        self._useless = self._useless + 1 if found else 0
        return found

    def _read(self, file: FileRef, start: int, end: int) -> bytes:
        reader = self._open.pop(file, None) or open_file(file, self._token, self._meter)
        self._open[file] = reader  # behind those that were used before it
        if len(self._open) > _OPEN_FILES:
            self._open.pop(next(iter(self._open))).close()
        return reader.read(start, end)


def _places(task: ScanTask, row_groups: Sequence[int]) -> list[int]:
    """Where the row groups are in the task's footer."""
    count = task.footer.metadata().num_row_groups
    kept = range(count) if task.footer.kept is None else task.footer.kept[:count]
    if missing := [group for group in row_groups if group not in kept]:
        raise CorruptFileError(f"{task.file.uri}: its Parquet footer has no row group {missing[0]}, it has {count}")
    return [kept.index(group) for group in row_groups]


def _worth_reading(about: FileFilter, file_bytes: int) -> list[tuple[int, int]]:
    """The ranges of the page index of a footer's only row group; none where they are too large, or not in the file."""
    most = _INDEX_SHARE * about.footer.row_groups()[0].size(about.schema.names)
    try:
        choices = [page_index_ranges(about, 0, hole) for hole in _HOLES]
    except CorruptFileError:  # rows are read without an index
        return []
    few = (ranges for ranges in choices if len(ranges) <= _MOST_REQUESTS)
    ranges = next((ranges for ranges in few if sum(end - start for start, end in ranges) <= most), [])
    return ranges if all(end <= file_bytes for _, end in ranges) else []
