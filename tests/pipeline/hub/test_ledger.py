"""What a build has stored is remembered where it goes, for few calls, and disturbs nobody who reads there."""

import sqlite3
import threading
from datetime import timedelta

import pytest

from pipeline.hub import client
from pipeline.hub.bucket import create_bucket, list_target
from pipeline.hub.history import read_history
from pipeline.hub.ledger import open_ledger
from pipeline.hub.listing import list_files
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.resolver import resolve
from pipeline.hub.upload import Origin, ShardReceipt, StoredFile, Upload

TOKEN = Secret("hf_ledger")
PLAN = "0123456789abcdef" * 2


def store(ref, *contents):
    """Stored files with these contents, as receipts by key."""
    with Upload(ref, TOKEN) as session:
        for index, content in enumerate(contents):
            stream = session.open(f"part-{index}")
            stream.write(content)
            stream.close()
        files = session.finish()
    return {
        f"train/{index:05d}": ShardReceipt(file=file, rows=index + 1, num_bytes=10 * index)
        for index, file in enumerate(files)
    }


def told(receipts):
    """What must survive: all but the path."""
    return {
        key: (one.rows, one.num_bytes, one.file.sha256, one.file.xet_hash, one.file.size, one.file.new_bytes)
        for key, one in receipts.items()
    }


@pytest.fixture(params=["datasets", "buckets", "bucket/folder"])
def target(request, hub, repo):
    """The ref of a target that exists: a dataset, a bucket, a folder in one."""
    if request.param == "datasets":
        ref = parse_ref(repo, endpoint=hub.endpoint)
        client.create_repo(ref, TOKEN)
        return ref
    folder = "/deep/mix" if request.param == "bucket/folder" else ""
    ref = parse_ref(f"hf://buckets/{repo}{folder}", endpoint=hub.endpoint)
    create_bucket(ref, TOKEN)
    return ref


def test_what_is_saved_is_loaded_until_it_is_dropped(target):
    """Receipts come back as they were, of this plan only; nothing is left after `drop`, which may be done again."""
    receipts = store(target, b"a" * 1000, b"b" * 2000, b"c" * 3000)
    first, *others = receipts
    ledger = open_ledger(target, TOKEN, PLAN)
    assert ledger.load() == {}
    ledger.save({first: receipts[first]})
    ledger.save({key: receipts[key] for key in others})
    ledger.save({first: receipts[first]})
    assert told(open_ledger(target, TOKEN, PLAN).load()) == told(receipts)
    assert open_ledger(target, TOKEN, "f" * 32).load() == {}
    for _ in range(2):
        ledger.drop()
        assert ledger.load() == {}


def test_who_reads_sees_nothing_of_it(target, put, parquet_bytes):
    """Neither files, splits, nor history of the target change while a build goes on."""
    if target.kind == "datasets":
        put(target.repo_id, {"data/train-0.parquet": parquet_bytes({"x": [1]})})
    before = list_target(target, TOKEN)
    open_ledger(target, TOKEN, PLAN).save(store(target, b"a" * 1000))
    after = list_target(target, TOKEN)
    assert {file for file in after.files if not file.path.startswith(".pipeline/")} == set(before.files)
    if target.kind == "datasets":
        assert after == before
        assert [file.path for file in resolve(target, TOKEN).files] == ["data/train-0.parquet"]
        assert len(list(read_history(target, TOKEN))) == 2


def test_saving_costs_one_call_however_much_is_stored(target, hub):
    """The first time a branch is made; then it is one call for any number of receipts, and loading is two."""
    receipts = store(target, *(bytes([i]) * 1000 for i in range(20)))
    ledger = open_ledger(target, TOKEN, PLAN)
    ledger.save({"train/00000": receipts["train/00000"]})
    hub.reset_counts()
    ledger.save(receipts)
    assert hub.counts() == ({"commit": 1} if target.kind == "datasets" else {"bucket_batch": 1})
    hub.reset_counts()
    assert len(ledger.load()) == 20
    assert hub.counts() == ({"tree": 1, "lfs_batch": 1} if target.kind == "datasets" else {"bucket_tree": 1})


def test_what_nobody_goes_on_with_is_dropped_too(target, monkeypatch):
    """Dropping one ledger leaves another that is new, and takes one along that is old."""
    other = open_ledger(target, TOKEN, "f" * 32)
    other.save(store(target, b"o" * 1000))
    open_ledger(target, TOKEN, PLAN).drop()
    assert other.load()
    monkeypatch.setattr("pipeline.hub.ledger._KEPT", timedelta(0))
    open_ledger(target, TOKEN, PLAN).drop()
    assert not other.load()


def test_a_receipt_counts_only_while_the_hub_has_the_file(new_ref, hub):
    """Content that was deleted from storage is built again, though the branch still names it."""
    receipts = store(new_ref, b"a" * 1000, b"b" * 2000)
    ledger = open_ledger(new_ref, TOKEN, PLAN)
    ledger.save(receipts)
    with sqlite3.connect(hub._root / "hub.sqlite3") as conn:
        conn.execute("DELETE FROM file_repos WHERE file = ?", (receipts["train/00000"].file.xet_hash,))
    assert list(ledger.load()) == ["train/00001"]


@pytest.mark.parametrize("kind", ["lost", "status"])
def test_an_answer_that_is_lost_loses_no_receipt(target, hub, kind):
    """What may be sent again is sent again, and two that save at once do not hinder each other."""
    receipts = store(target, b"a" * 1000, b"b" * 2000)
    hub.faults.add("commit" if target.kind == "datasets" else "bucket_batch", kind, status=503)
    threads = [
        threading.Thread(target=open_ledger(target, TOKEN, PLAN).save, args=({key: one},))
        for key, one in receipts.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(open_ledger(target, TOKEN, PLAN).load()) == told(receipts)


def test_a_file_that_is_only_copied_is_not_remembered(new_ref, hub):
    """Nothing was done for it, and the repo does not hold it."""
    file = StoredFile(path="a", sha256="0" * 64, xet_hash="0" * 64, size=1, origin=Origin(repo_id="a/b", path="a"))
    hub.reset_counts()
    open_ledger(new_ref, TOKEN, PLAN).save({"train/0": ShardReceipt(file=file, rows=1, num_bytes=1)})
    assert not hub.counts()
    assert list_files(new_ref, TOKEN).card.configs == ()
