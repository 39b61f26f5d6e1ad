"""Splits by hash: disjoint, complete, in proportion, and the same whatever else is in the mix."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mix.blocks import Blocks, joined
from pipeline.mix.cutting import cut_source
from pipeline.mix.membership import WHOLE, blocks_in, count_kept, count_rows, parts_of, rows_in

SHARES = st.lists(st.integers(1, 99), min_size=1, max_size=5).map(lambda n: [share / sum(n) for share in n])


@given(SHARES, st.text(max_size=5), st.integers(0, 2**40), st.integers(0, 50))
def test_every_row_is_in_one_split(shares, name, start, rows):
    """The parts do not overlap, leave nothing out, and are counted as they are chosen."""
    parts = parts_of(shares)
    masks = [rows_in(name, start, start + rows, part) for part in parts]
    assert [sum(mask[n].as_py() for mask in masks) for n in range(rows)] == [1] * rows
    assert [count_rows(name, start, start + rows, part) for part in parts] == [mask.true_count for mask in masks]


def test_a_split_has_its_share_of_rows_and_blocks(make):
    """Within five sigma of 1 %, of rows and of blocks; no row follows the file before it."""
    parts = parts_of([0.99, 0.01])
    assert parts == [(0.0, 0.99), (0.99, 1.0)]
    count = count_rows("name", 0, 2_500_000, parts[1])
    assert abs(count - 25_000) < 5 * 24_750**0.5
    assert count == sum(count_rows("name", at, at + 500_000, parts[1]) for at in range(0, 2_500_000, 500_000))
    made = make(([[20_000]], {}), block_rows=1)
    blocks = cut_source(made.recipe, 0, made.sources[0])
    found = [blocks_in(made.sources[0].files, blocks, part) for part in parts]
    assert abs(len(found[1]) - 200) < 5 * 198**0.5
    assert sorted(joined(found).start) == list(range(20_000))
    one, two = (rows_in(name, 0, 10_000, (0.0, 0.5)) for name in "ab")
    assert 4_500 < pc.xor(one, two).true_count < 5_500


def test_membership_stays_when_a_source_grows(make):
    """By a file before or after: a hash of each block's own file, not of its place among the sources'."""
    part = (0.2, 0.6)
    made = make(([[500], [300]], {}), block_rows=3)
    files, blocks = made.sources[0].files, cut_source(made.recipe, 0, made.sources[0])
    alone = Blocks(block for block in blocks if block.file == 0)
    assert [b for b in blocks_in(files, blocks, part) if b.file == 0] == list(blocks_in(files[:1], alone, part))
    assert count_kept(files, part) == sum(count_kept([file], part) for file in files)
    assert count_kept(files, WHOLE) == 800
    assert blocks_in(files, blocks, WHOLE) is blocks


@pytest.mark.parametrize("part", [(0.0, 1.0), (0.25, 0.5)])
def test_membership_never_changes(part):
    """Golden values: if this fails, validation rows of published mixes would be trained on."""
    assert rows_in("0123456789abcdef", 7, 19, part) == pa.array([bool(int(bit)) for bit in GOLDEN[part]])


GOLDEN = {(0.0, 1.0): "1" * 12, (0.25, 0.5): "110000000100"}
