"""`pipeline inspect` as people run it, on datasets of a real Hub over HTTP: text, JSON, and one line for what is wrong."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

PIPELINE = Path(sys.executable).with_name("pipeline")
TABLE = pa.table({"id": range(1000), "text": [f"row {i}" for i in range(1000)]})


@pytest.fixture
def run(hub):
    """Run the command in a process of its own; (exit code, stdout, stderr)."""

    def call(*args):
        done = subprocess.run([PIPELINE, "inspect", *args], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture
def put(hub, repo):
    """Commit files (path -> text, bytes or table) to the test's repo; its name."""
    from huggingface_hub import CommitOperationAdd, HfApi

    def commit(files, **options):
        api = HfApi(endpoint=hub.endpoint, token="hf_any")
        api.create_repo(repo, repo_type="dataset", exist_ok=True)
        adds = [CommitOperationAdd(path, _bytes(content, options)) for path, content in files.items()]
        api.create_commit(repo, adds, commit_message="put", repo_type="dataset")
        return repo

    return commit


def _bytes(content, options):
    if not isinstance(content, pa.Table):
        return content.encode() if isinstance(content, str) else content
    sink = io.BytesIO()
    pq.write_table(content, sink, **options)
    return sink.getvalue()


@pytest.fixture
def ours(hub, repo):
    """Publish tables (split -> table) as our writers do, in blocks; the repo's name."""
    from pipeline.hub import client
    from pipeline.hub.repo import parse_ref
    from pipeline.hub.split import Mode, SplitWrite
    from pipeline.parquet.features import features_of, to_yaml
    from pipeline.parquet.layout import Kind, Layout
    from pipeline.publishing import publish
    from pipeline.writing import FileSizes, store_split

    def write(splits):
        ref = parse_ref(repo, endpoint=hub.endpoint)
        client.create_repo(ref, None)
        for split, table in splits.items():
            features = features_of(table.schema)
            receipts = store_split(
                ref,
                None,
                table.to_batches(250),
                table.schema,
                name=split,
                layout=Layout(kind=Kind.BLOCKS),
                features=features,
                sizes=FileSizes(max_rows=500),
            ).receipts
            wanted = SplitWrite(
                config="default",
                split=split,
                mode=Mode.OVERWRITE,
                transaction=f"{split}{'0' * 32}",
                features=to_yaml(features),
            )
            publish(ref, None, wanted, receipts, planned=(), message="write")
        return repo

    return write


def _report(done):
    code, out, err = done
    assert (code, err) == (0, "")
    return json.loads(out)


def test_a_dataset_of_ours_is_told_split_by_split(run, ours):
    """An overview, then each split's files, row groups, layout and columns; of blocks in small splits there is no complaint."""
    name = ours({"train": TABLE, "test": TABLE.slice(0, 100)})
    code, out, err = run(name)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith(f"{name}@")
    assert "1 config, 2 splits, 3 files, 1,100 rows" in out
    assert "config default, split test" in out
    assert "layout       blocks (aligned to Xet chunks)" in out
    assert "features     in the card and in all files" in out
    assert "on Xet       all files" in out
    assert "nothing here would make it stream better" in out


def test_json_has_every_number(run, ours):
    """The same facts for programs: sizes in bytes, columns in the file's order, the commit."""
    report = _report(run(ours({"train": TABLE}), "--json"))
    (split,) = report["splits"]
    assert len(report["commit"]) == 40
    assert (split["config"], split["split"], split["files"], split["rows"]) == ("default", "train", 2, 1000)
    assert split["layouts"] == {"blocks": 2}
    assert split["rows_on_card"] == 1000
    assert [column["name"] for column in split["columns"]] == ["id", "text"]
    assert sum(column["share"] for column in split["columns"]) == pytest.approx(1)
    assert (split["advice"], report["other_formats"]) == ([], [])


def test_what_push_to_hub_wrote_is_told_as_editable(run, hub, repo):
    """`datasets` records its content-defined chunking, its configs and its features: all of it is seen."""
    import datasets

    features = datasets.Features({"label": datasets.ClassLabel(names=["a", "b"])})
    pushed = datasets.Dataset.from_dict({"label": [0, 1] * 50}, features=features)
    pushed.push_to_hub(repo, token="hf_any")
    pushed.push_to_hub(repo, "more", split="test", token="hf_any")
    splits = _report(run(repo, "--json"))["splits"]
    assert [(one["config"], one["split"], one["rows"]) for one in splits] == [
        ("default", "train", 100),
        ("more", "test", 100),
    ]
    for split in splits:
        assert split["layouts"] == {"editable": 1}
        assert (split["features_on_card"], split["files_with_features"], split["files_on_xet"]) == (True, 1, 1)
        assert split["columns"][0]["feature"] == "ClassLabel"


def test_config_split_and_revision_choose(run, put):
    """Only what is asked for is looked into, at the commit that is asked for."""
    card = (
        "---\nconfigs:\n"
        "- config_name: de\n  data_files:\n  - {split: train, path: de/train*}\n  - {split: test, path: de/test*}\n"
        "- config_name: fr\n  data_files:\n  - {split: train, path: fr/train*}\n---\n"
    )
    name = put({"README.md": card, **{f"{one}.parquet": TABLE for one in ("de/train", "de/test", "fr/train")}})
    first = _report(run(name, "--json"))["commit"]
    put({"de/train-more.parquet": TABLE})

    def found(*args):
        splits = _report(run(name, "--json", *args))["splits"]
        return [(one["config"], one["split"], one["files"]) for one in splits]

    assert found() == [("de", "train", 2), ("de", "test", 1), ("fr", "train", 1)]
    assert found("--config", "de") == [("de", "train", 2), ("de", "test", 1)]
    assert found("--split", "train") == [("de", "train", 2), ("fr", "train", 1)]
    assert found("--config", "de", "--split", "train", "--revision", first) == [("de", "train", 1)]


def test_many_splits_are_an_overview_with_each_finding_once(run, put):
    """A dataset of many configs is not pages long: no columns, and a finding names one split and counts the others."""
    entries = "".join(f"- config_name: c{i}\n  data_files: {i}.parquet\n" for i in range(6))
    name = put({"README.md": f"---\nconfigs:\n{entries}---\n", **{f"{i}.parquet": TABLE for i in range(6)}})
    code, out, err = run(name)
    assert (code, err) == (0, "")
    assert "encoding" not in out
    assert out.count("the card lists none of its 2 columns") == 1
    assert "(and so in 5 other splits)" in out
    assert f"pipeline inspect {name} --config CONFIG --split SPLIT" in out


def test_a_dataset_that_streams_badly_gets_advice(run, put):
    """One large row group without statistics or page index, media behind snappy: each is said, with what to do."""
    table = pa.table({"image": [b"%064d" % i * 40_000 for i in range(26)], "noise": [i / 7 for i in range(26)]})
    name = put({"train.parquet": table}, compression="none", use_dictionary=False, write_statistics=False)
    code, out, err = run(name)
    assert (code, err) == (0, "")
    assert "its only row group is over 64 MB (66.6 MB)" in out
    assert "  -> train from a copy with row groups of 1 to 16 MB" in out
    assert "its only file is without statistics" in out
    assert "its only file is without a page index" in out


def test_only_footers_are_read(run, put, hub):
    """A look at 100 MB of rows reads the ends of the files, not the rows."""
    table = pa.table({"x": [b"%064d" % i * 40_000 for i in range(8)]})
    name = put({f"data/train-0000{i}-of-00002.parquet": table for i in range(2)}, compression="none")
    hub.reset_counts()
    _report(run(name, "--json"))
    assert sum(hub.bytes_sent().values()) < 1_000_000


def test_other_formats_are_named(run, put):
    """Rows that are not Parquet are counted, and it is said that they do not stream."""
    name = put({"train.csv": "a,b\n1,2\n", "test.csv": "a,b\n1,2\n"})
    code, out, err = run(name)
    assert (code, err) == (0, "")
    assert "config default: 2 csv files, not looked into: only Parquet streams now" in out
    assert _report(run(name, "--json"))["other_formats"] == [{"config": "default", "format": "csv", "files": 2}]


def test_other_formats_beside_parquet_are_told_apart(run, put):
    """A card may name both: the Parquet is looked into, other rows are counted, what has none is passed over."""
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: a.*}\n---\n"
    files = {"README.md": card, "a.parquet": TABLE, "a.jsonl": "{}\n", "a.license": "free"}
    report = _report(run(put(files), "--json"))
    assert report["splits"][0]["files"] == 1
    assert report["other_formats"] == [{"config": "default", "format": "json", "files": 1}]


def test_a_card_that_nobody_understands_is_a_finding(run, put):
    """Features that are no list of columns count as none; the files are looked into all the same."""
    name = put({"README.md": "---\ndataset_info:\n  features: {id: int64}\n---\n", "a.parquet": TABLE})
    (split,) = _report(run(name, "--json"))["splits"]
    assert (split["rows"], split["features_on_card"]) == (1000, False)
    assert [finding["name"] for finding in split["advice"]] == ["no-card-features"]


def test_an_empty_dataset_is_said_to_be_empty(run, put):
    """A repo with a README and no rows is no error."""
    code, out, err = run(put({"README.md": "# Soon\n"}))
    assert (code, out.endswith(": no files with rows\n"), err) == (0, True, "")


def test_what_is_not_there_ends_in_one_line(run, put):
    """No such dataset, revision, config or split, a file that is no Parquet: exit code 1, nothing on stdout, one line."""
    name = put({"data/test-00000-of-00001.parquet": TABLE})
    cases = {
        ("tests/nowhere",): "tests/nowhere: no such dataset on the Hub, or no access to it",
        (name, "--revision", "v9"): "no such revision on the Hub",
        (name, "--config", "de"): "no config 'de'; those that exist: 'default'",
        (name, "--split", "val"): "no split 'val'; those that exist: 'test'",
    }
    for args, message in cases.items():
        code, out, err = run(*args)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert message in err
    put({"data/test-00000-of-00001.parquet": b"no Parquet at all"})
    code, out, err = run(name)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "data/test-00000-of-00001.parquet: not a Parquet file" in err
    assert run("not a name")[0] == 2
