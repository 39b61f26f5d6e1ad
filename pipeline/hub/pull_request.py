"""A commit as a pull request, exactly once.

    open a draft  ->  commit to refs/pr/N  ->  mark it ready

Each step can be found again when its answer was lost: a draft by the transaction's id, which its description carries in a comment
that Markdown does not show; the commit by the id in the branch (commit.py); the status by asking. So a write that runs again goes
on where it was, and there is one pull request with one commit. A draft is opened only after the change could be built.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from pipeline.errors import OptionError, TransferError
from pipeline.hub import client, retry
from pipeline.hub.commit import Build, Committed, check_limits, commit
from pipeline.hub.listing import list_files
from pipeline.hub.repo import DatasetRef, Secret, check_writable
from pipeline.hub.transactions import read_records

_TITLE = 200  # characters, at the most; and next, at the least
_TITLE_LEAST = 3


def commit_as_pr(
    ref: DatasetRef, token: Secret | None, build: Build, *, message: str, transaction: str, description: str = ""
) -> Committed:
    """Open a pull request with one commit, of what `build` makes of main's head.

    Raises what `commit` raises, OptionError for another branch than `main`: pull requests are made to no other.
    """
    check_writable(ref)
    if ref.revision not in (None, "main"):
        raise OptionError(
            f"option 'create_pr' opens a pull request to main, got revision {ref.revision!r}; leave one of them out"
        )
    main = list_files(replace(ref, revision="main"), token)
    merged = any(one.id == transaction for one in read_records(main, token))
    title = message.strip()[:_TITLE].ljust(_TITLE_LEAST, ".")
    number = _find(ref, token, title, transaction)
    if merged:
        return Committed(sha=main.commit, repeated=True, pr_url=_page(ref, number) if number else None)
    if number is None:
        check_limits(str(ref), files=len(build(main).files))
        number = _open(ref, token, title, f"{description}\n\n{_mark(transaction)}".strip())
    own = replace(ref, revision=f"refs/pr/{number}")
    done = commit(own, token, build, message=message, transaction=transaction, description=description)
    _make_ready(ref, token, number)
    return replace(done, pr_url=_page(ref, number))


def _page(ref: DatasetRef, number: int) -> str:
    """Where people see it."""
    return f"{ref.endpoint}/datasets/{ref.repo_id}/discussions/{number}"


def _mark(transaction: str) -> str:
    return f"<!-- transaction: {transaction} -->"


def _open(ref: DatasetRef, token: Secret | None, title: str, description: str) -> int:
    """A new draft, or the one that an attempt opened whose answer was lost."""
    body = {"title": title, "description": description, "pullRequest": True}
    mark = description.splitlines()[-1]
    for tries in range(1, retry.TRIES + 1):
        try:
            return int(client.send("POST", _url(ref), token, about=ref.repo_id, json=body).json()["num"])
        except TransferError:
            if tries == retry.TRIES:
                raise
        retry.wait(tries)
        if (number := _find_marked(ref, token, title, mark)) is not None:
            return number
    raise AssertionError


def _find(ref: DatasetRef, token: Secret | None, title: str, transaction: str) -> int | None:
    return _find_marked(ref, token, title, _mark(transaction))


def _find_marked(ref: DatasetRef, token: Secret | None, title: str, mark: str) -> int | None:
    """The pull request of this title whose description ends in the mark. Only those of the title are looked into."""
    page = start = 0
    while True:
        url = f"{_url(ref)}?{urlencode({'type': 'pull_request', 'p': page})}"
        found = client.get_json(url, token, "discussions", "count", about=ref.repo_id)
        for one in found["discussions"]:
            if one.get("isPullRequest") and one.get("title") == title and mark in _description(ref, token, one["num"]):
                return int(one["num"])
        start += len(found["discussions"])
        page += 1
        if not found["discussions"] or start >= found["count"]:
            return None


def _description(ref: DatasetRef, token: Secret | None, number: int) -> str:
    """The first comment, as it is now."""
    for event in _details(ref, token, number).get("events") or ():
        if event.get("type") == "comment":
            return str(((event.get("data") or {}).get("latest") or {}).get("raw") or "")
    return ""


def _make_ready(ref: DatasetRef, token: Secret | None, number: int) -> None:
    """Let people see it as one to review, where it is a draft still."""
    for tries in range(1, retry.TRIES + 1):
        if _details(ref, token, number)["status"] != "draft":
            return
        try:
            client.send("POST", _url(ref, f"{number}/status"), token, about=ref.repo_id, json={"status": "open"})
        except TransferError:
            if tries == retry.TRIES:
                raise
            retry.wait(tries)
        else:
            return


def _details(ref: DatasetRef, token: Secret | None, number: int) -> dict[str, Any]:
    return client.get_json(_url(ref, str(number)), token, "status", about=f"{ref.repo_id}, pull request {number}")


def _url(ref: DatasetRef, what: str = "") -> str:
    return ref.api_url("discussions" + (f"/{what}" if what else ""))
