"""Which rows, in which order, in which shards: exact, pure, and stable while sources change."""

import pickle
import resource
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NotFoundError, OptionError
from pipeline.mix.cutting import cut_source
from pipeline.mix.membership import rows_in
from pipeline.mix.order import apportion
from pipeline.mix.pieces import pieces_of
from pipeline.mix.plan import choice_of, permutation_of, plan_mix
from pipeline.mix.select import Selection

FILES = st.lists(st.lists(st.integers(0, 12), max_size=4), min_size=1, max_size=3).filter(lambda f: sum(map(sum, f)))
REPEATS = st.sampled_from([1, 2, 3, 1.5, 2.5, 0.75])
SHUFFLES = st.sampled_from(["blocks", "rows", "none"])
SEEDS = st.integers(0, 2**63 - 1)
SPREADS = st.sampled_from(["balanced", "random"])


@st.composite
def _keys(draw):
    keys = {"repeat": draw(REPEATS)}
    if draw(st.booleans()):
        keys["take"] = draw(st.integers(1, 60) | st.sampled_from([0.5, 0.25, 1.0]))
    return keys


SOURCES = st.lists(st.tuples(FILES, _keys()), min_size=1, max_size=3)
SPLITS = st.sampled_from([(), (("train", 0.7), ("validation", 0.3)), (("a", 0.5), ("b", 0.25), ("c", 0.25))])


def _mix(make, sources, **recipe):
    """A plan with blocks of a few rows, of which some are copied; `None` when a source or a split would get no row."""
    made = make(*sources, **{"block_rows": 5, "why": None, "shuffle": "blocks", **recipe})
    try:
        return plan_mix(made.recipe, made.sources)
    except (OptionError, NotFoundError):
        return None


def _plan(make, sources, **recipe):
    mix = _mix(make, sources, **recipe)
    return mix and mix.splits[0]


def _rows_of(plan):
    """How often each (source, file, row) is in a plan with blocks."""
    return Counter((block.source, block.file, row) for block in plan.blocks for row in range(block.start, block.end))


def _drawn_in_row_order(plan, source):
    """How often each row of a source is drawn in row order, as the builder reads the plan."""
    draw, opened = plan.draws[source], plan.sources[source]
    numbers = iter(choice_of(plan, source).of_range(0, draw.available).to_pylist())
    times = Counter()
    for index, file in enumerate(opened.files):
        for row in pc.indices_nonzero(rows_in(file.name, 0, sum(file.kept), plan.part)).to_pylist():
            number = next(numbers)
            times[source, index, row] = draw.whole * (number < draw.base) + (number < draw.rest)
    assert next(numbers, None) is None
    return +times


def _drawn(plan, source):
    if plan.blocks:
        return Counter({row: count for row, count in _rows_of(plan).items() if row[0] == source})
    return _drawn_in_row_order(plan, source)


@settings(deadline=None)
@given(SOURCES, SHUFFLES, SPREADS, SPLITS, SEEDS)
def test_every_source_gives_exactly_the_rows_that_were_asked_for(make, sources, shuffle, spread, splits, seed):
    """`take` distinct rows, each `repeat` times, the fraction of a repeat once more: to the row, in every order and split."""
    mix = _mix(make, sources, shuffle=shuffle, spread=spread, splits=splits, seed=seed)
    if mix is None:
        return
    seen = Counter()
    for plan in mix.splits:
        for number, (_, keys) in enumerate(sources):
            draw, times = plan.draws[number], _drawn(plan, number)
            seen.update(times.keys())
            take = keys.get("take", draw.available)
            if isinstance(take, float):
                take = round(Fraction(take) * draw.available)
            if not splits or "take" not in keys or isinstance(keys["take"], float):
                assert draw.base == min(take, draw.available)
            assert draw.rows == round(Fraction(keys["repeat"]) * draw.base) == sum(times.values())
            assert all(count in (0, draw.whole, draw.whole + 1) for count in times.values())
            assert len(times) == min(draw.base, draw.rows)
        assert plan.rows == sum(draw.rows for draw in plan.draws) == plan.bounds[-1]
        assert all(a < b for a, b in pairwise(plan.bounds))
    assert set(seen.values()) == {1}, "no row is in two splits"
    available = [sum(plan.draws[n].available for plan in mix.splits) for n in range(len(sources))]
    assert available == [sum(map(sum, files)) for files, _ in sources]


@settings(deadline=None)
@given(SOURCES, SPLITS, SEEDS)
def test_few_blocks_are_cut(make, sources, splits, seed):
    """One of a source and split at most, where `take` or a repeat asks for a number of rows; a second one only where the first
    has too few rows for what is left of a repeat. All others are whole, so that they are the same bytes in every mix.
    """
    mix = _mix(make, sources, splits=splits, seed=seed)
    if mix is None:
        return
    everything = make(*[(files, {}) for files, _ in sources], block_rows=5, why=None, shuffle="blocks")
    whole = {block for n, source in enumerate(everything.sources) for block in cut_source(everything.recipe, n, source)}
    for plan in mix.splits:
        for number, (_, keys) in enumerate(sources):
            cut = {block for block in plan.blocks if block.source == number and block not in whole}
            assert not any(block.copied for block in cut)
            places = {(block.file, block.start) for block in cut}
            assert len(places) <= ("take" in keys) + (keys["repeat"] % 1 > 0)


def test_what_is_left_of_a_repeat_cuts_the_block_that_is_cut_already(make):
    """23 rows in blocks of 5 cut one to 3; 11 of them once more are two blocks and 1 of those 3. For 9, it has too few."""
    for repeat, places in ((1.5, 1), (1.39, 2)):
        plan = _plan(make, [([[5] * 10], {"take": 23, "repeat": repeat})])
        assert len({block.start for block in plan.blocks if block.rows < 5}) == places


@settings(deadline=None)
@given(SOURCES, SHUFFLES, SPLITS, SEEDS)
def test_a_plan_is_a_pure_function(make, sources, shuffle, splits, seed):
    """The same recipe and sources give the same plan, and it survives pickling."""
    first = _mix(make, sources, shuffle=shuffle, splits=splits, seed=seed)
    assert first == _mix(make, sources, shuffle=shuffle, splits=splits, seed=seed)
    assert pickle.loads(pickle.dumps(first)) == first


def test_a_plan_is_named_by_what_decides_its_bytes(make):
    """Not by where it goes or who may see it; but by seed, order, quantities, contents, counts and what is selected."""
    sources = [([[30], [30]], {}), ([[40]], {})]
    made = make(*sources, shuffle="blocks", block_rows=5)
    name = plan_mix(made.recipe, made.sources).id
    elsewhere = replace(made.recipe, target="ns/other", private=True, file="other.yaml", positions=(("seed", 3, 4),))
    assert plan_mix(elsewhere, made.sources).id == name
    moved = [replace(source, commit="d" * 40, origin="ns/moved") for source in made.sources]
    assert plan_mix(made.recipe, moved).id == name
    recipes = [
        {"seed": 1},
        {"spread": "random"},
        {"block_rows": 6},
        {"shards": 2},
        {"source_column": None},
        {"split": "x"},
    ]
    others = [plan_mix(replace(made.recipe, **keys), made.sources).id for keys in recipes]
    others += [
        _mix(make, [sources[0], ([[40]], keys)]).id for keys in ({"take": 39}, {"repeat": 2}, {"where": "id > 1"})
    ]
    dropping = {"opened": {"selection": Selection(within=1)}}
    others += [_mix(make, sources, **dropping).id]
    others += [_mix(make, [sources[0], sources[1]], kept=[[[30], [30]], [[39]]]).id, _mix(make, [sources[0]]).id]
    assert len({name, *others}) == len(others) + 1


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
@given(SOURCES, SEEDS, SPREADS, SPLITS, FILES.map(lambda files: files[0]), st.data())
def test_growing_a_source_by_a_file_moves_no_other_block(make, sources, seed, spread, splits, more, data):
    """The blocks of the files that were there are cut as before, in the same split, in the same order among themselves."""
    sources = [(files, {}) for files, _ in sources]
    grown = data.draw(st.integers(0, len(sources) - 1))
    keys = {"spread": spread, "splits": splits, "seed": seed, "padded": True}
    larger = [([*files, more] if n == grown else files, own) for n, (files, own) in enumerate(sources)]
    mixes = _mix(make, sources, **keys), _mix(make, larger, **keys)
    if None in mixes:
        return
    new = len(sources[grown][0])
    for before, after in zip(*(mix.splits for mix in mixes), strict=True):
        kept = [block for block in after.blocks if (block.source, block.file) != (grown, new)]
        assert Counter(kept) == Counter(before.blocks)
        for number in range(len(sources)):
            assert [b for b in kept if b.source == number] == [b for b in before.blocks if b.source == number]
        others = [[b for b in blocks if b.source != grown] for blocks in (kept, before.blocks)]
        assert others[0] == others[1]


@pytest.mark.parametrize("spread", ["balanced", "random"])
def test_another_weight_leaves_each_source_in_its_order(make, spread):
    """More of a source is drawn behind what was drawn of it; the others stay in theirs."""
    files = [[[40]], [[50]], [[60]]]
    before, after = (
        _plan(make, [(one, {"weight": w}) for one, w in zip(files, weights, strict=True)], total_rows=60, spread=spread)
        for weights in ([1, 1, 1], [2, 1, 1])
    )
    for number in range(3):
        one, two = ([b for b in plan.blocks if b.source == number] for plan in (before, after))
        shared = set(one) & set(two)
        assert len(shared) >= 2
        assert [b for b in one if b in shared] == [b for b in two if b in shared]


@settings(deadline=None)
@given(SOURCES, st.sampled_from(["blocks", "none"]), SEEDS, st.integers(1, 6))
def test_each_shard_has_its_own_blocks_and_together_they_are_all(make, sources, shuffle, seed, shards):
    """Shards hold the plan's blocks in order, none twice, and the exchange places what is not copied in the same shards."""
    plan = _plan(make, sources, shuffle=shuffle, seed=seed, shards=shards)
    if plan is None:
        return
    held = [plan.blocks[first:end] for first, end in pairwise(plan.block_bounds)]
    assert len(held) == plan.shards == shards
    assert [block for blocks in held for block in blocks] == list(plan.blocks)
    assert [sum(blocks.rows) for blocks in held] == [end - start for start, end in pairwise(plan.bounds)]
    placed = {}
    for piece in pieces_of(plan, 1):
        for one in piece.blocks:
            placed[one.position] = (piece.source, piece.file, one.start, one.rows, one.shard)
    expected, position = {}, 0
    for shard, blocks in enumerate(held):
        for block in blocks:
            if not block.copied:
                expected[position] = (block.source, block.file, block.start, block.rows, shard)
            position += block.rows
    assert placed == expected


@settings(deadline=None)
@given(st.lists(st.integers(200, 2_000), min_size=2, max_size=6), SEEDS, st.integers(1, 8))
def test_every_shard_has_each_sources_share(make, counts, seed, shards):
    """To within a block of each source and the ends of the shard: balanced order is stratified."""
    plan = _plan(make, [([[count]], {}) for count in counts], seed=seed, shards=shards)
    for first, end in pairwise(plan.block_bounds):
        blocks = plan.blocks[first:end]
        rows = Counter()
        for block in blocks:
            rows[block.source] += block.rows
        for source, count in enumerate(counts):
            share = count / sum(counts) * sum(blocks.rows)
            assert abs(rows[source] - share) <= 5 * (2 + len(counts) * count / sum(counts))


@pytest.mark.parametrize(("row", "shuffle"), [(16_384, "blocks"), (16_383, "rows")])
def test_the_order_follows_from_the_size_of_rows(make, row, shuffle):
    """16 KiB a row on average, of what is drawn; what the recipe says wins. The plan says what was decided."""
    made = make(([[50]], {}), row_bytes=row)
    mix = plan_mix(made.recipe, made.sources)
    assert (mix.recipe.shuffle, mix.splits[0].recipe.shuffle) == (None, shuffle)
    assert plan_mix(replace(made.recipe, shuffle="none"), made.sources).splits[0].recipe.shuffle == "none"


@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_a_split_that_gets_nothing_is_refused(make, shuffle):
    """In one line, with the place and what to do."""
    made = make(([[3]], {}), shuffle=shuffle, splits=(("train", 0.999999), ("validation", 0.000001)), block_rows=3)
    with pytest.raises(
        NotFoundError, match=r"\Amix.yaml:1:1: nothing falls into split 'validation'.*; raise its share"
    ):
        plan_mix(made.recipe, made.sources)


def test_blocks_count_the_rows_that_a_filter_keeps(make):
    """With fewer kept rows than the files hold, blocks cover the kept ones."""
    plan = _plan(make, [([[40, 40]], {})], kept=[[[7, 0]]])
    assert sum(block.rows for block in plan.blocks) == plan.rows == 7
    assert max(block.end for block in plan.blocks) == 7


@pytest.mark.parametrize(
    ("counts", "keys", "recipe", "exchange", "read"),
    [
        ([600], {}, {}, True, 4_800),
        ([600], {}, {"shuffle": "none"}, False, 4_800),
        ([600], {"take": 0.2}, {}, False, 9_600),
        ([100] * 10, {}, {}, False, 8_000),
        ([100] * 10, {"repeat": 3}, {}, False, 24_000),
        ([100] * 10, {}, {"why": "it is not"}, False, 8_000),
        ([100] * 10 + [900], {}, {}, True, 23_200),
    ],
)
def test_rows_are_exchanged_where_row_groups_would_be_read_many_times(make, counts, keys, recipe, exchange, read):
    """Many blocks of one row group, of which most are needed; not what is read in a row, or copied, or there as often."""
    plan = _plan(make, [([counts], keys)], **{"block_rows": 100, **recipe})
    assert (plan.exchange, plan.bytes_to_read) == (exchange, read)


def test_unshuffled_sources_stand_one_after_another(make):
    """With `none`, the order is that of the recipe, the files and their rows; repeats come after all rows have come."""
    plan = _plan(make, [([[9, 9], [9]], {"repeat": 2}), ([[20]], {"take": 11})], shuffle="none", seed=5)
    first, again, other = (
        [(b.file, b.start) for b in some] for some in (plan.blocks[:6], plan.blocks[6:12], plan.blocks[12:])
    )
    assert first == again == sorted(first)
    assert other == sorted(other)
    assert [block.source for block in plan.blocks] == [0] * 12 + [1] * len(other)


def test_a_shard_has_blocks_enough_to_be_even(make):
    """Few blocks make few shards, whatever `shard_bytes` says."""
    plan = _plan(make, [([[100] * 40], {})], shard_bytes=1, block_rows=100)
    assert plan.shards == 5
    assert [end - start for start, end in pairwise(plan.bounds)] == [800] * 5


WHOLE = {"shuffle": "none", "source_column": None, "opened": {"unchanged": True}}


def test_whole_unchanged_files_are_shards_as_they_are(make):
    """Each of them, also when repeated; what is drawn in part is written between them."""
    plan = _plan(make, [([[9, 9], [], [4]], {}), ([[20]], {"take": 11}), ([[6]], {"repeat": 2})], **WHOLE)
    assert plan.verbatim == {0: (0, 0), 1: (0, 2), 3: (2, 0), 4: (2, 0)}
    assert plan.bounds == (0, 18, 22, 33, 39, 45)
    held = [{(b.source, b.file) for b in plan.blocks[a:b]} for a, b in pairwise(plan.block_bounds)]
    assert held == [{(0, 0)}, {(0, 2)}, {(1, 0)}, {(2, 0)}, {(2, 0)}]


@pytest.mark.parametrize(
    "change",
    [
        {"shuffle": "blocks"},
        {"source_column": "source"},
        {"source_row_column": "row"},
        {"opened": {"unchanged": False}},
        {"opened": {"unchanged": True, "exact": False}},
        {"kept": [[[8]]]},
        {"shards": 1},
        {"shard_rows": 4},
    ],
)
def test_files_that_change_are_no_shards_as_they_are(make, change):
    """Whatever adds, drops or moves rows, or says how shards are cut."""
    assert not _plan(make, [([[9]], {})], **{**WHOLE, **change}).verbatim
    assert _plan(make, [([[9]], {})], **WHOLE).verbatim


def test_row_order_is_offered_in_blocks(make):
    """With what that would upload, how it is shuffled, and the buffer that repairs it; nothing where blocks cannot be had."""
    sources = [([[1_000] * 40], {}), ([[1_000] * 10], {})]
    made = make(*sources, row_bytes=500, padded=True, why=None)
    plan = plan_mix(made.recipe, made.sources).splits[0]
    offer = plan.alternative
    assert (len(plan.blocks), offer.blocks, offer.block_rows) == (0, 25, 2_000)
    assert offer.bytes_new < 0.05 * offer.bytes_written
    assert offer.chi2_64_stored > offer.chi2_64_buffered > 2
    assert offer.buffer_rows is None or 5_000 < offer.buffer_rows <= plan.rows
    for keys in ({"shuffle": "blocks"}, {"shards": 40}):
        assert plan_mix(replace(made.recipe, **keys), made.sources).splits[0].alternative is None


def _at_scale(make, divisor):
    """185 Zipf sources of 10,000 files in all, each of 100 blocks of 24 rows; or a part of that. And their plan."""
    files = [1 + more for more in apportion([1 / (n + 1) for n in range(185)], 10_000 // divisor - 185)]
    sources = [([[24] * 100] * count, {}) for count in files]
    made = make(*sources, row_bytes=200_000, padded=True, why=None)
    return plan_mix(made.recipe, made.sources).splits[0]


def test_a_plan_of_many_sources_is_small(make):
    """What is kept and sent to tasks is 25 bytes a block; each shard of 8 blocks or more still has its blocks."""
    plan = _at_scale(make, 20)
    assert len(plan.blocks) == 50_000
    assert len(pickle.dumps(plan.blocks)) < 25.1 * len(plan.blocks)
    assert plan.recipe.shuffle == "blocks"
    assert all(plan.blocks.copied)
    assert min(end - first for first, end in pairwise(plan.block_bounds)) >= 8


@pytest.mark.long
def test_a_plan_of_a_million_blocks_takes_little_time_and_memory(make):
    """185 sources, 10,000 files, 24 million rows: under 60 s and 2 GB, beside what the tests before took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    plan = _at_scale(make, 1)
    assert sum(len(source.files) for source in plan.sources) == 10_000
    assert (len(plan.blocks), plan.rows) == (1_000_000, 24_000_000)
    assert time.process_time() - started < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2_000_000
