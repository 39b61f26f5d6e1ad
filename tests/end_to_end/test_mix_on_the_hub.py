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

from jobs.build_mix import build_with, plan_only
from jobs.session import our_errors
from jobs.show_mix import show_report
from pipeline.errors import AccessError, ConflictError, DatasetError, SchemaError
from pipeline.hub.listing import list_files
from pipeline.hub.repo import parse_ref
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


def test_files_of_a_repo_are_a_source_at_a_commit(spark, hub, repo, published, tmp_path):
    """`hf://` paths, folders and globs name a repo's files; the commit is pinned and recorded, the endpoint is the given one."""
    commit = list_files(parse_ref("mixes/captions", endpoint=hub.endpoint), None).commit

    def mixed(*paths):
        listed = "".join(f"    - {path}\n" for path in paths)
        text = f"target: {repo}\nsources:\n  - name: c\n    columns: [caption]\n    parquet:\n{listed}"
        return plan_only(parse_recipe(text, str(tmp_path / "mix.yaml")), endpoint=hub.endpoint)[0]

    for path in ("data/*.parquet", "data", "", "**", "data/train-0000[0-9]-of-00003.parquet"):
        (source,) = mixed(f"hf://datasets/mixes/captions@main/{path}").sources
        assert (source.rows, source.commit) == (60, commit)
    (source,) = mixed("hf://datasets/mixes/captions/data/train-00001-of-00003.parquet").sources
    assert (source.rows, source.commit, source.origin) == (
        20,
        commit,
        "hf://datasets/mixes/captions/data/train-00001-of-00003.parquet",
    )
    both = mixed("hf://datasets/mixes/captions/data/*0-of*", "hf://datasets/mixes/qa/**").sources
    assert both[0].commit is None
    assert f"hf://datasets/mixes/captions@{commit}/data/*0-of*" in both[0].origin
    for path, message in {
        "datasets/mixes/captions/none/*": r"mix.yaml:3:5: mixes/captions@\w+: 'none/\*' names no Parquet file",
        "datasets/mixes/nowhere/data": "mix.yaml:3:5: mixes/nowhere: no such dataset on the Hub",
        "models/mixes/captions/data": "mix.yaml:3:5: 'hf://models/mixes/captions/data' is not in a dataset",
    }.items():
        with pytest.raises(DatasetError, match=message):
            mixed(f"hf://{path}")


@pytest.mark.parametrize("local", [True, False], ids=["folder", "repo"])
def test_an_append_keeps_the_features_of_the_split(spark, published, hub, repo, tmp_path, local):
    """Rows without features of their own take those that are there; numbers that are no labels are refused."""
    target = tmp_path / "mix" if local else repo
    pq.write_table(published.with_format("arrow")[:5].replace_schema_metadata(None), tmp_path / "plain.parquet")

    def append(source, mode=Mode.APPEND):
        text = f"source_column: false\nsources:\n  - {source}\n"
        return build_with(spark, parse_recipe(text, str(tmp_path / "mix.yaml"), str(target)), mode=mode)

    append("{dataset: mixes/captions, columns: [image, caption]}", None)
    append("{parquet: plain.parquet, columns: [image, caption]}")
    loaded = _load(target, tmp_path)
    assert (loaded.num_rows, loaded.features["image"]) == (65, datasets.Image())
    append("dataset: mixes/captions", Mode.OVERWRITE)
    with pytest.raises(
        SchemaError, match=r"column 'label' is .*int64.*, but .*ClassLabel.* in the split that it is appended to"
    ):
        append("parquet: plain.parquet")
    append("dataset: mixes/captions")
    assert _load(target, tmp_path).features["label"] == datasets.ClassLabel(names=LABELS)


def test_a_mix_of_a_private_source_is_private(spark, hub, repo, tmp_path, capsys):
    """A new repo is private when a source is, and the summary says why; to publish it openly, the recipe must name the source."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    source = f"{repo}-source"
    datasets.Dataset.from_dict({"x": list(range(50))}).push_to_hub(source, private=True)
    sources = {"dataset": source, "parquet": f"hf://datasets/{source}/data/*"}
    for key, public in (("dataset", ""), ("parquet", ""), ("dataset", f"public: [{source}]\n")):
        target = f"{repo}-{key}-{len(public)}"
        recipe = parse_recipe(f"target: {target}\n{public}sources:\n  - {{name: x, {key}: '{sources[key]}'}}\n")
        show_report(build_with(spark, recipe), as_json=False)
        assert api.repo_info(target, repo_type="dataset").private is not bool(public)
        said = f"private      {target}, because these sources are private or gated: {source}"
        assert (said in capsys.readouterr().out) is not bool(public)
    open_one = f"target: {repo}-open\nprivate: false\nsources:\n  - {{name: x, dataset: '{source}'}}\n"
    with pytest.raises(AccessError, match=rf"{source} is private or gated; .* write 'public: \[{source}\]'"):
        build_with(spark, parse_recipe(open_one))
    assert not api.repo_exists(f"{repo}-open", repo_type="dataset")


def test_a_repo_with_data_in_other_formats_is_not_mixed_into(spark, hub, repo, tmp_path):
    """Its rows would be hidden by our card: it is refused before anything is built."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    api.create_repo(repo, repo_type="dataset")
    api.upload_file(path_or_fileobj=b"a,b\n1,2\n", path_in_repo="train.csv", repo_id=repo, repo_type="dataset")
    with pytest.raises(SchemaError, match="its data is csv"):
        plan_only(parse_recipe(f"target: {repo}\nsources:\n  - parquet: nowhere.parquet\n"))


COUNTS = {"captions": 60, "qa": 160, "local": 50}


@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_a_mix_on_the_hub_is_what_the_plan_says(build, published, hub, repo, tmp_path, shuffle):
    """`load_dataset` gives the planned counts and equal content, images decode, labels and lists keep their features."""
    built = build(shuffle=shuffle)
    (plan,) = built.plan.splits
    assert {source.name: draw.rows for source, draw in zip(plan.sources, plan.draws, strict=True)} == COUNTS
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


def test_building_again_does_nothing(build, hub, repo, tmp_path):
    """The same mix is there: no commit, no upload, whatever is asked for; another one must be told what to do with its rows."""
    first = build()
    commits = _commits(hub, repo)
    hub.reset_counts()
    for mode in (None, Mode.OVERWRITE, Mode.APPEND):
        again = build(mode=mode)
        assert (again.repeated, again.commit, again.plan.id) == (True, first.commit, first.plan.id)
    assert hub.bytes_received()["cas_xorb_put"] == 0
    assert _commits(hub, repo) == commits
    with pytest.raises(ConflictError, match="pass --overwrite to replace them, or --append to add to them"):
        build(seed=6)
    build(mode=Mode.APPEND, seed=6)
    assert Counter(_load(repo, tmp_path)["source"]) == {name: 2 * count for name, count in COUNTS.items()}
    build(mode=Mode.OVERWRITE, seed=7)
    assert Counter(_load(repo, tmp_path)["source"]) == COUNTS


def test_a_folder_is_a_target_too(build, tmp_path):
    """A folder loads as the repo does; overwriting leaves none of the old files, appending keeps them."""
    folder = tmp_path / "mixed"
    build(target=folder)
    first = set(folder.glob("data/*"))
    assert Counter(_load(folder, tmp_path)["source"]) == COUNTS
    assert build(target=folder).repeated
    with pytest.raises(ConflictError, match="pass --overwrite"):
        build(target=folder, seed=9)
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
    assert hub.counts()["cas_shard"] == 3  # it failed, it succeeded, and the report
    assert built.reports["train"]["per_shard"]["sha256"] == plain.reports["train"]["per_shard"]["sha256"]
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
