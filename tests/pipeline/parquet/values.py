"""Types that Parquet can hold, nested at will, and tables of random values of them."""

import datetime
import decimal
import random

import pyarrow as pa
from hypothesis import strategies as st

PLAIN = [
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.bool_(),
    pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.binary(), pa.binary(5),
    pa.decimal128(7, 2), pa.decimal128(30, 4), pa.date32(), pa.time32("ms"), pa.time64("us"), pa.timestamp("ms"),
    pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "Europe/Paris"),
    pa.duration("us"),
]  # fmt: skip


def field(name, kind, nullable):
    """A field that may be null if nothing else is possible."""
    return pa.field(name, kind, nullable or pa.types.is_null(kind))


KINDS = st.recursive(
    st.sampled_from(PLAIN),
    lambda inner: st.one_of(
        st.tuples(inner, st.booleans()).map(lambda one: pa.list_(field("element", *one))),
        inner.map(pa.large_list),
        st.tuples(inner, inner, st.booleans()).map(
            lambda two: pa.struct([field("a", two[0], two[2]), field("b.c", two[1], True)])
        ),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
        st.just(pa.list_(pa.float32(), 3)),
    ),
    max_leaves=3,
)

# pyarrow does not read it back everywhere inside others.
COLUMNS = KINDS | st.just(pa.dictionary(pa.int32(), pa.string()))


def value(kind, rng, nullable=True):
    """Some value of a type."""
    if nullable and rng.random() < 0.2:
        return None
    types = pa.types
    if types.is_null(kind):
        return None
    if types.is_dictionary(kind):
        return rng.choice(["red", "green", "blue"])
    if types.is_fixed_size_list(kind):
        return [rng.random() for _ in range(kind.list_size)]
    if types.is_map(kind):
        return [(f"key {number}", value(kind.item_type, rng)) for number in range(rng.randrange(3))]
    if types.is_list(kind) or types.is_large_list(kind):
        return [value(kind.value_type, rng, kind.value_field.nullable) for _ in range(rng.randrange(4))]
    if types.is_struct(kind):
        return {child.name: value(child.type, rng, child.nullable) for child in kind}
    return _plain_value(kind, rng)


def _plain_value(kind, rng):
    types = pa.types
    if types.is_boolean(kind):
        return rng.random() < 0.5
    if types.is_integer(kind):
        return rng.randrange(1 << 7)
    if types.is_floating(kind):
        return float(rng.randrange(100)) / 4
    if types.is_string(kind) or types.is_large_string(kind):
        return rng.choice(["", "é", "yes", "some words " * 9])
    if types.is_decimal(kind):
        return decimal.Decimal(rng.randrange(-99999, 99999)).scaleb(-kind.scale)
    if types.is_date(kind):
        return datetime.date(1970, 1, 1) + datetime.timedelta(days=rng.randrange(30_000))
    if types.is_time(kind):
        return datetime.time(rng.randrange(24), rng.randrange(60))
    if types.is_timestamp(kind):
        zone = datetime.UTC if kind.tz else None
        return datetime.datetime(2000, 1, 1, tzinfo=zone) + datetime.timedelta(seconds=rng.randrange(10**8))
    if types.is_duration(kind):
        return datetime.timedelta(seconds=rng.randrange(10**6))
    return rng.randbytes(kind.byte_width if types.is_fixed_size_binary(kind) else rng.randrange(9))


def table_of(kinds, rows, seed, nullable=True):
    """A table of random values."""
    rng = random.Random(seed)
    schema = pa.schema([field(f"c.{place}", kind, nullable) for place, kind in enumerate(kinds)])
    columns = [pa.array([value(one.type, rng, one.nullable) for _ in range(rows)], one.type) for one in schema]
    return pa.table(columns, schema=schema)
