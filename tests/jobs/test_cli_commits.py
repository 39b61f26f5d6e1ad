"""`pipeline history`, `revert` and `compact` as people run them, on a real Hub over HTTP."""

import json
import re

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet as pq

from jobs.cli import main
from pipeline.hub.listing import list_commits, list_files
from pipeline.hub.repo import parse_ref
from pipeline.hub.transactions import TRANSACTIONS


@pytest.fixture
def run(hub):
    """Run a command; (exit code, stdout, stderr)."""

    def call(*args):
        done = CliRunner().invoke(main, args)
        return done.exit_code, done.stdout, done.stderr

    return call


@pytest.fixture
def ref(hub, repo):
    """A dataset of three small files, put there by somebody in two commits."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    api.create_repo(repo, repo_type="dataset")
    for names in ("ab", "c"):
        adds = [CommitOperationAdd(f"data/train-{name}.parquet", _parquet(name)) for name in names]
        api.create_commit(repo, adds, commit_message=f"put {names}", repo_type="dataset")
    return parse_ref(repo, endpoint=hub.endpoint)


def _parquet(name):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [name] * 10}), sink)
    return sink.getvalue().to_pybytes()


def files(ref):
    """The head's files, without our own state."""
    return {file for file in list_files(ref, None).files if file.path != TRANSACTIONS}


def test_files_are_joined_told_of_and_brought_back(run, ref, repo):
    """A story: compact, nothing more to do, the history tells of it, revert brings the files back, nothing more to do."""
    before, old = files(ref), list_files(ref, None).commit
    code, out, err = run("compact", repo, "--target-bytes", "1MB")
    sha = list_files(ref, None).commit
    assert (code, err) == (0, "")
    assert re.fullmatch(
        rf"{repo}, split train: 3 files \([\d.]+ kB\) -> 1 file \(\d+ B\), 30 rows\n"
        rf"uploaded \d+ B of the \d+ B written; commit {sha[:8]}\n",
        out,
    )
    nothing = f"{repo}: nothing to do; no small files stand next to each other\n"
    assert run("compact", repo, "--target-bytes", "1MB") == (0, nothing, "")

    code, out, err = run("history", repo, "--limit", "3")
    assert (code, err) == (0, "")
    header, _, *lines = [re.split(r" {2,}", line) for line in out.splitlines()]
    assert header == ["commit", "time", "title", "split", "rows", "files", "size", "new", "writer"]
    assert [line[2:6] for line in lines] == [
        ["Compact 3 files of split train into 1", "train", "30", "1"],
        ["put c", "-", "-", "1"],
        ["put ab", "-", "-", "2"],
    ]
    assert [(line[0], line[8]) for line in lines[:2]] == [(sha[:8], "pipeline compact"), (old[:8], "-")]

    would = f"{repo} to {old[:8]}: would bring 3 files back (1.2 kB), 0 removed, nothing uploaded\n"
    assert run("revert", repo, "--to", old[:8], "--dry-run") == (0, would, "")
    assert list_files(ref, None).commit == sha
    code, out, err = run("revert", repo, "--to", old[:8])
    made = list_files(ref, None).commit
    done = f"{repo} is as at {old[:8]}: 3 files back (1.2 kB), 0 removed, nothing uploaded; commit {made[:8]}\n"
    assert (code, out, err) == (0, f"{done}undo it with: pipeline revert {repo} --to {sha[:8]}\n", "")
    assert files(ref) == before
    there = f"{repo} has the files of {old[:8]} already; nothing to do\n"
    assert run("revert", repo, "--to", old) == (0, there, "")


def test_the_history_is_json_for_programs(run, ref, repo):
    """A list of commits, newest first, with what is not known as null."""
    code, out, _ = run("history", repo, "--json")
    found = json.loads(out)
    commits = list(list_commits(ref, None))
    assert code == 0
    assert [(one["sha"], one["title"], one["authors"]) for one in found] == [
        (one.sha, one.title, list(one.authors)) for one in commits
    ]
    assert (found[1]["files"], found[1]["rows"], found[1]["writer"]) == (2, None, None)


def test_a_branch_goes_back_to_a_time(run, ref, repo, hub):
    """Of a branch, the last commit at that time; main stays."""
    from huggingface_hub import HfApi

    HfApi(endpoint=hub.endpoint, token="hf_any").create_branch(repo, branch="side", repo_type="dataset")
    when = list(list_commits(ref, None))[1].date
    code, out, _ = run("revert", repo, "--revision", "side", "--to", when.isoformat())
    assert code == 0
    assert "0 files back (0 B), 1 removed" in out
    assert len(files(ref)) == 4
    assert len(files(parse_ref(repo, endpoint=hub.endpoint, revision="side"))) == 3


def test_what_is_wrong_is_one_line(run, ref, repo):
    """What was wrong, what to do; 2 for what was written, 1 for what there is; no commit."""
    head = list_files(ref, None).commit
    for args, code, said in (
        (["revert", repo, "--to", "yesterday"], 2, "option 'to' must be a commit"),
        (["revert", repo, "--to", "fffffff"], 1, "no commit 'fffffff' in the history of main"),
        (["revert", "buckets/ns/name", "--to", head], 2, "is a bucket"),
        (["compact", repo, "--target-bytes", "much"], 2, "option '--target-bytes' must be a size such as 500MB"),
        (["compact", repo, "--split", "nope"], 1, "no split 'nope'"),
        (["history", "buckets/ns/name"], 2, "a bucket, which has no history"),
    ):
        done = run(*args)
        assert (done[0], done[1], done[2].count("\n")) == (code, "", 1)
        assert said in done[2]
    assert list_files(ref, None).commit == head
