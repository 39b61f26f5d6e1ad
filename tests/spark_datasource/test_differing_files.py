"""Files of one split that differ: read as the first one says, or an error with file, column and what to do."""

import hashlib

import pyarrow as pa
import pytest
from pyspark.sql import types as t

from pipeline.errors import SchemaError
from spark_datasource.schemas import arrow_schema
from spark_datasource.source import HuggingFaceDataSource
from tests.spark_datasource import reading


@pytest.fixture
def put(hub, repo):
    """Commit tables as the files of one split; the options to read it."""

    def commit(*tables):
        count = len(tables)
        files = {f"data/train-{i:05d}-of-{count:05d}.parquet": table for i, table in enumerate(tables)}
        reading.put(repo, files)
        return {"path": repo, "endpoint": hub.endpoint}

    return commit


def read(options, schema=None):
    """All rows, by the reader, each batch of exactly the expected schema."""
    source = HuggingFaceDataSource(options)
    schema = schema or source.schema()
    reader = source.reader(schema)
    batches = [batch for partition in reader.partitions() for batch in reader.read(partition)]
    assert all(batch.schema.equals(arrow_schema(schema)) for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


def column(values, kind):
    return pa.table({"x": pa.array(values, kind)})


INNER = pa.struct([("a", pa.int32()), ("b", pa.string())])
PAIRS = {
    "int32, int64": (pa.int32(), [1], pa.int64(), [2], [1, 2]),
    "int64, int32": (pa.int64(), [2**40], pa.int32(), [2], [2**40, 2]),
    "float, double": (pa.float32(), [0.5], pa.float64(), [0.25], [0.5, 0.25]),
    "text": (pa.string(), ["a"], pa.large_string(), ["b"], ["a", "b"]),
    "large text": (pa.large_string(), ["a"], pa.dictionary(pa.int8(), pa.string()), ["b"], ["a", "b"]),
    "ms, us": (pa.duration("ms"), [1], pa.duration("us"), [2000], None),
    "null, then values": (pa.string(), ["a"], pa.null(), [None], ["a", None]),
    "lists": (pa.list_(pa.int32()), [[1]], pa.large_list(pa.int64()), [[2, None]], [[1], [2, None]]),
    "fixed": (pa.list_(pa.int8(), 2), [[1, 2]], pa.list_(pa.int16()), [[3]], [[1, 2], [3]]),
    "reordered": (INNER, [{"a": 1, "b": "x"}], pa.struct([("b", pa.string()), ("a", pa.int64())]), [{"b": "y", "a": 2}],
                  [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
    "missing": (INNER, [{"a": 1, "b": "x"}], pa.struct([("a", pa.int8())]), [{"a": 2}],
                [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
    "more": (pa.struct([("a", pa.int8())]), [{"a": 2}], INNER, [{"a": 1, "b": "x"}], [{"a": 2}, {"a": 1}]),
    "nothing in common": (pa.struct([("c", pa.int8())]), [{"c": 2}], INNER, [{"a": 1, "b": "x"}, None],
                          [{"c": 2}, {"c": None}, None]),
    "in lists": (pa.list_(INNER), [[{"a": 1, "b": "x"}]], pa.list_(pa.struct([("b", pa.large_string())])), [[{"b": "y"}, None]],
                 [[{"a": 1, "b": "x"}], [{"a": None, "b": "y"}, None]]),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_files_that_differ_are_read_as_the_first_one(put, name):
    """Wider and narrower types, children in another order, fewer and more of them."""
    first, some, second, others, expected = PAIRS[name]
    found = [row["x"] for row in read(put(column(some, first), column(others, second)))]
    assert [value.microseconds for value in found] == [1000, 2000] if expected is None else found == expected


def test_columns_may_be_missing_and_in_another_order(put):
    """By name; a column that a file lacks is null in its rows, one that only later files have is left out."""
    first = pa.table({"a": [1], "b": ["x"]})
    options = put(first, pa.table({"b": ["y"], "a": [2]}), pa.table({"c": [0], "b": ["z"]}))
    assert read(options) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": None, "b": "z"}]
    assert read(options, t.StructType().add("c", t.ShortType())) == [{"c": None}, {"c": None}, {"c": 0}]


def test_a_value_that_does_not_fit_is_read_with_a_wider_schema(put):
    """The error names file, column and types and says what to do; doing so reads all rows."""
    options = put(column([1], pa.int32()), column([2**40], pa.int64()))
    said = (
        r"data/train-00001-of-00002\.parquet: column 'x' does not fit int32: Integer value 1099511627776 not in range.*"
        r"; it holds int64; a type that holds both would do, when Spark reads with \.schema\(\.\.\.\)$"
    )
    with pytest.raises(SchemaError, match=said):
        read(options)
    wider = t.StructType().add("x", t.LongType())
    assert read(options, wider) == [{"x": 1}, {"x": 2**40}]


@pytest.mark.parametrize(
    ("kind", "values"),
    [(pa.string(), ["no number"]), (pa.list_(pa.int32()), [[1]]), (pa.struct([("a", pa.int32())]), [{"a": 1}])],
    ids=str,
)
def test_files_that_do_not_go_together_are_named(put, kind, values):
    """Text, lists and structs are no numbers: file, column and both types are in the error."""
    with pytest.raises(
        SchemaError, match=r"train-00001-of-00002\.parquet: column 'x' does not fit int32.* it holds "
    ) as caught:
        read(put(column([1], pa.int32()), column(values, kind)))
    assert str(kind).replace("item", "element") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_and_splits_without_rows_are_read(put):
    """A file of no rows among others gives its types and no rows; a split of none is empty, and has its columns."""
    empty = pa.table({"x": pa.array([], pa.int64())})
    assert read(put(empty, column([1], pa.int32()), empty)) == [{"x": 1}]


def test_a_split_of_no_rows_has_its_columns(put):
    """The schema is that of the file."""
    options = put(pa.table({"x": pa.array([], pa.list_(pa.uint8()))}))
    assert read(options) == []
    assert HuggingFaceDataSource(options).schema().simpleString() == "struct<x:array<smallint>>"


@pytest.mark.long
def test_a_row_of_300_mb_is_read_among_small_ones(put):
    """It comes alone in its batch, whole, with its neighbours in theirs."""
    large = bytes(range(256)) * (300_000_000 // 256)
    table = pa.table({"id": [1, 2, 3], "data": [b"a", large, b"c"]})
    found = {row["id"]: row["data"] for row in read(put(table))}
    assert found[1] == b"a"
    assert found[3] == b"c"
    assert hashlib.blake2b(found[2]).digest() == hashlib.blake2b(large).digest()
