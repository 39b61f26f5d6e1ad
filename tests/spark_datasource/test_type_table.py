"""The type table is what is read: every type of it, alone and nested, with nulls and extremes, through the reader and Spark."""

import datetime
import decimal
import io
import re

import pyarrow as pa
import pytest
from pyarrow import parquet as pq
from pyarrow import types
from pyspark.sql import types as t

from pipeline.errors import SchemaError
from pipeline.parquet.conform import conform
from spark_datasource.schemas import arrow_schema, spark_schema
from spark_datasource.source import HuggingFaceDataSource
from spark_datasource.type_table import TYPE_TABLE
from tests.spark_datasource import reading

UTC = datetime.UTC
MOMENT = datetime.datetime(1969, 12, 31, 23, 59, 59)
KINDS = {f"{row.arrow} {kind}": kind for row in TYPE_TABLE for kind in row.kinds if row.spark}
REFUSED = {f"{row.arrow} {kind}": kind for row in TYPE_TABLE for kind in row.kinds if not row.spark}
FRACTIONS = {"s": 0, "ms": 123000, "us": 123456, "ns": 123456}


def values_of(kind):
    """Four values of a type, as Python has them in Spark, a null and the extremes among them."""
    if isinstance(kind, pa.Bool8Type):
        return [True, None, False, True]
    if isinstance(kind, pa.BaseExtensionType):
        if types.is_string(kind.storage_type):
            return ['{"a": 1}', None, "[]", "1"]
        return values_of(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return values_of(kind.value_type)
    return values_of_number(kind) or values_of_time(kind) or values_of_text(kind) or values_of_nested(kind)


def values_of_number(kind):
    if types.is_null(kind):
        return [None] * 4
    if types.is_boolean(kind):
        return [True, None, False, True]
    if types.is_integer(kind):
        low = 0 if types.is_unsigned_integer(kind) else -(2 ** (kind.bit_width - 1))
        return [low, None, low + 2**kind.bit_width - 1, 1]
    if types.is_floating(kind):
        return [0.5, None, float("-inf"), {16: 65504.0, 32: 2.0**-126, 64: 1e308}[kind.bit_width]]
    if types.is_decimal(kind):
        most = decimal.Decimal("9" * kind.precision).scaleb(-kind.scale, decimal.Context(prec=76))
        return [most, None, most.copy_negate(), decimal.Decimal(0).scaleb(-kind.scale)]
    return None


def values_of_time(kind):
    if types.is_date(kind):
        return [datetime.date(1, 1, 1), None, datetime.date(9999, 12, 31), datetime.date(1969, 12, 31)]
    fraction = FRACTIONS.get(getattr(kind, "unit", None))
    if types.is_time(kind):
        return [datetime.time(), None, datetime.time(23, 59, 59, fraction), datetime.time(1, 2, 3)]
    if types.is_duration(kind):
        return [datetime.timedelta(-1, 5, fraction), None, datetime.timedelta(100_000), datetime.timedelta()]
    if types.is_timestamp(kind):
        moment = MOMENT.replace(microsecond=fraction, tzinfo=UTC if kind.tz else None)
        return [moment, None, moment.replace(year=2200), moment.replace(year=1700)]
    return None


def values_of_text(kind):
    if types.is_fixed_size_binary(kind):
        return [b"\0" * kind.byte_width, None, b"\xff" * kind.byte_width, b"a" * kind.byte_width]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return ["", None, "é\0" * 20, "x"]
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return [b"", None, b"\xff\0" * 20, b"x"]
    return None


def values_of_nested(kind):
    if types.is_struct(kind):
        inner = list(zip(*(values_of(child.type) for child in kind), strict=True))
        rows = [dict(zip([child.name for child in kind], row, strict=True)) for row in inner]
        return [rows[0], None, rows[1], rows[2]]
    if types.is_map(kind):
        one = values_of(kind.item_type)
        return [[("a", one[0]), ("b", None)], None, [], [("", one[2])]]
    inner = values_of(kind.value_type)
    if types.is_fixed_size_list(kind):
        return [(inner * 4)[: kind.list_size], None, (inner[1:] * 4)[: kind.list_size], [inner[3]] * kind.list_size]
    return [inner, None, [], [inner[1], inner[0]]]


def array_of(kind):
    """The values as an Arrow array of the type."""
    values = values_of(kind)
    if isinstance(kind, pa.Bool8Type):  # any number but 0 is true
        return pa.ExtensionArray.from_storage(kind, pa.array([1, None, 0, -7], pa.int8()))
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    if types.is_run_end_encoded(kind):
        return pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3, 4], kind.run_end_type), pa.array(values))
    if types.is_date64(kind):
        return pa.array(values, pa.date32()).cast(kind)
    if types.is_time64(kind) or types.is_timestamp(kind) or types.is_duration(kind):
        coarse = {"time64": pa.time64("us"), "durati": pa.duration("us")}.get(str(kind)[:6])
        coarse = coarse or pa.timestamp("us", getattr(kind, "tz", None))
        return pa.array(values, coarse).cast(kind)
    return pa.array(values, kind)


def nested(array):
    """The array in a list, a struct, and a map, in four rows each: the forms, and what they are in Python."""
    values = values_of(array.type)
    rows = [values[:1], [], values[1:3], values[3:]]
    ends = pa.array([0, 1, 1, 3, 4], pa.int32())
    yield pa.ListArray.from_arrays(ends, array), rows
    yield pa.StructArray.from_arrays([array], ["a"]), [{"a": value} for value in values]
    keys = pa.array(["a", "b", "c", "d"])
    pairs = list(zip("abcd", values, strict=True))
    yield pa.MapArray.from_arrays(ends, keys, array), [pairs[:1], [], pairs[1:3], pairs[3:]]


@pytest.fixture(scope="module")
def stored():
    """Arrow columns of each type that Parquet can hold, alone and nested, and the values that Spark should have."""
    columns, expected = {}, {}
    for kind in KINDS.values():
        if types.is_run_end_encoded(kind):
            continue
        array = array_of(kind)
        for found, values in ((array, values_of(kind)), *nested(array)):
            name = f"c{len(columns)} {kind}"
            columns[name], expected[name] = found, values
    return columns, expected


def parquet(columns):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.fixture
def put(hub, repo):
    """Commit files to the repo; its options for the data source."""

    def commit(*files):
        reading.put(repo, {f"data/train-{i:05d}-of-00009.parquet": data for i, data in enumerate(files)})
        return {"path": repo, "endpoint": hub.endpoint}

    return commit


def read(options, schema=None):
    """All rows as one table of exactly the schema that Spark expects."""
    source = HuggingFaceDataSource(options)
    schema = schema or source.schema()
    reader = source.reader(schema)
    batches = [batch for partition in reader.partitions() for batch in reader.read(partition)]
    for batch in batches:
        assert batch.schema.equals(arrow_schema(schema))
    return pa.Table.from_batches(batches, arrow_schema(schema))


def comparable(value):
    """Values in one form, instants in UTC."""
    if isinstance(value, dict):
        return {key: comparable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [comparable(one) for one in value]
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def of_spark(value, *, instants):
    """Spark's values in the same form; it has instants in the zone of this process."""
    if isinstance(value, t.Row):
        return {key: of_spark(one, instants=instants) for key, one in value.asDict().items()}
    if isinstance(value, dict):
        return [[key, of_spark(one, instants=instants)] for key, one in value.items()]
    if isinstance(value, list):
        return [of_spark(one, instants=instants) for one in value]
    if isinstance(value, datetime.datetime) and instants:
        return comparable(value.astimezone(UTC))
    return bytes(value) if isinstance(value, bytearray) else value


def test_every_type_of_the_table_is_read_alone_and_nested(put, stored):
    """Files with each type give batches of exactly Spark's schema, with the values and the nulls that were written."""
    columns, expected = stored
    found = read(put(parquet(columns), parquet(columns)))
    assert found.num_rows == 8
    for name, values in expected.items():
        assert comparable(found[name].to_pylist()) == comparable(values * 2), name


def test_spark_has_the_values_of_every_type(load, put, stored):
    """The same through Spark itself, where times keep their ns."""
    columns, expected = stored
    ns = pa.array([3723123456789, None, 0, 1], pa.int64()).cast(pa.time64("ns"))
    frame = load(put(parquet({**columns, "ns": ns}))["path"]).selectExpr("*", "string(ns) as text")
    rows = frame.collect()
    assert [row["text"] for row in rows] == ["01:02:03.123456789", None, "00:00:00", "00:00:00.000000001"]
    assert dict(frame.dtypes)["ns"] == "time(9)"
    for name, values in expected.items():
        instants = "tz=" in str(columns[name].type)
        assert of_spark([row[name] for row in rows], instants=instants) == comparable(values), name


@pytest.mark.parametrize("row", [row for row in TYPE_TABLE if row.spark], ids=lambda row: row.arrow)
def test_the_table_names_the_type_that_spark_shows(row):
    """What a row says is what `printSchema` shows, parameters aside."""
    for kind in row.kinds:
        shown = spark_schema(pa.schema([("x", kind)]), None)["x"].dataType.simpleString()
        said = row.spark.strip("`")
        if said == "type of the values" or said == "type of the storage":
            continue
        said = re.split(r"\(p|<language:string", said.removeprefix("nested "))[0]
        assert shown.startswith(said), kind
        assert len(shown) == len(said) or shown[len(said)] in "(<"


@pytest.mark.parametrize("kind", REFUSED.values(), ids=list(REFUSED))
def test_what_spark_cannot_hold_is_refused_with_the_columns_name(kind):
    """Alone, in a list and in a struct: one line with column, type and what to do."""
    for whole in (kind, pa.list_(kind), pa.struct([("a", kind)])):
        with pytest.raises(SchemaError, match=r"column 'x y': Spark cannot hold .*; .*the option 'columns'") as caught:
            spark_schema(pa.schema([("x y", whole)]), None)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_part_of_a_batch_is_its_own_rows(kind):
    """Slices are conformed as they are, nested ones too, and so are types that only Arrow files have."""
    array = array_of(kind)
    for column, values in ((array, values_of(kind)), *nested(array)):
        batch = pa.record_batch({"x": column})
        wanted = arrow_schema(spark_schema(batch.schema, None))
        for start in range(4):
            found = conform(batch.slice(start, 2), wanted, "file")
            found.validate(full=True)
            assert comparable(found["x"].to_pylist()) == comparable(values[start : start + 2])


def test_a_large_decimal_is_read_as_text_or_as_a_smaller_one(put):
    """As the error for decimals of more than 38 digits says; one that does not fit is an error."""
    values = [decimal.Decimal("1.25"), None, decimal.Decimal("9" * 30)]
    options = put(parquet({"x": pa.array(values, pa.decimal256(50, 2))}))
    with pytest.raises(SchemaError, match="column 'x': Spark cannot hold decimal256"):
        read(options)
    assert read(options, t.StructType().add("x", "decimal(38,2)"))["x"].to_pylist() == values
    assert read(options, t.StructType().add("x", "string"))["x"].to_pylist() == ["1.25", None, "9" * 30 + ".00"]
    with pytest.raises(SchemaError, match="column 'x' does not fit decimal128"):
        read(options, t.StructType().add("x", "decimal(20,2)"))


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.timestamp("ns", "+09:00"), pa.duration("ns")], ids=str)
def test_finer_than_us_is_refused_or_cut_off(put, kind):
    """An instant of 1 ns is an error that says what to do; cut off, it is the us at or before it, before 1970 too."""
    numbers = pa.array([-1, 0, 1, 1999, None, -2000, -2001], pa.int64())
    batch = pa.record_batch({"x": numbers.cast(kind), "y": pa.array([[one] for one in numbers.cast(kind)])})
    wanted = arrow_schema(spark_schema(batch.schema, None))
    with pytest.raises(
        SchemaError, match=r"-0\.parquet: column 'x' .* option 'timestampNs' set to 'truncate' cuts them"
    ):
        conform(batch, wanted, "data/train-0.parquet")
    found = conform(batch, wanted, "file", truncate_ns=True)
    assert found["x"].cast(pa.int64()).to_pylist() == [-1, 0, 0, 1, None, -2, -3]
    assert found["y"].flatten().cast(pa.int64()).to_pylist() == [-1, 0, 0, 1, None, -2, -3]
    with pytest.raises(SchemaError, match=r"train-00000-of-00009\.parquet: column 'x' does not fit"):
        read(put(parquet({"x": numbers.cast(kind)})))
