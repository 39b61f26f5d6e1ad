"""A mix of CSV, JSON lines, a folder of images and Parquet, built by Spark: its rows, its features, its second build."""

import io
import json
from collections import Counter

import datasets
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as pq

from jobs import count
from jobs.build_mix import build_with, plan_only
from jobs.session import our_errors
from jobs.verify import verify
from pipeline.mix import task_files
from pipeline.mix.recipe import parse_recipe


def _png(number):
    sink = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 0, 9)).save(sink, "PNG")
    return sink.getvalue()


def _parquet(rows):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=20)
    return sink.getvalue()


@pytest.fixture
def recipe(hub, repo, tmp_path, monkeypatch):
    """The text of a recipe over four datasets, with what to put before its sources; and the rows that each one gives."""
    from huggingface_hub import CommitOperationAdd, HfApi

    monkeypatch.setattr(task_files, "_TASK_BYTES", 800)
    monkeypatch.setattr(task_files, "_MEDIA_TASK_BYTES", 400)
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))
    rows = {
        "csv": [{"text": f"csv {n}", "n": n} for n in range(60)],
        "lines": [{"text": f"line {n}", "n": n} for n in range(80)],
        "images": [{"image": _png(n), "label": n % 2} for n in range(30)],
        "parquet": [{"text": f"row {n}", "n": n} for n in range(50)],
    }
    files = {
        "csv": {"train.csv": b"text,n\n" + "".join(f"{one['text']},{one['n']}\n" for one in rows["csv"]).encode()},
        "lines": {"train.jsonl": "".join(json.dumps(one) + "\n" for one in rows["lines"]).encode()},
        "images": {
            f"train/{['cat', 'dog'][one['label']]}/{n:02d}.png": one["image"] for n, one in enumerate(rows["images"])
        },
        "parquet": {"train.parquet": _parquet(rows["parquet"])},
    }
    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    for name, own in files.items():
        api.create_repo(f"{repo}-{name}", repo_type="dataset")
        adds = [CommitOperationAdd(path, content) for path, content in own.items()]
        api.create_commit(f"{repo}-{name}", adds, commit_message="put", repo_type="dataset")

    def make(*top):
        keys = {"csv": "repeat: 2", "lines": "where: n >= 30"}
        sources = [
            f"- {{dataset: {repo}-{name}, name: {name}" + (f", {keys[name]}" if name in keys else "") + "}"
            for name in files
        ]
        text = "\n".join([f"target: {repo}", "shards: 2", *top, "sources:", *sources])
        return parse_recipe(text, str(tmp_path / "mix.yaml"))

    rows["csv"] *= 2
    rows["lines"] = rows["lines"][30:]
    return make, rows


def _canonical(rows):
    return Counter(repr(sorted((k, v) for k, v in row.items() if v is not None)) for row in rows)


@pytest.mark.spark
@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_spark_builds_a_mix_of_formats(spark, hub, repo, recipe, tmp_path, shuffle):
    """Exactly the rows of plain Python, with the features of `datasets`; verified; a second build does nothing."""
    make, expected = recipe
    with our_errors():
        built = build_with(spark, make(f"shuffle: {shuffle}"), endpoint=hub.endpoint)
        assert not built.repeated
        assert build_with(spark, make(f"shuffle: {shuffle}"), endpoint=hub.endpoint).repeated
    loaded = datasets.load_dataset(repo, split="train", cache_dir=str(tmp_path / "datasets"), token="hf_any")
    assert loaded.features["image"] == datasets.Image()
    assert loaded.features["label"] == datasets.ClassLabel(names=["cat", "dog"])
    found = {name: [] for name in expected}
    for row in loaded.data.table.to_pylist():
        image = row["image"] and row["image"]["bytes"]
        found[row.pop("source")].append({**row, "image": image})
    assert {name: _canonical(rows) for name, rows in found.items()} == {
        name: _canonical(rows) for name, rows in expected.items()
    }
    verified = verify(
        repo,
        config=None,
        split=None,
        revision=None,
        allow_code=False,
        allow_files=False,
        endpoint=hub.endpoint,
    )
    assert verified.equal
    assert sum(one.rows for one in verified.splits) == 250


def test_a_plan_counts_what_nothing_tells_and_says_so(hub, recipe, capsys, monkeypatch):
    """Also without `--count`; once only. What is behind conditions of Parquet, and what media folders tell, it does not count."""
    make, _ = recipe
    read = []
    survey_run = count.survey_run
    monkeypatch.setattr(
        count, "survey_run", lambda survey, run, token: read.append(run) or survey_run(survey, run, token)
    )
    _, plan = plan_only(make(), endpoint=hub.endpoint)
    assert capsys.readouterr().err == (
        "note: the rows of csv, lines are counted, for files that are not Parquet do not tell them\n"
    )
    assert {run.source for run in read} == {0, 1}
    assert [source.rows for source in plan.splits[0].sources] == [60, 50, 30, 50]
    assert plan.exact
    known = len(read)
    assert plan_only(make(), endpoint=hub.endpoint)[1].id == plan.id
    assert len(read) == known
    assert capsys.readouterr().err == ""
