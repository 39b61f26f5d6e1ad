"""Orders that never change: permutations of rows, interleaves of blocks, exact shares."""

import pickle
import random
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.mix.order import apportion, spread_blocks
from pipeline.permutation import Permutation, hash_order, unit_interval

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


def test_the_order_of_a_seed_never_changes():
    """Golden values: if this fails, every mix that was pinned by a plan would be built in another order."""
    assert Permutation(100, 42).of_range(0, 20).to_pylist() == GOLDEN_100
    assert Permutation(10**9 + 7, 7, "other").of_range(0, 4).to_pylist() == GOLDEN_LARGE
    assert unit_interval("a", 1) == GOLDEN_UNIT
    assert spread_blocks([["a", "b", "c"], ["d", "e"], ["f", "f"]], 42) == GOLDEN_SPREAD
    assert hash_order("abcdef", str, 42) == GOLDEN_HASHED


GOLDEN_100 = [79, 22, 8, 68, 2, 44, 77, 71, 58, 36, 96, 37, 5, 55, 74, 12, 64, 40, 94, 88]
GOLDEN_LARGE = [46466489, 209088952, 570225005, 250015544]
GOLDEN_UNIT = 0.056321866958940925
GOLDEN_SPREAD = [(0, 2), (2, 1), (1, 0), (0, 1), (2, 0), (0, 0), (1, 1)]
GOLDEN_HASHED = ["e", "d", "c", "a", "b", "f"]


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


@settings(deadline=None)
@given(st.sets(st.text(max_size=4), max_size=12), SEEDS, st.text(max_size=4))
def test_a_hashed_order_is_stable(items, seed, extra):
    """Order does not depend on the input's order, and one more item leaves the others as they were."""
    order = hash_order(sorted(items), str, seed)
    assert sorted(order) == sorted(items)
    assert order == hash_order(sorted(items, reverse=True), str, seed)
    assert [item for item in hash_order(items | {extra}, str, seed) if item in items] == order


COUNTS = st.lists(st.integers(0, 40), max_size=6)


def _ids(counts):
    return [[f"{source}:{block}" for block in range(count)] for source, count in enumerate(counts)]


@settings(deadline=None)
@given(COUNTS, SEEDS)
def test_spreading_uses_every_block_once_and_evenly(counts, seed):
    """Each block comes once; before any point each source has its share, to within one block and chance."""
    order = spread_blocks(_ids(counts), seed)
    assert sorted(order) == [(source, index) for source, count in enumerate(counts) for index in range(count)]
    seen = Counter()
    for position, (source, _) in enumerate(order, 1):
        seen[source] += 1
        share = counts[source] * position / len(order)
        assert abs(seen[source] - share) <= 1 + len(counts) * counts[source] / len(order)


@pytest.mark.parametrize("seed", range(8))
def test_sources_with_as_many_blocks_take_turns(seed):
    """Equal counts alternate in one cyclic order, neither source first by rule; their own blocks are in hashed order."""
    order = spread_blocks(_ids([12, 12, 12]), seed)
    turn = [source for source, _ in order[:3]]
    assert sorted(turn) == [0, 1, 2]
    assert [source for source, _ in order] == turn * 12
    assert {spread_blocks(_ids([3, 3]), other)[0][0] for other in range(20)} == {0, 1}
    assert [index for source, index in order if source == 0] != list(range(12))


@settings(deadline=None)
@given(COUNTS.filter(len), SEEDS, st.data())
def test_growing_one_source_leaves_the_others_in_their_order(counts, seed, data):
    """The relative order of the other sources' blocks, and of this one's old blocks, stays."""
    grown = data.draw(st.integers(0, len(counts) - 1))
    before = spread_blocks(_ids(counts), seed)
    after = spread_blocks(_ids([c + 5 * (n == grown) for n, c in enumerate(counts)]), seed)
    for source, count in enumerate(counts):
        old = [index for s, index in before if s == source]
        assert [index for s, index in after if s == source and index < count] == old
    others = [pair for pair in before if pair[0] != grown]
    assert [pair for pair in after if pair[0] != grown] == others


def test_names_hold_a_source_in_place_when_its_number_changes():
    """With names, a new first source does not move the blocks of the others against each other."""
    before = spread_blocks(_ids([9, 9]), 1, ["a", "b"])
    ids = _ids([9, 9])
    after = spread_blocks([["x", "y"], *ids], 1, ["new", "a", "b"])
    assert [(source - 1, index) for source, index in after if source] == before


def test_repeated_ids_are_blocks_of_their_own():
    """A block that is drawn twice comes twice, also among very many."""
    order = spread_blocks([["a", "a", "b"], ["c"]], 3)
    assert sorted(order) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    order = spread_blocks([[f"{s}:{i}" for i in range(5_000)] for s in range(20)], 1)
    assert len(order) == 100_000
    assert len(set(order)) == 100_000


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
    first = spread_blocks(_ids([50, 20]), 9)
    assert random.getstate() == state
    random.seed(2)
    assert spread_blocks(_ids([50, 20]), 9) == first
