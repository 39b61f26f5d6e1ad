"""The table of blocks tells where each row of a mix came from, and names blocks as planning does."""

import io
from dataclasses import replace
from itertools import accumulate

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.errors import CorruptFileError
from pipeline.mix.blocks import block_names
from pipeline.mix.plan import plan_mix
from pipeline.mix.provenance import SCHEMA, file_paths, known_blocks, read_blocks, write_blocks


def _plan(make, **recipe):
    """Files with empty row groups, small ones, large ones; one source twice, another in part."""
    made = make(
        ([[0, 300, 0, 40], [900]], {"repeat": 2}),
        ([[70], [10] * 30], {"take": 260}),
        **{"block_rows": 60, "shuffle": "blocks", "shards": 3, **recipe},
    )
    return plan_mix(made.recipe, made.sources).splits[0]


def _written(plan):
    sink = io.BytesIO()
    write_blocks(plan, sink)
    return sink.getvalue()


def test_each_row_of_the_mix_is_found_in_its_source(make):
    """Blocks follow each other without gaps in each shard; each is in the row groups that it names, and these are needed."""
    plan = _plan(make)
    table = read_blocks(_written(plan))
    assert table.schema == SCHEMA
    assert table["name"].to_pylist() == list(block_names(plan.sources, plan.blocks))
    by_name = {source.name: source for source in plan.sources}
    at = [0] * plan.shards
    for row, block in zip(table.to_pylist(), plan.blocks, strict=True):
        source = by_name[row["source"]]
        assert (row["origin"], row["commit"]) == (source.origin, source.commit)
        assert row["file"] == file_paths(source)[block.file]
        assert (row["start"], row["rows"], row["copied"]) == (block.start, block.rows, block.copied)
        assert row["row"] == at[row["shard"]]
        at[row["shard"]] += row["rows"]
        kept = source.files[block.file].kept
        ends = [0, *accumulate(kept)]
        last = row["row_group"] + row["row_groups"] - 1
        assert ends[row["row_group"]] <= block.start < ends[row["row_group"] + 1]
        assert ends[last] < block.end <= ends[last + 1]
    assert at == [end - start for start, end in zip(plan.bounds, plan.bounds[1:], strict=False)]


def test_blocks_that_earlier_builds_had_are_known_by_name(make):
    """Another seed has the same blocks; another block size has none of them."""
    known = known_blocks([_written(_plan(make)), _written(_plan(make, seed=5))])
    built = [_plan(make), _plan(make, seed=5)]
    assert known == {name for plan in built for name in block_names(plan.sources, plan.blocks)}
    other = _plan(make, block_rows=7)
    assert known.isdisjoint(block_names(other.sources, other.blocks))


def test_files_are_named_as_their_readers_know_them(make):
    """By path in a repo, by URI in a store; of this machine's files, nothing above the folder that they share is told."""
    plan = _plan(make)
    source = plan.sources[0]

    def paths(commit, *uris):
        files = tuple(replace(source.files[0], file=replace(source.files[0].file, uri=uri)) for uri in uris)
        return file_paths(replace(source, commit=commit, files=files))

    assert paths("c0ffee", "hf://datasets/ns/x@c0ffee/a b/1.parquet") == ["a b/1.parquet"]
    assert paths(None, "s3://bucket/x/1.parquet") == ["s3://bucket/x/1.parquet"]
    assert paths(None, "/home/me/x/1.parquet") == ["1.parquet"]
    assert paths("c0ffee", "hf://datasets/ns/x@c0ffee/a/1.parquet", "/home/me/2.parquet") == [
        "a/1.parquet",
        "2.parquet",
    ]
    assert paths(None, "/home/me/x/1.parquet", "/home/me/y/z/2.parquet") == ["x/1.parquet", "y/z/2.parquet"]


@pytest.mark.parametrize("content", [b"", b"PAR1", pa.table({"a": [1]})])
def test_another_file_is_refused_in_one_line(content):
    """What is no table of blocks is named, with what to do."""
    if isinstance(content, pa.Table):
        sink = io.BytesIO()
        pq.write_table(content, sink)
        content = sink.getvalue()
    with pytest.raises(CorruptFileError, match=r"\Ablocks\.parquet: not what we wrote \(.*\); build the mix again\Z"):
        read_blocks(content)


def test_a_row_in_a_table_of_blocks_is_small(make):
    """100,000 blocks take less than 12 bytes each: texts are dictionaries, numbers compress."""
    made = make(([[1_000] * 100], {}), shuffle="blocks", block_rows=1, shards=10)
    plan = plan_mix(made.recipe, made.sources).splits[0]
    assert len(plan.blocks) == 100_000
    assert len(_written(plan)) < 12 * len(plan.blocks)
