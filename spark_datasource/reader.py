"""A pinned split as Spark tasks: runs of row groups of about the same size, each read through the prefetching scan."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql.datasource import DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from pipeline.errors import SchemaError
from pipeline.parquet.conform import conform
from pipeline.parquet.dataset import scan_as
from pipeline.parquet.footer import Footer, read_footers
from pipeline.parquet.plan import balance
from pipeline.parquet.prune import FileFilter, kept_row_groups
from pipeline.parquet.task import ScanTask, whole_file
from pipeline.predicate import Predicate
from pipeline.sizes import format_bytes
from spark_datasource.dataset import Dataset
from spark_datasource.schemas import arrow_schema

log = logging.getLogger(__name__)

_MIN_PARTITION_BYTES = 4 << 20
_PARTITIONS = 16
_WIDE_COLUMNS = 10
_WIDE_BYTES = 1 << 30
_hinted: set[str] = set()


@dataclass
class RowGroups(InputPartition):
    """What one task reads."""

    tasks: tuple[ScanTask, ...]


class HuggingFaceReader(DataSourceReader):
    """Reads the columns of `schema`; Spark pickles it to the executors."""

    def __init__(self, dataset: Dataset, schema: StructType) -> None:
        self._dataset = dataset
        self._schema = schema

    def partitions(self) -> Sequence[InputPartition]:
        files = self._dataset.files()
        footers = read_footers(files, self._dataset.options.token)
        self._check_columns(footers)
        columns = self._read_schema().names
        tasks = [self._matching(whole_file(file, footer)) for file, footer in zip(files, footers, strict=True)]
        sizes = sum(group.size(columns) for task in tasks for group in task.groups())
        self._hint(sizes)
        target = min(self._dataset.options.partition_bytes, max(_MIN_PARTITION_BYTES, sizes // _PARTITIONS))
        runs = balance(tasks, columns, target)
        return [RowGroups(tasks=tuple(task.slim() for task in run)) for run in runs] or [RowGroups(tasks=())]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, RowGroups)
        options, wanted = self._dataset.options, arrow_schema(self._schema)
        read = self._read_schema()
        for batch in scan_as(partition.tasks, read, options.token, options.scan, self._dataset.predicate):
            yield batch if read == wanted else conform(batch, wanted, self._dataset.about)

    def _read_schema(self) -> pa.Schema:
        """What is read of files: the columns that Spark wants, and those of the condition, in the types that it was made for."""
        wanted, stored = arrow_schema(self._schema), self._dataset.arrow
        needed = _columns(self._dataset.predicate)
        fields = [stored.field(one.name) if one.name in needed else one for one in wanted]
        return pa.schema([*fields, *(stored.field(name) for name in needed if name not in wanted.names)])

    def _matching(self, task: ScanTask) -> ScanTask:
        """The task without the row groups that statistics rule out."""
        if self._dataset.predicate is None:
            return task
        about = FileFilter(footer=task.footer, schema=self._read_schema(), predicate=self._dataset.predicate)
        return replace(task, row_groups=tuple(kept_row_groups(about, task.row_groups)))

    def _check_columns(self, footers: Sequence[Footer]) -> None:
        """A column that the user's own schema names and no file has would be null throughout: more likely a slip."""
        missing = [name for name in self._schema.names if name not in self._dataset.arrow.names]
        known = dict.fromkeys(name for footer in footers for name in footer.schema().names) if missing else {}
        for name in missing:
            if name not in known:
                shown = ", ".join(map(repr, known))
                raise SchemaError(f"{self._dataset.about}: no column {name!r}; it has {shown}")

    def _hint(self, num_bytes: int) -> None:
        """Spark prunes no columns of Python data sources: say so once where it costs much."""
        options = self._dataset.options
        narrowed = options.columns is not None or self._dataset.predicate is not None
        narrowed = narrowed or self._schema.names != self._dataset.arrow.names
        wide = len(self._schema.names) >= _WIDE_COLUMNS or num_bytes >= _WIDE_BYTES
        if narrowed or not wide or self._dataset.about in _hinted:
            return
        _hinted.add(self._dataset.about)
        log.warning(
            "%s: every query of this DataFrame reads all %d columns (%s); name those that you need with the option 'columns' "
            "or .schema(...), and rows with 'where'",
            self._dataset.about,
            len(self._schema.names),
            format_bytes(num_bytes),
        )


def _columns(predicate: Predicate | None) -> tuple[str, ...]:
    return predicate.columns if predicate else ()
