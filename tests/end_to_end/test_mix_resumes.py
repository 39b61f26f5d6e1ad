"""A build that is killed is gone on with: no stored shard is built again, and the bytes are those of a build that was not."""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from pyarrow import parquet as pq

from jobs.build_mix import build_with, plan_only
from pipeline.hub.listing import list_files
from pipeline.hub.repo import parse_ref
from pipeline.mix.recipe import load_recipe
from tests.end_to_end.mix_sources import image_rows, in_blocks

pytestmark = pytest.mark.spark

SHARDS = 8
# The command line, which keeps track of stored shards twice a second.
PROGRAM = """
import sys
from jobs import shards
from jobs.cli import main
shards._LOOK_S, shards._REMEMBER_S, shards._MOST_REMEMBER_S = 0.1, 0.1, 0.5
main(sys.argv[1:])
"""
RECIPE = """
shuffle: {shuffle}
seed: 8
shards: 8
block_rows: 8
target: {target}
sources:
  - dataset: mixes/in-blocks
  - dataset: mixes/by-pyarrow
    repeat: 1.5
  - {{dataset: mixes/by-pyarrow, name: chosen, where: id % 5 <> 0, take: 70}}
"""


@pytest.fixture(scope="session")
def sources():
    """A dataset in blocks of eight rows, and one that pyarrow wrote: row groups of both are copied."""
    api = HfApi(token="hf_any")
    theirs = io.BytesIO()
    pq.write_table(image_rows(1_000, 160, 3_000), theirs, row_group_size=7)
    files = {"in-blocks": in_blocks(image_rows(0, 320, 3_000), 8), "by-pyarrow": theirs.getvalue()}
    for name, data in files.items():
        api.create_repo(f"mixes/{name}", repo_type="dataset")
        add = CommitOperationAdd("data/train-0.parquet", data)
        api.create_commit(f"mixes/{name}", [add], commit_message="Add rows", repo_type="dataset")


@pytest.fixture
def written(sources, tmp_path):
    """A recipe on disk."""

    def write(shuffle, target):
        path = tmp_path / f"{shuffle}.yaml"
        path.write_text(RECIPE.format(shuffle=shuffle, target=target))
        return path

    return write


@pytest.fixture
def whole(spark, written, tmp_path):
    """The files of a build that nothing happens to, as sums; and its plan."""

    def build(shuffle):
        built = build_with(spark, load_recipe(written(shuffle, "./whole")))
        return built.reports["train"]["per_shard"]["sha256"], built.plan.splits[0]

    return build


def _run(recipe, *more):
    command = [sys.executable, "-c", PROGRAM, "build-mix", str(recipe), *more]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _kill_when(running, reached):
    """`kill -9` of driver, JVM and workers as soon as something holds."""
    waiting = threading.Event()
    while running.poll() is None and not reached():
        waiting.wait(0.02)
    assert running.poll() is None, running.communicate()[1]
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


def _is_past(hub, points):
    """Whether there were so many requests of each kind."""
    counts = hub.counts()
    return all(counts[route] >= least for route, least in points.items())


def _shas(hub, repo):
    listing = list_files(parse_ref(repo, endpoint=hub.endpoint), None)
    return [file.sha256 for file in sorted(listing.files, key=lambda file: file.path) if file.path.startswith("data/")]


@pytest.mark.parametrize("shuffle", ["blocks", pytest.param("rows", marks=pytest.mark.long)])
def test_a_build_that_is_killed_again_and_again_goes_on(hub, repo, written, whole, shuffle):
    """Killed at three points and run again with other numbers of tasks: the bytes of a whole build, in one commit; what the
    ledger had is not built again, and the ledger is gone.
    """
    wanted, plan = whole(shuffle)
    assert len(wanted) == SHARDS
    if shuffle == "blocks":
        assert 0 < sum(plan.blocks.copied) < len(plan.blocks)
    recipe, dice = written(shuffle, repo), random.Random(shuffle)
    hub.faults.add("cas_shard", delay_s=0.7, times=None)
    here = () if shuffle == "blocks" else ("--master", "local[1]")
    for saved, where in ((0, here), (1, here), (1, ("--master", "local[2]"))):
        hub.reset_counts()
        points = {"cas_shard": dice.randint(1, 2), "commit": saved}
        _kill_when(_run(recipe, *where), partial(_is_past, hub, points))
        assert _shas(hub, repo) == []
    hub.faults.clear()
    opened, mix = plan_only(load_recipe(recipe), count=True)
    kept = opened.target.ledger(mix.id).load()
    assert 0 < len(kept) < SHARDS
    hub.reset_counts()
    running = _run(recipe, "--master", "local[8]")
    _, said = running.communicate()
    assert running.returncode == 0, said
    assert said.splitlines() == [f"train: {len(kept)} of {SHARDS} shards are stored already"]
    assert hub.counts()["cas_shard"] == SHARDS - len(kept) + 1  # and the report
    assert _shas(hub, repo) == wanted
    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    assert [one.name for one in api.list_repo_refs(repo, repo_type="dataset").branches] == ["main"]
    titles = [one.title for one in api.list_repo_commits(repo, repo_type="dataset")]
    assert len([title for title in titles if title.startswith("Mix ")]) == 1
    assert len(titles) == 2


@pytest.mark.long
def test_a_build_into_a_folder_goes_on_too(hub, written, whole, tmp_path):
    """Killed when some files are finished: the next run makes the others, and nothing is left but the mix."""
    wanted, _ = whole("rows")
    folder = tmp_path / "mix"
    recipe = written("rows", folder)
    running = _run(recipe, "--master", "local[1]")
    _kill_when(running, lambda: any(folder.glob(".pipeline/staged/*/receipts.jsonl")))
    assert not (folder / "README.md").exists()
    (receipts,) = folder.glob(".pipeline/staged/*/receipts.jsonl")
    kept = {json.loads(line)["key"] for line in receipts.read_text().splitlines() if line.endswith("}")}
    running = _run(recipe, "--master", "local[2]")
    _, said = running.communicate()
    assert running.returncode == 0, said
    assert said.splitlines() == [f"train: {len(kept)} of {SHARDS} shards are stored already"]
    files = sorted(folder.glob("data/*.parquet"))
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == wanted
    assert not (folder / ".pipeline/staged").exists()
