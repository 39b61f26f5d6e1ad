"""Where Spark looks for Python data sources: a top-level module named `pyspark_*`. The build puts this file there."""

from spark_datasource.source import HuggingFaceDataSource as DefaultSource

__all__ = ["DefaultSource"]
