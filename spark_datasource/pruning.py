"""What Spark 4.3 does not do for Python data sources: read only the columns and the rows that a query needs.

The query is built twice: once over the whole dataset, to learn from Spark's own optimised plan what it needs, then over a
DataFrame that reads just that. Spark still applies the query's own filters, so what is handed to the reader only has to keep
every row that they keep: comparisons that mean the same to Spark and to Arrow, and nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException

from pipeline.hub.any_format import is_several
from pipeline.hub.listing import pin
from spark_datasource.catalyst import needs_of
from spark_datasource.dataset import SPLIT
from spark_datasource.read_options import ReadOptions, parse_read

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


def load_pruned(spark: SparkSession, path: str, query: Callable[[DataFrame], DataFrame], **options: Any) -> DataFrame:
    """`query(spark.read.format("huggingface").options(**options).load(path))`, reading only what the query needs.

    `query` is called twice, and must do nothing but build a DataFrame from the one that it is given. Options `columns`, `where`
    and `filters` that are given stay as they are. All is read where plans cannot be looked at (Spark Connect), where the query
    caches or checkpoints, and where it names a column that Spark then finds it need not read. Raises what `load` raises.
    """
    texts = {key: str(value) for key, value in options.items()}
    read = parse_read({"path": path, **texts})
    path, pinned = _pinned(read, path)
    reader = spark.read.format("huggingface").options(**texts | pinned)
    whole = reader.load(path)
    result = query(whole)
    if not hasattr(whole, "_jdf"):
        log.info("%s: Spark Connect shows no plans, so all columns are read", path)
        return result
    needs = needs_of(result, whole, virtual=[SPLIT] if is_several(read.ref.split) else [])
    if needs is None:
        return result
    if read.columns is None:
        reader = reader.option("columns", json.dumps(needs.columns))
    if needs.where and read.where is None and read.filters is None:
        reader = reader.option("where", needs.where)
    try:
        return query(reader.load(path))
    except AnalysisException as err:
        log.info("%s: all columns are read, for the query names more than it needs (%s)", path, err.getCondition())
        return result


def _pinned(read: ReadOptions, path: str) -> tuple[str, dict[str, str]]:
    """The path and the revision of one commit for both readings; a bucket has none, and a timestamp names one already."""
    ref = read.ref
    if ref.kind == "buckets" or read.timestamp is not None:
        return path, {}
    bare = f"datasets/{ref.repo_id}/{ref.path}" if ref.path else ref.repo_id
    return bare, {"revision": str(pin(replace(ref, path=""), read.token).revision)}
