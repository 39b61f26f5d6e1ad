"""Many small files -> few larger ones: the same rows in the same order, one commit, and nobody else's work lost."""

import json
import uuid
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as pq

import pipeline
from pipeline.compaction import CompactOptions, compact_split, plan_groups
from pipeline.errors import ConflictError, NotFoundError, OptionError, SchemaError
from pipeline.hub.card import split_info
from pipeline.hub.changes import changes_between
from pipeline.hub.listing import DataFile, list_commits, list_files
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.split import Mode, SplitWrite, existing_files
from pipeline.hub.transactions import read_records
from pipeline.parquet.features import features_of, to_yaml
from pipeline.parquet.layout import Kind, Layout
from pipeline.publishing import publish
from pipeline.writing import FileSizes, store_split

TOKEN = Secret("hf_secretsecret")
LARGE = CompactOptions(target_bytes=10_000_000)


def table(start, rows=3):
    """Some rows that tell where they are from."""
    values = range(start, start + rows)
    return pa.table({"x": pa.array(values, pa.int64()), "text": [f"row {value}" for value in values]})


def append(ref, rows, *, split="train", mode=Mode.APPEND, features=None):
    """Append a table in one commit, as Spark does."""
    features = features or features_of(rows.schema)
    layout = Layout(kind=Kind.EDITABLE)
    receipts = store_split(
        ref, TOKEN, rows.to_batches(), rows.schema, name="p", layout=layout, features=features, sizes=FileSizes()
    ).receipts
    write = SplitWrite(
        config="default",
        split=split,
        mode=mode,
        transaction=uuid.uuid4().hex,
        features=to_yaml(features),
        writer="spark",
    )
    planned = existing_files(list_files(ref, TOKEN), "default", split)
    return publish(ref, TOKEN, write, receipts, planned=planned, message="append").sha


def rows(ref, split="train"):
    """All rows of a split."""
    return list(pipeline.stream(ref.repo_id, endpoint=ref.endpoint, split=split, decode=False))


def paths(ref):
    """The Parquet files of the head."""
    return [file.path for file in list_files(ref, TOKEN).files if file.path.endswith(".parquet")]


@pytest.fixture
def appended(new_ref):
    """A dataset of three appends to `train`, and one to `test`."""
    for number in range(3):
        append(new_ref, table(number * 10))
    append(new_ref, table(99), split="test")
    return new_ref


def test_rows_their_order_and_the_card_stay(appended):
    """Three files become one in one commit; another split is left alone; the card counts what it counted; the record tells."""
    from datasets import load_dataset

    before, card, commits = rows(appended), list_files(appended, TOKEN).card, len(list(list_commits(appended, TOKEN)))
    done = compact_split(appended, TOKEN, replace(LARGE, writer="me"))
    assert (done.files_before, done.files_after, done.rows, done.split) == (3, 1, 9, "train")
    assert rows(appended) == before
    listing = list_files(appended, TOKEN)
    assert len(paths(appended)) == 2
    assert rows(appended, "test") == table(99).to_pylist()
    assert split_info(listing.card, "default", "train") == split_info(card, "default", "train")
    info, files = listing.card.info("default"), [file for file in listing.files if file.path.endswith(".parquet")]
    assert info["download_size"] == sum(file.size for file in files)
    assert {**info, "download_size": 0} == {**card.info("default"), "download_size": 0}
    assert len(list(list_commits(appended, TOKEN))) == commits + 1
    record = read_records(listing, TOKEN)[-1]
    assert (record.mode, record.rows, record.files, record.writer) == ("compact", 9, 1, "me")
    assert (record.bytes, record.new_bytes) == (done.bytes_after, done.new_bytes)
    assert done.sha == listing.commit
    theirs = load_dataset(appended.repo_id, split="train")
    assert theirs.to_list() == before
    assert compact_split(appended, TOKEN, LARGE) is None


def test_the_file_is_one_of_the_layout(new_ref):
    """What is joined is written as the split is: cut by content, with the same features in the card and in its metadata."""
    from datasets import ClassLabel, Image, load_dataset
    from huggingface_hub import HfApi

    kind = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["no", "yes"]}}
    image = pa.array([{"bytes": b"x", "path": None}, None], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    for _ in range(2):
        append(new_ref, pa.table({"image": image, "label": pa.array([1, 0])}), features=kind)
    compact_split(new_ref, TOKEN, LARGE)
    (path,) = paths(new_ref)
    local = HfApi(endpoint=new_ref.endpoint, token="hf_x").hf_hub_download(new_ref.repo_id, path, repo_type="dataset")
    metadata = pq.read_metadata(local)
    assert metadata.metadata[b"content_defined_chunking"] == b"true"
    assert json.loads(metadata.metadata[b"huggingface"])["info"]["features"] == kind
    features = load_dataset(new_ref.repo_id, split="train").features
    assert features == {"image": Image(), "label": ClassLabel(names=["no", "yes"])}


def test_a_stream_of_commits_skips_a_compaction(appended):
    """The commit changes no row, and says so to who follows the split."""
    start = list_files(appended, TOKEN).commit
    done = compact_split(appended, TOKEN, LARGE)
    (change,) = changes_between(replace(appended, split="train"), TOKEN, start, done.sha)
    assert (change.mode, change.rows_changed, len(change.rewritten), len(change.removed)) == ("compact", False, 1, 2)


def test_concurrent_appends_are_kept(appended, monkeypatch):
    """Rows that come while files are joined are there after it, and counted."""
    from pipeline import compaction

    real = compaction.commit

    def commit(*args, **kwargs):
        append(appended, table(1000))
        return real(*args, **kwargs)

    before = rows(appended)
    monkeypatch.setattr(compaction, "commit", commit)
    compact_split(appended, TOKEN, LARGE)
    after = rows(appended)
    assert [row for row in after if row["x"] < 1000] == before
    assert len(after) == len(before) + 3
    assert split_info(list_files(appended, TOKEN).card, "default", "train").num_examples == len(after)
    assert len(paths(appended)) == 3


def test_files_that_somebody_changed_are_not_replaced(appended, monkeypatch):
    """An overwrite of the split meanwhile is one ConflictError; what the other one wrote stays."""
    from pipeline import compaction

    real = compaction.commit

    def commit(*args, **kwargs):
        append(appended, table(5), mode=Mode.OVERWRITE)
        return real(*args, **kwargs)

    monkeypatch.setattr(compaction, "commit", commit)
    with pytest.raises(ConflictError, match=r"of split 'train' was changed by another writer since it was read"):
        compact_split(appended, TOKEN, LARGE)
    assert rows(appended) == table(5).to_pylist()


@pytest.mark.parametrize(
    "fault", [{"kind": "lost"}, {"kind": "reset"}, {"status": 429}, {"status": 409}, {"status": 412}]
)
def test_a_fault_at_the_commit_makes_one(put, repo, parquet_bytes, hub, fault, monkeypatch):
    """A lost answer, a dropped connection, 429, a lock: one commit, the same rows."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    ref = put(repo, {f"data/train-{n}.parquet": parquet_bytes(table(n)) for n in range(2)})
    before = rows(ref)
    hub.faults.add("commit", **fault)
    compact_split(ref, TOKEN, LARGE)
    assert rows(ref) == before
    titles = [one.title for one in list_commits(ref, TOKEN)]
    assert titles.count("Compact 2 files of split train into 1") == 1


def test_files_that_another_split_names_are_left_alone(put, repo, parquet_bytes):
    """A file of two splits is not joined with its neighbours: the other split would change."""
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: 'data/*'}\n"
    card += "- config_name: some\n  data_files:\n  - {split: train, path: data/b.parquet}\n---\n"
    files = {f"data/{name}.parquet": parquet_bytes(table(start)) for start, name in enumerate("abcd")}
    ref = put(repo, {"README.md": card, **files})
    before = rows(ref)
    assert compact_split(ref, TOKEN, LARGE).files_before == 2
    assert rows(ref) == before
    assert paths(ref) == ["data/a.parquet", "data/b.parquet", "data/c.parquet"]


def test_patterns_that_name_a_file_each_are_kept_alive(put, repo, parquet_bytes):
    """Of a card that lists its files, those that are gone are taken out; the order that it gives stays."""
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n"
    card += "  - split: train\n    path: [c.parquet, a.parquet, b.parquet]\n---\n"
    files = {f"{name}.parquet": parquet_bytes(table(start)) for start, name in enumerate("abc")}
    ref = put(repo, {"README.md": f"{card}# Hello\n", **files})
    before = rows(ref)
    compact_split(ref, TOKEN, LARGE)
    assert rows(ref) == before
    assert paths(ref) == ["c.parquet"]
    assert "# Hello" in list_files(ref, TOKEN).card.body


def test_a_repo_without_a_card_gets_none(put, repo, parquet_bytes):
    """Where file names tell the split they still do."""
    files = {f"data/train-0000{n}-of-00003.parquet": parquet_bytes(table(n)) for n in range(3)}
    ref = put(repo, files)
    before = rows(ref)
    compact_split(ref, TOKEN, LARGE)
    assert rows(ref) == before
    assert [file.path for file in list_files(ref, TOKEN).files if file.path == "README.md"] == []


def test_files_of_other_columns_become_one_as_they_are_read(put, repo, parquet_bytes):
    """A column that some lack is null there, a narrower type is widened; a value that does not fit is said, and nothing done."""
    features = "---\ndataset_info:\n  features:\n  - {name: a, dtype: int64}\n  - {name: b, dtype: string}\n---\n"
    files = {
        "train-1.parquet": parquet_bytes({"a": pa.array([1], pa.int64())}),
        "train-2.parquet": parquet_bytes({"b": ["x"], "a": pa.array([2], pa.int32())}),
        "train-3.parquet": parquet_bytes({"b": ["y"]}),
    }
    ref = put(repo, {"README.md": features, **files})
    before = rows(ref)
    compact_split(ref, TOKEN, LARGE)
    assert rows(ref) == before == [{"a": 1, "b": None}, {"a": 2, "b": "x"}, {"a": None, "b": "y"}]
    ref = put(
        repo,
        {
            "train-0.parquet": parquet_bytes({"a": pa.array([1], pa.int8())}),
            "train-4.parquet": files["train-1.parquet"],
        },
    )
    put(repo, {"train-5.parquet": parquet_bytes({"a": pa.array([1000], pa.int64())})})
    head = list_files(ref, TOKEN).commit
    with pytest.raises(SchemaError, match=r"train-5\.parquet: column 'a' does not fit int8"):
        compact_split(ref, TOKEN, LARGE)
    assert list_files(ref, TOKEN).commit == head


def test_a_column_that_only_later_files_have_is_not_lost(put, repo, parquet_bytes):
    """It is there for all rows after it, also where no card names it; a part of a nested one is said, and nothing done."""
    files = {
        "train-0.parquet": parquet_bytes({"a": [1]}),
        "train-1.parquet": parquet_bytes({"a": [2], "b": ["precious"]}),
    }
    ref = put(repo, files)
    compact_split(ref, TOKEN, LARGE)
    assert rows(ref) == [{"a": 1, "b": None}, {"a": 2, "b": "precious"}]
    ref = put(
        f"{repo}-nested",
        {
            "train-0.parquet": parquet_bytes({"s": [{"u": 1}]}),
            "train-1.parquet": parquet_bytes({"s": [{"u": 2, "v": 3}]}),
        },
    )
    head = list_files(ref, TOKEN).commit
    with pytest.raises(SchemaError, match=r"'s\.v' of 'train-1\.parquet' is not in the split's first file"):
        compact_split(ref, TOKEN, LARGE)
    assert list_files(ref, TOKEN).commit == head


def test_what_cannot_be_compacted_is_one_line(appended, put, parquet_bytes):
    """A bucket, a tag, blocks, a split that is not there, sizes that are none."""
    with pytest.raises(OptionError, match="is a bucket"):
        compact_split(parse_ref("buckets/ns/name", endpoint=appended.endpoint), TOKEN)
    with pytest.raises(NotFoundError, match="no split 'nope'"):
        compact_split(replace(appended, split="nope"), TOKEN)
    for options in (CompactOptions(target_bytes=0), CompactOptions(min_files=1)):
        with pytest.raises(OptionError, match="got"):
            compact_split(appended, TOKEN, options)
    batch = table(0)
    for _ in range(2):
        layout = Layout(kind=Kind.BLOCKS)
        receipts = store_split(
            appended, TOKEN, batch.to_batches(), batch.schema, name="p", layout=layout, features=None, sizes=FileSizes()
        ).receipts
        write = SplitWrite(
            config="default", split="blocks", mode=Mode.APPEND, transaction=uuid.uuid4().hex, features=None
        )
        publish(appended, TOKEN, write, receipts, planned=(), message="m")
    with pytest.raises(OptionError, match="is made of blocks, for mixing"):
        compact_split(replace(appended, split="blocks"), TOKEN)


def test_few_files_are_left_as_they_are(appended):
    """With fewer small files than `min_files`, or none smaller than half of the target, nothing is read."""
    assert compact_split(appended, TOKEN, replace(LARGE, min_files=4)) is None
    assert compact_split(appended, TOKEN, CompactOptions(target_bytes=1000)) is None
    assert compact_split(replace(appended, split="test"), TOKEN, LARGE) is None


def test_most_of_what_is_joined_is_in_storage_already(new_ref):
    """Content that was uploaded in small files is not uploaded again in the large one."""
    import random

    dice = random.Random(0)
    for number in range(4):
        values = [dice.randbytes(2_000) for _ in range(1_000)]
        append(new_ref, pa.table({"n": range(number, number + 1_000), "data": values}))
    done = compact_split(new_ref, TOKEN, CompactOptions(target_bytes=100_000_000))
    assert done.bytes_after > 8_000_000
    assert done.new_bytes < 0.4 * done.bytes_after


def test_every_file_of_a_group_is_held_once(appended, hub):
    """A file that is read, or its footer, is asked for once; joining asks for one token to upload."""
    hub.reset_counts()
    compact_split(appended, TOKEN, LARGE)
    assert hub.counts()["xet_write_token"] == 1
    assert hub.counts()["commit"] == 1


@given(st.lists(st.tuples(st.integers(0, 120), st.sampled_from("ab")), max_size=30), st.integers(1, 100))
def test_groups_are_neighbours_that_fit(drawn, target):
    """Two or more neighbours of one folder, each less than half of the target, no more than it together; none left fits on."""
    files = [DataFile(path=f"{folder}/{index:03d}", size=size) for index, (size, folder) in enumerate(drawn)]
    places = [[files.index(file) for file in group] for group in plan_groups(files, target)]
    assert all(place == list(range(place[0], place[-1] + 1)) and len(place) > 1 for place in places)
    assert all(left[-1] < right[0] for left, right in pairwise(places))
    for place in places:
        assert sum(drawn[index][0] for index in place) <= target
        assert all(drawn[index][0] * 2 < target for index in place)
        assert len({drawn[index][1] for index in place}) == 1
    taken = {index for place in places for index in place}
    alone = [index for index in range(len(files)) if index not in taken and drawn[index][0] * 2 < target]
    for left, right in pairwise(alone):
        fits = drawn[left][0] + drawn[right][0] <= target and drawn[left][1] == drawn[right][1]
        assert right != left + 1 or not fits
