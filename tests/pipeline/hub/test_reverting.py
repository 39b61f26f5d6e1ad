"""Going back to an old commit by a new one, and the history that tells of it."""

from datetime import timedelta

import pytest
from huggingface_hub import HfApi

from pipeline.errors import ConflictError, NotFoundError, OptionError
from pipeline.hub import client
from pipeline.hub.changes import same_content
from pipeline.hub.commit import Change, commit
from pipeline.hub.history import find_commit, read_history
from pipeline.hub.listing import list_commits, list_files
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.revert import plan_revert, revert
from pipeline.hub.transactions import TRANSACTIONS, Record, read_records

TOKEN = Secret("hf_secretsecret")
BYTES = bytes(range(256))


@pytest.fixture
def two(put, repo, parquet_bytes):
    """A repo with two states: its ref, and the sha of the first. Files stay, change, come and go; small ones and large ones."""
    shared = {"keep.parquet": parquet_bytes({"x": [0]}), "note.txt": "same"}
    first = {"a.parquet": parquet_bytes({"x": [1]}), "gone.parquet": parquet_bytes({"x": [2]}), "bytes.dat": BYTES}
    ref = put(repo, {**shared, **first, "README.md": "# one\n"})
    sha = list_files(ref, TOKEN).commit
    api = HfApi(endpoint=ref.endpoint, token="hf_any")
    for path in ("gone.parquet", "bytes.dat"):
        api.delete_file(path, repo, repo_type="dataset")
    put(
        repo, {"a.parquet": parquet_bytes({"x": [3]}), "new.parquet": parquet_bytes({"x": [4]}), "README.md": "# two\n"}
    )
    commit(ref, TOKEN, lambda _: Change(texts={"late.txt": "x"}), message="ours", transaction="ours")
    return ref, sha


def data(ref, sha=None):
    """The files of a commit without our own state, as path, size and content."""
    at = ref if sha is None else parse_ref(ref.repo_id, endpoint=ref.endpoint, revision=sha)
    return {file for file in list_files(at, TOKEN).files if file.path != TRANSACTIONS}


def test_a_revert_is_one_commit_with_the_files_of_then(two, hub):
    """Large files, small ones, bytes that are no text and the card are back; nothing is uploaded; transactions stay."""
    ref, sha = two
    before = len(list(list_commits(ref, TOKEN)))
    plan = plan_revert(ref, TOKEN, sha)
    assert sorted(file.path for file in plan.back) == ["README.md", "a.parquet", "bytes.dat", "gone.parquet"]
    assert sorted(plan.removed) == ["late.txt", "new.parquet"]
    hub.reset_counts()
    done = revert(ref, TOKEN, plan, writer="me")
    counts = hub.counts()
    assert (counts["commit"], counts["xet_write_token"], counts["cas_xorb_put"]) == (1, 0, 0)
    assert data(ref) == data(ref, sha)
    assert client.get(ref.file_url("bytes.dat"), TOKEN, about="x").content == BYTES
    commits = list(list_commits(ref, TOKEN))
    assert (len(commits), commits[0].sha) == (before + 1, done.sha)
    assert commits[0].title == f"Revert to {sha[:8]}: 4 files back, 2 removed"
    records = read_records(list_files(ref, TOKEN), TOKEN)
    assert [(one.id == "ours", one.mode, one.files, one.new_bytes, one.writer) for one in records] == [
        (True, None, None, None, None),
        (False, "revert", 4, 0, "me"),
    ]
    assert plan_revert(ref, TOKEN, sha).is_empty


def test_a_revert_can_be_reverted(two):
    """Forward again is a revert to what was the head."""
    ref, sha = two
    was = list_files(ref, TOKEN).commit
    revert(ref, TOKEN, plan_revert(ref, TOKEN, sha))
    revert(ref, TOKEN, plan_revert(ref, TOKEN, was))
    assert data(ref) == data(ref, was)


def test_a_revert_undoes_nothing_that_came_after_its_plan(two):
    """Somebody's commit between plan and revert is a ConflictError, and stays."""
    ref, sha = two
    plan = plan_revert(ref, TOKEN, sha)
    commit(ref, TOKEN, lambda _: Change(texts={"theirs.txt": "x"}), message="theirs", transaction="theirs")
    with pytest.raises(ConflictError, match=r"somebody committed \w{8} since this revert was planned"):
        revert(ref, TOKEN, plan)
    assert "theirs.txt" in {file.path for file in data(ref)}


@pytest.mark.parametrize(
    "fault", [{"kind": "lost"}, {"kind": "reset"}, {"status": 429}, {"status": 409}, {"status": 412}]
)
def test_a_fault_at_a_revert_makes_one(two, hub, fault, monkeypatch):
    """A lost answer, a dropped connection, 429, a lock: one commit, with the files of then."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    ref, sha = two
    before = len(list(list_commits(ref, TOKEN)))
    hub.faults.add("commit", **fault)
    revert(ref, TOKEN, plan_revert(ref, TOKEN, sha))
    assert len(list(list_commits(ref, TOKEN))) == before + 1
    assert data(ref) == data(ref, sha)


def test_what_cannot_be_reverted_is_one_line(two):
    """A bucket, a tag; main stays."""
    ref, sha = two
    with pytest.raises(OptionError, match="is a bucket"):
        plan_revert(parse_ref("buckets/ns/name", endpoint=ref.endpoint), TOKEN, sha)
    HfApi(endpoint=ref.endpoint, token="hf_x").create_tag(ref.repo_id, tag="v1", repo_type="dataset")
    with pytest.raises(OptionError, match="tags and commits never change"):
        plan_revert(parse_ref(ref.repo_id, endpoint=ref.endpoint, revision="v1"), TOKEN, sha)


def test_a_commit_is_found_by_sha_and_by_time(two):
    """In full, in short, as the last one at a time with or without a zone; others are said not to be there."""
    ref, sha = two
    assert [find_commit(ref, TOKEN, wanted) for wanted in (sha, sha[:7])] == [sha, sha]
    date = next(one.date for one in list_commits(ref, TOKEN) if one.sha == sha)
    for wanted in (date, date.replace(tzinfo=None), date + timedelta(microseconds=1)):
        assert find_commit(ref, TOKEN, wanted.isoformat()) == sha
    with pytest.raises(NotFoundError, match=r"no commit 'fffffff' in the history of main; see `pipeline history"):
        find_commit(ref, TOKEN, "fffffff")
    for day in ("2001-01-01", "20010101"):
        with pytest.raises(NotFoundError, match="no commit is as old as"):
            find_commit(ref, TOKEN, day)
    for wrong in ("yesterday", "v1", "abc"):
        with pytest.raises(OptionError, match=rf"option 'to' must be a commit .* got '{wrong}'"):
            find_commit(ref, TOKEN, wrong)


def test_the_history_tells_of_ours_and_of_others(two):
    """Our own commits say all that they did; of others, new and changed files are counted, hidden ones and the card left out."""
    ref, sha = two
    record = Record(config="default", split="train", mode="append", rows=7, files=2, bytes=9, new_bytes=5, writer="me")
    commit(ref, TOKEN, lambda _: Change(record=record), message="mine", transaction="mine")
    entries = list(read_history(ref, TOKEN))
    assert [entry.commit.sha for entry in entries] == [one.sha for one in list_commits(ref, TOKEN)]
    newest, ours, put = entries[:3]
    assert (newest.record.rows, newest.record.bytes, newest.record.new_bytes, newest.record.writer) == (7, 9, 5, "me")
    assert (ours.record.files, ours.record.bytes, ours.record.mode) == (1, 1, None)
    changed = [file for file in data(ref) if file.path in ("a.parquet", "new.parquet")]
    assert (put.record.files, put.record.bytes) == (2, sum(file.size for file in changed))
    assert (put.record.rows, put.record.new_bytes, put.record.writer, put.record.split) == (None, None, None, None)
    first = next(entry for entry in entries if entry.commit.sha == sha)
    assert first.record.files == 5
    assert list(read_history(ref, TOKEN, limit=2)) == entries[:2]
    assert entries[0].values()["rows"] == 7
    assert entries[-1].commit.title == "initial commit"


def test_small_files_are_compared_by_content(two):
    """Of two texts of one length that differ, one is not taken for the other."""
    ref, _ = two
    before = {file.path: file for file in data(ref)}["late.txt"]
    commit(ref, TOKEN, lambda _: Change(texts={"late.txt": "y"}), message="m", transaction="y")
    after = {file.path: file for file in data(ref)}["late.txt"]
    assert before.size == after.size
    assert not same_content(before, after)
