"""How many shards, and where they end."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import OptionError
from pipeline.mix.recipe import Recipe
from pipeline.mix.shards import Extent, count_shards, cut_between, equal_bounds


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.data())
def test_shards_end_between_blocks_and_are_about_equal(counts, data):
    """Just so many, none empty; each bound is as near to its share as blocks allow that leave the others some."""
    shards = data.draw(st.integers(1, len(counts)))
    bounds = cut_between(counts, shards)
    ends = [0, *accumulate(counts)]
    assert (bounds[0], bounds[-1], len(bounds)) == (0, len(counts), shards + 1)
    assert all(a < b for a, b in pairwise(bounds))
    for shard, bound in enumerate(bounds[1:-1], 1):
        share = ends[-1] * shard / shards
        able = range(bounds[shard - 1] + 1, len(counts) - (shards - shard) + 1)
        assert abs(ends[bound] - share) == min(abs(ends[n] - share) for n in able)


@given(st.integers(1, 10**12), st.integers(1, 1000))
def test_shards_of_row_order_differ_by_one_row_at_most(rows, shards):
    """Equal shares to the row, and the shard of a position is the one whose bounds hold it."""
    shards = min(rows, shards)
    bounds = equal_bounds(rows, shards)
    sizes = [end - start for start, end in pairwise(bounds)]
    assert (bounds[0], bounds[-1], len(sizes)) == (0, rows, shards)
    assert max(sizes) - min(sizes) <= 1
    for shard, (start, end) in enumerate(pairwise(bounds)):
        assert start * shards // rows == (end - 1) * shards // rows == shard


def _count(blocks=None, share=1.0, **recipe):
    extent = Extent(rows=10_000, num_bytes=1e9, blocks=blocks, share=share)
    return count_shards(Recipe(target="ns/mix", sources=(), **recipe), extent)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({}, 10),
        ({"shard_bytes": 300_000_000}, 3),
        ({"shard_bytes": 5_000_000_000}, 1),
        ({"shard_rows": 3_000}, 4),
        ({"shards": 7}, 7),
        ({"shards_multiple_of": 4}, 12),
        ({"shards_multiple_of": 64}, 64),
        ({"shard_rows": 3_000, "shards_multiple_of": 3}, 6),
        ({"blocks": 79}, 9),
        ({"blocks": 3}, 1),
        ({"blocks": 79, "shards_multiple_of": 4}, 8),
        ({"blocks": 79, "shards_multiple_of": 12}, 12),
        ({"blocks": 79, "shards": 40}, 40),
        ({"shards": 64, "share": 0.01}, 1),
        ({"shards": 64, "share": 0.5}, 32),
        ({"shards": 64, "share": 0.01, "shards_multiple_of": 8}, 8),
    ],
)
def test_shards_are_counted_by_bytes_rows_number_and_multiple(recipe, expected):
    """A shard has eight blocks or more, unless the recipe says how many shards there are; the multiple is kept."""
    assert _count(**recipe) == expected


def test_more_shards_than_there_is_are_refused():
    """In one line, with the place: what was asked for, what there is, what to lower."""
    with pytest.raises(
        OptionError, match=r"\Amix.yaml:1:1: shards 64 asks for 64 shards where there are 40 blocks; lower it, or"
    ):
        _count(blocks=40, shards=64)
    with pytest.raises(
        OptionError, match=r"shards_multiple_of 20000 asks for 20000 shards where there are 10000 rows; lower it\Z"
    ):
        _count(shards_multiple_of=20_000)
