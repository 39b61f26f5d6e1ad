"""A built mix is exactly the rows that its plan says, each in its place, for any sources and recipe; built here without Spark.

What may be drawn, and how often, a model in plain Python tells (`mix_model.py`).
"""

import hashlib
import io
import random
import re
import tempfile
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, Phase, event, given, seed, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from jobs.build_mix import plan_only
from jobs.exchange import carrier_schema, pack, unpack
from pipeline.errors import DatasetError
from pipeline.hub.upload import ShardReceipt, StoredFile
from pipeline.mix import build
from pipeline.mix.blocks import Blocks
from pipeline.mix.pieces import POSITION, SHARD, exchange_schema, pieces_of, read_drawn
from pipeline.mix.recipe import parse_recipe
from pipeline.parquet.writer import FileWriter
from tests.pipeline.mix.mix_model import canonical, check_weights, draws_of, models

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW,
    phases=[Phase.generate],
)  # fmt: skip
REFUSALS = ("has no rows", "would get no row of", r"asks for \d+ shards where there are", "nothing falls into split")


class MemoryStore:
    """One file, in memory."""

    def __init__(self):
        self._sink, self._receipts = io.BytesIO(), []

    @property
    def content(self):
        return self._sink.getvalue()

    def prime(self, names, read):
        pass

    def open(self, path, schema, *, layout, features, identity=""):
        return FileWriter(self._sink, schema, layout=layout, features=features, identity=identity)

    def end(self, writer):
        written = writer.close()
        file = StoredFile(path="", sha256=hashlib.sha256(self.content).hexdigest(), xet_hash="", size=written.size)
        self._receipts.append(ShardReceipt(file=file, rows=written.rows, num_bytes=written.num_bytes))

    def finish(self):
        return self._receipts


def build_blocks(plan):
    """The files of a plan in block order, each built by itself."""
    stores = [MemoryStore() for _ in range(plan.shards)]
    for shard, store in enumerate(stores):
        blocks = plan.blocks[slice(*plan.block_bounds[shard : shard + 2])]
        build.build_shard(replace(plan, blocks=Blocks()), shard, blocks, None, store)
    return [store.content for store in stores]


def build_exchanged(plan, dice):
    """The same by way of an exchange, in pieces and batches of any size."""
    schema = exchange_schema(plan)
    carriers = carrier_schema(schema)
    names = dict(zip(schema.names, carriers.names, strict=True))
    pieces = pieces_of(plan, dice.choice([1, 2_000, 64 << 20]))
    dice.shuffle(pieces)
    packed = [pack(rows, carriers) for piece in pieces for rows in read_drawn(plan, piece, None)]
    table = pa.Table.from_batches(packed, carriers).sort_by(names[POSITION])
    stores = [MemoryStore() for _ in range(plan.shards)]
    for shard, store in enumerate(stores):
        own = table.filter(pc.equal(table[names[SHARD]], shard)).combine_chunks()
        batches = own.to_batches(max_chunksize=dice.choice([1, 7, 1000]))
        rows = (unpack(batch.select(range(2, batch.num_columns)), plan.schema) for batch in batches)
        build.write_rows(plan, shard, rows, None, store)
    return [store.content for store in stores]


def plan_of(text, folder):
    recipe = parse_recipe(text, str(folder / "mix.yaml"))
    return plan_only(recipe, allow_code=True, count=True)[1]


def read_rows(content):
    """A file's rows, as the model has them."""
    table = pq.read_table(io.BytesIO(content))
    table.validate(full=True)
    return [as_counted(row) for row in table.to_pylist()]


def as_counted(row):
    return canonical(dict(sorted(row.items())))


def check_mix(model, folder, dice):
    """Plan and build a model's mix, and hold every file against the model."""
    folder = Path(folder)
    expected = [[[as_counted(row) for row in rows] for rows in files] for files in model.rows()]
    available = [sum(map(len, files)) for files in expected]
    try:
        mix = plan_of(model.write(folder), folder)
    except DatasetError as err:
        check_refusal(model, available, str(err))
        return None
    assert mix.exact
    drawn = []
    for place, plan in enumerate(mix.splits):
        contents = build_exchanged(plan, dice) if plan.exchange else build_blocks(plan)
        if plan.blocks:
            event(
                f"copied blocks: {sum(plan.blocks.copied) > 0}, shuffle: {plan.recipe.shuffle}, exchange: {plan.exchange}"
            )
            other = build_blocks(plan) if plan.exchange else build_exchanged(plan, dice)
            assert other == contents
        else:
            event(f"rows, splits: {len(mix.splits)}")
            assert build_exchanged(plan, dice) == contents
        shards = [read_rows(content) for content in contents]
        check_shards(model, plan, shards)
        rows = [row for shard in shards for row in shard]
        if plan.blocks:
            check_order(plan, expected, rows)
        drawn.append(check_counts(model, place, plan, expected, rows))
    check_splits(mix, available, drawn)
    return mix


def check_shards(model, plan, shards):
    """As many files as asked for, of the sizes that the plan says; in row order these are equal to within one row."""
    sizes = [len(shard) for shard in shards]
    assert sizes == [end - start for start, end in pairwise(plan.bounds)]
    assert min(sizes) > 0
    keys = model.keys
    if "shards" in keys and "splits" not in keys:
        assert len(sizes) == keys["shards"]
    assert len(sizes) % keys.get("shards_multiple_of", 1) == 0
    if not plan.blocks:
        assert max(sizes) - min(sizes) <= 1
        if "shard_rows" in keys:
            assert len(sizes) == -(-sum(sizes) // keys["shard_rows"])


def check_order(plan, expected, rows):
    """The mix is the plan's blocks, one after the other, each with its file's rows as they follow each other there."""
    said = [row for block in plan.blocks for row in expected[block.source][block.file][block.start : block.end]]
    assert said == rows
    if plan.recipe.shuffle == "none":
        places = [*zip(plan.blocks.source, plan.blocks.file, plan.blocks.start, strict=True)]
        copies = [draw.whole + (draw.rest > 0) for draw in plan.draws]
        falls = [later <= earlier for earlier, later in pairwise(places)]
        assert sum(falls) <= sum(max(0, times - 1) for times in copies)


def check_counts(model, place, plan, expected, rows):
    """Each row that is drawn of a source as often as the others, but for the rest of a repeat; which rows came, by source."""
    said = draws_of(model, [draw.available for draw in plan.draws], place)
    counts = Counter(rows)
    found = []
    for number, (draw, files) in enumerate(zip(plan.draws, expected, strict=True)):
        own = {row: counts.pop(row) for rows in files for row in rows if row in counts}
        base, times = (min(draw.rows, draw.available), draw.rows) if said is None else said[number]
        assert len(own) == (base if times >= base else times)
        assert sum(own.values()) == times == draw.rows
        assert not own or max(own.values()) - min(own.values()) <= 1
        found.append(own)
    assert not counts
    if said is None:
        totals = [sum(own.values()) for own in found]
        check_weights(model, [draw.available for draw in plan.draws], totals, place)
    return found


def check_splits(mix, available, drawn):
    """The splits share a source's rows: all of them are in one, none in two."""
    for number, rows in enumerate(available):
        assert sum(plan.draws[number].available for plan in mix.splits) == rows
        seen = [row for split in drawn for row in split[number]]
        assert len(seen) == len(set(seen))


def check_refusal(model, available, said):
    """What cannot be drawn is refused in one line, and nothing else is."""
    assert "\n" not in said
    kind = next((kind for kind in REFUSALS if re.search(kind, said)), None)
    event(f"refused: {kind}")
    assert kind is not None, said
    if kind == "has no rows":
        assert 0 in available
    else:
        assert all(available)
    if kind == "would get no row of":
        draws = draws_of(model, available)
        assert draws is None or 0 in [rows for _, rows in draws]
    if kind == "nothing falls into split":
        assert "splits" in model.keys


def check(model, number):
    with tempfile.TemporaryDirectory() as folder:
        check_mix(model, folder, random.Random(number))


@seed(1)
@QUICK
@given(models(), st.integers(0, 99))
def test_a_mix_is_exactly_the_rows_that_its_plan_says(model, number):
    """Whatever sources and recipe: content, counts, order, sizes of files; and the same bytes by whichever way rows come."""
    check(model, number)


@pytest.mark.long
@seed(2)
@settings(QUICK, max_examples=500, derandomize=False)
@given(models(), st.integers(0, 99))
def test_many_mixes_are_exactly_the_rows_that_their_plans_say(model, number):
    """The same for longer."""
    check(model, number)
