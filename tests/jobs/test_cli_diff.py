"""`pipeline diff` as people run it, on mixes of a real Hub: text, JSON, and one line for what is wrong."""

import io
import json

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet as pq

from jobs.cli import main


@pytest.fixture
def run():
    """Run `pipeline diff`: (exit code, stdout, stderr)."""

    def call(*args):
        done = CliRunner().invoke(main, ["diff", *args])
        return done.exit_code, done.stdout, done.stderr

    return call


def _bytes(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.fixture
def mixed(hub, repo):
    """Commit a mix of so many rows of each source, as a build leaves it; the commit."""
    from huggingface_hub import CommitOperationAdd, HfApi

    def commit(seed, **rows):
        api = HfApi(endpoint=hub.endpoint, token="hf_any")
        api.create_repo(repo, repo_type="dataset", exist_ok=True)
        names = [name for name, count in rows.items() for _ in range(count)]
        blocks = pa.table(
            {
                "shard": pa.array([0] * len(rows), pa.int32()),
                "row": pa.array(range(len(rows)), pa.int64()),
                "name": [f"{name}:{count}" for name, count in rows.items()],
            }
        )
        record = {
            "seed": seed,
            "recipe": json.dumps({"sources": [{"name": name} for name in rows]}),
            "sources": [{"name": name, "drawn": count} for name, count in rows.items()],
        }
        files = {
            "data/train-00000-of-00001.parquet": _bytes(pa.table({"source": names})),
            "mix/default/train/blocks.parquet": _bytes(blocks),
            ".pipeline/writes/default/train/t.json": json.dumps(record).encode(),
        }
        adds = [CommitOperationAdd(path, data) for path, data in files.items()]
        return api.create_commit(repo, adds, commit_message="mix", repo_type="dataset").oid

    return commit


def test_two_builds_are_compared(run, repo, mixed):
    """Rows, files, blocks, shares, and what in the recipe differs, from top to bottom."""
    first = mixed(1, a=30, b=10)
    second = mixed(2, a=30, c=30)
    code, out, err = run(f"{repo}@{first[:8]}", repo)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == f"{repo}@{first[:8]} -> {repo}@{second[:8]}"
    assert "config default, split train" in lines
    assert "rows 40 60 +20" in lines
    assert "files 1 1 same" in lines
    assert "blocks: 1 kept, 1 added, 1 removed" in lines
    assert lines.index("c - 30 - 50.0%") < lines.index("b 10 - 25.0% -")
    assert "seed: 1 -> 2" in lines
    assert any(line.startswith("files: 0 kept, 1 new (") and line.endswith("1 gone") for line in lines)


def test_json_has_every_number(run, repo, mixed):
    """The same for programs."""
    first = mixed(1, a=30, b=10)
    mixed(1, a=30, b=10, c=5)
    code, out, err = run(f"{repo}@{first}", f"{repo}@main", "--json", "--split", "train")
    assert (code, err) == (0, "")
    (split,) = json.loads(out)["splits"]
    assert split["blocks"] == {"kept": 2, "moved": 0, "added": 1, "removed": 0}
    assert (split["before"]["rows"], split["after"]["rows"], split["settings"]) == (40, 45, [])


def test_what_is_not_there_ends_in_one_line(run, repo, mixed):
    """A revision, a split, a name that is none."""
    mixed(1, a=3)
    for args, code, message in (
        ((f"{repo}@v9", repo), 1, "no such revision"),
        ((repo, repo, "--split", "val"), 1, "no split 'val'"),
        ((repo, "not a name"), 2, "is not a dataset's name"),
    ):
        done = run(*args)
        assert (done[0], done[1], done[2].count("\n")) == (code, "", 1)
        assert message in done[2]
