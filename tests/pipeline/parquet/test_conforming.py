"""Batches as one schema: nothing is lost, rounded or moved without an error."""

import datetime
import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.errors import SchemaError
from pipeline.parquet.conform import common_type, conform, plain_type

LEAVES = [
    pa.int8(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint32(),
    pa.uint64(),
    pa.float32(),
    pa.float64(),
    pa.string(),
    pa.large_string(),
    pa.binary(),
    pa.bool_(),
    pa.date32(),
    pa.null(),
    pa.timestamp("us"),
    pa.string_view(),
]
TYPES = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        inner.map(pa.list_)
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(
            lambda of: pa.struct(list(of.items()))
        )
    ),
    max_leaves=5,
)


def one(array, kind):
    """An array through `conform` as a column of a type."""
    batch = pa.record_batch({"x": array})
    return conform(batch, pa.schema([("x", kind)]), "file").column(0)


@given(kinds=st.lists(TYPES, min_size=1, max_size=4))
def test_a_common_type_takes_every_values_type(kinds):
    """It is itself plain, common with each type again, and does not depend on nulls or repetition."""
    found = common_type(kinds)
    assume(found is not None)
    assert plain_type(found) == found
    for kind in kinds:
        assert common_type([found, kind]) == found
        assert one(pa.nulls(3, plain_type(kind)), found).null_count == 3
    assert common_type([*kinds, pa.null(), *kinds]) == found


@given(
    left=st.sampled_from(
        [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
    ),
    right=st.sampled_from([pa.int8(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]),
)
def test_a_common_integer_holds_the_extremes_of_both(left, right):
    """Its range covers both ranges, or there is none."""

    def limits(kind):
        bits = kind.bit_width
        return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if str(kind).startswith("int") else (0, 2**bits - 1)

    found = common_type([left, right])
    if found is None:
        assert pa.uint64() in (left, right)
    else:
        low, high = limits(found)
        assert all(low <= a and b <= high for a, b in (limits(left), limits(right)))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pa.int64(), pa.float64()),
        (pa.string(), pa.binary()),
        (pa.string(), pa.int8()),
        (pa.struct([("a", pa.int8())]), pa.struct([("b", pa.int8())])),
        (pa.list_(pa.string()), pa.string()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.decimal128(5, 2), pa.decimal128(6, 2)),
    ],
)
def test_types_that_mean_different_things_have_none_in_common(left, right):
    """No silent guess joins numbers and text, or structs with other children."""
    assert common_type([left, right]) is None


ROWS = st.lists(st.none() | st.lists(st.none() | st.integers(-9, 9), max_size=3), max_size=6)
PLACE = st.integers(0, 6)
LISTS = [[1, 2], [3], None, [4, 5, 6], []]


@pytest.mark.parametrize("make", [pa.list_view, pa.large_list_view])
def test_list_views_are_rebuilt(make):
    """Arrow's own cast of list views loses rows: alone, in structs and in lists of lists they come out whole."""
    kind = make(pa.int32())
    assert one(pa.array(LISTS, kind), pa.list_(pa.int64())).to_pylist() == LISTS
    nested = [{"a": value} for value in LISTS]
    assert (
        one(pa.array(nested, pa.struct([("a", kind)])), pa.struct([("a", pa.list_(pa.int32()))])).to_pylist() == nested
    )
    twice = [LISTS, None, [None]]
    assert one(pa.array(twice, pa.list_(kind)), pa.list_(pa.list_(pa.int32()))).to_pylist() == twice
    assert plain_type(pa.struct([("a", kind)])).field(0).type.value_type == pa.int32()


@pytest.mark.parametrize(
    ("values", "kind", "target"),
    [
        ([1, 300], pa.int16(), pa.int8()),
        ([-1], pa.int8(), pa.uint8()),
        ([1.5], pa.float64(), pa.int64()),
        (["x"], pa.string(), pa.int32()),
        ([b"\xff"], pa.binary(), pa.string()),
        ([0.1], pa.float64(), pa.float32()),
        ([[0.1]], pa.list_(pa.float64()), pa.list_(pa.float32())),
        ([{"a": 0.1}], pa.struct([("a", pa.float64())]), pa.struct([("a", pa.float32())])),
        ([2**53 + 1], pa.int64(), pa.float64()),
        ([1], pa.timestamp("ns"), pa.timestamp("us")),
        ([b"abc"], pa.binary(), pa.binary(2)),
        ([[1, 2, 3]], pa.list_(pa.int8()), pa.list_(pa.int8(), 2)),
        ([0.123], pa.float64(), pa.decimal128(5, 2)),
        ([Decimal("0.1234567890123456789")], pa.decimal128(20, 19), pa.float64()),
        ([Decimal("0.125")], pa.decimal128(5, 3), pa.decimal128(5, 2)),
        ([1], pa.timestamp("us"), pa.date32()),
        ([2], pa.int64(), pa.bool_()),
        ([0.5], pa.float64(), pa.bool_()),
        ([2049], pa.int16(), pa.float16()),
        ([70000.0], pa.float32(), pa.float16()),
        ([1], pa.time64("us"), pa.time32("ms")),
        ([2**62], pa.timestamp("s"), pa.timestamp("us")),
        ([[0.1]], pa.list_view(pa.float64()), pa.list_(pa.float32())),
        ([[("a", 0.1)]], pa.map_(pa.string(), pa.float64()), pa.map_(pa.string(), pa.float32())),
    ],
)
def test_a_value_that_does_not_fit_is_named(values, kind, target):
    """Overflow, truncation, rounding, bad text and wrong lengths are a SchemaError with file, column and type."""
    with pytest.raises(SchemaError, match="file: column 'x' does not fit") as caught:
        one(pa.array(values, kind), target)
    assert "\n" not in str(caught.value)
    assert "; it holds " in str(caught.value) or "'timestampNs' set to 'truncate'" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "kind", "target"),
    [
        ([Decimal("0.1"), None], pa.decimal128(5, 3), pa.float64()),
        ([0.1, None], pa.float64(), pa.decimal128(5, 2)),
        ([1, 0, None], pa.int8(), pa.bool_()),
        ([datetime.datetime(2024, 1, 1), None], pa.timestamp("us"), pa.date32()),
        ([datetime.date(2024, 1, 1), None], pa.date32(), pa.timestamp("us")),
        ([Decimal("1200"), None], pa.decimal128(10, -2), pa.decimal128(12, 0)),
    ],
)
def test_a_value_that_fits_another_sort_of_type_is_kept(values, kind, target):
    """Where nothing is lost the cast is made."""
    found = one(pa.array(values, kind), target)
    assert found.cast(kind).to_pylist() == values


def test_what_stands_under_a_null_does_not_matter():
    """A null struct or list with a value that would not fit is null."""
    inside = pa.array([1, 300], pa.int16())
    mask = pa.array([False, True])
    struct = pa.StructArray.from_arrays([inside], ["a"], mask=mask)
    assert one(struct, pa.struct([("a", pa.int8())])).to_pylist() == [{"a": 1}, None]
    listed = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), inside, mask=mask)
    assert one(listed, pa.list_(pa.int8())).to_pylist() == [[1], None]
    assert one(listed, pa.large_list(pa.int8())).to_pylist() == [[1], None]


def test_fields_of_structs_go_by_name_at_any_depth():
    """Reordered, missing and additional ones, in lists and in maps too."""
    inner = pa.array([{"more": 1, "b": 2}], pa.struct([("more", pa.int8()), ("b", pa.int32())]))
    target = pa.struct([("a", pa.string()), ("b", pa.int64())])
    ends = pa.array([0, 1], pa.int32())
    listed = pa.ListArray.from_arrays(ends, inner)
    mapped = pa.MapArray.from_arrays(ends, pa.array(["k"]), inner)
    assert one(listed, pa.list_(target)).to_pylist() == [[{"a": None, "b": 2}]]
    assert one(mapped, pa.map_(pa.string(), target)).to_pylist() == [[("k", {"a": None, "b": 2})]]


@given(
    array=st.sampled_from([pa.list_, pa.large_list, pa.list_view, pa.large_list_view]),
    rows=ROWS,
    cut=st.tuples(PLACE, PLACE),
)
def test_lists_of_any_sort_become_lists(array, rows, cut):
    """Rows, nulls and slices are kept, whatever the offsets."""
    start, count = cut
    found = one(pa.array(rows, array(pa.int16())).slice(start, count), pa.list_(pa.int64()))
    found.validate(full=True)
    assert found.to_pylist() == rows[start : start + count]


@given(values=st.lists(st.none() | st.floats(width=32)), nested=st.booleans())
def test_floats_that_fit_are_kept_bit_by_bit(values, nested):
    """Doubles that are singles pass, NaN and infinities and nulls included."""
    found = one(pa.array(values, pa.float64()), pa.float32()).to_pylist()
    assert all(
        a == b or (a is not None and b is not None and math.isnan(a) and math.isnan(b))
        for a, b in zip(values, found, strict=True)
    )
    whole = [None if value is None or math.isnan(value) else [value] for value in values]
    assert one(pa.array(whole, pa.list_(pa.float64())), pa.list_(pa.float32())).to_pylist() == whole


def test_columns_go_by_name_and_absent_ones_are_null():
    """Order does not matter, more columns are left out, missing ones are null, dictionaries and extensions are what they hold."""
    batch = pa.record_batch(
        {"b": pa.array(["x", "y"]).dictionary_encode(), "more": [1, 2], "u": pa.array([b"0" * 16] * 2, pa.uuid())}
    )
    found = conform(batch, pa.schema([("a", pa.int8()), ("b", pa.string()), ("u", pa.binary(16))]), "file")
    assert found.to_pylist() == [{"a": None, "b": text, "u": b"0" * 16} for text in "xy"]


def test_a_batch_without_columns_keeps_its_rows():
    """A schema of nothing is the number of rows."""
    assert conform(pa.record_batch({"a": [1, 2, 3]}), pa.schema([]), "file").num_rows == 3


@given(kind=TYPES)
def test_a_plain_type_is_plain_once_and_for_all(kind):
    """Views, dictionaries and extensions are gone, every child is nullable, and doing it again changes nothing."""
    found = plain_type(kind)
    assert plain_type(found) == found
    assert "view" not in str(found)
    assert "not null" not in str(plain_type(pa.struct([pa.field("x", kind, nullable=kind == pa.null())])))
