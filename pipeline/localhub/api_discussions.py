"""The Hub API about discussions and pull requests, as far as programs open them: no comments, no merging."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from pipeline.localhub.answers import HubError, well_formed
from pipeline.localhub.api_repos import iso
from pipeline.localhub.call import Call
from pipeline.localhub.discussions import find_discussion, list_discussions, open_discussion, set_status
from pipeline.localhub.repos import Repo, find_repo, resolve

_PAGE: Final = 10


async def listing(call: Call) -> Response:
    """A page of the discussions, newest first."""
    user = call.user()
    with well_formed("query"):
        page = int(call.query("p") or 0)
    if page < 0:
        raise HubError(400, "p must be a page number, from 0")

    def work() -> dict[str, Any]:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user)
            found = list_discussions(conn, repo, call.query("type"))
            rows = [_summary(repo, row) for row in found[page * _PAGE : (page + 1) * _PAGE]]
            return {"discussions": rows, "count": len(found), "start": page * _PAGE}

    return JSONResponse(await call.blocking(work))


async def create(call: Call) -> Response:
    """Open a discussion, or a draft of a pull request whose branch starts at main."""
    data, user = await call.json(), call.user()
    pull = data.get("pullRequest") is True

    def work() -> dict[str, Any]:
        with call.core.database.write() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            head = resolve(conn, repo, "main") if pull else None
            text = (str(data.get("title") or ""), str(data.get("description") or ""), user.name)
            number = open_discussion(conn, repo, text, "draft" if pull else "open", head)
            return {"num": number, "pullRequest": pull, "url": f"/{repo.kind}s/{repo.name}/discussions/{number}"}

    return JSONResponse(await call.blocking(work))


async def details(call: Call) -> Response:
    """One discussion with its first comment."""
    user = call.user()

    def work() -> dict[str, Any]:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user)
            row = find_discussion(conn, repo, call.values["num"])
            pull = {"changes": {"base": "refs/heads/main"}, "filesWithConflicts": []} if row["pull"] else {}
            return {**_summary(repo, row), **pull, "events": [_comment(row)]}

    return JSONResponse(await call.blocking(work))


async def status(call: Call) -> Response:
    """Open or close a discussion; a draft of a pull request becomes one to review by being opened."""
    data, user = await call.json(), call.user()

    def work() -> dict[str, Any]:
        with call.core.database.write() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            set_status(conn, repo, call.values["num"], str(data.get("status")))
            row = find_discussion(conn, repo, call.values["num"])
            return {**_event(row, "status-change"), "data": {"status": row["status"]}}

    return JSONResponse({"newStatus": await call.blocking(work)})


def _summary(repo: Repo, row: sqlite3.Row) -> dict[str, Any]:
    return {
        "num": row["num"],
        "title": row["title"],
        "author": {"name": row["author"]},
        "status": row["status"],
        "isPullRequest": bool(row["pull"]),
        "createdAt": iso(row["created_s"]),
        "repo": {"name": repo.name, "type": repo.kind},
    }


def _comment(row: sqlite3.Row) -> dict[str, Any]:
    latest = {"raw": row["description"], "updatedAt": iso(row["created_s"]), "author": {"name": row["author"]}}
    return {**_event(row, "comment"), "data": {"edited": False, "hidden": False, "latest": latest}}


def _event(row: sqlite3.Row, kind: str) -> dict[str, Any]:
    identity = f"{row['repo']:012x}{row['num']:012x}"
    return {"id": identity, "type": kind, "createdAt": iso(row["created_s"]), "author": {"name": row["author"]}}
