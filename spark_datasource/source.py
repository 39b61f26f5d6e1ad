"""The DataSource: options in, a reader or a writer out.

Spark makes it anew in each planning process and pickles it right away, so what `schema()` learned travels in it. Nothing
here touches the network before Spark asks for a schema, a reader or a writer. `pushFilters` is not overridden: on Spark 4.1
to 4.3 the filtered reader leaks into other scans of the same DataFrame, and their rows are wrong.
"""

from __future__ import annotations

from pyspark.sql.datasource import (
    DataSource,
    DataSourceArrowWriter,
    DataSourceReader,
    DataSourceStreamReader,
    DataSourceStreamWriter,
)
from pyspark.sql.types import StructType

from spark_datasource.dataset import Dataset, open_dataset
from spark_datasource.options import only_for_streams
from spark_datasource.read_options import parse_read, parse_stream_read
from spark_datasource.reader import HuggingFaceReader
from spark_datasource.stream_reader import HuggingFaceStreamReader, check_format, check_stream
from spark_datasource.stream_writer import plan_stream_write
from spark_datasource.write_options import parse_stream_write, parse_write
from spark_datasource.write_plan import plan_write
from spark_datasource.writer import HuggingFaceWriter


class HuggingFaceDataSource(DataSource):
    """`spark.read.format("huggingface").load("ns/name")` and `df.write.format("huggingface").save("ns/name")`."""

    _dataset: Dataset | None = None

    @classmethod
    def name(cls) -> str:
        return "huggingface"

    def schema(self) -> StructType:
        """The dataset's schema; this pins the commit that all later steps read."""
        return self._open().schema()

    def reader(self, schema: StructType) -> DataSourceReader:
        parse_read(self.options)  # schema() is not told whether it is for a stream, and takes the options of both
        return HuggingFaceReader(self._open(), schema)

    def writer(self, schema: StructType, overwrite: bool) -> DataSourceArrowWriter:
        return HuggingFaceWriter(plan_write(parse_write(self.options), schema, overwrite=overwrite))

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802 - Spark's name
        options = check_stream(parse_stream_read(self.options))
        return HuggingFaceStreamReader(check_format(self._open()), options, schema)

    def streamWriter(self, schema: StructType, overwrite: bool) -> DataSourceStreamWriter:  # noqa: N802 - Spark's name
        checkpoint = self.options.get("checkpointLocation")
        return plan_stream_write(parse_stream_write(self.options), schema, overwrite=overwrite, checkpoint=checkpoint)

    def _open(self) -> Dataset:
        if self._dataset is None:
            stream = only_for_streams(self.options)
            read = check_stream(parse_stream_read(self.options)).read if stream else parse_read(self.options)
            self._dataset = open_dataset(read)
        return self._dataset
