"""A commit as a pull request: one draft, one commit, made ready, whatever answer is lost; and branches that are created."""

import pytest
from huggingface_hub import HfApi

from pipeline.errors import ConflictError, OptionError, TransferError
from pipeline.hub import client
from pipeline.hub.commit import FILES_MAX, Change, commit
from pipeline.hub.listing import list_files
from pipeline.hub.pull_request import commit_as_pr
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.transactions import TRANSACTIONS
from pipeline.hub.upload import StoredFile

TOKEN = Secret("hf_secretsecret")


def add(name, text="x"):
    """A builder of a change that adds one text."""
    return lambda listing: Change(texts={name: text})


def pull_requests(ref):
    """(number, title, status, its commits' titles, its files) of each pull request."""
    api = HfApi(endpoint=ref.endpoint, token="hf_x")
    found = []
    for one in api.get_repo_discussions(ref.repo_id, repo_type="dataset", discussion_type="pull_request"):
        own = parse_ref(ref.repo_id, endpoint=ref.endpoint, revision=one.git_reference)
        titles = [
            made.title
            for made in api.list_repo_commits(ref.repo_id, repo_type="dataset", revision=one.git_reference)
            if made.title != "initial commit"
        ]
        files = {file.path for file in list_files(own, None).files} - {".gitattributes", TRANSACTIONS}
        found.append((one.num, one.title, one.status, titles, files))
    return found


def test_a_pull_request_has_one_commit_and_waits_for_review(new_ref):
    """main stays; the page of the pull request is told; its text carries what was said."""
    done = commit_as_pr(new_ref, TOKEN, add("a.txt"), message="add a", transaction="t", description="because")
    assert pull_requests(new_ref) == [(1, "add a", "open", ["add a"], {"a.txt"})]
    assert done.pr_url == f"{new_ref.endpoint}/datasets/{new_ref.repo_id}/discussions/1"
    assert {file.path for file in list_files(new_ref, None).files} == {".gitattributes"}
    api = HfApi(endpoint=new_ref.endpoint, token="hf_x")
    text = api.get_discussion_details(new_ref.repo_id, 1, repo_type="dataset").events[0].content
    assert text == "because\n\n<!-- transaction: t -->"


@pytest.mark.parametrize("route", ["discussion_create", "commit", "discussion_status"])
@pytest.mark.parametrize("fault", [{"kind": "lost"}, {"kind": "reset"}, {"status": 503}, {"status": 429}])
def test_a_fault_at_any_step_makes_one_pull_request_with_one_commit(new_ref, hub, route, fault, monkeypatch):
    """A lost answer, a dropped connection, 503, 429 at opening, committing, making ready: one of each in the end."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults.add(route, **fault)
    commit_as_pr(new_ref, TOKEN, add("a.txt"), message="add a", transaction="t")
    assert pull_requests(new_ref) == [(1, "add a", "open", ["add a"], {"a.txt"})]


@pytest.mark.parametrize("route", ["discussion_create", "commit", "discussion_status"])
def test_a_writer_that_died_goes_on_where_it_was(new_ref, hub, route, monkeypatch):
    """The same transaction from a new process finds the draft of the first; another one of the same title is its own."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults.add(route, "lost", times=None)
    hub.faults.add("discussion" if route != "commit" else "repo_info", status=503, times=None)
    with pytest.raises(TransferError):
        commit_as_pr(new_ref, TOKEN, add("a.txt"), message="add a", transaction="t")
    hub.faults.clear()
    for transaction in ("t", "t", "u"):
        done = commit_as_pr(new_ref, TOKEN, add("a.txt"), message="add a", transaction=transaction)
    found = pull_requests(new_ref)
    assert [one[2:] for one in found] == [("open", ["add a"], {"a.txt"})] * 2
    assert done.pr_url.endswith("/2")


def test_what_cannot_be_built_opens_nothing(new_ref):
    """A change that is refused, or larger than a commit may be, leaves no empty draft behind; nor does a wrong branch."""

    def refuse(listing):
        raise ConflictError("changed meanwhile")

    with pytest.raises(ConflictError, match="changed meanwhile"):
        commit_as_pr(new_ref, TOKEN, refuse, message="add a", transaction="t")
    file = StoredFile(path="a", sha256="0" * 64, xet_hash="", size=1)
    with pytest.raises(OptionError, match="at most 25,000 files, got 25,001; write fewer, larger ones"):
        commit_as_pr(new_ref, TOKEN, lambda _: Change(files=(file,) * (FILES_MAX + 1)), message="mm", transaction="t")
    side = parse_ref(new_ref.repo_id, endpoint=new_ref.endpoint, revision="side")
    with pytest.raises(OptionError, match="pull request to main, got revision 'side'"):
        commit_as_pr(side, TOKEN, add("a.txt"), message="add a", transaction="t")
    assert pull_requests(new_ref) == []


def test_a_transaction_that_was_merged_is_not_proposed_again(new_ref):
    """What is on main already is told as such, and no pull request is opened for it."""
    commit(new_ref, TOKEN, add("a.txt"), message="add a", transaction="t")
    assert commit_as_pr(new_ref, TOKEN, add("a.txt"), message="add a", transaction="t").repeated
    assert pull_requests(new_ref) == []


@pytest.mark.parametrize("fault", [None, {"kind": "lost"}, {"status": 503}, {"kind": "reset"}])
def test_a_branch_is_created_once(new_ref, hub, fault, monkeypatch):
    """From main's head, with a slash in its name, again without harm, and also when the answer is lost."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    commit(new_ref, TOKEN, add("a.txt"), message="one", transaction="t")
    side = parse_ref(new_ref.repo_id, endpoint=new_ref.endpoint, revision="side/one")
    if fault:
        hub.faults.add("branch", **fault)
    for _ in range(2):
        client.ensure_branch(side, TOKEN)
    client.check_branch(side, TOKEN)
    assert list_files(side, None).files == list_files(new_ref, None).files
    commit(side, TOKEN, add("b.txt"), message="two", transaction="u")
    client.ensure_branch(side, TOKEN)
    assert "b.txt" in {file.path for file in list_files(side, None).files}


def test_what_is_no_branch_is_not_created(new_ref, hub):
    """A commit or a foreign ref is an OptionError; main and pull requests need no call."""
    for name in ("0" * 40, "refs/convert/parquet"):
        with pytest.raises(OptionError, match="must be a branch's name"):
            client.ensure_branch(parse_ref(new_ref.repo_id, endpoint=new_ref.endpoint, revision=name), TOKEN)
    for name in (None, "main", "refs/pr/1"):
        client.ensure_branch(parse_ref(new_ref.repo_id, endpoint=new_ref.endpoint, revision=name), TOKEN)
    assert hub.counts()["branch"] == 0
