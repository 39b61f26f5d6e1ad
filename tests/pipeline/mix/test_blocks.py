"""Row groups into blocks: every row once, in order, of even size, whatever else is in the mix."""

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.mix.blocks import Block, cut_blocks, footer_id, row_bytes, rows_per_block
from pipeline.mix.plan import groups_of

COUNTS = st.lists(st.integers(0, 60), max_size=12)


@given(COUNTS, st.integers(1, 40))
def test_blocks_cover_every_row_of_a_file_once_and_in_order(counts, block_rows):
    """The first block starts at row 0, each starts where the last one ended, the last ends with the file; none is empty."""
    blocks = cut_blocks(counts, block_rows)
    assert [start for start, _ in blocks] == [0, *accumulate(rows for _, rows in blocks)][: len(blocks)]
    assert sum(rows for _, rows in blocks) == sum(counts)
    assert all(0 < rows <= block_rows for _, rows in blocks)


@given(COUNTS, st.integers(1, 40))
def test_large_row_groups_are_cut_evenly_and_small_ones_are_joined(counts, block_rows):
    """Runs of one row group differ by one row at most; neighbours that would fit into one block are in one."""
    blocks = cut_blocks(counts, block_rows)
    ends = set(accumulate(counts))
    for start, end in pairwise([0, *sorted(ends)]):
        inside = [rows for at, rows in blocks if start <= at and at + rows <= end]
        if end - start > block_rows:
            assert max(inside) - min(inside) <= 1
            assert len(inside) == -(-(end - start) // block_rows)
    small = [(at, rows) for at, rows in blocks if at in {0, *ends} and at + rows in ends]
    whole = [count for count in counts if count]
    if all(count <= block_rows for count in whole):
        assert small == blocks
        firsts = dict(zip([0, *accumulate(whole)], whole, strict=False))
        assert all(rows + firsts[at + rows] > block_rows for (at, rows), _ in pairwise(blocks))


@given(COUNTS, COUNTS, st.integers(1, 40))
def test_a_files_blocks_come_from_its_own_row_groups(counts, more, block_rows):
    """A file that grows at its end keeps the blocks before its last one."""
    before, after = cut_blocks(counts, block_rows), cut_blocks([*counts, *more], block_rows)
    assert after[: max(0, len(before) - 1)] == before[:-1]


@given(COUNTS.filter(any), st.data())
def test_the_row_groups_of_a_block_are_those_that_hold_its_rows(counts, data):
    """No more and no fewer, also beside row groups of which a filter keeps nothing."""
    total = sum(counts)
    start = data.draw(st.integers(0, total - 1))
    rows = data.draw(st.integers(1, total - start))
    ends = list(accumulate(counts))
    first, last = groups_of(ends, Block(source=0, file=0, start=start, rows=rows))
    holding = [
        index for index, end in enumerate(ends) if counts[index] and end > start and end - counts[index] < start + rows
    ]
    assert (first, last - 1) == (holding[0], holding[-1])


def test_a_block_has_the_bytes_that_were_asked_for(make):
    """`block_bytes` worth of rows, at least one; by default 1 MiB, 4,096 rows or a sixteenth of a small file."""
    small, large = (make(([counts], {})).sources[0].footers[0] for counts in ([100] * 10, [100_000]))
    per_row = row_bytes(large, ["id"])
    assert 8 <= per_row < 9
    assert rows_per_block(large, ["id"], 8_000) == round(8_000 / per_row)
    assert rows_per_block(large, ["id"], 1) == 1
    assert rows_per_block(large, ["id"], None) == 4_096
    middle = make(([[50_000]], {})).sources[0].footers[0]
    assert rows_per_block(middle, ["id"], None) == 50_000 // 16
    assert rows_per_block(small, ["id"], None) == round((16 << 10) / row_bytes(small, ["id"]))
    assert rows_per_block(large, [], 64_000) == 64_000
    assert (row_bytes(large, []), row_bytes(make(([[]], {})).sources[0].footers[0], ["id"])) == (0.0, 0.0)


def test_a_file_is_named_by_its_content(make):
    """The name does not depend on the path, and differs between files with different rows."""
    one, two = make(([[5], [5]], {})).sources[0].footers
    again = make(([[1]], {}), ([[5], [5]], {})).sources[1].footers[0]
    assert footer_id(one) == footer_id(again) != footer_id(two)
