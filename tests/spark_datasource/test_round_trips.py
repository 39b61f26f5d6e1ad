"""Any DataFrame -> Hub -> Spark, `datasets`, pyarrow, DuckDB and Polars: the same rows everywhere.

Spark is slow, so an example has many columns of many types; the long version has more examples. Found by hypothesis, fixed seed.
"""

import datetime
import decimal
import itertools
import math

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import types as t

UTC = datetime.UTC
COUNT = itertools.count()
NAMES = [
    "a.b",
    "a",
    "A",
    "é ñ",
    "`q`",
    "x y.z",
    "🦊",
    "list",
    "0",
    "no",
    "%2F",
    "key_value",
    "a.list.element",
    '"',
    "'",
    ":",
]
MOMENTS = st.datetimes(
    datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)
)  # what ns can hold: readers go by pandas
# Text without what YAML, Arrow or the JVM cannot have at all: lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
LEAVES = [
    (t.ByteType(), st.integers(-(2**7), 2**7 - 1)),
    (t.ShortType(), st.integers(-(2**15), 2**15 - 1)),
    (t.IntegerType(), st.integers(-(2**31), 2**31 - 1)),
    (t.LongType(), st.integers(-(2**63), 2**63 - 1)),
    (t.FloatType(), st.floats(width=32)),
    (t.DoubleType(), st.floats()),
    (t.BooleanType(), st.booleans()),
    (t.StringType(), TEXT),
    (t.BinaryType(), st.binary(max_size=5).map(bytearray)),
    (t.DateType(), st.dates()),
    (t.TimestampType(), MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC))),
    (t.TimestampNTZType(), MOMENTS),
    (t.DayTimeIntervalType(0, 3), st.timedeltas(datetime.timedelta(-(10**6)), datetime.timedelta(10**6))),
    (t.DecimalType(38, 0), st.integers(-(10**38) + 1, 10**38 - 1).map(decimal.Decimal)),
    (t.DecimalType(9, 3), st.integers(-(10**9) + 1, 10**9 - 1).map(lambda n: decimal.Decimal(n) / 1000)),
]


def or_null(values):
    """Mostly values."""
    return st.one_of(values, values, st.none())


def in_list(inner):
    kind, values = inner
    return t.ArrayType(kind), st.lists(or_null(values), max_size=3)


def in_map(inner):
    kind, values = inner
    return t.MapType(t.StringType(), kind), st.dictionaries(TEXT, or_null(values), max_size=3)


def in_struct(inners):
    fields = [t.StructField(f"f {i}.{i}", kind) for i, (kind, _) in enumerate(inners)]
    return t.StructType(fields), st.tuples(*(or_null(values) for _, values in inners))


COLUMNS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: inner.map(in_list) | st.lists(inner, min_size=1, max_size=3).map(in_struct),
    max_leaves=4,
)


@st.composite
def frames(draw, *, maps):
    """A schema and rows: every leaf type once, and nested ones, under names that are not easy."""
    nested = draw(st.lists(COLUMNS.map(in_map) if maps else COLUMNS, min_size=3, max_size=6))
    columns = [*LEAVES, *nested]
    more = draw(st.lists(st.text("aA.é`\n/ -", min_size=1, max_size=4), max_size=3))
    names = draw(st.permutations([*NAMES, *(f"c{i}" for i in range(12))]))
    names = list(dict.fromkeys([*more, *names]))[: len(columns)]
    rows = draw(st.sampled_from([3, 5, 4, 0, 2]))
    values = [draw(st.lists(or_null(one), min_size=rows, max_size=rows)) for _, one in columns]
    fields = [t.StructField("row", t.IntegerType())]
    fields += [t.StructField(name, kind) for name, (kind, _) in zip(names, columns, strict=True)]
    return t.StructType(fields), list(zip(range(rows), *values, strict=True))


def plain(value, kind):
    """A value of any reader in one form, by its Spark type."""
    if value is None:
        return None
    if isinstance(kind, t.StructType):
        parts = value.values() if isinstance(value, dict) else value
        return [plain(part, child.dataType) for part, child in zip(parts, kind, strict=True)]
    if isinstance(kind, t.ArrayType):
        return [plain(one, kind.elementType) for one in value]
    if isinstance(kind, t.MapType):
        pairs = value.items() if isinstance(value, dict) else value
        pairs = [tuple(pair.values()) if isinstance(pair, dict) else pair for pair in pairs]
        return sorted(((key, plain(one, kind.valueType)) for key, one in pairs), key=lambda pair: pair[0])
    if isinstance(kind, t.TimestampType):
        return value.astimezone(UTC).replace(tzinfo=None)  # Spark's are in the zone of this process
    if isinstance(kind, t.DayTimeIntervalType) and isinstance(value, datetime.timedelta):
        return value // datetime.timedelta(microseconds=1)
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return bytes(value) if isinstance(value, bytearray) else value


def plain_rows(rows, schema):
    """Rows of any reader, in the order of their first column."""
    listed = [[plain(value, kind.dataType) for value, kind in zip(row, schema, strict=True)] for row in rows]
    return sorted(listed, key=lambda row: row[0])


def of_spark(spark, repo, *_):
    frame = spark.read.format("huggingface").load(repo)
    return [tuple(row) for row in frame.collect()]


def of_datasets(_, repo, __, rows):
    from datasets import load_dataset

    found = load_dataset(repo, split="train", streaming=not rows)  # without streaming it refuses to load no rows
    return [tuple(row.values()) for row in found]


def of_pyarrow(_, repo, files, __):
    """By HfFileSystem, as `hf://` paths are read."""
    from huggingface_hub import HfFileSystem
    from pyarrow import parquet as pq

    system = HfFileSystem()
    tables = [pq.read_table(f"datasets/{repo}/{file}", filesystem=system) for file in files]
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


def downloaded(repo, files):
    from huggingface_hub import hf_hub_download

    return [hf_hub_download(repo, file, repo_type="dataset") for file in files]


def of_duckdb(_, repo, files, __):
    import duckdb

    with duckdb.connect() as base:
        base.execute("set timezone = 'UTC'")
        query = "select * from read_parquet($files)"
        table = base.sql(query, params={"files": downloaded(repo, files)}).to_arrow_table()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))  # of "a" and "A" it renames one


def of_polars(_, repo, files, __):
    import polars

    return [row for path in downloaded(repo, files) for row in polars.read_parquet(path).rows()]


READERS = [of_spark, of_pyarrow, of_duckdb, of_polars]


def check(spark, repo, files_of, schema, rows, readers):
    """Write the rows in two tasks; every reader finds them."""
    name = f"{repo}-{next(COUNT)}"
    frame = spark.createDataFrame(rows, schema).repartition(2, "row")
    frame.write.format("huggingface").mode("append").save(name)
    expected = plain_rows(rows, schema)
    files = files_of(name)
    for reader in readers:
        assert plain_rows(reader(spark, name, files, len(rows)), schema) == expected, reader.__name__
    found = spark.read.format("huggingface").load(name)
    assert [field.dataType for field in found.schema] == [field.dataType for field in schema]


FEW = settings(
    max_examples=5,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
MORE = settings(FEW, max_examples=40)


@FEW
@given(frame=frames(maps=False))
def test_every_reader_finds_the_rows_that_spark_wrote(spark, repo, files_of, frame):
    """Types, nested ones, nulls, NaN, odd names, no rows at all."""
    check(spark, repo, files_of, *frame, [*READERS, of_datasets])


@settings(FEW, max_examples=3)
@given(frame=frames(maps=True))
def test_maps_are_found_by_all_readers_that_know_them(spark, repo, files_of, frame):
    """Which `datasets` does not."""
    check(spark, repo, files_of, *frame, READERS)


@pytest.mark.long
@MORE
@given(frame=frames(maps=False))
def test_every_reader_finds_the_rows_of_many_frames(spark, repo, files_of, frame):
    """The same for longer."""
    check(spark, repo, files_of, *frame, [*READERS, of_datasets])


@pytest.mark.long
@MORE
@given(frame=frames(maps=True))
def test_maps_of_many_frames_are_found(spark, repo, files_of, frame):
    """The same for longer."""
    check(spark, repo, files_of, *frame, READERS)
