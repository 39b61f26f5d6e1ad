"""`load_pruned`: the same rows as the query over the whole dataset, with only the bytes that it needs."""

import datetime
import random

import pyarrow as pa
import pytest
from pyspark.sql import functions as f

from spark_datasource import load_pruned
from tests.spark_datasource.reading import put

ROWS = 2000


@pytest.fixture(scope="module")
def dataset():
    """Ten row groups sorted by `id`: 2 MB of `blob`, floats with NaN, texts with quotes, nulls."""
    rng = random.Random("pruning")
    table = pa.table(
        {
            "id": range(ROWS),
            "day": [datetime.date(2026, 1, 1) + datetime.timedelta(days=i // 100) for i in range(ROWS)],
            "text": [None if i % 7 == 0 else f"it's {i % 10}" for i in range(ROWS)],
            "flag": [i % 2 == 0 for i in range(ROWS)],
            "score": [float("nan") if i % 5 == 0 else i / ROWS for i in range(ROWS)],
            "blob": [rng.randbytes(1000) for _ in range(ROWS)],
            "meta": [{"n": i, "rest": rng.randbytes(200)} for i in range(ROWS)],
        }
    )
    put("tests/pruning", {"data/train-00000-of-00001.parquet": table}, row_group_size=200, use_dictionary=False)
    return "tests/pruning"


QUERIES = {
    "count": (lambda df: df.groupBy().count(), 30_000),
    "one column": (lambda df: df.agg(f.sum("id")), 60_000),
    "a filter": (lambda df: df.where("id BETWEEN 5 AND 9 OR id = 700").select("blob"), 600_000),
    "text and date": (lambda df: df.where("text = 'it''s 3' AND day < date'2026-01-03'").select("id"), 80_000),
    "in and not": (lambda df: df.where("id IN (1, 2) AND NOT text LIKE 'a%'").select("id", "text"), 80_000),
    "nan is large": (lambda df: df.where("score > 0.99 AND id < 100").select("id"), 90_000),
    "null-safe": (lambda df: df.where("text <=> 'it''s 1' AND 20 > id").select("id"), 80_000),
    "a struct's part": (lambda df: df.where("meta.n < 3").select("id"), 600_000),
    "a join with itself": (
        lambda df: df.where("id < 3").select("id").join(df.where("id < 9").select(f.col("id"), "text"), "id"),
        90_000,
    ),
    "a subquery": (lambda df: df.where(f.col("id") > 1990).select((f.col("id") + 1).alias("n")).distinct(), 60_000),
    "a flag": (lambda df: df.where("flag AND NOT (flag = false) AND id < 20").select("id"), 80_000),
    "a date that Python has not": (lambda df: df.where("day < date'+12000-01-01' AND id < 9").select("id"), 80_000),
    "more than it needs": (lambda df: df.withColumn("y", df["text"]).select("text", "id").select("id"), 4_000_000),
    "all of it": (lambda df: df.where("id >= 1900"), 600_000),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_the_same_rows_for_fewer_bytes(spark, hub, dataset, name):
    """Columns and row groups that the query does not need are not fetched; its rows are those of the whole dataset."""
    query, most_bytes = QUERIES[name]
    whole = query(spark.read.format("huggingface").load(dataset))
    expected = sorted(map(str, whole.collect()))
    hub.reset_counts()
    pruned = load_pruned(spark, dataset, query)
    assert pruned.schema == whole.schema
    assert sorted(map(str, pruned.collect())) == expected
    assert hub.bytes_sent()["cdn"] < most_bytes


def test_given_columns_and_conditions_stay(spark, hub, dataset):
    """What the caller asked for is not overridden, and both readings are of one commit."""
    query = lambda df: df.where("id < 50").agg(f.count("*").alias("n"))  # noqa: E731
    assert load_pruned(spark, dataset, query, where="id >= 40", columns="id").collect() == [(10,)]


def test_sql_is_a_query_too(spark, hub, dataset):
    """A text of SQL over the DataFrame, as `spark.sql` takes it."""
    query = lambda df: spark.sql("SELECT max(id) AS top FROM {it} WHERE id < 900", it=df)  # noqa: E731
    hub.reset_counts()
    assert load_pruned(spark, dataset, query).collect() == [(899,)]
    assert hub.bytes_sent()["cdn"] < 60_000


def test_what_is_cached_or_checkpointed_is_read_whole(spark, hub, dataset):
    """Such a part hides what it reads of the dataset: no condition of another part is handed to the reader."""
    query = lambda df: df.where("id < 5").select("id").localCheckpoint().union(df.where("id > 1995").select("id"))  # noqa: E731
    assert sorted(row["id"] for row in load_pruned(spark, dataset, query).collect()) == [
        0,
        1,
        2,
        3,
        4,
        *range(1996, 2000),
    ]


def test_a_revision_in_the_path_and_several_splits_are_kept(spark, hub, dataset):
    """`ns/name@main` is pinned once for both readings; a condition on the column that tells the split is Spark's."""
    count = lambda df: df.groupBy().count()  # noqa: E731
    assert load_pruned(spark, f"hf://datasets/{dataset}@main", count).collect() == [(ROWS,)]
    query = lambda df: df.where("split = 'train' AND id < 3").select("id")  # noqa: E731
    assert load_pruned(spark, dataset, query, split="*").count() == 3
