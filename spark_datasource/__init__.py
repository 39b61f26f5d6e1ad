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


def save(frame: DataFrame, path: str, *, mode: str, **options: Any) -> None:
    """`frame.write.format("huggingface").mode(mode).options(**options).save(path)`, with a job description that says so.

    Spark lets no data source name its jobs: called by itself, a write is `save at ...` in Spark's UI. On Connect it stays so.
    """
    writer = frame.write.format("huggingface").mode(mode).options(**options)
    session = frame.sparkSession
    if not hasattr(session, "_jsparkSession"):
        writer.save(path)
        return
    context, described = session.sparkContext, "spark.job.description"
    before = context.getLocalProperty(described)
    names = {name.lower().replace("_", ""): value for name, value in options.items()}
    context.setLocalProperty(described, f"{mode} to {path}, split {names.get('split', 'train')}")
    try:
        writer.save(path)
    finally:
        context.setLocalProperty(described, before)  # type: ignore[arg-type]  # None clears it
