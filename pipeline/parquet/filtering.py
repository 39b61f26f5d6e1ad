"""A filter over files: which row groups need not be fetched for it, as their statistics and then their page indexes tell."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret
from pipeline.parquet.footer import Footer
from pipeline.parquet.prune import FileFilter, PageIndex, kept_row_groups, page_index_range, possible_rows
from pipeline.parquet.task import ScanTask
from pipeline.predicate import Predicate
from pipeline.storage import FileRef, Meter

# A page index is worth a request when it is small beside what it may spare.
_INDEX_SHARE = 0.02
_FILES_KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """A condition on rows, and the schema that it was compiled for."""

    predicate: Predicate
    schema: pa.Schema


class GroupFilter:
    """Tells of row groups whether a filter may be true in them; remembers it for the files it saw last."""

    def __init__(self, where: RowFilter, token: Secret | None, meter: Meter | None = None) -> None:
        self._where = where
        self._token = token
        self._meter = meter
        self._kept: dict[tuple[str, Footer], frozenset[int]] = {}

    def prune(self, task: ScanTask) -> ScanTask:
        """The task without the row groups in which the filter is true for no row."""
        kept = self._kept_groups(task.file, task.footer)
        return ScanTask(
            file=task.file, footer=task.footer, row_groups=tuple(index for index in task.row_groups if index in kept)
        )

    def _kept_groups(self, file: FileRef, footer: Footer) -> frozenset[int]:
        found = self._kept.get((file.uri, footer))
        if found is None:
            if len(self._kept) >= _FILES_KEPT:
                self._kept.pop(next(iter(self._kept)))
            found = self._kept[file.uri, footer] = self._look(file, footer)
        return found

    def _look(self, file: FileRef, footer: Footer) -> frozenset[int]:
        about = FileFilter(footer=footer, schema=self._where.schema, predicate=self._where.predicate)
        groups = footer.row_groups()
        kept = kept_row_groups(about, range(len(groups)))
        extent = page_index_range(about, kept) if kept else None
        if extent and extent[1] - extent[0] <= _INDEX_SHARE * sum(groups[i].size() for i in kept):
            index = PageIndex(start=extent[0], data=self._read(file, *extent))
            kept = [i for i in kept if possible_rows(about, i, index)]
        return frozenset(groups[i].index for i in kept)

    def _read(self, file: FileRef, start: int, end: int) -> bytes:
        reader = open_file(file, self._token, self._meter)
        try:
            return reader.read(start, end)
        finally:
            reader.close()
