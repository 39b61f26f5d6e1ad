"""What ours is measured against in Spark: the peer under a name of its own, Spark's Python API by itself, our encoder by itself.

Classes are made in functions, so that Spark sends them to its workers whole: those do not find this file.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql.datasource import (
    DataSource,
    DataSourceArrowWriter,
    DataSourceReader,
    InputPartition,
    WriterCommitMessage,
)
from pyspark.sql.types import StructType


def register(spark: SparkSession) -> None:
    """Register the formats `peer`, `bare` and `encode`."""
    for source in (_peer(), _bare(), _encode()):
        spark.dataSource.register(source)


def _peer() -> Any:
    from pyspark_huggingface.huggingface import HuggingFaceDatasets

    class Peer(HuggingFaceDatasets):  # type: ignore[misc]
        @classmethod
        def name(cls) -> str:
            return "peer"

    return Peer


def _bare() -> Any:
    """Batches of local files as pyarrow decodes them: what Spark's Python API costs."""
    from spark_datasource.schemas import arrow_schema, spark_schema

    class BareReader(DataSourceReader):
        def __init__(self, folder: str, schema: StructType) -> None:
            self.paths = sorted(map(str, Path(folder).glob("*.parquet")))
            self.schema = arrow_schema(schema)

        def partitions(self) -> list[InputPartition]:
            return [
                InputPartition((path, i)) for path in self.paths for i in range(pq.read_metadata(path).num_row_groups)
            ]

        def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
            path, group = partition.value
            file = pq.ParquetFile(path, pre_buffer=False, buffer_size=64 << 10)
            for batch in file.iter_batches(10_000, row_groups=[group], columns=self.schema.names, use_threads=False):
                yield batch.cast(self.schema)

    class Bare(DataSource):
        @classmethod
        def name(cls) -> str:
            return "bare"

        def schema(self) -> StructType:
            return spark_schema(pq.read_schema(next(Path(self.options["path"]).glob("*.parquet"))), None)

        def reader(self, schema: StructType) -> DataSourceReader:
            return BareReader(self.options["path"], schema)

    return Bare


def _encode() -> Any:
    """Our encoder into nothing, or into files of a local folder."""
    from pipeline.parquet.conform import conform
    from pipeline.parquet.layout import Kind, Layout
    from pipeline.parquet.writer import FileWriter, SplitWriter
    from spark_datasource.schemas import arrow_schema

    class EncodeWriter(DataSourceArrowWriter):
        def __init__(self, schema: StructType, into: str) -> None:
            self.schema = arrow_schema(schema)
            self.into = into

        def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
            layout = Layout(kind=Kind.EDITABLE)

            def open_file(_: int) -> FileWriter:
                path = Path(self.into) / f"{uuid.uuid4().hex}.parquet" if self.into else Path("/dev/null")
                return FileWriter(path.open("wb"), self.schema, layout=layout, features=None)

            split = SplitWriter(
                open_file,
                lambda writer: writer.close(),
                row_group_bytes=layout.row_group_bytes,
                row_group_rows=layout.row_group_rows,
            )
            for batch in iterator:
                split.write(conform(batch, self.schema, "a batch"))
            split.close(self.schema, at_least_one=False)
            return WriterCommitMessage()

    class Encode(DataSource):
        @classmethod
        def name(cls) -> str:
            return "encode"

        def writer(self, schema: StructType, overwrite: bool) -> DataSourceArrowWriter:  # noqa: ARG002 - Spark's signature
            return EncodeWriter(schema, self.options.get("into", ""))

    return Encode
