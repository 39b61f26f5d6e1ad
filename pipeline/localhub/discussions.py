"""Discussions and pull requests: they share their numbers, and a pull request's branch is `refs/pr/N`.

The one idea is that of repos.py: every function takes an open transaction.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from pipeline.localhub.answers import HubError
from pipeline.localhub.repos import PULL_REQUESTS, Commit, Repo, set_ref

STATUSES: Final = ("open", "closed")
_TITLE_CHARS: Final = range(3, 201)


def open_discussion(
    conn: sqlite3.Connection, repo: Repo, text: tuple[str, str, str], status: str, head: Commit | None
) -> int:
    """Open one of (title, description, author), a pull request where there is a `head` for its branch; its number.

    HubError 400 for a title that is too short or too long.
    """
    title, description, author = text[0].strip(), text[1], text[2]
    if len(title) not in _TITLE_CHARS:
        raise HubError(400, f"a title must have 3 to 200 characters, got {len(title)}")
    row = conn.execute("SELECT COALESCE(MAX(num), 0) + 1 FROM discussions WHERE repo = ?", (repo.id,)).fetchone()
    number = int(row[0])
    values = (repo.id, number, title, description, author, status, head is not None, time.time())
    conn.execute("INSERT INTO discussions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    if head is not None:
        set_ref(conn, repo, f"{PULL_REQUESTS}{number}", head.id)
    return number


def find_discussion(conn: sqlite3.Connection, repo: Repo, number: str) -> sqlite3.Row:
    """The row of a discussion; HubError 404 if there is none."""
    found = conn.execute("SELECT * FROM discussions WHERE repo = ? AND num = ?", (repo.id, number)).fetchone()
    if found is None:
        raise HubError(404, f"no discussion {number} in {repo.name}")
    row: sqlite3.Row = found
    return row


def list_discussions(conn: sqlite3.Connection, repo: Repo, kind: str) -> list[sqlite3.Row]:
    """The rows of a repo's discussions, newest first; `kind` is pull_request, discussion or all."""
    wanted = {"pull_request": (1,), "discussion": (0,)}.get(kind, (0, 1))
    rows = conn.execute("SELECT * FROM discussions WHERE repo = ? ORDER BY num DESC", (repo.id,))
    return [row for row in rows if row["pull"] in wanted]


def set_status(conn: sqlite3.Connection, repo: Repo, number: str, status: str) -> None:
    """Open or close one; HubError 400 for another status, or for the one that it has."""
    if status not in STATUSES:
        raise HubError(400, f"status must be 'open' or 'closed', got {status!r}")
    if find_discussion(conn, repo, number)["status"] == status:
        raise HubError(400, f"discussion {number} is {status} already")
    conn.execute("UPDATE discussions SET status = ? WHERE repo = ? AND num = ?", (status, repo.id, number))
