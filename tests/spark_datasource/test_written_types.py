"""What a DataFrame can hold and what its files are: written right, or refused with the column and what to do instead."""

import datetime

import pyarrow as pa
import pytest
from pyspark.sql import types as t

from pipeline.errors import SchemaError
from spark_datasource.written import written_schema

WRITTEN = {
    "time(6)": (t.TimeType(6), pa.time64("us")),
    "time(9)": (t.TimeType(9), pa.time64("ns")),
    "times": (t.ArrayType(t.StructType().add("a", t.TimeType(0))), pa.list_(pa.struct([("a", pa.time64("us"))]))),
    "timemap": (t.MapType(t.StringType(), t.TimeType(3)), pa.map_(pa.string(), pa.time64("us"))),
    "interval": (t.DayTimeIntervalType(0, 1), pa.duration("us")),
    "void": (t.NullType(), pa.null()),
    "empty": (t.ArrayType(t.NullType(), containsNull=False), pa.list_(pa.null())),
    "char": (t.CharType(3), pa.string()),
    "varchar": (t.VarcharType(3), pa.string()),
    "collated": (t.StringType("UTF8_LCASE"), pa.string()),
    "timestamp": (t.TimestampType(), pa.timestamp("us", "UTC")),
    "ntz": (t.TimestampNTZType(), pa.timestamp("us")),
    "image": (
        t.StructType([t.StructField("bytes", t.BinaryType(), False)]),
        pa.struct([pa.field("bytes", pa.binary(), nullable=True)]),
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_type_is_written_as_one_that_every_reader_has(name):
    """Times of up to 6 digits in us, instants in UTC, text as text, everything nullable."""
    kind, expected = WRITTEN[name]
    found = written_schema(t.StructType([t.StructField("x", kind, False)])).field("x")
    assert found.type.equals(expected)
    assert found.nullable


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (t.VariantType(), "column 'x' is variant, which cannot be written to Parquet; write to_json(...) of it"),
        (t.YearMonthIntervalType(), "is interval year to month, which cannot be written to Parquet; cast it to int"),
        (t.CalendarIntervalType(), "is interval, which cannot be written to Parquet; cast it to string"),
        (t.GeometryType(0), "which cannot be written to Parquet; write st_asbinary(...) of it"),
        (t.GeographyType(4326), "which cannot be written to Parquet; write st_asbinary(...) of it"),
        (t.StructType(), "is struct<>, which cannot be written to Parquet; cast it, or leave it out"),
    ],
    ids=lambda value: value.simpleString() if isinstance(value, t.DataType) else "",
)
def test_a_type_that_files_cannot_hold_is_refused(kind, said):
    """Alone and at any depth, in one line: what would be read back is something else."""
    for whole in (kind, t.ArrayType(t.StructType().add("a", kind)), t.MapType(t.StringType(), kind)):
        with pytest.raises(SchemaError, match="column 'x' is ") as caught:
            written_schema(t.StructType().add("ok", "integer").add("x", whole))
        assert "\n" not in str(caught.value)
        assert said.partition("; ")[2] in str(caught.value)
        assert whole is not kind or said in str(caught.value)


@pytest.fixture
def times(spark):
    """Times in SQL, which Spark 4.3 wants to be asked for."""
    spark.conf.set("spark.sql.timeType.enabled", "true")
    yield
    spark.conf.unset("spark.sql.timeType.enabled")


def test_spark_writes_and_reads_its_less_common_types(spark, times, save, load, repo):
    """Times, intervals, void, empty arrays, collated and padded text come through Spark as they were."""
    frame = spark.sql("""
        select 1 as id, time '01:02:03.123456789' as fine, interval '-1 02:03:04.5' day to second as span,
            interval '5' hour as hours, null as nothing, array() as empty, 'Ab' collate UTF8_LCASE as text,
            cast('ab' as char(3)) as padded, named_struct('bytes', cast(null as binary)) as image, map('k', null) as m
        union all select 2, null, null, null, null, null, null, null, null, null""")
    save(frame, repo)
    found = load(repo)
    assert dict(found.dtypes) == dict(frame.dtypes) | {"hours": "interval day to second", "text": "string"}
    assert sorted(found.collect()) == sorted(frame.collect())
    first = found.where("id = 1").selectExpr("string(fine)", "span").first()
    assert tuple(first) == ("01:02:03.123456789", -datetime.timedelta(1, 7384, 500000))
