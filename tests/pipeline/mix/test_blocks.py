"""Blocks in columns: a sequence of blocks in little memory."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from pipeline.mix.blocks import Block, Blocks, block_name, block_names, joined

BLOCK = st.builds(
    Block,
    source=st.integers(0, 300),
    file=st.integers(0, 2**31 - 1),
    start=st.integers(0, 2**62),
    rows=st.integers(1, 2**40),
    copied=st.booleans(),
)
BLOCKS = st.lists(BLOCK, max_size=12)


@given(BLOCKS, BLOCKS, st.slices(12), st.data())
def test_blocks_are_a_sequence_as_a_list_is(some, more, cut, data):
    """Length, items, iteration, slices, sums, products and pickles are those of the list; `take` takes places in any order."""
    blocks = Blocks(some)
    assert (len(blocks), list(blocks), [blocks[n] for n in range(len(some))]) == (len(some), some, some)
    assert list(blocks[cut]) == some[cut]
    assert list(blocks + Blocks(more)) == list(joined([blocks, Blocks(more)])) == some + more
    assert list(blocks * 2) == some * 2
    assert pickle.loads(pickle.dumps(blocks[cut])) == Blocks(some[cut])
    assert list(blocks.runs()) == [(block.source, block.rows) for block in some]
    places = data.draw(st.lists(st.integers(0, len(some) - 1))) if some else []
    assert list(blocks.take(places)) == [some[place] for place in places]
    assert (blocks == Blocks(more)) is (some == more)


def test_a_million_blocks_take_25_megabytes():
    """In memory and pickled, whole or as the slices that tasks get; nothing per block but its numbers."""
    blocks = Blocks([Block(source=1, file=2, start=3, rows=4, copied=True)]) * 1_000_000
    assert sum(column.itemsize * len(column) for column in blocks.columns()) == 25_000_000
    assert len(pickle.dumps(blocks)) < 25_010_000
    assert len(pickle.dumps(blocks[:1000])) < 26_000


def test_a_part_of_a_block_is_not_copied():
    """Cutting changes the last block only, and says that its row groups cannot go as they are."""
    blocks = Blocks([Block(source=0, file=0, start=at, rows=9, copied=True) for at in (0, 9)])
    assert list(blocks.cut(4)) == [blocks[0], Block(source=0, file=0, start=9, rows=4, copied=False)]
    assert blocks.cut(9) == blocks
    assert blocks[1].rows == 9


def test_a_block_is_named_by_its_content(make):
    """File, rows, and what is done to them where they are not copied; not by where it stands."""
    source = make(([[5], [5]], {})).sources[0]
    one = Block(source=0, file=1, start=2, rows=3, copied=True)
    assert block_name(source, one) == f"{source.files[1].name}:2:3"
    written = Block(source=0, file=1, start=2, rows=3)
    assert block_name(source, written) == f"{source.files[1].name}:2:3:{source.transform.fingerprint}"
    assert list(block_names([source], Blocks([one, written]))) == [block_name(source, one), block_name(source, written)]
