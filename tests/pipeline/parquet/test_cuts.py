"""Row groups end where their rows say so: whatever the batches, within bounds, and alike again soon after a change."""

import datetime
import random
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.parquet.cuts import Cuts
from pipeline.parquet.row_hashes import row_hashes, row_sizes


def cuts(batches, **limits):
    """Before which rows, counted from the first, a group ends."""
    found, at, groups = [], 0, Cuts(**limits)
    for batch in batches:
        for rows, ends in groups.runs(batch):
            at += rows
            if ends:
                found.append(at)
    return found


def sliced(batch, sizes):
    at = 0
    for size in [*sizes, batch.num_rows]:
        yield batch.slice(at, size)
        at += size


def text_batch(count, seed=0):
    rng = random.Random(seed)
    return pa.record_batch(
        {"id": list(range(count)), "text": [rng.randbytes(rng.randrange(60)).hex() for _ in range(count)]}
    )


@settings(deadline=None, max_examples=12)
@given(
    sizes=st.lists(st.integers(0, 90), max_size=6),
    max_bytes=st.sampled_from([50, 900, 4_000]),
    max_rows=st.none() | st.integers(1, 40),
)
def test_cuts_follow_from_the_rows_and_keep_the_limits(sizes, max_bytes, max_rows):
    """Any batching gives the same cuts; no group has more bytes or rows than allowed, but for a row that is larger itself."""
    batch = text_batch(150)
    found = cuts([batch], max_bytes=max_bytes, max_rows=max_rows)
    assert cuts(sliced(batch, sizes), max_bytes=max_bytes, max_rows=max_rows) == found
    bytes_of = row_sizes(batch).to_pylist()
    for start, end in zip([0, *found], [*found, 150], strict=True):
        assert end - start == 1 or sum(bytes_of[start:end]) <= max_bytes
        assert max_rows is None or end - start <= max_rows


def test_cuts_are_alike_again_after_an_insert():
    """Rows inserted or removed at 10 places move few cuts: those near them."""
    batch, rng, moved, kept = text_batch(4_000), random.Random(3), 0, 0
    before = cuts([batch], max_bytes=20_000)
    assert 20 < len(before) < 100
    for _ in range(10):
        at, more = rng.randrange(3_500), text_batch(rng.randrange(1, 60), seed=rng.random())
        after = cuts([batch.slice(0, at), more, batch.slice(at)], max_bytes=20_000)
        same = {cut if cut <= at else cut - more.num_rows for cut in after} & set(before)
        moved += len(before) - len(same)
        kept += len(same)
    assert moved / 10 < 1.5
    assert kept / 10 > 0.95 * len(before)


VALUES = {
    pa.string(): ["", "a", "longer text", None],
    pa.large_binary(): [b"", b"x" * 9, None],
    pa.string_view(): ["", "a" * 40, None],
    pa.int8(): [-1, 5, None],
    pa.float32(): [0.5, None],
    pa.bool_(): [True, False, None],
    pa.decimal128(20, 2): [Decimal("1.25"), None],
    pa.binary(5): [b"12345", None],
    pa.date32(): [datetime.date(2024, 1, 2), None],
    pa.timestamp("us", "UTC"): [datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), None],
    pa.list_(pa.string()): [[], ["a", None], ["bc"] * 3, None],
    pa.list_(pa.int32(), 2): [[1, 2], [3, None], None],
    pa.list_(pa.float32()): [[], [0.5], [0.5, None], [None, 0.5], [*range(9)], [*range(4), 0, *range(5, 9)], None],
    pa.large_list(pa.list_(pa.int8(), 2)): [[], [[1, 2]], [[1, None], None], None],
    pa.dictionary(pa.int8(), pa.string()): ["", "a" * 40, None],
    pa.map_(pa.string(), pa.int64()): [[], [("a", 1), ("b", None)], None],
    pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]): [{"a": 1, "b": ["x"]}, {"a": None, "b": None}, None],
    pa.null(): [None],
}


@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_rows_are_as_large_as_arrow_holds_them(kind):
    """Whatever is null or empty: a row group of so many bytes takes no more memory, but for the bits of its nulls."""
    for values in (VALUES[kind], VALUES[kind][:1], VALUES[kind][:2], [None]):
        array = pa.array(values * (3_000 // len(values)), kind)
        if pa.types.is_dictionary(kind) or kind == pa.string_view():
            array = array.cast(pa.string())
        batch = pa.record_batch([array], ["x"])
        assert sum(row_sizes(batch).to_pylist()) >= 0.8 * batch.nbytes - 64


def test_nothing_but_nulls_fills_a_row_group():
    """50 columns of nulls take 400 bytes a row, so that a group of 40,000 bytes has 100."""
    batch = pa.record_batch([pa.nulls(1_000, pa.int64())] * 50, [f"c{index}" for index in range(50)])
    assert max(b - a for a, b in pairwise([0, *cuts([batch], max_bytes=40_000)])) <= 100


def test_long_lists_of_numbers_are_not_looked_through():
    """To hash and size 1,000 lists of 768 numbers takes less memory than a tenth of theirs."""
    lists = pa.FixedSizeListArray.from_arrays(pa.repeat(pa.scalar(0.5, pa.float32()), 768_000), 768)
    batch = pa.record_batch([lists.cast(pa.list_(pa.float32()))], ["x"])
    default = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(default)
    pa.set_memory_pool(pool)
    try:
        row_hashes(batch)
        row_sizes(batch)
    finally:
        pa.set_memory_pool(default)
    assert 0 < pool.max_memory() < batch.nbytes / 10


@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_a_hash_follows_from_the_values_alone(kind):
    """Slices, copies and what stands below nulls give the same hashes and sizes; other values others."""
    values = VALUES[kind] * 3
    batch = pa.record_batch([pa.array(values, kind)], names=["x"])
    hashes, sizes = row_hashes(batch).to_pylist(), row_sizes(batch).to_pylist()
    assert hashes[: len(VALUES[kind])] * 3 == hashes
    assert len(set(hashes)) == len(VALUES[kind])
    assert all(size > 0 or not value for size, value in zip(sizes, values, strict=True))
    for start, count in ((0, 1), (1, 2), (2, 0), (len(values) - 1, 1)):
        part = batch.slice(start, count)
        assert row_hashes(part).to_pylist() == hashes[start : start + count]
        assert row_sizes(part).to_pylist() == sizes[start : start + count]
    garbage = pa.StructArray.from_arrays(
        [pa.array([1, 2]), pa.array(["x", "y"])], ["a", "b"], mask=pa.array([True, False])
    )
    clean = pa.array([None, {"a": 2, "b": "y"}], garbage.type)
    assert row_hashes(pa.record_batch([garbage], ["x"])).equals(row_hashes(pa.record_batch([clean], ["x"])))
