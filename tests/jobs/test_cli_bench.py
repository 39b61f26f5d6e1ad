"""`pipeline stream --bench`: no rows but how fast they came and what was fetched for them."""

import json
import random

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet as pq

from jobs.cli import main


@pytest.fixture
def run():
    """Run the command line; (exit code, stdout, stderr)."""

    def invoke(*args):
        result = CliRunner().invoke(main, list(args))
        return result.exit_code, result.stdout, result.stderr

    return invoke


@pytest.fixture
def numbers(hub, repo, tmp_path):
    """1,000 rows in ten row groups: a number, and 2 KB of noise."""
    from huggingface_hub import HfApi

    rng = random.Random(repo)
    table = pa.table({"id": range(1000), "noise": [rng.randbytes(2000) for _ in range(1000)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=100, compression="none", use_dictionary=False)
    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    api.create_repo(repo, repo_type="dataset")
    api.upload_file(
        path_or_fileobj=tmp_path / "x.parquet", path_in_repo="train.parquet", repo_id=repo, repo_type="dataset"
    )
    return repo


def test_a_bench_prints_figures_and_no_rows(run, numbers):
    """Rows, time, rates, what was fetched and used, requests by kind, time spent waiting: a line each."""
    code, out, err = run("stream", numbers, "--bench", "--shuffle")
    assert (code, err) == (0, "")
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["read", "time", "rate", "fetched", "used", "requests", "waiting"]
    assert "read      1,000 rows, 2.0 MB in memory" in out
    assert "rows/s" in out
    assert "xet" in out


def test_a_bench_as_json_says_what_was_fetched(run, numbers):
    """Chosen columns over HTTP cost little; the figures are numbers for programs."""
    code, out, _ = run("stream", numbers, "--bench", "--json", "--columns", "id", "--transport", "http")
    found = json.loads(out)
    assert code == 0
    assert found["rows"] == 1000
    assert 0 < found["bytes_used"] <= found["bytes_fetched"] < 400_000
    assert found["requests"]["http"] > 0
    assert 0 < found["first_row_s"] <= found["seconds"]


def test_a_bench_stops_after_so_many_rows(run, numbers):
    """`--rows` ends it at the batch that has them; a filter counts the rows that pass."""
    _, out, _ = run("stream", numbers, "--bench", "--json", "--rows", "150")
    assert 150 <= json.loads(out)["rows"] <= 300
    _, out, _ = run("stream", numbers, "--bench", "--json", "--filter", "id < 50")
    assert json.loads(out)["rows"] == 50


def test_rows_are_filtered_and_shuffled(run, numbers):
    """`--filter`, `--shuffle` and `--seed` mean what they mean in pipeline.stream."""
    _, out, _ = run("stream", numbers, "--columns", "id", "--json", "--filter", "id >= 990")
    assert [json.loads(line)["id"] for line in out.splitlines()] == list(range(990, 1000))
    orders = [
        [json.loads(line)["id"] for line in run("stream", numbers, "--columns", "id", "--json", *more)[1].splitlines()]
        for more in ([], ["--shuffle"], ["--shuffle", "--seed", "1"])
    ]
    assert sorted(orders[1]) == sorted(orders[2]) == orders[0] == list(range(1000))
    assert orders[1] != orders[2] != orders[0] != orders[1]
    code, _, err = run("stream", numbers, "--filter", "id >")
    assert (code, err.count("\n")) == (2, 1)
