"""The row groups of a split's files, numbered through: how many rows and bytes each has, and tasks to scan them.

The table is small (two numbers per row group) and travels to workers. Footers travel too while they are few; of thousands of
files they are read again by whom needs them, which costs nothing where they are cached.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import SchemaError
from pipeline.hub.repo import Secret
from pipeline.parquet.footer import Footer, read_footers
from pipeline.parquet.task import ScanTask
from pipeline.storage import FileRef

_KEPT_BYTES = 16 << 20
_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable:
    """Rows and uncompressed bytes per row group, in file order; `first` is each file's first number, and the end."""

    rows: Sequence[int]
    sizes: Sequence[int]
    first: Sequence[int]

    def locate(self, number: int) -> tuple[int, int]:
        """The file, and the row group in it."""
        file = bisect_right(self.first, number) - 1
        return file, number - self.first[file]


class Footers:
    """The footers of a split, read when they are asked for; the first 16 MiB of them are kept, and the last one read."""

    def __init__(self, files: Sequence[FileRef], token: Secret | None, known: Sequence[str] | None) -> None:
        self._files = files
        self._token = token
        self._known = known
        self._kept: dict[int, Footer] = {}
        self._kept_bytes = 0
        self._last: dict[int, Footer] = {}

    def table(self) -> GroupTable:
        """Count the row groups of all files. Raises SchemaError for a column that was not known before."""
        rows, sizes, first = array("q"), array("q"), array("q", [0])
        for start in range(0, len(self._files), _AT_ONCE):
            for footer in self.read(range(start, min(start + _AT_ONCE, len(self._files)))):
                groups = footer.row_groups()
                rows.extend(group.rows for group in groups)
                sizes.extend(group.num_bytes for group in groups)
                first.append(len(rows))
        return GroupTable(rows=rows, sizes=sizes, first=first)

    def task(self, file: int, group: int) -> ScanTask:
        """The task that scans a row group."""
        return ScanTask(file=self._files[file], footer=self.get(file), row_groups=(group,))

    def read(self, numbers: Sequence[int]) -> list[Footer]:
        """The footers of these files, many at once."""
        missing = [number for number in numbers if number not in self._kept]
        found = dict(zip(missing, read_footers([self._files[i] for i in missing], self._token), strict=True))
        for number, footer in found.items():
            self._check(self._files[number], footer)
            if self._kept_bytes + len(footer.raw) <= _KEPT_BYTES:
                self._kept[number] = footer
                self._kept_bytes += len(footer.raw)
        return [self._kept[number] if number in self._kept else found[number] for number in numbers]

    def get(self, file: int) -> Footer:
        """A file's footer."""
        found = self._kept.get(file) or self._last.get(file)
        if found is None:
            found = self.read([file])[0]
            self._last = {file: found}
        return found

    def _check(self, file: FileRef, footer: Footer) -> None:
        """Where all columns are wanted, none may be left out unsaid."""
        for name in footer.schema().names:
            if self._known is not None and name not in self._known:
                raise SchemaError(
                    f"{file.uri}: column {name!r} is neither in the split's first file nor in the features of its card; "
                    "choose columns, or add it to the card"
                )
