"""`pipeline inspect --quality` as people run it, on a dataset of a real Hub: text, JSON, and one line for what is wrong."""

import io
import json
import random

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet as pq

from jobs.cli import main


@pytest.fixture
def run():
    """Run `pipeline inspect`: (exit code, stdout, stderr)."""

    def call(*args):
        done = CliRunner().invoke(main, ["inspect", *args])
        return done.exit_code, done.stdout, done.stderr

    return call


@pytest.fixture
def put(hub, repo):
    """Commit a table to the test's repo; its name."""
    from huggingface_hub import CommitOperationAdd, HfApi

    def commit(table):
        sink = io.BytesIO()
        pq.write_table(table, sink)
        api = HfApi(endpoint=hub.endpoint, token="hf_any")
        api.create_repo(repo, repo_type="dataset")
        adds = [CommitOperationAdd("data/train-0.parquet", sink.getvalue())]
        api.create_commit(repo, adds, commit_message="put", repo_type="dataset")
        return repo

    return commit


def _table(block_rows, rows=5000):
    draw = random.Random(3)
    names = [draw.choice("ab") for _ in range(rows // block_rows)]
    return pa.table({"source": [name for name in names for _ in range(block_rows)]})


def test_a_good_mix_meets_the_gate(run, put):
    """Both views of it, what independent draws give, and that the gate is met."""
    code, out, err = run(put(_table(1, rows=40_000)), "--quality")
    assert (code, err) == (0, "")
    assert "config default, split train: 40,000 rows of 2 sources, by column 'source'" in out
    assert [line.split("  ")[0] for line in out.splitlines()[6:9]] == [
        "as stored",
        "behind a buffer of 1,000 rows",
        "independent draws",
    ]
    assert "gate: met (behind the buffer: chi2/dof at most 2 in 64 rows" in out


def test_a_bad_mix_does_not(run, put):
    """Blocks of 500 rows: the numbers for programs, and the same judgement."""
    name = put(_table(500))
    code, out, err = run(name, "--quality", "--json", "--source-column", "source")
    assert (code, err) == (0, "")
    report = json.loads(out)
    (split,) = report["splits"]
    assert (report["dataset"], len(report["commit"]), split["rows"]) == (name, 40, 5000)
    assert split["stored"]["chi2_64"] > 30
    assert split["meets_gate"] is False
    assert sum(split["rows_by_source"].values()) == 5000
    assert "gate: NOT met" in run(name, "--quality")[1]


def test_what_cannot_be_measured_ends_in_one_line(run, put):
    """No such column, no such option without --quality."""
    name = put(_table(500))
    code, out, err = run(name, "--quality", "--source-column", "origin")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no column 'origin' that names each row's source" in err
    code, _, err = run(name, "--source-column", "source")
    assert (code, "--source-column needs --quality" in err) == (2, True)
