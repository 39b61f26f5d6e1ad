"""Which rows, in which order, in which shards: exact, pure, and stable while sources change."""

import pickle
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NotFoundError, OptionError
from pipeline.mix.blocks import Block
from pipeline.mix.build import blocks_of
from pipeline.mix.order import apportion
from pipeline.mix.pieces import pieces_of
from pipeline.mix.plan import _cut_shards, choice_of, permutation_of, plan_mix

FILES = st.lists(st.lists(st.integers(0, 12), max_size=4), min_size=1, max_size=3).filter(lambda f: sum(map(sum, f)))
REPEATS = st.sampled_from([1, 2, 3, 1.5, 2.5, 0.75])
SHUFFLES = st.sampled_from(["blocks", "rows", "none"])
SEEDS = st.integers(0, 2**63 - 1)


@st.composite
def _keys(draw):
    keys = {"repeat": draw(REPEATS)}
    if draw(st.booleans()):
        keys["take"] = draw(st.integers(1, 60) | st.sampled_from([0.5, 0.25, 1.0]))
    return keys


SOURCES = st.lists(st.tuples(FILES, _keys()), min_size=1, max_size=3)


def _plan(make, sources, **recipe):
    """A plan with blocks of a few rows (8 bytes each), `None` when a source would get no row."""
    made = make(*sources, **{"block_bytes": 40, **recipe})
    try:
        return plan_mix(made.recipe, made.sources)
    except OptionError:
        return None


def _rows_of(plan):
    """How often each (source, file, row) is in a plan with blocks."""
    return Counter((block.source, block.file, row) for block in plan.blocks for row in range(block.start, block.end))


def _drawn_in_row_order(plan, source):
    """How often each row of a source is drawn in row order, as the builder reads the plan."""
    draw, numbers = plan.draws[source], choice_of(plan, source).of_range(0, plan.sources[source].rows).to_pylist()
    return Counter(
        {row: draw.whole * (number < draw.base) + (number < draw.rest) for row, number in enumerate(numbers)}
    )


@settings(deadline=None)
@given(SOURCES, SHUFFLES, SEEDS)
def test_every_source_gives_exactly_the_rows_that_were_asked_for(make, sources, shuffle, seed):
    """`take` distinct rows, each `repeat` times, the fraction of a repeat once more: to the row, in every order."""
    plan = _plan(make, sources, shuffle=shuffle, seed=seed)
    if plan is None:
        return
    for number, (files, keys) in enumerate(sources):
        available = sum(map(sum, files))
        take = keys.get("take", available)
        wanted = round(Fraction(take) * available) if isinstance(take, float) else take
        base = min(wanted, available)
        rows = round(Fraction(keys["repeat"]) * base)
        assert (plan.draws[number].available, plan.draws[number].base, plan.draws[number].rows) == (
            available,
            base,
            rows,
        )
        if shuffle == "rows":
            times = _drawn_in_row_order(plan, number)
        else:
            times = Counter({row: count for row, count in _rows_of(plan).items() if row[0] == number})
        assert sum(times.values()) == rows
        assert all(count in (0, rows // base, rows // base + 1) for count in times.values())
        assert sum(count > 0 for count in times.values()) == min(base, rows)
    assert plan.rows == sum(draw.rows for draw in plan.draws) == plan.bounds[-1]


@settings(deadline=None)
@given(SOURCES, SEEDS)
def test_at_most_one_block_of_a_source_is_cut_by_take_and_one_by_a_fraction(make, sources, seed):
    """All other blocks are whole, so that they are the same bytes in every mix."""
    plan = _plan(make, sources, seed=seed)
    if plan is None:
        return
    everything = make(*[(files, {}) for files, _ in sources], block_bytes=40)
    whole = set(plan_mix(everything.recipe, everything.sources).blocks)
    for number, (_, keys) in enumerate(sources):
        cut = {block for block in plan.blocks if block.source == number and block not in whole}
        assert len(cut) <= ("take" in keys) + (keys["repeat"] % 1 > 0)


@settings(deadline=None)
@given(SOURCES, SHUFFLES, SEEDS)
def test_a_plan_is_a_pure_function(make, sources, shuffle, seed):
    """The same recipe and sources give the same plan, and it survives pickling; another seed gives another order."""
    first = _plan(make, sources, shuffle=shuffle, seed=seed)
    assert first == _plan(make, sources, shuffle=shuffle, seed=seed)
    assert pickle.loads(pickle.dumps(first)) == first


def test_another_seed_gives_another_order_of_the_same_rows(make):
    """Blocks and rows move; what is drawn whole stays the same multiset."""
    sources = [([[60]], {}), ([[30], [30]], {})]
    one, two = (_plan(make, sources, seed=seed) for seed in (1, 2))
    assert one.blocks != two.blocks
    assert Counter(one.blocks) == Counter(two.blocks)
    rows = [_plan(make, sources, seed=seed, shuffle="rows") for seed in (1, 2)]
    orders = [permutation_of(plan).of_range(0, plan.rows).to_pylist() for plan in rows]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(120))


@settings(deadline=None)
@given(SOURCES, SEEDS, FILES.map(lambda files: files[0]), st.data())
def test_growing_a_source_by_a_file_moves_no_other_block(make, sources, seed, more, data):
    """The blocks of the files that were there are cut as before, and stand in the same order among themselves."""
    sources = [(files, {}) for files, _ in sources]
    grown = data.draw(st.integers(0, len(sources) - 1))
    before = _plan(make, sources, seed=seed)
    larger = [([*files, more] if n == grown else files, keys) for n, (files, keys) in enumerate(sources)]
    after = _plan(make, larger, seed=seed)
    new = len(sources[grown][0])
    kept = [block for block in after.blocks if (block.source, block.file) != (grown, new)]
    assert Counter(kept) == Counter(before.blocks)
    for number in range(len(sources)):
        assert [b for b in kept if b.source == number] == [b for b in before.blocks if b.source == number]
    others = [[b for b in blocks if b.source != grown] for blocks in (kept, before.blocks)]
    assert others[0] == others[1]


@settings(deadline=None)
@given(SOURCES, st.sampled_from(["blocks", "none"]), SEEDS)
def test_each_shard_builds_its_own_blocks_and_together_they_are_all(make, sources, shuffle, seed):
    """Shards hold the plan's blocks in order, none twice, and the exchange places them in the same shards."""
    plan = _plan(make, sources, shuffle=shuffle, seed=seed, shard_bytes=100)
    if plan is None:
        return
    shards = [blocks_of(plan, shard) for shard in range(plan.shards)]
    assert [block for shard in shards for block in shard] == list(plan.blocks)
    assert [sum(block.rows for block in shard) for shard in shards] == [b - a for a, b in pairwise(plan.bounds)]
    placed = {}
    for piece in pieces_of(plan, 1):
        for one in piece.blocks:
            placed[one.position] = (piece.source, piece.file, one.start, one.rows, one.shard)
    expected, position = {}, 0
    for shard, blocks in enumerate(shards):
        for block in blocks:
            expected[position] = (block.source, block.file, block.start, block.rows, shard)
            position += block.rows
    assert placed == expected


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 20))
def test_shards_end_between_blocks_and_are_about_equal(sizes, shards):
    """Bounds rise from 0 to all rows, fall between blocks, and lie within half a block of their share."""
    bounds = _cut_shards([Block(source=0, file=0, start=0, rows=rows) for rows in sizes], shards)
    ends = [0, *(sum(sizes[: n + 1]) for n in range(len(sizes)))]
    assert bounds[0] == 0
    assert bounds[-1] == sum(sizes)
    assert all(a < b for a, b in pairwise(bounds))
    assert set(bounds) <= set(ends)
    assert len(bounds) - 1 <= shards
    if len(bounds) - 1 == shards:
        assert all(abs(bounds[i] - sum(sizes) * i / shards) <= max(sizes) / 2 + 1e-9 for i in range(shards))


@settings(deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=3), st.integers(1, 50))
def test_shards_of_row_order_differ_by_one_row_at_most(make, counts, shards):
    """Equal shares to the row, and the shard of a position is the one whose bounds hold it."""
    made = make(*[([[count]], {}) for count in counts], shuffle="rows", shard_bytes=max(1, sum(counts) * 8 // shards))
    plan = plan_mix(made.recipe, made.sources)
    sizes = [b - a for a, b in pairwise(plan.bounds)]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    for shard, (start, end) in enumerate(pairwise(plan.bounds)):
        assert {position * plan.shards // plan.rows for position in (start, end - 1)} == {shard}


WEIGHTED = st.lists(st.tuples(FILES, st.integers(1, 9) | st.sampled_from([0.5, 0.1, 2.5])), min_size=1, max_size=4)


@settings(deadline=None)
@given(WEIGHTED, st.none() | st.integers(1, 200), SHUFFLES)
def test_weights_share_the_rows_exactly(make, sources, total, shuffle):
    """The counts are the largest remainders of `total_rows`; without it, the scarcest source decides and nothing repeats."""
    made = make(
        *[(files, {"weight": weight}) for files, weight in sources], total_rows=total, shuffle=shuffle, block_bytes=40
    )
    available = [sum(map(sum, files)) for files, _ in sources]
    weights = [Fraction(weight) for _, weight in sources]
    scarcest = min(rows / weight for rows, weight in zip(available, weights, strict=True))
    shares = apportion(weights, total or int(scarcest * sum(weights)))
    if 0 in shares:
        with pytest.raises(OptionError, match="would get no row"):
            plan_mix(made.recipe, made.sources)
        return
    plan = plan_mix(made.recipe, made.sources)
    assert [draw.rows for draw in plan.draws] == shares
    assert total is not None or all(draw.rows <= draw.available for draw in plan.draws)
    if shuffle == "rows":
        drawn = [sum(_drawn_in_row_order(plan, number).values()) for number in range(len(sources))]
    else:
        drawn = [sum(b.rows for b in plan.blocks if b.source == number) for number in range(len(sources))]
    assert drawn == shares


def test_plain_quantities_have_plain_results(make):
    """Ten rows: all, four, a quarter rounded to even, twice, two and a half times, more than there are."""
    wanted = {
        (10, 10): {},
        (4, 4): {"take": 4},
        (2, 2): {"take": 0.25},
        (20, 20): {"repeat": 2},
        (25, 25): {"repeat": 2.5},
        (100, 10): {"take": 100},
        (8, 8): {"take": 4, "repeat": 2},
    }
    for (asked, got), keys in wanted.items():
        plan = _plan(make, [([[10]], keys)])
        assert (plan.draws[0].wanted, plan.draws[0].rows) == (asked, got)
    repeated = _plan(make, [([[10]], {"repeat": 2.5})])
    assert sorted(_rows_of(repeated).values()) == [2] * 5 + [3] * 5


@pytest.mark.parametrize("shuffle", ["blocks", "rows", "none"])
@pytest.mark.parametrize("keys", [{"take": 0.01}, {"repeat": 0.01}])
def test_a_source_that_would_get_no_row_is_refused(make, shuffle, keys):
    """Rounding to nothing is said, with the source and what was asked; it is no empty mix."""
    made = make(([[10]], keys), shuffle=shuffle)
    with pytest.raises(OptionError, match=r"^mix.yaml:1:1: source 's0' would get no row of 10 .* raise"):
        plan_mix(made.recipe, made.sources)


def test_a_source_without_rows_is_refused(make):
    """A filter that keeps nothing, or empty files, are named instead of left out."""
    made = make(([[10]], {}), ([[]], {}))
    with pytest.raises(NotFoundError, match="source 's1' has no rows"):
        plan_mix(made.recipe, made.sources)


def test_blocks_count_the_rows_that_a_filter_keeps(make):
    """With fewer kept rows than the files hold, blocks cover the kept ones."""
    made = make(([[40, 40]], {}), kept=[[[7, 0]]], block_bytes=40)
    plan = plan_mix(made.recipe, made.sources)
    assert sum(block.rows for block in plan.blocks) == plan.rows == 7
    assert max(block.end for block in plan.blocks) == 7


def test_many_blocks_in_one_row_group_are_exchanged_and_whole_row_groups_are_not(make):
    """Reading a row group many times costs more than an exchange; a row group per block costs nothing."""
    large, small = (_plan(make, [([counts], {})], block_bytes=1_000) for counts in ([600], [100] * 10))
    assert (large.exchange, small.exchange) == (True, False)
    for plan in (large, small):
        groups = plan.sources[0].footers[0].row_groups()
        assert plan.bytes_to_read == sum(group.size(["id"]) for group in groups)


def test_unshuffled_sources_stand_one_after_another(make):
    """With `none`, the order is that of the recipe, the files and their rows."""
    plan = _plan(make, [([[9, 9], [9]], {}), ([[20]], {"take": 11})], shuffle="none", seed=5)
    places = [(block.source, block.file, block.start) for block in plan.blocks]
    assert places == sorted(places)


def test_a_shard_has_blocks_enough_to_be_even(make):
    """Few blocks make few shards, whatever `shard_bytes` says."""
    plan = _plan(make, [([[100] * 40], {})], shard_bytes=1, block_bytes=1_000)
    assert plan.shards == 5
    rows = [b - a for a, b in pairwise(plan.bounds)]
    assert rows == [800] * 5
