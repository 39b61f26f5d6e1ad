"""A published mix, written by hand as a build leaves it: files, the record of the build, the table of its blocks."""

import json

import pyarrow as pa
import pytest


def _blocks(runs):
    """The table of blocks for (shard, source, block name, rows) in the mix's order."""
    at, rows = {}, []
    for shard, source, name, count in runs:
        start = at.get(shard, 0)
        at[shard] = start + count
        rows.append({"shard": shard, "row": start, "rows": count, "source": source, "name": name})
    kinds = {"shard": pa.int32(), "row": pa.int64(), "rows": pa.int32(), "source": pa.string(), "name": pa.string()}
    return pa.Table.from_pylist(rows, pa.schema(list(kinds.items())))


@pytest.fixture
def put_mix(put, parquet_bytes):
    """Commit a mix of runs (shard, source, block name, rows) to a repo; what else its record says; the ref.

    Each row has its source, its block and its number in it.
    """

    def commit(repo, runs, *, table=True, card="", **record):
        shards = {}
        for shard, source, name, count in runs:
            shards.setdefault(shard, []).append(
                {"source": [source] * count, "block": [name] * count, "row": list(range(count))}
            )
        files = {
            f"data/train-{shard:05d}-of-{len(shards):05d}.parquet": parquet_bytes(
                pa.concat_tables([pa.table(columns) for columns in parts]), row_group_size=64
            )
            for shard, parts in shards.items()
        }
        rows = {}
        for _, source, _, count in runs:
            rows[source] = rows.get(source, 0) + count
        said = {"sources": [{"name": name, "drawn": count} for name, count in rows.items()], **record}
        files[".pipeline/writes/default/train/t1.json"] = json.dumps(said)
        if table:
            files["mix/default/train/blocks.parquet"] = parquet_bytes(_blocks(runs))
        return put(repo, {**files, "README.md": card})

    return commit
