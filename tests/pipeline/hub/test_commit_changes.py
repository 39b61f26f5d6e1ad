"""What commits did to a split, commit by commit, and what the repo remembers of its transactions."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi

from pipeline.errors import CorruptFileError, NotFoundError, OptionError
from pipeline.hub.changes import Difference, changes_between, compare
from pipeline.hub.commit import Change, commit
from pipeline.hub.listing import DataFile, list_commits, list_files
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.resolver import match_files
from pipeline.hub.transactions import (
    TRANSACTIONS,
    Record,
    batch_committed,
    last_batch,
    read_records,
    write_records,
)

TOKEN = Secret("hf_secretsecret")
ONE, TWO = "data/train-1.parquet", "data/train-2.parquet"


@pytest.fixture
def act(hub, repo):
    """Commit operations to the test's repo; the commit's sha."""
    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    api.create_repo(repo, repo_type="dataset")
    return lambda *operations: api.create_commit(repo, operations, commit_message="act", repo_type="dataset").oid


def told(change):
    """A change as the numbers of files added, removed, rewritten, renamed."""
    return [len(one) for one in (change.added, change.removed, change.rewritten, change.renamed)]


def test_each_commit_tells_what_it_did_to_the_split(act, hub, repo, parquet_bytes):
    """Added, rewritten, renamed, removed files, in order; other splits' and the card's changes are none."""
    ref = parse_ref(repo, endpoint=hub.endpoint, split="train")
    start = act(CommitOperationAdd("data/test-1.parquet", parquet_bytes({"x": [0]})))
    act(CommitOperationAdd(ONE, parquet_bytes({"x": [1]})))
    act(CommitOperationAdd("README.md", b"hello"), CommitOperationAdd("data/test-2.parquet", parquet_bytes({"x": [2]})))
    act(CommitOperationAdd(ONE, parquet_bytes({"x": [3]})), CommitOperationAdd(TWO, parquet_bytes({"x": [4]})))
    act(CommitOperationCopy(TWO, "data/train-3.parquet"), CommitOperationDelete(TWO))
    end = act(CommitOperationDelete(ONE))
    changes = changes_between(ref, TOKEN, start, end)
    assert [told(change) for change in changes] == [
        [1, 0, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 1, 0, 0],
    ]
    assert [change.rows_changed for change in changes] == [True, False, True, False, True]
    assert [change.only_adds for change in changes] == [True, True, False, True, False]
    assert changes[-1].commit.sha == end
    assert [file.path for file in changes[3].renamed] == ["data/train-3.parquet"]
    whole = changes_between(ref, TOKEN, None, end)
    assert whole[2:] == changes
    assert whole[0].commit.title == "initial commit"
    assert changes_between(ref, TOKEN, end, end) == []


def test_a_listing_is_asked_for_once(act, hub, repo, parquet_bytes):
    """Who asks again, or goes on from a later commit, asks the Hub for the new commits alone."""
    ref = parse_ref(repo, endpoint=hub.endpoint)
    first = act(CommitOperationAdd(ONE, parquet_bytes({"x": [1]})))
    changes_between(ref, TOKEN, None, first)
    hub.reset_counts()
    second = act(CommitOperationAdd(TWO, parquet_bytes({"x": [2]})))
    changes_between(ref, TOKEN, first, second)
    assert hub.counts()["tree"] == 1


def test_any_choice_of_files_can_be_followed(act, hub, repo):
    """A `select` of the caller's own: other formats, other patterns."""
    ref = parse_ref(repo, endpoint=hub.endpoint)
    end = act(CommitOperationAdd("a.csv", b"x\n1\n"), CommitOperationAdd("b.txt", b"no"))

    def select(listing):
        return match_files(listing.files, ["*.csv"], about="x")

    assert [file.path for file in changes_between(ref, TOKEN, None, end, select=select)[-1].added] == ["a.csv"]
    second = act(CommitOperationAdd("a.csv", b"x\n2\n"))
    assert told(changes_between(ref, TOKEN, end, second, select=select)[0]) == [0, 0, 1, 0]


def test_a_start_that_is_not_in_the_history_is_said_to_be_gone(act, hub, repo):
    """After a squash the old commit is no ancestor any more: NotFoundError that says what to do."""
    ref = parse_ref(repo, endpoint=hub.endpoint)
    start = act(CommitOperationAdd("a.txt", b"1"))
    HfApi(endpoint=hub.endpoint, token="hf_x").super_squash_history(repo, repo_type="dataset")
    end = list_files(ref, TOKEN).commit
    with pytest.raises(
        NotFoundError, match=r"is not in the history of .*, which was squashed or pushed anew; .* start again"
    ):
        changes_between(ref, TOKEN, start, end)
    with pytest.raises(OptionError, match="a bucket, which has no history"):
        next(list_commits(parse_ref("buckets/ns/name", endpoint=hub.endpoint), TOKEN))


def test_commits_come_newest_first_page_after_page(new_ref, hub):
    """More than a page of them, with titles, times and authors; no more pages are asked for than are needed."""
    for number in range(60):
        commit(new_ref, TOKEN, lambda _: Change(), message=f"m{number}", transaction=f"t{number}")
    hub.reset_counts()
    commits = list_commits(new_ref, TOKEN)
    first = next(commits)
    assert (first.title, first.authors) == ("m59", ("local",))
    assert hub.counts()["commits"] == 1
    rest = list(commits)
    assert [one.title for one in rest] == [*(f"m{number}" for number in range(58, -1, -1)), "initial commit"]
    assert all(one.date <= first.date for one in rest)
    assert hub.counts()["commits"] == 2


def test_our_own_commits_say_what_they_were(new_ref, parquet_bytes, put):
    """Mode, query and batch come from the record, also from the commit's own once its branch has forgotten it."""

    def build(mode, **more):
        return lambda _: Change(texts={"a.parquet": mode}, record=Record(mode=mode, **more))

    start = list_files(new_ref, TOKEN).commit
    commit(new_ref, TOKEN, build("append", query="q", batch=3), message="m", transaction="t1")
    commit(new_ref, TOKEN, build("compact"), message="m", transaction="t2")
    put(new_ref.repo_id, {"a.parquet": parquet_bytes({"x": [1]})})
    ref, end = replace(new_ref, split="train"), list_files(new_ref, TOKEN).commit
    first, second, third = changes_between(ref, TOKEN, start, end)
    assert (first.mode, first.query, first.batch, first.rows_changed) == ("append", "q", 3, True)
    assert (second.mode, second.rewritten[0].path, second.rows_changed) == ("compact", "a.parquet", False)
    assert (third.mode, third.rows_changed) == (None, True)
    put(new_ref.repo_id, {TRANSACTIONS: "[]"})
    again = changes_between(ref, TOKEN, start, list_files(new_ref, TOKEN).commit)
    assert [one.mode for one in again] == ["append", "compact", None, None]


def test_every_sort_of_difference():
    """Content is compared by hash; a copy next to its original is new, of two of the same content one can be the renamed one."""

    def file(path, content, **more):
        return DataFile(path=path, size=1, sha256=content, **more)

    a, b = file("a", "A"), file("b", "A")
    assert compare([a], [a]) == Difference()
    assert compare([a], [a, b]) == Difference(added=(b,))
    assert compare([a], [b]) == Difference(renamed=(b,))
    assert compare([a, b], [file("c", "A")]) == Difference(removed=(b,), renamed=(file("c", "A"),))
    assert compare([a], [file("a", "B")]) == Difference(rewritten=(file("a", "B"),))
    texts = [DataFile(path="t", size=1, oid=oid) for oid in "12"]
    assert compare(texts[:1], texts[1:]) == Difference(rewritten=(texts[1],))


def test_a_transaction_remembers_what_it_did(new_ref):
    """The record comes back as it was given, with its id and parent; what is not known takes no room."""
    record = Record(
        config="c", split="s", mode="append", rows=3, files=1, bytes=9, new_bytes=4, writer="w", query="q", batch=0
    )
    parent = list_files(new_ref, TOKEN).commit
    commit(new_ref, TOKEN, lambda _: Change(record=record), message="m", transaction="t1")
    commit(new_ref, TOKEN, lambda _: Change(), message="m", transaction="t2")
    found = read_records(list_files(new_ref, TOKEN), TOKEN)
    assert found[0] == replace(record, id="t1", parent=parent)
    assert json.loads(write_records(found[1:])) == [{"id": "t2", "parent": found[1].parent}]


def test_records_of_other_versions_are_read(new_ref, put):
    """Those of only an id and a parent, and those that say more than we know; what is none is named."""
    put(new_ref.repo_id, {TRANSACTIONS: json.dumps([{"id": "a", "parent": "b"}, {"id": "c", "parent": "d", "new": 1}])})
    assert read_records(list_files(new_ref, TOKEN), TOKEN) == [Record(id="a", parent="b"), Record(id="c", parent="d")]
    for broken in (
        "not json",
        "[1]",
        "{}x",
        '[{"id": "a"}]',
        '[{"id": "a", "parent": "b", "rows": "many"}]',
        '{"a": 1}',
    ):
        put(new_ref.repo_id, {TRANSACTIONS: broken})
        with pytest.raises(CorruptFileError, match=r"transactions\.json: not what we wrote; delete the file"):
            read_records(list_files(new_ref, TOKEN), TOKEN)


def test_trimming_keeps_the_newest_of_every_query():
    """Of 1,500 transactions the last 1,000 stay, and before them the last batch of each query that is not among those."""
    records = [Record(id=f"old{n}", parent="p", query="q", batch=n) for n in range(3)]
    records += [Record(id="other", parent="p", query="r", batch=7)]
    records += [Record(id=f"t{n}", parent="p") for n in range(1_500)]
    records += [Record(id="new", parent="p", query="r", batch=8)]
    kept = [one["id"] for one in json.loads(write_records(records))]
    assert kept == ["old2", *(f"t{n}" for n in range(501, 1_500)), "new"]
    assert last_batch(records, "q") == 2
    assert last_batch(records, "nobody") is None


def test_a_batch_is_known_to_be_committed(new_ref):
    """A batch of a query, and every one before it, is; a later one and another query's are not."""
    assert not batch_committed(new_ref, TOKEN, "q", 0)
    record = Record(query="q", batch=5)
    commit(new_ref, TOKEN, lambda _: Change(record=record), message="m", transaction="t")
    assert [batch_committed(new_ref, TOKEN, "q", batch) for batch in (4, 5, 6)] == [True, True, False]
    assert not batch_committed(new_ref, TOKEN, "other", 5)
