"""Spark's "huggingface" format: `spark.read.format("huggingface")`, `df.write.format("huggingface")`.

An installed wheel is found by Spark on its own. `register(spark)` is explicit, and wins over another package's format of the
same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyspark.sql import DataFrame, SparkSession


def register(spark: SparkSession) -> None:
    """Make "huggingface" mean this format in the session, whatever else is installed."""
    from spark_datasource.source import HuggingFaceDataSource

    spark.dataSource.register(HuggingFaceDataSource)


def load_pruned(spark: SparkSession, path: str, query: Callable[[DataFrame], DataFrame], **options: Any) -> DataFrame:
    """`query` over a dataset, reading only the columns and the row groups that it needs (pruning.py)."""
    from spark_datasource.pruning import load_pruned

    return load_pruned(spark, path, query, **options)
