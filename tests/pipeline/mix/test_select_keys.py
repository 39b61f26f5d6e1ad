"""Keys of rows: the same for what SQL does not tell apart, different for all else, whatever rows are beside them."""

import math
import struct

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.mix.row_keys import KEY_BYTES, row_keys

OTHER_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000123))[0]
FLOATS = st.sampled_from([0.0, -0.0, 1.0, math.nan, OTHER_NAN, math.inf])
TEXTS = st.sampled_from(["", "a", "b", "ab", "\0"])
WHOLE = st.integers(0, 2)
CHOICES = [
    (pa.int32(), WHOLE),
    (pa.bool_(), st.booleans()),
    (pa.float64(), FLOATS),
    (pa.float16(), FLOATS),
    (pa.string(), TEXTS),
    (pa.string_view(), TEXTS),
    (pa.large_binary(), TEXTS.map(str.encode)),
    (pa.dictionary(pa.int8(), pa.string()), TEXTS),
    (pa.binary(2), st.sampled_from([b"ab", b"cd"])),
    (pa.decimal128(5, 1), WHOLE),
    (pa.timestamp("us", "UTC"), WHOLE),
    (pa.null(), st.none()),
]


def _nullable(choice):
    return choice[0], st.none() | choice[1]


def _nested(choices):
    one = choices.map(_nullable)
    return st.one_of(
        one.map(lambda c: (pa.list_(c[0]), st.lists(c[1], max_size=2))),
        one.map(lambda c: (pa.list_(c[0], 2), st.lists(c[1], min_size=2, max_size=2))),
        st.tuples(one, one).map(
            lambda pair: (
                pa.struct([("x", pair[0][0]), ("y", pair[1][0])]),
                st.fixed_dictionaries({"x": pair[0][1], "y": pair[1][1]}),
            )
        ),
        one.map(lambda c: (pa.map_(pa.string(), c[0]), st.lists(st.tuples(TEXTS, c[1]), max_size=2))),
    )


COLUMNS = st.recursive(st.sampled_from(CHOICES), _nested, max_leaves=3).map(_nullable)


def _plain(value):
    """A value such that Python's == says what IS NOT DISTINCT FROM says."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value
    if isinstance(value, dict):
        return ("struct", *(_plain(one) for one in value.values()))
    if isinstance(value, (list, tuple)):
        return ("list", *(_plain(one) for one in value))
    return value


def _keys(batch):
    keys = row_keys(batch)
    assert len(keys) == batch.num_rows * KEY_BYTES
    return [keys[start : start + KEY_BYTES] for start in range(0, len(keys), KEY_BYTES)]


@settings(max_examples=150)
@given(st.data(), st.lists(COLUMNS, min_size=1, max_size=2), st.integers(0, 8))
def test_rows_have_the_same_key_when_they_are_not_distinct(data, columns, rows):
    """IS NOT DISTINCT FROM, for every type and nested: nulls alike, one NaN, one zero; and nothing else is alike."""
    values = [data.draw(st.lists(strategy, min_size=rows, max_size=rows)) for _, strategy in columns]
    arrays = [pa.array(column, kind) for column, (kind, _) in zip(values, columns, strict=True)]
    keys = _keys(pa.record_batch(arrays, names=[str(n) for n in range(len(arrays))]))
    told = [tuple(map(_plain, row)) for row in zip(*(array.to_pylist() for array in arrays), strict=True)]
    for one in range(rows):
        for other in range(one):
            assert (keys[one] == keys[other]) == (told[one] == told[other])


@settings(max_examples=60)
@given(st.data(), COLUMNS, st.integers(0, 6), st.integers(0, 6))
def test_a_key_depends_on_its_row_alone(data, column, start, count):
    """Of a slice, and of rows without nulls beside them, the keys are the same."""
    kind, strategy = column
    array = pa.array(data.draw(st.lists(strategy, min_size=6, max_size=6)), kind)
    whole = pa.record_batch([array], names=["x"])
    assert _keys(whole.slice(start, count)) == _keys(whole)[start : start + count]


def test_a_slice_of_maps_has_the_keys_of_its_rows():
    """Arrow's own cast of such a slice to a list of entries is not valid, and reads what is not there."""
    kind = pa.map_(pa.string(), pa.struct([("x", pa.int32()), ("y", pa.null())]))
    maps = pa.array([[("", None)], None, [("a", {"x": 1})], [("", None)]], kind)
    batch = pa.record_batch([maps], ["x"])
    assert _keys(batch.slice(1)) == _keys(batch)[1:]
    assert len(set(_keys(batch))) == 3


@pytest.mark.parametrize("kind", [pa.int64(), pa.list_(pa.int64()), pa.struct([("a", pa.int64())])], ids=str)
def test_what_lies_below_a_null_does_not_count(kind):
    """A file may have anything there."""
    some = {pa.int64(): [7, 8], pa.list_(pa.int64()): [[1], [2]]}.get(kind, [{"a": 1}, {"a": 2}])
    filled = pa.array(some, kind)
    bits = pa.py_buffer(b"\0")
    hidden = {
        pa.int64(): lambda: pa.Array.from_buffers(kind, 2, [bits, filled.buffers()[1]]),
        pa.list_(pa.int64()): lambda: pa.Array.from_buffers(
            kind, 2, [bits, filled.buffers()[1]], children=[filled.values]
        ),
    }.get(kind, lambda: pa.Array.from_buffers(kind, 2, [bits], children=[filled.field(0)]))()
    assert set(_keys(pa.record_batch([hidden], ["x"]))) == set(_keys(pa.record_batch([pa.array([None], kind)], ["x"])))


def test_keys_never_change():
    """They are kept on disk: another encoding needs another version of the entries."""
    batch = pa.record_batch({"a": pa.array([1, None]), "b": pa.array(["x", "y"]), "c": pa.array([[0.5], []])})
    assert row_keys(batch).hex() == "6d8b8e1d9d1cabaa591a4b0ce2fe90a5771400888c574a67ae48ee19d0b6260e"
