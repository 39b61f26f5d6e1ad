"""Many writers at once, and many files in one commit."""

import threading
import uuid
from dataclasses import replace

import pytest

from pipeline.errors import DatasetError, OptionError
from pipeline.hub.card import split_info
from pipeline.hub.changes import changes_between
from pipeline.hub.commit import FILES_MAX, TEXT_BYTES_MAX, check_limits
from pipeline.hub.listing import list_commits, list_files
from pipeline.hub.repo import Secret
from pipeline.hub.resolver import resolve
from pipeline.hub.split import Mode, SplitWrite
from pipeline.hub.transactions import read_records
from pipeline.hub.upload import ShardReceipt, StoredFile, Upload
from pipeline.publishing import publish

TOKEN = Secret("hf_secretsecret")
WRITERS, COMMITS = 8, 5


@pytest.fixture
def stored(new_ref):
    """A file that is in the repo's storage and in no commit."""
    with Upload(new_ref, TOKEN) as upload:
        stream = upload.open("any")
        stream.write(b"x" * 1000)
        stream.close()
        return upload.finish()[0]


def write(ref, files, **more):
    """Publish stored files of a row each as an append."""
    write = SplitWrite(
        config="default", split="train", mode=Mode.APPEND, transaction=uuid.uuid4().hex, features=None, **more
    )
    receipts = [ShardReceipt(file=file, rows=1, num_bytes=8) for file in files]
    return publish(ref, TOKEN, write, receipts, planned=(), message="append")


def test_eight_writers_of_five_commits_each_lose_nothing(new_ref, stored, monkeypatch):
    """40 commits, each built on the one before; files, the card's numbers and the records of all of them."""
    import time

    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(seconds / 20))
    start, errors = threading.Barrier(WRITERS), []

    def work(number):
        start.wait()
        try:
            for _ in range(COMMITS):
                write(new_ref, [stored], writer=f"w{number}")
        except DatasetError as err:
            errors.append(err)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    total = WRITERS * COMMITS
    listing = list_files(new_ref, TOKEN)
    commits = list(list_commits(new_ref, TOKEN))
    assert [one.title for one in commits] == ["append"] * total + ["initial commit"]
    assert len(resolve(new_ref, TOKEN).files) == total
    assert split_info(listing.card, "default", "train").num_examples == total
    records = read_records(listing, TOKEN)
    assert [one.parent for one in records] == [one.sha for one in commits[:0:-1]]
    assert sorted(one.writer for one in records) == sorted(
        f"w{number}" for number in range(WRITERS) for _ in range(COMMITS)
    )


def test_ten_thousand_files_are_one_commit(new_ref, stored):
    """All are there in one commit, in the split, counted; and a second commit adds to them."""
    done = write(new_ref, [stored] * 10_000)
    listing = list_files(new_ref, TOKEN)
    assert listing.commit == done.sha
    assert len(resolve(new_ref, TOKEN).files) == 10_000
    assert split_info(listing.card, "default", "train").num_examples == 10_000
    assert read_records(listing, TOKEN)[-1].files == 10_000
    write(new_ref, [stored])
    (change,) = changes_between(replace(new_ref, split="train"), TOKEN, done.sha, list_files(new_ref, TOKEN).commit)
    assert (len(change.added), change.only_adds) == (1, True)


def test_more_than_a_commit_may_hold_is_refused_before_it_is_sent(new_ref, hub):
    """25,000 files and a gigabyte of others at the most; the message says how to get fewer; the Hub is not asked."""
    file = StoredFile(path="a", sha256="0" * 64, xet_hash="", size=1)
    hub.reset_counts()
    with pytest.raises(
        OptionError, match=r"at most 25,000 files, got 25,001; write fewer, larger ones: from fewer tasks"
    ):
        write(new_ref, [file] * (FILES_MAX + 1))
    assert hub.counts()["commit"] == 0
    check_limits("ns/name", files=FILES_MAX, text_bytes=TEXT_BYTES_MAX)
    with pytest.raises(OptionError, match=r"ns/name: one commit takes at most 1,000,000,000 bytes"):
        check_limits("ns/name", files=1, text_bytes=TEXT_BYTES_MAX + 1)
