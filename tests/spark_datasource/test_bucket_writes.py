"""DataFrames into storage buckets, which have no commits: what is there afterwards, whatever fails on the way."""

import re

import pytest
from huggingface_hub import HfApi

from pipeline.errors import AccessError, OptionError, SchemaError, TransferError
from pipeline.hub import retry
from pipeline.streaming import stream
from tests.spark_datasource.writing import listing, numbers, plan, receipts, run, write


@pytest.fixture
def bucket(repo):
    """The path of a bucket that does not exist yet."""
    return f"buckets/{repo}"


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Waits between tries are short."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)


def paths(hub, bucket):
    return [file.path for file in listing(hub, bucket).files]


def ids(bucket, **where):
    return sorted(row["id"] for row in stream(bucket, **where))


def test_spark_writes_a_bucket_and_reads_it_back(spark, save, load, hub, bucket):
    """Append and overwrite through Spark; the same rows come back from Spark and from `datasets`."""
    from datasets import load_dataset

    save(spark.range(0, 10, 1, 2).selectExpr("id", "'x' as text"), bucket, data_dir="data")
    save(spark.range(10, 12, 1, 1).selectExpr("'y' as text", "id"), bucket, data_dir="data")
    assert sorted(row["id"] for row in load(bucket).collect()) == list(range(12))
    theirs = load_dataset(f"hf://{bucket}", split="train")
    assert sorted(theirs["id"][:]) == list(range(12))
    save(spark.range(3).selectExpr("id", "'z' as text"), bucket, mode="overwrite", data_dir="data")
    assert sorted(map(tuple, load(bucket, data_dir="data").collect())) == [(0, "z"), (1, "z"), (2, "z")]


def test_an_overwrite_removes_the_files_of_its_folder_and_split_only(hub, bucket):
    """Siblings whose names begin alike, other folders and other files stay; the new names say how many they are."""
    api = HfApi(endpoint=hub.endpoint, token="hf_x")
    write(bucket, numbers(1), numbers(2))
    write(bucket, numbers(3), split="train_v2")
    write(bucket, numbers(4), data_dir="data/train")
    write(bucket, numbers(5), data_dir="other")
    write(f"{bucket}/deep", numbers(6))
    api.batch_bucket_files(bucket.removeprefix("buckets/"), add=[(b"hello", "data/train-notes.txt")])
    kept = {path for path in paths(hub, bucket) if not re.fullmatch(r"data/train-\d.*parquet", path)}
    assert len(kept) == 5
    messages = write(bucket, numbers(7), numbers(8), overwrite=True)
    new = set(paths(hub, bucket)) - kept
    assert len(new) == len(receipts(messages)) == 2
    assert all(re.fullmatch(r"data/train-0000[01]-of-00002-[0-9a-f]{8}\.parquet", path) for path in new)
    assert ids(bucket, data_dir="other") == [5]
    assert any(path.startswith("deep/data/train-00000-of-00001-") for path in kept)


def test_splits_of_other_names_are_found_by_them(hub, bucket):
    """A split that is no usual one is read back by its name, in a bucket that was made private."""
    write(bucket, numbers(1), split="fr_x", private="true")
    write(bucket, numbers(2), numbers(3), split="fr_x")
    assert HfApi(endpoint=hub.endpoint, token="hf_x").bucket_info(bucket.removeprefix("buckets/")).private
    assert ids(bucket, split="fr_x") == [1, 2, 3]


def test_a_commit_that_is_repeated_changes_nothing(hub, bucket):
    """A lost answer, an error that passes, and a driver that commits again: the rows once."""
    write(bucket, numbers(0))
    for overwrite, fault in ((False, {"kind": "lost"}), (True, {"status": 503}), (True, {"status": 429})):
        writer = plan(bucket, numbers().schema, overwrite=overwrite)
        messages = run(writer, numbers(1))
        hub.faults.add("bucket_batch", **fault)
        writer.commit(messages)
        before = paths(hub, bucket)
        writer.commit(messages)
        hub.faults.add("bucket_tree", status=403)
        with pytest.raises(AccessError):
            writer.commit(messages)
        writer.abort(messages)
        assert paths(hub, bucket) == before
        assert ids(bucket) == ([1] if overwrite else [0, 1])


def test_a_write_that_cannot_end_leaves_what_was_there(hub, bucket):
    """When the Hub refuses the new files, the old ones stay, and there are no others."""
    write(bucket, numbers(0))
    before = paths(hub, bucket)
    for overwrite in (False, True):
        hub.faults.add("bucket_batch", status=403)
        with pytest.raises(AccessError):
            write(bucket, numbers(5), overwrite=overwrite)
        assert paths(hub, bucket) == before
    writer = plan(bucket, numbers().schema, overwrite=True)
    messages = run(writer, numbers(5))
    hub.faults.add("bucket_batch", status=500, times=None)
    with pytest.raises(TransferError):
        writer.commit(messages)
    hub.faults.clear()
    assert paths(hub, bucket) == before


def test_what_was_added_is_removed_when_the_answers_are_lost(hub, bucket):
    """A write that fails after the Hub took its files takes them away again."""
    write(bucket, numbers(0))
    before = paths(hub, bucket)
    for overwrite in (False, True):
        hub.faults.add("bucket_batch", "lost", times=retry.TRIES)
        with pytest.raises(TransferError):
            write(bucket, numbers(5), overwrite=overwrite)
        assert paths(hub, bucket) == before


def test_columns_must_fit_and_partitions_work(hub, bucket):
    """An append of other columns is refused; partition columns name folders here too."""
    import pyarrow as pa

    write(bucket, numbers(1))
    with pytest.raises(SchemaError, match="new 'x'; missing 'id'"):
        write(bucket, pa.table({"x": ["a"]}))
    table = pa.table({"id": [1, 2], "lang": ["a b", None]})
    write(bucket, table, partition_columns="lang", overwrite=True)
    assert [path.rpartition("/")[0] for path in paths(hub, bucket)] == [
        "data/train/lang=__HIVE_DEFAULT_PARTITION__",
        "data/train/lang=a b",
    ]
    assert sorted(stream(bucket), key=lambda row: row["id"]) == table.to_pylist()
    write(bucket, numbers(4), overwrite=True)
    assert ids(bucket) == [4]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"create_pr": "true"},
            "option 'create_pr' needs commits, and 'hf://buckets/ns/name' is a bucket, which has none",
        ),
        ({"commit_message": "x"}, "option 'commit_message' needs commits"),
        ({"revision": "main"}, "is a bucket, which has no revisions, got 'main'"),
    ],
)
def test_what_needs_commits_is_refused(options, said):
    """In one line, before anything is asked of the Hub."""
    from spark_datasource.write_options import parse_write

    with pytest.raises(OptionError) as caught:
        parse_write({"path": "buckets/ns/name", **options})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
