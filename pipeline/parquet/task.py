"""What a scan is asked for: some row groups of files, and how far to read ahead.

A task of few row groups is best given a footer of them alone: it is small, and parsed in a tenth of a millisecond.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.hub import cache
from pipeline.hub.repo import Secret
from pipeline.parquet.footer import Footer, RowGroup
from pipeline.parquet.subset import subset_footer
from pipeline.parquet.thrift import STRUCT, fields, list_header, write_list_header
from pipeline.storage import FileRef

_ROW_GROUPS = 4  # of FileMetaData
_LONG_WALK_BYTES = 64 << 10  # a footer of less is walked in 1 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTask:
    """Some row groups of one file: the unit that Spark tasks, stream workers and mix builders read."""

    file: FileRef
    footer: Footer
    row_groups: tuple[int, ...]

    def groups(self) -> list[RowGroup]:
        """The footer's row groups that this task reads."""
        kept = self.footer.kept
        places = (
            range(self.footer.metadata().num_row_groups)
            if kept is None
            else dict(zip(kept, range(len(kept)), strict=True))
        )
        return [self.footer.row_group(places[index]) for index in self.row_groups]

    def slim(self) -> ScanTask:
        """The same task with a footer of its own row groups alone, to be sent to where it runs."""
        return ScanTask(file=self.file, footer=self.footer.only(self.row_groups), row_groups=self.row_groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How far to read ahead, and how large batches get.

    `prefetch_bytes` are held or on their way besides the row group that is being decoded, by `prefetch_requests` at a time;
    ranges are merged up to `block_bytes` over holes of at most `hole_bytes`. With `cache_bytes`, so much of what was fetched
    stays on this machine's disk for later scans.
    """

    prefetch_bytes: int = 128 << 20
    prefetch_requests: int = 16
    block_bytes: int = 8 << 20
    hole_bytes: int = 128 << 10
    batch_rows: int = 10_000
    batch_bytes: int = 16 << 20
    cache_bytes: int = 0


Task = tuple[ScanTask, Sequence[str] | None]


def whole_file(file: FileRef, footer: Footer) -> ScanTask:
    """A task for all row groups of a file."""
    return ScanTask(file=file, footer=footer, row_groups=tuple(group.index for group in footer.row_groups()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extents:
    """Where in a whole footer's bytes its list of row groups begins, its first row group, and where each one ends.

    Who keeps these (four bytes per row group) makes tasks of single row groups without walking the others each time.
    """

    ends: array[int]

    def task(self, file: FileRef, footer: Footer, row_group: int) -> ScanTask:
        """A task for one row group of a file, with the footer of that alone."""
        if len(self.ends) > 3:
            start, end = self.ends[row_group + 1 : row_group + 3]
            before, after = footer.raw[: self.ends[0]], footer.raw[self.ends[-1] :]
            # Its number of rows is that of the file still, which the subset puts right.
            one = b"".join((before, write_list_header(STRUCT, 1), footer.raw[start:end], after))
            footer = Footer(raw=subset_footer(one, [0]), kept=(row_group,))
        return ScanTask(file=file, footer=footer, row_groups=(row_group,))


def find_extents(file: FileRef, footer: Footer, token: Secret | None) -> Extents:
    """A footer's extents, kept on disk where a walk takes time: 50 ms for 1,000 row groups of 20 columns."""
    if not file.is_hashed or len(footer.raw) < _LONG_WALK_BYTES:
        return Extents(ends=_walk(footer.raw))
    key = ("extents", cache.owner(token), hashlib.blake2b(footer.raw, digest_size=32).hexdigest())
    if content := cache.load(key):
        return Extents(ends=array("I", content))
    found = _walk(footer.raw)
    cache.store(key, found.tobytes())
    return Extents(ends=found)


def _walk(raw: bytes) -> array[int]:
    _, start = fields(raw, 0, until=_ROW_GROUPS)
    _, count, at = list_header(raw, start)
    ends = array("I", [start, at])
    for _ in range(count):
        _, at = fields(raw, at)
        ends.append(at)
    return ends
