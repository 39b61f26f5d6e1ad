"""All splits of a mix with what tells of them: in a repo, a bucket, a folder of one, and a local folder."""

import uuid
from functools import partial

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

import pipeline
from pipeline.errors import ConflictError, NotFoundError
from pipeline.folder import list_folder, publish_splits_to_folder
from pipeline.hub import client
from pipeline.hub.bucket import create_bucket, list_target, target_refs
from pipeline.hub.card import split_info
from pipeline.hub.copies import copied_shard
from pipeline.hub.history import read_history
from pipeline.hub.listing import list_files
from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.resolver import resolve
from pipeline.hub.split import Mode, SplitWrite, existing_files
from pipeline.hub.splits import NOTHING, Beside
from pipeline.parquet.features import features_of, to_yaml
from pipeline.parquet.layout import Kind, Layout
from pipeline.publishing import publish_splits, publish_splits_to_bucket
from pipeline.staging import FolderStore
from pipeline.writing import HubStore

TOKEN = Secret("hf_splits")
SCHEMA = pa.schema([("x", pa.int64())])
FEATURES = features_of(SCHEMA)


class Target:
    """One place to publish to, whatever it is."""

    def __init__(self, place, ref):
        self.place, self.ref = place, ref

    @property
    def is_folder(self):
        return self.ref is None

    def listing(self):
        return list_folder(self.place) if self.is_folder else list_target(self.ref, TOKEN)

    def store(self, values):
        store = FolderStore(self.place, "build") if self.is_folder else HubStore(self.ref, TOKEN)
        writer = store.open("shard", SCHEMA, layout=Layout(kind=Kind.BLOCKS), features=FEATURES)
        writer.write_row_group(pa.table({"x": pa.array(values, pa.int64())}))
        store.end(writer)
        return store.finish()

    def publish(self, splits, mode=Mode.OVERWRITE, *, beside=NOTHING, planned=None, config="default"):
        """Publish splits (name -> values)."""
        transaction = uuid.uuid4().hex
        writes = [
            (
                SplitWrite(
                    config=config,
                    split=split,
                    mode=mode,
                    transaction=transaction,
                    features=to_yaml(FEATURES),
                    section=f"about {split}",
                    record="{}\n",
                ),
                self.store(values),
            )
            for split, values in splits.items()
        ]
        now = self.listing()
        planned = planned or [existing_files(now, config, split) for split in splits]
        if self.is_folder:
            return publish_splits_to_folder(self.place, writes, beside)
        send = partial(publish_splits, message="mix") if self.ref.kind == "datasets" else publish_splits_to_bucket
        return send(self.ref, TOKEN, writes, planned=planned, beside=beside)

    def read(self, path):
        """A file's bytes."""
        listing = self.listing()
        (file,) = (one for one in listing.files if one.path == path)
        if self.is_folder:
            return (self.place / path).read_bytes()
        reader = open_file(target_refs(listing, [file])[0], TOKEN) if file.xet_hash else None
        if reader is None:
            return client.get(listing.ref.file_url(path), TOKEN, about=path).content
        return bytes(reader.read(0, file.size))

    def values(self, split, config="default"):
        """The rows of a split, by its files."""
        files = existing_files(self.listing(), config, split)
        tables = [pq.read_table(pa.BufferReader(self.read(file.path))) for file in files]
        return [value for table in tables for value in table["x"].to_pylist()]

    def paths(self, folder):
        """Files below a folder."""
        return [file.path.removeprefix(folder) for file in self.listing().files if file.path.startswith(folder)]


@pytest.fixture(params=["repo", "bucket", "folder of a bucket", "folder"])
def target(request, hub, repo, tmp_path):
    """Each kind of target, empty."""
    if request.param == "folder":
        return Target(tmp_path / "mix", None)
    if request.param == "repo":
        ref = parse_ref(repo, endpoint=hub.endpoint)
        client.create_repo(ref, TOKEN)
        return Target(None, ref)
    path = "/deep/mix" if "folder" in request.param else ""
    ref = parse_ref(f"hf://buckets/{repo}{path}", endpoint=hub.endpoint)
    create_bucket(ref, TOKEN)
    return Target(None, ref)


def report(split, text="report"):
    """What is beside a split."""
    folder = f"mix/default/{split}/"
    return Beside(
        texts={f"{folder}report.md": text},
        contents={f"{folder}shares.png": b"\x89PNG" + text.encode(), f"{folder}blocks.parquet": b"PAR1"},
    )


def test_all_splits_come_with_their_card_and_reports(target):
    """Rows, numbers, sections and files beside them are there after one publication."""
    target.publish({"train": [1, 2, 3], "test": [4]}, beside=report("train"))
    card = target.listing().card
    assert [target.values(split) for split in ("train", "test")] == [[1, 2, 3], [4]]
    assert [split_info(card, "default", split).num_examples for split in ("train", "test")] == [3, 1]
    assert [split for split, _ in card.configs[0].data_files] == ["train", "test"]
    assert "about train" in card.body
    assert "about test" in card.body
    assert target.paths("mix/default/train/") == ["blocks.parquet", "report.md", "shares.png"]
    assert target.read("mix/default/train/shares.png") == b"\x89PNGreport"
    assert len(target.paths(".pipeline/writes/default/")) == 2


def test_an_overwrite_takes_old_reports_away_and_an_append_leaves_them(target):
    """What told of the old rows goes with them; what tells of more rows comes next to it; other splits keep theirs."""
    target.publish({"train": [1], "test": [2]}, beside=report("train"))
    target.publish({"test": [7]}, beside=Beside(texts={"mix/default/test/report.md": "t"}))
    target.publish({"train": [3]}, Mode.APPEND, beside=Beside(texts={"mix/default/train/abc/report.md": "more"}))
    assert sorted(target.values("train")) == [1, 3]
    assert target.paths("mix/default/train/") == ["abc/report.md", "blocks.parquet", "report.md", "shares.png"]
    assert split_info(target.listing().card, "default", "train").num_examples == 2
    target.publish({"train": [5]}, beside=Beside(texts={"mix/default/train/report.md": "new"}))
    assert target.values("train") == [5]
    assert target.values("test") == [7]
    assert target.paths("mix/default/train/") == ["report.md"]
    assert target.read("mix/default/train/report.md") == b"new"
    assert target.paths("mix/default/test/") == ["report.md"]


def test_a_table_beside_a_split_is_no_data(target, put):
    """A pattern of the card that would match it becomes the files that it means."""
    target.publish({"train": [1]})
    text = target.listing().card.text().replace("data/train-*", "'**/*.parquet'")
    if target.is_folder:
        (target.place / "README.md").write_text(text)
    elif target.ref.kind == "datasets":
        put(target.ref.repo_id, {"README.md": text})
    else:
        return
    target.publish({"train": [2]}, Mode.APPEND, beside=report("train"))
    assert target.values("train") == [1, 2]


def test_a_bucket_that_another_writer_added_to_is_not_overwritten(hub, repo):
    """What came since the overwrite was planned stays, and nothing comes next to it."""
    ref = parse_ref(f"hf://buckets/{repo}", endpoint=hub.endpoint)
    create_bucket(ref, TOKEN)
    target = Target(None, ref)
    target.publish({"train": [1], "test": [2]})
    planned = [existing_files(target.listing(), "default", split) for split in ("train", "test")]
    target.publish({"test": [9]}, Mode.APPEND)
    before = target.listing()
    with pytest.raises(ConflictError, match="was changed by another writer"):
        target.publish({"train": [3], "test": [4]}, planned=planned)
    assert target.listing() == before


def test_an_overwrite_is_one_commit_guarded_for_each_split(hub, new_ref):
    """Another writer's rows in any of the splits are not lost; the history has one line for all of them."""
    target = Target(None, new_ref)
    target.publish({"train": [1], "test": [2]})
    planned = [existing_files(target.listing(), "default", split) for split in ("train", "test")]
    target.publish({"test": [9]}, Mode.APPEND)
    with pytest.raises(ConflictError, match="'test' of config 'default' was changed by another writer"):
        target.publish({"train": [3], "test": [4]}, planned=planned)
    assert [target.values(split) for split in ("train", "test")] == [[1], [2, 9]]
    hub.reset_counts()
    target.publish({"train": [3], "test": [4, 5]}, beside=report("train"))
    assert hub.counts()["commit"] == 1
    newest = next(read_history(new_ref, TOKEN))
    assert (newest.record.split, newest.record.rows, newest.record.files) == ("train, test", 3, 2)
    assert [row["x"] for row in pipeline.stream(new_ref.repo_id, endpoint=new_ref.endpoint, split="test")] == [4, 5]


def test_a_lost_answer_is_one_commit(hub, new_ref):
    """The transaction is looked for before the splits are sent again."""
    hub.faults.add("commit", "lost")
    target = Target(None, new_ref)
    target.publish({"train": [1], "test": [2]}, Mode.APPEND, beside=report("train"))
    assert [target.values(split) for split in ("train", "test")] == [[1], [2]]
    assert len(list(read_history(new_ref, TOKEN))) == 2


def copy_of(source, ref, send, **more):
    """Publish a source's first file as split `copy`, without reading it."""
    (file,) = resolve(source, TOKEN).files
    receipt = copied_shard(source.repo_id, file, rows=2, num_bytes=16)
    return send(ref, TOKEN, [(_append("copy"), [receipt])], planned=[()], **more)


def _append(split="train"):
    return SplitWrite(
        config="default", split=split, mode=Mode.APPEND, transaction=uuid.uuid4().hex, features=to_yaml(FEATURES)
    )


@pytest.mark.parametrize("kind", ["another repo", "the same repo", "bucket"])
def test_whole_files_are_copied_by_the_hub(hub, repo, put, parquet_bytes, kind):
    """No byte of them is moved; the same repo needs not even be asked."""
    source = put(f"{repo}-source", {"data/train-0.parquet": parquet_bytes({"x": [4, 5]})})
    if kind == "bucket":
        ref = parse_ref(f"hf://buckets/{repo}", endpoint=hub.endpoint)
        create_bucket(ref, TOKEN)
        send, more = publish_splits_to_bucket, {}
    else:
        ref = source if kind == "the same repo" else parse_ref(repo, endpoint=hub.endpoint)
        client.create_repo(ref, TOKEN)
        send, more = publish_splits, {"message": "copy"}
    hub.reset_counts()
    copy_of(source, ref, send, **more)
    counts = hub.counts()
    assert counts["lfs_duplicate"] == (kind == "another repo")
    assert counts["cas_xorb_put"] == (kind == "bucket"), "only the card of a bucket is stored"
    assert not counts["cas_xorb_get"]
    assert Target(None, ref).values("copy") == [4, 5]


def test_a_file_that_cannot_be_copied_is_named_in_one_line(hub, repo, put, parquet_bytes):
    """One that the source does not hold any more, or a source that this token may not see."""
    source = put(f"{repo}-source", {"data/train-0.parquet": parquet_bytes({"x": [4, 5]})})
    ref = parse_ref(repo, endpoint=hub.endpoint)
    client.create_repo(ref, TOKEN)
    (file,) = resolve(source, TOKEN).files
    receipt = copied_shard(f"{repo}-gone", file, rows=2, num_bytes=16)
    with pytest.raises(NotFoundError, match=rf"^{repo}-gone: no such dataset on the Hub, or no access to it; .*$"):
        publish_splits(ref, TOKEN, [(_append(), [receipt])], planned=[()], message="copy")
    other = put(f"{repo}-other", {"a.txt": "a"})
    receipt = copied_shard(other.repo_id, file, rows=2, num_bytes=16)
    with pytest.raises(NotFoundError, match=rf"^{repo}-other/data/train-0.parquet and 0 other files: .*plan again"):
        publish_splits(ref, TOKEN, [(_append(), [receipt])], planned=[()], message="copy")
    assert not list_files(ref, TOKEN).card.configs
