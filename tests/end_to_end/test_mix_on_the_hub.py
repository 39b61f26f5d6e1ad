"""Datasets on the Hub and files become one dataset that `load_dataset` reads as planned, in one commit, whatever goes wrong."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as pq

from jobs.build_mix import build_with
from jobs.session import our_errors
from pipeline.errors import ConflictError, DatasetError
from pipeline.hub.repo import parse_ref
from pipeline.hub.resolver import list_files
from pipeline.hub.split import Mode
from pipeline.mix.recipe import parse_recipe

pytestmark = pytest.mark.spark

LABELS = ["cat", "dog"]


def _picture(number):
    pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def published():
    """Two datasets, pushed by `datasets`: captioned images with labels, and questions."""
    features = datasets.Features(
        {"image": datasets.Image(), "caption": datasets.Value("string"), "label": datasets.ClassLabel(names=LABELS)}
    )
    captions = datasets.Dataset.from_dict(
        {
            "image": [_picture(n) for n in range(60)],
            "caption": [f"picture {n}" for n in range(60)],
            "label": [n % 2 for n in range(60)],
        },
        features=features,
    )
    captions.push_to_hub("mixes/captions", num_shards=3)
    questions = datasets.Dataset.from_dict(
        {"question": [f"what is {n}?" for n in range(80)], "words": [["what", "is", str(n)] for n in range(80)]}
    )
    questions.push_to_hub("mixes/qa", config_name="en", split="validation")
    return captions


@pytest.fixture
def build(spark, published, hub, repo, tmp_path):
    """Build the mix of both and of local files into a repo, or a folder; keys of the recipe may be changed."""
    pq.write_table(pa.table({"text": [f"local {n}" for n in range(90)]}), tmp_path / "local.parquet", row_group_size=10)

    def run(*, mode=None, target=repo, **keys):
        top = "".join(f"{name}: {value}\n" for name, value in ({"seed": 5} | keys).items())
        text = f"""{top}
sources:
  - dataset: mixes/captions
    columns: {{image: image, text: caption, label: label}}
  - dataset: mixes/qa
    config: en
    split: validation
    columns: {{text: question, words: words}}
    repeat: 2
  - parquet: local.parquet
    where: "text not like '%7'"
    take: 50
"""
        with our_errors():
            return build_with(spark, parse_recipe(text, str(tmp_path / "mix.yaml"), str(target)), mode=mode)

    return run


def _load(target, tmp_path, **keys):
    loaded = datasets.load_dataset(str(target), cache_dir=str(tmp_path / "cache"), **keys)
    return loaded["train"] if isinstance(loaded, dict) else loaded


def _commits(hub, repo):
    from huggingface_hub import HfApi

    return [
        one.title for one in HfApi(endpoint=hub.endpoint, token="hf_any").list_repo_commits(repo, repo_type="dataset")
    ]


def _data_files(hub, repo):
    listing = list_files(parse_ref(repo, endpoint=hub.endpoint), None)
    return {file.path: file.sha256 for file in listing.files if file.path.endswith(".parquet")}


COUNTS = {"captions": 60, "qa": 160, "local": 50}


@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_a_mix_on_the_hub_is_what_the_plan_says(build, published, hub, repo, tmp_path, shuffle):
    """`load_dataset` gives the planned counts and equal content, images decode, labels and lists keep their features."""
    built = build(shuffle=shuffle)
    assert {source.name: draw.rows for source, draw in zip(built.plan.sources, built.plan.draws, strict=True)} == COUNTS
    loaded = _load(repo, tmp_path)
    assert loaded.features == datasets.Features(
        {
            "image": datasets.Image(),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=LABELS),
            "words": datasets.List(datasets.Value("string")),
            "source": datasets.Value("string"),
        }
    )
    assert Counter(loaded["source"]) == COUNTS
    rows = list(loaded)
    pictures = {row["text"]: row for row in rows if row["source"] == "captions"}
    assert len(pictures) == 60
    for number in range(60):
        row = pictures[f"picture {number}"]
        assert np.array_equal(np.asarray(row["image"]), np.asarray(_picture(number)))
        assert (row["label"], row["words"]) == (number % 2, None)
    asked = Counter((row["text"], tuple(row["words"])) for row in rows if row["source"] == "qa")
    assert asked == {(f"what is {n}?", ("what", "is", str(n))): 2 for n in range(80)}
    local = {row["text"] for row in rows if row["source"] == "local"}
    assert len(local) == 50
    assert local <= {f"local {n}" for n in range(90) if n % 10 != 7}
    streamed = list(_load(repo, tmp_path, streaming=True, split="train"))
    assert [row["text"] for row in streamed] == [row["text"] for row in rows]


def test_what_is_published_says_where_it_came_from(build, hub, repo):
    """One commit holds files, card and state: pinned commits are those of the sources, checksums those of the files."""
    built = build()
    ref = parse_ref(repo, endpoint=hub.endpoint)
    assert len(_commits(hub, repo)) == 2
    assert _commits(hub, repo)[0] == "Mix 270 rows of 3 sources, seed 5"
    from huggingface_hub import hf_hub_download

    (record,) = (
        file.path for file in list_files(ref, None).files if file.path.startswith(".pipeline/writes/default/train/")
    )
    path = hf_hub_download(repo, record, repo_type="dataset", revision=built.commit)
    kept = json.loads(Path(path).read_text())
    heads = [list_files(parse_ref(f"mixes/{name}", endpoint=hub.endpoint), None).commit for name in ("captions", "qa")]
    assert [source["commit"] for source in kept["sources"]] == [*heads, None]
    stored = _data_files(hub, repo)
    assert [file["sha256"] for file in kept["files"]] == [stored[name] for name in sorted(stored)]
    for name, file in zip(sorted(stored), kept["files"], strict=True):
        data = Path(hf_hub_download(repo, name, repo_type="dataset")).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file["sha256"], file["size"])
        assert pq.ParquetFile(io.BytesIO(data)).metadata.num_rows == file["rows"]
    body = list_files(ref, None).card.body
    for part in ("How this dataset was mixed", heads[0], heads[1], "Seed: 5.", "text not like '%7'"):
        assert part in body


def test_building_again_uploads_nothing_and_refuses_without_a_word(build, hub, repo, tmp_path):
    """Rows there: refused, unless told to overwrite (same bytes, nothing uploaded) or to append (twice the rows)."""
    first = build()
    with pytest.raises(ConflictError, match="pass --overwrite to replace them, or --append to add to them"):
        build()
    before = _data_files(hub, repo)
    hub.reset_counts()
    again = build(mode=Mode.OVERWRITE)
    assert [receipt.file.sha256 for receipt in again.receipts] == [receipt.file.sha256 for receipt in first.receipts]
    assert sum(receipt.file.new_bytes for receipt in again.receipts) == 0
    assert hub.bytes_received()["cas_xorb_put"] == 0
    assert sorted(_data_files(hub, repo).values()) == sorted(before.values())
    build(mode=Mode.APPEND)
    loaded = _load(repo, tmp_path)
    assert Counter(loaded["source"]) == {name: 2 * count for name, count in COUNTS.items()}
    build(mode=Mode.OVERWRITE, seed=6)
    assert Counter(_load(repo, tmp_path)["source"]) == COUNTS


def test_a_folder_is_a_target_too(build, tmp_path):
    """A folder loads as the repo does; overwriting leaves none of the old files, appending keeps them."""
    folder = tmp_path / "mixed"
    build(target=folder)
    first = set(folder.glob("data/*"))
    assert Counter(_load(folder, tmp_path)["source"]) == COUNTS
    with pytest.raises(ConflictError, match="pass --overwrite"):
        build(target=folder)
    build(target=folder, mode=Mode.OVERWRITE, seed=9)
    second = set(folder.glob("data/*"))
    assert not first & second
    loaded = _load(folder, tmp_path)
    assert Counter(loaded["source"]) == COUNTS
    assert loaded.filter(lambda source: source == "captions", input_columns="source")[0]["image"].size == (24, 24)
    build(target=folder, mode=Mode.APPEND)
    assert second < set(folder.glob("data/*"))
    assert Counter(_load(folder, tmp_path)["source"]) == {name: 2 * count for name, count in COUNTS.items()}


def test_a_lost_answer_makes_one_commit(build, hub, repo, tmp_path):
    """The Hub made the commit and its answer never came: the transaction is found, and not committed again."""
    hub.faults.add("commit", "lost")
    built = build()
    assert _commits(hub, repo).count("Mix 270 rows of 3 sources, seed 5") == 1
    assert built.commit == list_files(parse_ref(repo, endpoint=hub.endpoint), None).commit
    assert Counter(_load(repo, tmp_path)["source"]) == COUNTS


@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_a_task_that_fails_and_runs_again_changes_nothing(build, hub, repo, tmp_path, shuffle):
    """The first attempt at a shard breaks at its end, the second succeeds: same bytes as without, one commit."""
    plain = build(shuffle=shuffle, target=tmp_path / "plain")
    hub.reset_counts()
    hub.faults.add("cas_shard", status=403, times=1)
    built = build(shuffle=shuffle)
    assert hub.counts()["cas_shard"] == 2
    assert [one.file.sha256 for one in built.receipts] == [one.file.sha256 for one in plain.receipts]
    assert len(_commits(hub, repo)) == 2
    assert Counter(_load(repo, tmp_path)["source"]) == COUNTS


def test_a_task_that_keeps_failing_leaves_nothing(build, hub, repo, tmp_path):
    """After the last attempt the build ends with our error, nothing is visible, and the next run succeeds."""
    hub.faults.add("cas_shard", status=403, times=None)
    hub.reset_counts()
    with pytest.raises(DatasetError) as caught:
        build()
    assert "\n" not in str(caught.value)
    assert hub.counts()["cas_shard"] == 2
    assert _data_files(hub, repo) == {}
    hub.faults.clear()
    build()
    assert Counter(_load(repo, tmp_path)["source"]) == COUNTS
    assert len(_commits(hub, repo)) == 2


def test_a_killed_build_leaves_nothing_and_the_next_one_succeeds(build, hub, repo, tmp_path):
    """`kill -9` of the whole build while it uploads: no file is visible; run again, it publishes in one commit."""
    recipe = tmp_path / "killed.yaml"
    recipe.write_text(f"target: {repo}\nseed: 5\nsources:\n  - dataset: mixes/captions\n")
    hub.faults.add("cas_xorb_put", delay_s=5, times=None)
    killed = subprocess.Popen(
        [Path(sys.executable).with_name("pipeline"), "build-mix", recipe],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    waiting = threading.Event()
    while not hub.counts()["cas_xorb_put"] and killed.poll() is None:
        waiting.wait(0.05)
    assert killed.poll() is None
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    hub.faults.clear()
    assert _data_files(hub, repo) == {}
    assert len(_commits(hub, repo)) == 1
    build()
    assert Counter(_load(repo, tmp_path)["source"]) == COUNTS
    assert len(_commits(hub, repo)) == 2
