"""What goes through Spark's exchange comes out as it went in, to the bit."""

import contextlib
import datetime as dt
import decimal
import re
import struct

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from jobs.exchange import carrier_schema, pack, unpack
from pipeline.errors import SchemaError
from spark_datasource.schemas import spark_arrow_type

NAN = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0123))[0]
DAY = 86_400_000
COLUMNS = {
    "bool": pa.array([True, None, False]),
    "int8": pa.array([-128, None, 127], pa.int8()),
    "int64": pa.array([-(2**63), None, 2**63 - 1], pa.int64()),
    "uint8": pa.array([0, None, 255], pa.uint8()),
    "uint16": pa.array([0, None, 2**16 - 1], pa.uint16()),
    "uint32": pa.array([0, None, 2**32 - 1], pa.uint32()),
    "uint64": pa.array([0, None, 2**64 - 1], pa.uint64()),
    "float16": pa.array([-0.0, None, float("nan")], pa.float16()),
    "float32": pa.array([-0.0, None, float("nan")], pa.float32()),
    "float64": pa.array([-0.0, NAN, float("-inf")], pa.float64()),
    "string": pa.array(["", None, "ä\0\U0001f600"]),
    "large_string": pa.array(["", None, "x"], pa.large_string()),
    "binary": pa.array([b"", None, b"\xff\0"]),
    "large_binary": pa.array([b"", None, b"\xff"], pa.large_binary()),
    "fixed_binary": pa.array([b"abc", None, b"\0\0\0"], pa.binary(3)),
    "date32": pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)], pa.date32()),
    "date64": pa.array([0, None, 9 * DAY], pa.date64()),
    "time32": pa.array([0, None, DAY - 1], pa.time32("ms")),
    "time64us": pa.array([0, None, 999], pa.time64("us")),
    "time64": pa.array([1, None, DAY * 1_000_000 - 1], pa.time64("ns")),
    "timestamp_s": pa.array([-(2**40), None, 2**40], pa.timestamp("s")),
    "timestamp_ms": pa.array([1, None, -1], pa.timestamp("ms", "Europe/Berlin")),
    "timestamp_us": pa.array([-(2**63), None, 2**63 - 1], pa.timestamp("us")),
    "timestamp_ns": pa.array([1, None, 1_700_000_000_123_456_789], pa.timestamp("ns", "UTC")),
    "duration": pa.array([1, None, -1], pa.duration("ns")),
    "decimal32": pa.array([decimal.Decimal("1.25"), None, None], pa.decimal32(5, 2)),
    "decimal128": pa.array([decimal.Decimal("-1.25"), None, decimal.Decimal("9" * 36 + ".99")], pa.decimal128(38, 2)),
    "decimal256": pa.array([decimal.Decimal("9" * 70), None, decimal.Decimal(-1)], pa.decimal256(76, 0)),
    "list": pa.array([[1], None, []], pa.list_(pa.field("element", pa.uint64()))),
    "large_list": pa.array([[1, None], None, []], pa.large_list(pa.field("element", pa.timestamp("ns")))),
    "fixed_list": pa.array([[1.5, NAN], None, [-0.0, None]], pa.list_(pa.field("element", pa.float64()), 2)),
    "struct": pa.array([{"t": 1, "u": 2**64 - 1}, None, {}], pa.struct([("t", pa.time64("ns")), ("u", pa.uint64())])),
    "image": pa.array(
        [{"bytes": b"\xff", "path": None}, None, {}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    ),
    "map": pa.array(
        [[("k", [1.5])], None, []], pa.map_(pa.large_string(), pa.large_list(pa.field("element", pa.float16())))
    ),
    "deep": pa.array(
        [[{"x": [b"ab"]}], None, [None, {"x": None}]],
        pa.list_(pa.field("element", pa.struct([("x", pa.large_list(pa.field("element", pa.binary(2))))]))),
    ),
    "null": pa.nulls(3),
    "null_list": pa.array([[None], None, []], pa.list_(pa.field("element", pa.null()))),
}


def _bits(array):
    """An array's values and the bits of its floats."""
    if pa.types.is_floating(array.type):
        return array.view({16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[array.type.bit_width]).to_pylist()
    return (
        array.cast(pa.int64()).to_pylist()
        if pa.types.is_temporal(array.type) and array.type.bit_width == 64
        else repr(array.to_pylist())
    )


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("start", [0, 1])
def test_every_type_of_a_parquet_file_travels_in_one_that_spark_has(name, start):
    """The carrier is a type that Spark holds as it is, and values, nulls and bits come back, also of a slice."""
    batch = pa.record_batch({name: COLUMNS[name]}).slice(start)
    carriers = carrier_schema(batch.schema)
    assert [spark_arrow_type(field.type) for field in carriers] == [field.type for field in carriers]
    packed = pack(batch, carriers)
    packed.validate(full=True)
    back = unpack(packed, batch.schema)
    back.validate(full=True)
    assert back.schema == batch.schema
    assert _bits(back.column(0)) == _bits(batch.column(0))


KINDS = st.recursive(
    st.sampled_from([column.type for column in COLUMNS.values() if not pa.types.is_nested(column.type)]),
    lambda inner: (
        inner.map(lambda kind: pa.list_(pa.field("element", kind)))
        | inner.map(lambda kind: pa.large_list(pa.field("element", kind)))
        | inner.map(lambda kind: pa.list_(pa.field("element", kind), 2))
        | st.lists(inner, min_size=1, max_size=3).map(
            lambda kinds: pa.struct([(f"f{n}", k) for n, k in enumerate(kinds)])
        )
        | inner.map(lambda kind: pa.map_(pa.string(), kind))
    ),
    max_leaves=4,
)


@settings(deadline=None)
@given(KINDS)
def test_any_nesting_of_them_travels_or_is_refused(kind):
    """Types are rebuilt at any depth; only nulls inside a fixed-size list are beyond Arrow's casts, and said to be."""
    batch = pa.record_batch([pa.nulls(2, kind)], names=["x"])
    if re.search(r"fixed_size_list<.*null", str(kind)):
        with contextlib.suppress(SchemaError):
            carrier_schema(batch.schema)
        return
    carriers = carrier_schema(batch.schema)
    assert spark_arrow_type(carriers.field(0).type) == carriers.field(0).type
    assert unpack(pack(batch, carriers), batch.schema).equals(batch)


@pytest.mark.parametrize(
    "kind", [pa.list_view(pa.int8()), pa.struct([("v", pa.list_view(pa.int8()))]), pa.month_day_nano_interval()]
)
def test_what_spark_cannot_carry_is_refused_by_name(kind):
    """One line names the column, its type, and the way out."""
    with pytest.raises(SchemaError, match=r"^column 'odd': Spark cannot carry .*'columns', or set 'shuffle: blocks'$"):
        carrier_schema(pa.schema([("fine", pa.int8()), ("odd", kind)]))


def test_names_do_not_matter_to_spark():
    """Names that Spark would confuse (case, dots, its own and ours) travel as numbers."""
    schema = pa.schema([(name, pa.int8()) for name in ("A", "a", "a.b", "`", "__position", "__shard", "")])
    assert carrier_schema(schema).names == [f"c{n}" for n in range(7)]


@pytest.mark.spark
@pytest.mark.parametrize("shuffle", ["rows", "blocks"])
def test_every_type_survives_a_mix_built_through_the_exchange(mix, write, shuffle):
    """Nanoseconds, unsigned and large types, NaN bits and nulls in the mix's files are those of the source's."""
    table = pa.table(COLUMNS).append_column("n", pa.array([0, 1, 2]))
    write("a.parquet", pa.concat_tables([table] * 4))
    stored = pq.read_table(write("b.parquet", table))
    built = mix(
        f"shuffle: {shuffle}\nsources:\n  - parquet: [a.parquet, b.parquet]\n    name: all", exchange=True
    ).table()
    assert built.num_rows == 15
    for column in stored.column_names:
        kind = stored.schema.field(column).type
        expected = {n: _bits(stored[column].slice(n, 1).combine_chunks()) for n in range(3)}
        got = built[column].cast(kind) if built.schema.field(column).type != kind else built[column]
        for row in range(15):
            one = got.slice(row, 1).combine_chunks()
            assert _bits(one) == expected[built["n"][row].as_py()], column


def test_lists_of_fixed_size_that_are_all_null_travel():
    """As Spark sends them, without a byte for what is in them: they come back null, and the worker does not crash."""
    kind = pa.list_(pa.float32(), 2)
    nothing = pa.Array.from_buffers(pa.int32(), 0, [None, None])
    buffers = [pa.py_buffer(bytes(4)), pa.py_buffer(bytes(4 * 31))]
    sent = pa.Array.from_buffers(pa.list_(pa.int32()), 30, buffers, children=[nothing])
    schema = pa.schema([("alone", kind), ("inside", pa.struct([("x", kind)]))])
    batch = pa.record_batch([sent, pa.StructArray.from_arrays([sent], ["x"])], names=["c0", "c1"])
    found = unpack(batch, schema)
    found.validate(full=True)
    assert found.schema == schema
    assert (found["alone"].null_count, found["inside"].field(0).null_count) == (30, 30)
