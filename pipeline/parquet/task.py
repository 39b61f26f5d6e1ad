"""What a scan is asked for: some row groups of files, and how far to read ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.parquet.footer import Footer, RowGroup
from pipeline.storage import FileRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTask:
    """Some row groups of one file: the unit that Spark tasks, stream workers and mix builders read."""

    file: FileRef
    footer: Footer
    row_groups: tuple[int, ...]

    def groups(self) -> list[RowGroup]:
        """The footer's row groups that this task reads."""
        if self.footer.kept is None:
            every = self.footer.row_groups()
            return [every[index] for index in self.row_groups]
        by_index = {group.index: group for group in self.footer.row_groups()}
        return [by_index[index] for index in self.row_groups]

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
