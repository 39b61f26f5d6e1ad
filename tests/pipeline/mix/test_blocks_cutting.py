"""Row groups into blocks: every row once, in order, of even size, whatever else is in the mix."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mix.blocks import Block
from pipeline.mix.cutting import BlockSize, cut_file, cut_source, mean_row_bytes, row_bytes
from pipeline.mix.plan import groups_of

COUNTS = st.lists(st.integers(0, 60), max_size=12)
GROUPS = st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=12)


def _cut(counts, rows, copied=None):
    return list(cut_file(counts, copied or [False] * len(counts), rows, rows))


@given(GROUPS, st.integers(1, 40), st.integers(1, 40))
def test_blocks_cover_every_row_of_a_file_once_and_in_order(groups, copied_rows, cut_rows):
    """The first block starts at row 0, each starts where the last one ended, the last ends with the file; none is empty."""
    counts, copied = [count for count, _ in groups], [is_copied for _, is_copied in groups]
    blocks = list(cut_file(counts, copied, copied_rows, cut_rows))
    assert [start for start, _, _ in blocks] == [0, *accumulate(rows for _, rows, _ in blocks)][: len(blocks)]
    assert sum(rows for _, rows, _ in blocks) == sum(counts)
    assert all(rows > 0 and (is_copied or rows <= cut_rows) for _, rows, is_copied in blocks)


@given(GROUPS, st.integers(1, 40))
def test_copied_blocks_are_whole_row_groups_of_their_own_kind(groups, most):
    """They start and end where row groups do, hold no other, and several only up to the block size."""
    counts, copied = [count for count, _ in groups], [is_copied for _, is_copied in groups]
    ends = list(accumulate(counts))
    for start, rows, is_copied in cut_file(counts, copied, most, most):
        first, last = groups_of(ends, Block(source=0, file=0, start=start, rows=rows))
        held = [group for group in range(first, last) if counts[group]]
        assert {copied[group] for group in held} == {is_copied}
        if is_copied:
            assert sum(counts[group] for group in held) == rows
            assert len(held) == 1 or rows <= most


@given(COUNTS, st.integers(1, 40))
def test_large_row_groups_are_cut_evenly_and_small_ones_are_joined(counts, block_rows):
    """Runs of one row group differ by one row at most; neighbours that would fit into one block are in one."""
    blocks = [(start, rows) for start, rows, _ in _cut(counts, block_rows)]
    ends = set(accumulate(counts))
    for start, end in pairwise([0, *sorted(ends)]):
        inside = [rows for at, rows in blocks if start <= at and at + rows <= end]
        if end - start > block_rows:
            assert max(inside) - min(inside) <= 1
            assert len(inside) == -(-(end - start) // block_rows)
    whole = [count for count in counts if count]
    if all(count <= block_rows for count in whole):
        firsts = dict(zip([0, *accumulate(whole)], whole, strict=False))
        assert all(rows + firsts[at + rows] > block_rows for (at, rows), _ in pairwise(blocks))


@given(GROUPS, GROUPS, st.integers(1, 40))
def test_a_files_blocks_come_from_its_own_row_groups(groups, more, block_rows):
    """A file that grows at its end keeps the blocks before its last one."""
    before, after = (
        _cut([count for count, _ in some], block_rows, [is_copied for _, is_copied in some])
        for some in (groups, [*groups, *more])
    )
    assert after[: max(0, len(before) - 1)] == before[:-1]


@given(COUNTS.filter(any), st.data())
def test_the_row_groups_of_a_block_are_those_that_hold_its_rows(counts, data):
    """No more and no fewer, also beside row groups of which a filter keeps nothing."""
    total = sum(counts)
    start = data.draw(st.integers(0, total - 1))
    rows = data.draw(st.integers(1, total - start))
    ends = list(accumulate(counts))
    first, last = groups_of(ends, Block(source=0, file=0, start=start, rows=rows))
    holding = [n for n, end in enumerate(ends) if counts[n] and end > start and end - counts[n] < start + rows]
    assert (first, last - 1) == (holding[0], holding[-1])


@pytest.mark.parametrize(
    ("row", "rows", "wish", "expected"),
    [
        (8, 1_000_000, {}, 4_096),
        (2_000, 1_000_000, {}, 524),
        (16_000, 10_000, {}, 66),
        (16_384, 10_000, {}, 16),
        (200_000, 10_000, {}, 5),
        (3_000_000, 10_000, {}, 1),
        (8, 50_000, {}, 3_125),
        (8, 3_000, {}, 2_048),
        (200_000, 32, {}, 2),
        (200_000, 8, {}, 1),
        (200_000, 32, {"rows": 9}, 9),
        (8, 100, {"num_bytes": 80}, 10),
        (800, 100, {"num_bytes": 80}, 1),
    ],
)
def test_the_default_size_follows_from_the_rows(make, row, rows, wish, expected):
    """1 MiB: at most 16 large rows, at most 4,096 small ones, a sixteenth of a small file; or what is asked for."""
    file = make(([[rows]], {}), row_bytes=row).sources[0].files[0]
    assert row_bytes(file) == row
    assert BlockSize(**wish).rows_cut_of(file) == expected
    assert mean_row_bytes(make(([[rows], [rows]], {}), row_bytes=row).sources[0]) == row
    assert mean_row_bytes(make(([[]], {})).sources[0]) == 0.0


def _copied(made):
    return [(block.rows, block.copied) for block in cut_source(made.recipe, 0, made.sources[0])]


def test_padded_files_are_copied_as_they_were_cut(make):
    """Whatever their size, and however few; small neighbours are joined to 1 MiB."""
    assert _copied(make(([[100] * 3], {}), row_bytes=200_000, padded=True, why=None)) == [(100, True)] * 3
    assert _copied(make(([[2] * 5], {}), row_bytes=200_000, padded=True, why=None)) == [(4, True), (4, True), (2, True)]


def test_row_groups_of_others_are_copied_when_there_are_many_and_they_are_small(make):
    """20 MiB and 8 of them are the limits; else there is nothing to shuffle, and they are cut."""
    assert _copied(make(([[100] * 8], {}), row_bytes=200_000, why=None)) == [(100, True)] * 8
    assert _copied(make(([[100] * 4, [100] * 4], {}), row_bytes=200_000, why=None)) == [(100, True)] * 8
    assert not any(copied for _, copied in _copied(make(([[100] * 7], {}), row_bytes=200_000, why=None)))
    assert not any(copied for _, copied in _copied(make(([[106] * 8], {}), row_bytes=200_000, why=None)))


def test_a_block_size_in_the_recipe_is_a_wish(make):
    """Larger row groups are cut, up to it they are copied and joined; twice the bytes are near enough."""
    files = [[4] * 4 + [5]]
    assert _copied(make((files, {}), padded=True, why=None, block_rows=4)) == [(4, True)] * 4 + [(2, False), (3, False)]
    assert _copied(make((files, {}), padded=True, why=None, block_rows=9)) == [(8, True), (8, True), (5, True)]
    assert _copied(make((files, {}), why=None, block_bytes=16)) == [(4, True)] * 4 + [
        (1, False),
        (2, False),
        (2, False),
    ]


def test_only_what_is_known_to_be_whole_is_copied(make):
    """Not a row group that loses rows, nor one whose rows are not counted, nor one that does not fit the mix's schema."""
    some = make(([[4, 4, 4]], {}), kept=[[[4, 3, 4]]], padded=True, why=None, block_rows=4)
    assert _copied(some) == [(4, True), (3, False), (4, True)]
    for other in ({"opened": {"exact": False}}, {"why": "it has other types"}):
        made = make(([[4, 4]], {}), **{"padded": True, "why": None, "block_rows": 4, **other})
        assert _copied(made) == [(4, False)] * 2
    computed = make(([[4, 4]], {"columns": (("id", "id + 1"),)}), padded=True, why=None, block_rows=4)
    assert _copied(computed) == [(4, False)] * 2


def test_row_groups_of_which_nothing_is_kept_are_not_copied_with_their_neighbours():
    """They end a run that is copied; what is cut goes on behind them."""
    assert list(cut_file([2, 0, 2, 2], [True, False, True, True], 10, 10)) == [(0, 2, True), (2, 4, True)]
    assert list(cut_file([2, 0, 2], [False] * 3, 10, 10)) == [(0, 4, False)]
