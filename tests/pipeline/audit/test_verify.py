"""Rows of a mix against those that its plan draws from the sources: files on disk, changed in one place or in none."""

from dataclasses import replace

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.audit.verify import compare_rows
from pipeline.errors import DatasetError
from pipeline.mix.build import read_blocks
from pipeline.mix.pieces import POSITION, pieces_of, read_drawn
from pipeline.mix.plan import align_mix, plan_mix
from pipeline.mix.recipe import parse_recipe
from pipeline.mix.sources import decide_copies, open_source
from pipeline.storage import FileRef

ROWS = 600


@pytest.fixture
def planned(tmp_path):
    """The plan of a mix of two sources with these keys of the recipe."""
    for name in "ab":
        rows = pa.table(
            {
                "n": pa.array(range(ROWS), pa.int64()),
                "text": [f"{name} {i}" for i in range(ROWS)],
                "x": [float("nan") if i % 7 == 0 else i / 3 for i in range(ROWS)],
            }
        )
        pq.write_table(rows, tmp_path / f"{name}.parquet", row_group_size=100)

    def make(keys, where=""):
        text = f"target: ns/mix\n{keys}\nsources:\n- {{parquet: a.parquet, name: a{where}}}\n- {{parquet: b.parquet, name: b}}\n"
        recipe = parse_recipe(text, str(tmp_path / "mix.yaml"))
        opened = [open_source(recipe, index, None, None) for index in range(2)]
        schema, features = align_mix(recipe, opened)
        return plan_mix(recipe, decide_copies(recipe, opened, schema, whole_files=False), features=features).splits[0]

    return make


@pytest.fixture
def write(tmp_path):
    """Write a plan's rows, shard by shard, changed by `change(shard, table)`; the files."""

    def make(plan, change=lambda _, table: table):
        drawn = pa.Table.from_batches(
            [rows for piece in pieces_of(plan, 1 << 20, copied=True) for rows in read_drawn(plan, piece, None)]
        )
        rows = drawn.sort_by(POSITION).select(plan.schema.names)
        files = []
        for shard in range(plan.shards):
            start, end = plan.bounds[shard : shard + 2]
            path = tmp_path / f"{shard}.parquet"
            pq.write_table(change(shard, rows.slice(start, end - start)), path, row_group_size=90)
            files.append(FileRef(uri=str(path), size=path.stat().st_size, content_id=str(path)))
        return files

    return make


def _compare(plan, files):
    found = compare_rows(plan, files, None, lambda _: None)
    return found, {one.source: one.difference for one in found.sources}


def _put(table, row, name, value):
    column = table[name].to_pylist()
    column[row] = value
    return table.set_column(
        table.schema.get_field_index(name), table.schema.field(name), pa.array(column, table.schema.field(name).type)
    )


BLOCKS = "shuffle: blocks\nblock_rows: 50\nshards: 3"
IN_ROWS = "shuffle: rows\nshards: 3"


@pytest.mark.parametrize("keys", [BLOCKS, IN_ROWS, "shuffle: none\nshards: 2", "source_column: false\nshuffle: rows"])
def test_the_rows_of_the_plan_are_equal(planned, write, keys):
    """Every order, with a column of sources or without: all rows are compared, and none differs; NaN is NaN."""
    plan = planned(keys)
    found, differences = _compare(plan, write(plan))
    assert (set(differences.values()), found.problems) == ({None}, ())
    assert sum(one.rows for one in found.sources) == 2 * ROWS
    assert found.method == ("by sums of 128-bit row hashes" if plan.exchange else "block by block")


@pytest.mark.parametrize("keys", ["take: 333", "repeat: 2.5", "columns: {n: n + 1, text: text, x: x}"])
def test_what_the_recipe_does_to_rows_is_done_again(planned, write, keys):
    """Rows that are drawn, repeated or computed are those that are compared."""
    for order in (BLOCKS, IN_ROWS):
        plan = planned(order, f", {keys}")
        assert set(_compare(plan, write(plan))[1].values()) == {None}


def test_rows_that_were_exchanged_are_compared_with_those_that_were_copied(planned, write, tmp_path):
    """A mix has both where one source's row groups are copied and another's are cut into many blocks."""
    for name, group_rows in {"a": 50, "b": ROWS}.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pq.read_table(path), path, row_group_size=group_rows)
    plan = planned(BLOCKS)
    assert plan.exchange
    assert set(plan.blocks.copied) == {0, 1}
    found, differences = _compare(plan, write(plan))
    assert (set(differences.values()), found.problems) == ({None}, ())
    assert sum(one.rows for one in found.sources) == 2 * ROWS


def test_two_readers_of_a_plan_agree(planned):
    """What is read block by block is what is read in pieces: either shows what the other one gets wrong."""
    plan = planned(BLOCKS)
    direct = pa.concat_tables(list(read_blocks(plan, plan.blocks, None, copy=False)))
    pieces = [rows for piece in pieces_of(plan, 1 << 20) for rows in read_drawn(plan, piece, None)]
    exchanged = pa.Table.from_batches(pieces).sort_by(POSITION).select(plan.schema.names)
    assert direct.drop_columns("x").equals(exchanged.drop_columns("x"))


@pytest.mark.parametrize("keys", [BLOCKS, IN_ROWS])
def test_a_flipped_value_is_found_with_its_place(planned, write, keys):
    """Shard and row of it, in an order of blocks its block and column too; its source alone differs."""
    plan = planned(keys)
    names = []

    def flip(shard, table):
        if shard == 1:
            names.append(table["source"][130].as_py())
            return _put(table, 130, "text", "flipped")
        return table

    files = write(plan, flip)
    _, differences = _compare(plan, files)
    (name,) = names
    (other,) = {"a", "b"} - {name}
    assert differences[other] is None
    assert (differences[name].shard, differences[name].row) == (1, 130)
    if not plan.exchange:
        number = differences[name].block
        start = sum(block.rows for block in plan.blocks[:number])
        assert start <= plan.bounds[1] + 130 < start + plan.blocks[number].rows
        assert (plan.sources[plan.blocks[number].source].name, differences[name].what) == (name, "'text' differs")


@pytest.mark.parametrize("keys", [BLOCKS, IN_ROWS])
def test_a_row_too_few_or_too_many_is_found(planned, write, keys):
    """Also at the very end of a shard."""
    plan = planned(keys)
    for shard, change in ((0, lambda t: t.slice(1)), (2, lambda t: t.slice(0, t.num_rows - 1))):
        _, differences = _compare(plan, write(plan, lambda n, t, s=shard, c=change: c(t) if n == s else t))
        assert {one.shard for one in differences.values() if one} == {shard}
        assert plan.exchange or sum(one is not None for one in differences.values()) == 1
    _, differences = _compare(plan, write(plan, lambda n, t: pa.concat_tables([t, t.slice(0, 1)]) if n == 2 else t))
    assert [one.row for one in differences.values() if one] == [plan.bounds[3] - plan.bounds[2]]


@pytest.mark.parametrize("keys", [BLOCKS, IN_ROWS])
def test_two_rows_that_changed_places_are_found(planned, write, keys):
    """The same rows in another order are not the mix that the plan says."""
    plan = planned(keys)

    def swap(shard, table):
        order = list(range(table.num_rows))
        order[3], order[4] = order[4], order[3]
        return table.take(order) if shard == 1 else table

    found, differences = _compare(plan, write(plan, swap))
    if plan.exchange:
        assert set(differences.values()) == {None}
        assert found.problems == ("the rows are those of the plan, but in another order, first at shard 1, row 3",)
    else:
        assert {(one.shard, one.row) for one in differences.values() if one} == {(1, 3)}


def test_other_columns_are_said_and_not_compared(planned, write):
    """One missing, one of another type: named, with the shard."""
    plan = planned(BLOCKS)
    files = write(plan, lambda n, t: t.drop_columns("x") if n == 0 else t)
    assert _compare(plan, files)[0].problems == ("shard 0 was not compared: column 'x' is missing",)
    wide = pa.array(range(400), pa.int32())
    files = write(plan, lambda n, t: t.set_column(0, "n", wide.slice(0, t.num_rows)) if n == 2 else t)
    assert _compare(plan, files)[0].problems == ("shard 2 was not compared: column 'n' is int32, planned int64",)


@pytest.mark.parametrize("keys", [BLOCKS, IN_ROWS])
def test_a_shard_that_is_gone_leaves_the_others_to_compare(planned, write, keys):
    """Rows of the shards that are there are compared with the plan's for these."""
    plan = planned(keys)
    files = write(plan)
    found, differences = _compare(plan, [files[0], None, files[2]])
    assert set(differences.values()) == {None}
    assert sum(one.rows for one in found.sources) == 2 * ROWS - (plan.bounds[2] - plan.bounds[1])


def test_a_source_that_changed_on_disk_is_said(planned, write, tmp_path):
    """A file that is not the one that was planned with cannot prove anything."""
    plan = planned(BLOCKS)
    files = write(plan)
    pq.write_table(pa.table({"n": [1], "text": ["x"], "x": [1.0]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError):
        _compare(plan, files)


def test_in_exchanged_blocks_too_rows_are_found(planned, write):
    """Blocks that share row groups are read in pieces, and compared by sums."""
    plan = replace(planned(BLOCKS), exchange=True)
    files = write(plan)
    assert set(_compare(plan, files)[1].values()) == {None}
    files = write(plan, lambda n, t: _put(t, 5, "n", -1) if n == 0 else t)
    assert [(one.shard, one.row) for one in _compare(plan, files)[1].values() if one] == [(0, 5)]
