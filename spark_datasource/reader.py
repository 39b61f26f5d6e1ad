"""A pinned split as Spark tasks: runs of row groups of about the same size, each read through the prefetching scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql.datasource import DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from pipeline.errors import SchemaError
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import Secret
from pipeline.hub.resolver import Snapshot, resolve
from pipeline.parquet.dataset import choose, scan_as, stored_schema
from pipeline.parquet.features import Features, features_of, from_yaml
from pipeline.parquet.footer import Footer, read_footers
from pipeline.parquet.plan import balance
from pipeline.parquet.task import ScanTask, whole_file
from spark_datasource.options import ReadOptions
from spark_datasource.schemas import arrow_schema, spark_schema

_PARTITION_BYTES = 128 << 20
_MIN_PARTITION_BYTES = 4 << 20
_PARTITIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A split at a commit, the Arrow schema of its first file, and what may read it."""

    snapshot: Snapshot
    arrow: pa.Schema
    features: Features | None
    token: Secret | None
    columns: tuple[str, ...] | None

    def schema(self) -> StructType:
        """The Spark schema of the chosen columns. Raises SchemaError for a column that is not there."""
        if self.columns is None:
            return spark_schema(self.arrow, self.features)
        return spark_schema(choose(self.arrow, self.columns, self.snapshot.rows_url), self.features)


def open_dataset(options: ReadOptions) -> Dataset:
    """Pin the commit and learn the schema. Raises NotFoundError, AccessError, CorruptFileError."""
    snapshot = resolve(options.ref, options.token)
    files = file_refs(snapshot)
    features = from_yaml(snapshot.features) if snapshot.features else None
    arrow = stored_schema(files, list(features or {}), options.token)
    return Dataset(
        snapshot=snapshot,
        arrow=arrow,
        features=features or features_of(arrow),
        token=options.token,
        columns=options.columns,
    )


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
        files = file_refs(self._dataset.snapshot)
        footers = read_footers(files, self._dataset.token)
        self._check_columns(footers)
        tasks = [whole_file(file, footer) for file, footer in zip(files, footers, strict=True)]
        sizes = sum(group.size(self._schema.names) for task in tasks for group in task.groups())
        target = min(_PARTITION_BYTES, max(_MIN_PARTITION_BYTES, sizes // _PARTITIONS))
        runs = balance(tasks, self._schema.names, target)
        return [RowGroups(tasks=tuple(task.slim() for task in run)) for run in runs] or [RowGroups(tasks=())]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, RowGroups)
        return scan_as(partition.tasks, arrow_schema(self._schema), self._dataset.token)

    def _check_columns(self, footers: Sequence[Footer]) -> None:
        """A column that the user's own schema names and no file has would be null throughout: more likely a slip."""
        known = dict.fromkeys(name for footer in footers for name in footer.schema().names)
        for name in self._schema.names:
            if name not in known and name not in self._dataset.arrow.names:
                shown = ", ".join(map(repr, known))
                raise SchemaError(f"{self._dataset.snapshot.rows_url}: no column {name!r}; it has {shown}")
