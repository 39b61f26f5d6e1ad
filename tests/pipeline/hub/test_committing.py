"""One commit: all of a change, or none, exactly once, whoever else writes and whatever the network loses."""

import json
import random
import threading

import pytest

from pipeline.errors import AccessError, ConflictError, CorruptFileError, DatasetError, NotFoundError, TransferError
from pipeline.hub import client
from pipeline.hub.commit import Change, commit
from pipeline.hub.listing import list_files
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.transactions import TRANSACTIONS, read_text
from pipeline.hub.upload import Upload
from pipeline.localhub import Account, LocalHub

TOKEN = Secret("hf_secretsecret")


@pytest.fixture
def history(hub):
    """The messages of a repo's commits, newest first."""
    from huggingface_hub import HfApi

    def titles(repo, revision=None):
        return [
            one.title
            for one in HfApi(endpoint=hub.endpoint, token="hf_x").list_repo_commits(
                repo, repo_type="dataset", revision=revision
            )
        ]

    return titles


def add(name, text="x"):
    """A builder of a change that adds one text."""
    return lambda listing: Change(texts={name: text})


def names(ref):
    """The data files of a repo's head."""
    return {file.path for file in list_files(ref, None).files} - {".gitattributes", TRANSACTIONS}


def transactions(ref):
    """The ids that the head remembers."""
    listing = list_files(ref, None)
    return [one["id"] for one in json.loads(read_text(listing, TRANSACTIONS, None))]


def test_a_commit_adds_deletes_and_stores_in_one(new_ref, history):
    """Stored bytes, texts and deletions land together, and what was stored is what is read."""
    data = random.Random(2).randbytes(200_000)
    commit(new_ref, TOKEN, add("old.txt"), message="one", transaction="t1")
    with Upload(new_ref, TOKEN) as upload:
        stream = upload.open("data/a.bin")
        for start in range(0, len(data), 7001):
            stream.write(data[start : start + 7001])
        stream.close()
        stored = upload.finish()
    change = Change(files=tuple(stored), texts={"new.txt": "é"}, deletions=("old.txt",))
    done = commit(new_ref, TOKEN, lambda _: change, message="two", transaction="t2")
    assert names(new_ref) == {"data/a.bin", "new.txt"}
    assert history(new_ref.repo_id)[:2] == ["two", "one"]
    assert client.get(new_ref.file_url("data/a.bin", done.sha), None, about="x").content == data
    assert not done.repeated
    assert transactions(new_ref) == ["t1", "t2"]


def test_writers_at_once_all_land(new_ref, history):
    """Eight writers from threads: each commit is there, each built on the head before it."""
    start, errors = threading.Barrier(8), []

    def write(number):
        start.wait()
        try:
            commit(new_ref, TOKEN, add(f"{number}.txt"), message=f"w{number}", transaction=f"t{number}")
        except DatasetError as err:
            errors.append(err)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert names(new_ref) == {f"{number}.txt" for number in range(8)}
    assert sorted(history(new_ref.repo_id)[:8]) == sorted(f"w{number}" for number in range(8))
    assert sorted(transactions(new_ref)) == [f"t{number}" for number in range(8)]


def test_a_change_is_built_again_on_a_new_head(new_ref):
    """When somebody commits in between, the builder sees their files before its change is sent."""
    seen = []

    def build(listing):
        seen.append({file.path for file in listing.files} & {"theirs.txt"})
        if len(seen) == 1:
            commit(new_ref, TOKEN, add("theirs.txt"), message="theirs", transaction="theirs")
        return Change(texts={"mine.txt": "x"})

    commit(new_ref, TOKEN, build, message="mine", transaction="mine")
    assert seen == [set(), {"theirs.txt"}]
    assert names(new_ref) == {"theirs.txt", "mine.txt"}


@pytest.mark.parametrize(
    ("fault", "repeated"),
    [
        ({"kind": "lost"}, True),
        ({"kind": "reset"}, False),
        ({"status": 503}, False),
        ({"status": 500}, False),
        ({"status": 429}, False),
        ({"status": 409}, False),
        ({"status": 412}, False),
    ],
)
def test_a_fault_at_the_commit_makes_exactly_one(new_ref, hub, history, fault, repeated, monkeypatch):
    """A lost answer, a dropped connection, 5xx, 429, a lock: one commit in the end, and the caller learns of it."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults.add("commit", **fault)
    done = commit(new_ref, TOKEN, add("a.txt"), message="mine", transaction="t")
    assert done.repeated == repeated
    assert history(new_ref.repo_id).count("mine") == 1
    assert done.sha == list_files(new_ref, None).commit


def test_a_hub_that_asks_for_patience_gets_it(new_ref, hub, monkeypatch):
    """A 429 says that nothing was done and when to come back: the same request is sent then, and nothing is built anew."""
    waits, built = [], []
    monkeypatch.setattr("time.sleep", waits.append)
    hub.faults.add("commit", status=429, retry_after=77, times=2)

    def build(listing):
        built.append(listing.commit)
        return Change(texts={"a.txt": "x"})

    commit(new_ref, TOKEN, build, message="mine", transaction="t")
    assert [77 <= seconds < 78 for seconds in waits] == [True, True]
    assert len(built) == 1


def test_a_lost_answer_is_found_below_later_commits(new_ref, hub, history, monkeypatch):
    """When others commit after the one whose answer was lost, it is still found, and not made twice."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    built = []

    def build(listing):
        built.append(listing.commit)
        hub.faults.add("commit", "lost")
        return Change(texts={"mine.txt": "x"})

    hub.faults.add("repo_info", status=503, times=0)
    real = client.send

    def send(*args, **kwargs):
        try:
            return real(*args, **kwargs)
        except TransferError:
            if len(built) == 1 and "theirs.txt" not in names(new_ref):
                commit(new_ref, TOKEN, add("theirs.txt"), message="theirs", transaction="theirs")
            raise

    monkeypatch.setattr(client, "send", send)
    assert commit(new_ref, TOKEN, build, message="mine", transaction="mine").repeated
    assert history(new_ref.repo_id)[:2] == ["theirs", "mine"]


def test_a_transaction_is_committed_once(new_ref, history):
    """The same transaction again, from another process or after a crash, changes nothing."""
    first = commit(new_ref, TOKEN, add("a.txt", "1"), message="one", transaction="t")
    again = commit(new_ref, TOKEN, add("a.txt", "2"), message="two", transaction="t")
    assert again.repeated
    assert again.sha == first.sha
    assert history(new_ref.repo_id)[0] == "one"


def test_what_the_builder_refuses_is_not_committed(new_ref, history):
    """A builder's error comes out as it is; nothing is sent."""

    def build(listing):
        raise ConflictError("changed meanwhile")

    with pytest.raises(ConflictError, match="changed meanwhile"):
        commit(new_ref, TOKEN, build, message="mine", transaction="t")
    assert "mine" not in history(new_ref.repo_id)


def test_a_hub_that_stays_down_is_one_error(new_ref, hub, monkeypatch):
    """After enough tries the error says so, in one line without the token; nothing was committed."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults.add("commit", status=503, times=None)
    with pytest.raises(TransferError, match="answered 503") as caught:
        commit(new_ref, TOKEN, add("a.txt"), message="mine", transaction="t")
    assert "\n" not in str(caught.value)
    assert TOKEN.reveal() not in str(caught.value)
    assert names(new_ref) == set()


def test_a_branch_that_never_stands_still_is_a_conflict(new_ref, hub, monkeypatch):
    """Others first, every time, is a ConflictError in the end."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults.add("commit", status=412, times=None)
    with pytest.raises(ConflictError, match="run again"):
        commit(new_ref, TOKEN, add("a.txt"), message="mine", transaction="t")


def test_a_token_that_may_not_write_is_one_line(tmp_path):
    """A read token, a wrong one and none at all: an AccessError (or no such repo) at once, without the token."""
    accounts = [Account(name="ann", token="hf_annannann"), Account(name="eve", token="hf_eveeveeve", role="read")]
    with LocalHub(tmp_path / "own", accounts=accounts) as own:
        ref = parse_ref("ann/x", endpoint=own.endpoint)
        client.create_repo(ref, Secret("hf_annannann"))
        for token in ("hf_eveeveeve", "hf_wrongwrong", None):
            own.reset_counts()
            with pytest.raises((AccessError, NotFoundError)) as caught:
                commit(ref, Secret(token) if token else None, add("a.txt"), message="m", transaction="t")
            assert "\n" not in str(caught.value)
            assert str(token) not in str(caught.value)
            assert own.counts()["commit"] <= 1
            with pytest.raises((AccessError, NotFoundError)) as caught:
                Upload(ref, Secret(token) if token else None)
            assert "\n" not in str(caught.value)
            assert str(token) not in str(caught.value)


def test_a_branch_is_committed_to(new_ref, hub, history):
    """The revision is the branch that is written, also one with a slash; main stays."""
    from huggingface_hub import HfApi

    HfApi(endpoint=hub.endpoint, token="hf_x").create_branch(new_ref.repo_id, branch="side/one", repo_type="dataset")
    side = parse_ref(new_ref.repo_id, revision="side/one", endpoint=hub.endpoint)
    commit(side, TOKEN, add("a.txt"), message="aside", transaction="t")
    assert names(new_ref) == set()
    assert names(side) == {"a.txt"}
    assert history(new_ref.repo_id, "side/one")[0] == "aside"
    with pytest.raises(NotFoundError, match="no such revision"):
        commit(
            parse_ref(new_ref.repo_id, revision="nope", endpoint=hub.endpoint),
            TOKEN,
            add("a"),
            message="m",
            transaction="t",
        )


def test_machine_state_that_is_not_ours_is_named(new_ref, put):
    """A transactions file that somebody broke is a CorruptFileError that names it."""
    put(new_ref.repo_id, {TRANSACTIONS: "not json"})
    with pytest.raises(CorruptFileError, match=r"\.pipeline/transactions\.json"):
        commit(new_ref, TOKEN, add("a.txt"), message="m", transaction="t")


def test_an_upload_asks_for_one_token(new_ref, hub):
    """A session asks the Hub for one storage token, however many files it stores."""
    hub.reset_counts()
    with Upload(new_ref, TOKEN) as upload:
        for name in "abc":
            stream = upload.open(name)
            stream.write(name.encode() * 50_000)
            stream.close()
        upload.finish()
    assert hub.counts()["xet_write_token"] == 1


def test_an_upload_that_is_given_up_leaves_nothing_visible(new_ref):
    """Leaving an upload's block early aborts it; the repo does not change."""
    before = list_files(new_ref, None)
    with Upload(new_ref, TOKEN) as upload:
        upload.open("a.bin").write(b"x" * 100_000)
    assert list_files(new_ref, None) == before
