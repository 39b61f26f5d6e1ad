"""Pinning and listing: each asked once per machine, nothing served to another token or after a commit of ours."""

import json
import subprocess
import sys

import pytest

from pipeline.errors import NotFoundError
from pipeline.hub import listing
from pipeline.hub.commit import Change, commit
from pipeline.hub.listing import list_files, pin
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.resolver import resolve
from pipeline.localhub import Account, LocalHub

STARTER = """
import json, sys
from pipeline.hub.repo import parse_ref
from pipeline.hub.listing import list_files
sys.stdin.readline()
print(json.dumps([file.path for file in list_files(parse_ref(sys.argv[1]), None, ttl_s=30).files]))
"""


def api_requests(hub):
    """The requests so far, without those that a client sends once a day."""
    return {name: count for name, count in hub.counts().items() if count and name != "agent_harnesses"}


def test_processes_that_start_together_send_three_requests_in_all(put, repo, hub):
    """Eight processes of one user, nothing cached: one asks what the branch is, one lists, one reads the card."""
    put(repo, {"README.md": "# hi", "data/train.parquet": b"x" * 2000})
    hub.reset_counts()
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, repo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    for one in starters:
        one.stdin.write("\n")
        one.stdin.flush()
    found = {one.communicate(timeout=120)[0] for one in starters}
    assert [sorted(json.loads(one)) for one in found] == [[".gitattributes", "README.md", "data/train.parquet"]]
    assert api_requests(hub) == {"repo_info": 1, "tree": 1, "resolve": 1}


def test_a_commit_is_listed_once(put, repo, hub):
    """Of a pinned commit that this machine has listed, nothing is asked again, in any process or thread."""
    ref = pin(put(repo, {"README.md": "# hi", "data/train.parquet": b"x" * 2000}), None)
    first = list_files(ref, None)
    hub.reset_counts()
    assert list_files(ref, None) == first
    assert resolve(ref, None).files[0].path == "data/train.parquet"
    assert api_requests(hub) == {}


def test_a_pinned_commit_is_resolved_offline(put, repo, hub, monkeypatch):
    """Without a network, who has listed a commit once can start from it."""
    ref = pin(put(repo, {"data/train.parquet": b"x" * 2000}), None)
    first = resolve(ref, None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.faults.add("*", "reset", times=None)
    assert resolve(ref, None) == first


def test_who_asks_again_sees_the_newest_commit(put, repo):
    """A process that pins a branch twice is told of a commit in between, also within the time that others may share."""
    ref = put(repo, {"a.parquet": b"1" * 2000})
    first = pin(ref, None, ttl_s=30)
    put(repo, {"a.parquet": b"2" * 2000})
    assert pin(ref, None, ttl_s=30) != first
    assert pin(ref, None) == pin(ref, None, ttl_s=30)


def test_another_process_shares_an_answer_for_a_while(put, repo, hub, monkeypatch):
    """What one process was told, another one takes within the time it names, and asks after it."""
    ref = put(repo, {"a.parquet": b"1" * 2000})
    first = pin(ref, None, ttl_s=30)
    put(repo, {"a.parquet": b"2" * 2000})
    monkeypatch.setattr(listing, "_PINNED", set())  # as another process that starts now
    assert pin(ref, None, ttl_s=30) == first
    monkeypatch.setattr(listing, "_PINNED", set())
    monkeypatch.setattr("time.time", lambda: 10**10)
    assert pin(ref, None, ttl_s=30) != first


def test_after_a_commit_of_ours_no_process_is_served_the_branch_before_it(new_ref, monkeypatch):
    """Our own write ends what was shared of its branch: who reads after it reads it."""
    old = pin(new_ref, None, ttl_s=30)
    done = commit(new_ref, None, lambda _: Change(texts={"a.txt": "x"}), message="m", transaction="t")
    monkeypatch.setattr(listing, "_PINNED", set())
    assert pin(new_ref, None, ttl_s=30).revision == done.sha != old.revision


def test_what_a_token_has_listed_is_served_to_no_other(tmp_path):
    """A private repo's listing, kept for its owner, is not found by a stranger or by nobody, at the same commit."""
    accounts = [Account(name="ann", token="hf_ann"), Account(name="bob", token="hf_bob")]
    with LocalHub(tmp_path / "own", accounts=accounts) as own:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=own.endpoint, token="hf_ann")
        api.create_repo("ann/x", repo_type="dataset", visibility="private")
        api.upload_file(path_or_fileobj=b"x" * 99, path_in_repo="a.parquet", repo_id="ann/x", repo_type="dataset")
        ref = parse_ref("ann/x", endpoint=own.endpoint)
        pinned = pin(ref, Secret("hf_ann"))
        assert list_files(pinned, Secret("hf_ann")).files
        for token in (Secret("hf_bob"), None):
            with pytest.raises(NotFoundError):
                list_files(pinned, token)
        own.faults.add("*", "reset", times=None)
        assert list_files(pinned, Secret("hf_ann")).files


def test_a_listing_of_many_pages_is_whole(put, repo, hub):
    """2,500 files come in several pages and are all there, in the cache too."""
    ref = pin(put(repo, {f"data/{i:05}.txt": str(i) for i in range(2500)}), None)
    first = list_files(ref, None)
    assert hub.counts()["tree"] > 1
    assert len(first.files) == 2501
    assert list_files(ref, None) == first


def test_a_commit_that_is_not_there_is_one_error(put, repo):
    """A sha that the repo does not have is a NotFoundError, and is not remembered as empty."""
    ref = parse_ref(f"{put(repo, {'a.txt': 'x'}).repo_id}@{'0' * 40}")
    for _ in range(2):
        with pytest.raises(NotFoundError, match="no such revision"):
            list_files(ref, None)
