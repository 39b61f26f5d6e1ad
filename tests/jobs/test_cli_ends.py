"""How the command line ends when somebody else ends it: Ctrl-C, a reader that has enough. And what JSON cannot hold."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

PIPELINE = Path(sys.executable).with_name("pipeline")


@pytest.fixture
def start(tmp_path):
    """Start the command line in the test's folder, in a process group of its own, as a terminal does."""

    def begin(*args):
        return subprocess.Popen(
            [PIPELINE, *args],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return begin


def _interrupt(process):
    """Ctrl-C: the whole group gets it. (exit code, stdout, stderr)."""
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def _wait_for(condition, process):
    while not condition():
        assert process.poll() is None
        time.sleep(0.05)


@pytest.fixture
def upload(hub, repo, tmp_path):
    """Put a table into the test's repo; its name."""
    from huggingface_hub import HfApi

    def put(table):
        pq.write_table(table, tmp_path / "x.parquet")
        api = HfApi(endpoint=hub.endpoint, token="hf_any")
        api.create_repo(repo, repo_type="dataset")
        api.upload_file(
            path_or_fileobj=tmp_path / "x.parquet", path_in_repo="train.parquet", repo_id=repo, repo_type="dataset"
        )
        return repo

    return put


@pytest.mark.spark
@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_an_interrupted_build_is_one_line_and_leaves_nothing(start, write, tmp_path, shuffle):
    """Ctrl-C while shards are built: exit code 130, no traceback, no file in the folder."""
    write("a.parquet", pa.table({"n": range(60_000), "data": [os.urandom(500) for _ in range(60_000)]}), 5_000)
    (tmp_path / "mix.yaml").write_text(
        f"target: ./out\nshuffle: {shuffle}\nsources:\n  - parquet: a.parquet\n    repeat: 200\n"
    )
    process = start("build-mix", "mix.yaml")
    _wait_for(lambda: next((tmp_path / "out/.pipeline/staged").glob("*"), None), process)
    if shuffle == "blocks":
        _wait_for(lambda: any((tmp_path / "out/.pipeline/staged").glob("*/*")), process)
    assert _interrupt(process) == (
        130,
        "",
        "interrupted; nothing was published, what is stored stays: run it again to go on\n",
    )
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_an_interrupted_stream_is_quiet(start, upload):
    """Ctrl-C while rows are printed: exit code 130, and not a word."""
    process = start("stream", upload(pa.table({"n": range(400_000)})), "--json")
    assert process.stdout.readline() == '{"n": 0}\n'
    code, _, err = _interrupt(process)
    assert (code, err) == (130, "")


def test_a_reader_that_has_enough_ends_the_stream(start, upload):
    """`pipeline stream ... | head -1`: exit code 0, and not a word."""
    process = start("stream", upload(pa.table({"n": range(100_000)})), "--json")
    assert process.stdout.readline() == '{"n": 0}\n'
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(120) == 0
    process.stderr.close()


def test_what_json_cannot_hold_is_null(start, upload):
    """NaN and infinities, at any depth, are null: every line is JSON by the standard."""
    values = [float("nan"), float("inf"), 1.5]
    process = start("stream", upload(pa.table({"x": values, "deep": [[{"y": x}] for x in values]})), "--json")
    out, err = process.communicate(timeout=120)
    lines = [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in out.splitlines()]
    assert [line["x"] for line in lines] == [None, None, 1.5]
    assert [line["deep"][0]["y"] for line in lines] == [None, None, 1.5]
    assert err == ""


def test_the_help_says_how_to_give_a_token_for_another_hub(start):
    """`--endpoint` alone carries no token: its help names the two variables that do."""
    out, _ = start("stream", "--help").communicate(timeout=60)
    assert "set HF_ENDPOINT and HF_TOKEN instead" in " ".join(out.split())
