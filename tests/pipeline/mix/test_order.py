"""Orders that never change: permutations of rows, interleaves of blocks, exact shares."""

import pickle
import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.mix.blocks import Block, Blocks
from pipeline.mix.cutting import cut_source
from pipeline.mix.order import apportion, by_hash, in_file_order, interleave, spread_balanced, spread_random
from pipeline.permutation import Permutation, unit_interval

SEEDS = st.integers(0, 2**63 - 1)


@settings(deadline=None)
@given(size=st.integers(0, 700), seed=SEEDS)
def test_a_permutation_hits_every_row_once(size, seed):
    """It is a bijection of [0, size), and one position at a time agrees with all at once."""
    permutation = Permutation(size, seed)
    rows = permutation.of_range(0, size).to_pylist()
    assert sorted(rows) == list(range(size))
    assert rows == [permutation.one(i) for i in range(size)]


@settings(deadline=None)
@given(size=st.integers(1, 2**40), seed=SEEDS, data=st.data())
def test_a_large_permutation_needs_no_memory(size, seed, data):
    """Any size works, distinct positions give distinct rows within it, in any chunking."""
    positions = data.draw(st.lists(st.integers(0, size - 1), unique=True, max_size=20))
    permutation = Permutation(size, seed)
    rows = permutation.of(pa.chunked_array([positions[:3], positions[3:]], pa.int64())).to_pylist()
    assert rows == [permutation.one(i) for i in positions]
    assert len(set(rows)) == len(positions)
    assert all(0 <= row < size for row in rows)
    assert permutation.of_range(size - 1, size).to_pylist() == [permutation.one(size - 1)]


def test_positions_outside_are_errors():
    """Nothing outside [0, size) is mapped, and sizes have bounds."""
    permutation = Permutation(3, 0)
    for bad in ([3], [-1], [None], [0, None]):
        with pytest.raises(IndexError):
            permutation.of(pa.array(bad, pa.int64()))
    for bad in (3, -1):
        with pytest.raises(IndexError):
            permutation.one(bad)
    with pytest.raises(IndexError):
        Permutation(0, 0).one(0)
    with pytest.raises(ValueError, match="size must be between"):
        Permutation(-1, 0)


def test_the_order_of_a_seed_never_changes(make):
    """Golden values: if this fails, every mix that was pinned by a plan would be built in another order."""
    assert Permutation(100, 42).of_range(0, 20).to_pylist() == GOLDEN_100
    assert Permutation(10**9 + 7, 7, "other").of_range(0, 4).to_pylist() == GOLDEN_LARGE
    assert unit_interval("a", 1) == GOLDEN_UNIT
    assert list(interleave([5, 3, 2], 42, ["a", "b", "c"])) == GOLDEN_SPREAD
    made = make(([[3] * 6], {}), block_rows=3)
    assert list(by_hash(made.sources[0], cut_source(made.recipe, 0, made.sources[0]) * 2, 42, "order")) == GOLDEN_HASHED


GOLDEN_100 = [79, 22, 8, 68, 2, 44, 77, 71, 58, 36, 96, 37, 5, 55, 74, 12, 64, 40, 94, 88]
GOLDEN_LARGE = [46466489, 209088952, 570225005, 250015544]
GOLDEN_UNIT = 0.056321866958940925
GOLDEN_SPREAD = [0, 5, 8, 1, 2, 6, 9, 3, 7, 4]
GOLDEN_HASHED = [7, 8, 4, 9, 3, 10, 2, 1, 11, 0, 6, 5]


def _chi2(counts, cells):
    expected = sum(counts.values()) / cells
    return sum((counts.get(cell, 0) - expected) ** 2 / expected for cell in range(cells))


@pytest.mark.parametrize("size", [65_536, 100_003, 140_000])
@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_a_permutation_is_uniform(size, seed):
    """Where rows go, and how far neighbours land apart, looks like chance (chi-square within 5 sigma)."""
    rows = Permutation(size, seed).of_range(0, size).to_pylist()
    cells = 16
    moves = Counter(position * cells // size * cells + row * cells // size for position, row in enumerate(rows))
    pairs = Counter(a * cells // size * cells + b * cells // size for a, b in pairwise(rows))
    freedom, sigma = (cells - 1) ** 2, (2 * (cells - 1) ** 2) ** 0.5
    assert abs(_chi2(moves, cells**2) - freedom) < 5 * sigma
    assert abs(_chi2(pairs, cells**2) - cells**2 + 1) < 5 * (2 * cells**2) ** 0.5
    low_bits = Counter((a & 3) * 4 + (b & 3) for a, b in pairwise(rows))
    assert _chi2(low_bits, 16) < 15 + 5 * 30**0.5
    neighbours = sum(abs(a - b) == 1 for a, b in pairwise(rows))
    assert neighbours <= 14
    assert sum(row == position for position, row in enumerate(rows)) <= 10


def test_small_permutations_reach_every_order():
    """Over many seeds each of the 24 orders of four rows occurs about equally often."""
    counts = Counter(tuple(Permutation(4, seed).of_range(0, 4).to_pylist()) for seed in range(4800))
    assert len(counts) == 24
    assert max(counts.values()) < 290
    assert min(counts.values()) > 125


def test_seeds_purposes_and_sizes_are_independent():
    """A change of any of them gives another order, with about as many agreements as chance gives."""
    base = Permutation(1000, 1).of_range(0, 1000).to_pylist()
    for other in (Permutation(1000, 2), Permutation(1000, 1, "take a"), Permutation(1000, -1)):
        assert sum(a == b for a, b in zip(base, other.of_range(0, 1000).to_pylist(), strict=True)) < 8
    assert pickle.loads(pickle.dumps(Permutation(1000, 1))) == Permutation(1000, 1)
    assert Permutation(1001, 1).of_range(0, 20).to_pylist() != base[:20]


def test_hashes_tell_keys_apart():
    """No two keys run together, types count, and the numbers are uniform."""
    keys = [("ab", "c"), ("a", "bc"), ("abc",), ("ab", "c", ""), (1,), ("1",), ("1:1",), (11,), (1, 1), ("\ud800",)]
    assert len({unit_interval(*key) for key in keys}) == len(keys)
    numbers = [unit_interval("n", i) for i in range(20_000)]
    assert all(0 <= number < 1 for number in numbers)
    assert _chi2(Counter(int(number * 20) for number in numbers), 20) < 19 + 5 * 38**0.5


COUNTS = st.lists(st.integers(0, 40), max_size=6)
SPREADS = pytest.mark.parametrize("spread", [spread_balanced, spread_random])


def _names(counts):
    return [str(source) for source in range(len(counts))]


def _sources(make, counts):
    """Sources of blocks of one row."""
    made = make(*[([[count] if count else []], {}) for count in counts], block_rows=1)
    return made.sources, [cut_source(made.recipe, n, source) for n, source in enumerate(made.sources)]


@settings(deadline=None)
@given(COUNTS, SEEDS)
def test_interleaving_uses_every_place_once_and_evenly(counts, seed):
    """Each block comes once, in its source's order; before any point each source has its share, to within a block and chance."""
    order = list(interleave(counts, seed, _names(counts)))
    assert sorted(order) == list(range(sum(counts)))
    source_of = [source for source, count in enumerate(counts) for _ in range(count)]
    seen = Counter()
    for position, place in enumerate(order, 1):
        source = source_of[place]
        assert place == sum(counts[:source]) + seen[source]
        seen[source] += 1
        share = counts[source] * position / len(order)
        assert abs(seen[source] - share) <= 1 + len(counts) * counts[source] / len(order)


@pytest.mark.parametrize("seed", range(8))
def test_sources_with_as_many_blocks_take_turns(seed):
    """Equal counts alternate in one cyclic order, neither source first by rule."""
    order = [place // 12 for place in interleave([12, 12, 12], seed, _names("abc"))]
    assert sorted(order[:3]) == [0, 1, 2]
    assert order == order[:3] * 12
    assert {interleave([3, 3], other, ["a", "b"])[0] // 3 for other in range(20)} == {0, 1}


@SPREADS
@settings(deadline=None, max_examples=50)
@given(counts=COUNTS.filter(len), seed=SEEDS, data=st.data())
def test_growing_one_source_leaves_all_others_in_their_order(make, spread, counts, seed, data):
    """By a file: the order of the other sources' blocks among themselves, and of this one's old blocks, stays."""
    grown = data.draw(st.integers(0, len(counts) - 1))
    sources, blocks = _sources(make, counts)
    more = make(
        *[([[count] if count else [], [5]][: 1 + (n == grown)], {}) for n, count in enumerate(counts)], block_rows=1
    )
    larger = [cut_source(more.recipe, n, source) for n, source in enumerate(more.sources)]
    before, after = spread(sources, blocks, seed), spread(more.sources, larger, seed)
    assert Counter(before) == Counter(block for own in blocks for block in own)
    assert len(after) == len(before) + 5
    kept = [block for block in after if block.file == 0]
    for source in range(len(counts)):
        assert [b for b in kept if b.source == source] == [b for b in before if b.source == source]
    assert [b for b in kept if b.source != grown] == [b for b in before if b.source != grown]


@SPREADS
def test_a_source_is_held_in_place_by_its_name(make, spread):
    """A new first source does not move the blocks of the others against each other."""
    sources, blocks = _sources(make, [9, 9, 9])
    later = spread(sources[1:], blocks[1:], 1)
    assert [block for block in spread(sources, blocks, 1) if block.source] == list(later)


@SPREADS
def test_repeated_blocks_are_blocks_of_their_own(make, spread):
    """Copies are all there, each in an order of its own; another seed gives another order."""
    sources, blocks = _sources(make, [40, 7])
    copied = [blocks[0] * 3, blocks[1]]
    order = spread(sources, copied, 3)
    assert Counter(order) == Counter([*copied[0], *copied[1]])
    assert order != spread(sources, copied, 4)
    assert len({tuple(order[n : n + 2]) for n in range(len(order))}) > 100


def test_random_spread_is_a_uniform_shuffle_of_all_blocks(make):
    """Where blocks go, and which source follows which, looks like chance, also of sources with the same files."""
    sources, blocks = _sources(make, [4_000, 4_000])
    sources[1] = replace(sources[1], files=sources[0].files)
    order = spread_random(sources, blocks, 11)
    cells = Counter((place * 8 // 8_000, block.source, block.start * 8 // 4_000) for place, block in enumerate(order))
    assert (
        sum((cells[a, b, c] - 62.5) ** 2 / 62.5 for a in range(8) for b in (0, 1) for c in range(8))
        < 105 + 5 * 210**0.5
    )
    same = sum(a.source == b.source for a, b in pairwise(order))
    assert abs(same - 4_000) < 5 * 2_000**0.5


def test_file_order_is_that_of_files_and_rows():
    """Whatever order blocks were drawn in."""
    blocks = [Block(source=0, file=file, start=start, rows=1) for file in range(3) for start in range(4)]
    assert list(in_file_order(Blocks(blocks[::-1]))) == blocks


WEIGHTS = st.lists(st.floats(0, 1e300) | st.fractions(0, 10**6) | st.integers(0, 10**30), min_size=1, max_size=8)


@settings(deadline=None)
@given(WEIGHTS.filter(any), st.integers(0, 2**63))
def test_shares_sum_exactly_and_are_within_one_of_their_quota(weights, total):
    """Largest remainder: sums to the total, and nobody is a whole unit off."""
    counts = apportion(weights, total)
    assert sum(counts) == total
    whole = sum(Fraction(weight) for weight in weights)
    assert all(abs(count - Fraction(weight) * total / whole) < 1 for count, weight in zip(counts, weights, strict=True))
    assert counts == apportion([Fraction(weight) * 3 for weight in weights], total)


def test_shares_have_plain_cases_and_plain_errors():
    """Ties go to the earlier entry; what cannot be shared is refused."""
    assert apportion([1, 1, 1], 4) == [2, 1, 1]
    assert apportion([0.1, 0.2, 0.7], 10) == [1, 2, 7]
    assert apportion([], 0) == []
    assert apportion([0, 0], 0) == [0, 0]
    for weights, total in (
        ([0.0], 1),
        ([-1.0, 2.0], 1),
        ([float("nan")], 1),
        ([float("inf")], 1),
        ([1.0], -1),
        ([], 1),
    ):
        with pytest.raises(ValueError):
            apportion(weights, total)


def test_random_state_is_neither_read_nor_written():
    """The order does not depend on Python's own generator."""
    random.seed(1)
    state = random.getstate()
    first = interleave([50, 20], 9, _names("ab"))
    assert random.getstate() == state
    random.seed(2)
    assert interleave([50, 20], 9, _names("ab")) == first
