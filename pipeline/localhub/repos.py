"""Repos, their branches and tags, and what a revision names.

The one idea: every function takes an open transaction, so a handler composes them and sees one consistent state.
A repo that the user may not see and one that does not exist give the same answer.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from pipeline.localhub.accounts import Identity
from pipeline.localhub.answers import HubError, repo_not_found, revision_not_found
from pipeline.localhub.database import ALIVE
from pipeline.localhub.names import check_ref_name, check_repo_name

HEADS: Final = "refs/heads/"
TAGS: Final = "refs/tags/"
PULL_REQUESTS: Final = "refs/pr/"
_SHA: Final = re.compile(r"[0-9a-f]{40}")
_FULL_REF: Final = re.compile(r"refs/(?:pr/\d+|convert/[\w.-]+|heads/.+|tags/.+)")


@dataclass(frozen=True, slots=True)
class Repo:
    """A repo as the database knows it."""

    id: int
    kind: str
    name: str
    owner: str
    private: bool
    created_s: float


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: position `seq` on `line`; `parent` is the id of the one before."""

    id: int
    sha: str
    line: int
    seq: int
    parent: int | None
    title: str
    description: str
    author: str
    created_s: float


@dataclass(frozen=True, slots=True)
class Message:
    """What a commit says about itself."""

    title: str
    description: str
    author: str


def find_repo(conn: sqlite3.Connection, kind: str, name: str, user: Identity, write: bool = False) -> Repo:
    """The repo, for a user who may read (or write) it; HubError 404 or 403 if there is none for that user."""
    row = conn.execute("SELECT * FROM repos WHERE kind = ? AND name = ?", (kind, name)).fetchone()
    if row is None or not user.sees(row["owner"], bool(row["private"])):
        raise repo_not_found(name)
    repo = _repo(row)
    if write and not user.may_write(repo.owner):
        raise HubError(403, f"you may not write to {repo.name}: your token needs the role 'write' in {repo.owner!r}")
    return repo


def list_repos(conn: sqlite3.Connection, kind: str, user: Identity) -> list[Repo]:
    """The repos of a kind that the user may read, newest first."""
    rows = conn.execute("SELECT * FROM repos WHERE kind = ? ORDER BY id DESC", (kind,))
    return [_repo(row) for row in rows if user.sees(row["owner"], bool(row["private"]))]


def repo_by_id(conn: sqlite3.Connection, repo_id: int) -> Repo | None:
    """The repo with this id, whoever asks."""
    row = conn.execute("SELECT * FROM repos WHERE id = ?", (repo_id,)).fetchone()
    return None if row is None else _repo(row)


def create_repo(conn: sqlite3.Connection, kind: str, name: str, private: bool) -> Repo:
    """Make a repo without commits; HubError 409 if the name is taken."""
    check_repo_name(name)
    if conn.execute("SELECT 1 FROM repos WHERE kind = ? AND name = ?", (kind, name)).fetchone():
        raise HubError(409, f"You already created this {kind} repo: {name}")
    row = (kind, name, name.split("/")[0], int(private), time.time())
    cursor = conn.execute("INSERT INTO repos (kind, name, owner, private, created_s) VALUES (?, ?, ?, ?, ?)", row)
    made = repo_by_id(conn, cursor.lastrowid or 0)
    assert made is not None
    return made


def delete_repo(conn: sqlite3.Connection, repo: Repo) -> None:
    """Forget a repo, its history, and what only it held; the next start of the Hub frees the bytes.

    Xorbs stay: clients remember which ones they uploaded, and build on them without asking.
    """
    lines = "SELECT id FROM lines WHERE repo = ?"
    conn.execute(f"DELETE FROM entries WHERE line IN ({lines})", (repo.id,))  # noqa: S608 - a constant
    for table in ("lines", "commits", "refs", "discussions", "bucket_files", "file_repos", "lfs"):
        conn.execute(f"DELETE FROM {table} WHERE repo = ?", (repo.id,))  # noqa: S608 - a constant
    conn.execute("UPDATE OR REPLACE xorb_uploads SET repo = 0 WHERE repo = ?", (repo.id,))
    conn.execute("DELETE FROM repos WHERE id = ?", (repo.id,))
    conn.execute("DELETE FROM blobs WHERE oid NOT IN (SELECT oid FROM entries)")
    conn.execute("DELETE FROM files WHERE hash NOT IN (SELECT file FROM file_repos)")
    conn.execute("DELETE FROM dedup WHERE file NOT IN (SELECT hash FROM files)")


def move_repo(conn: sqlite3.Connection, repo: Repo, name: str) -> None:
    """Give a repo another name; HubError 409 if it is taken."""
    check_repo_name(name)
    taken = conn.execute("SELECT id FROM repos WHERE kind = ? AND name = ?", (repo.kind, name)).fetchone()
    if taken is not None and taken["id"] != repo.id:
        raise HubError(409, f"the name {name!r} is taken")
    conn.execute("UPDATE repos SET name = ?, owner = ? WHERE id = ?", (name, name.split("/")[0], repo.id))


def set_private(conn: sqlite3.Connection, repo: Repo, private: bool) -> None:
    """Hide a repo from everyone outside its namespace, or show it."""
    conn.execute("UPDATE repos SET private = ? WHERE id = ?", (int(private), repo.id))


def resolve(conn: sqlite3.Connection, repo: Repo, revision: str) -> Commit:
    """The commit that a branch, a tag, a full ref or a 40-digit sha names; HubError 404 if there is none."""
    names = (revision,) if _FULL_REF.fullmatch(revision) else (HEADS + revision, TAGS + revision)
    for name in names:
        row = conn.execute(
            "SELECT c.* FROM refs r JOIN commits c ON c.id = r.head WHERE r.repo = ? AND r.name = ?", (repo.id, name)
        ).fetchone()
        if row is not None:
            return _commit(row)
    if _SHA.fullmatch(revision):
        row = conn.execute("SELECT * FROM commits WHERE repo = ? AND sha = ?", (repo.id, revision)).fetchone()
        if row is not None:
            return _commit(row)
    raise revision_not_found(revision)


def resolve_branch(conn: sqlite3.Connection, repo: Repo, revision: str) -> tuple[str, Commit]:
    """The full name and the head of what may be committed to: a branch or a pull request; HubError 404 or 400."""
    name = revision if _FULL_REF.fullmatch(revision) else HEADS + revision
    head = resolve(conn, repo, revision)
    found = conn.execute("SELECT 1 FROM refs WHERE repo = ? AND name = ?", (repo.id, name)).fetchone()
    if found is None or not name.startswith((HEADS, PULL_REQUESTS)):
        raise HubError(400, f"{revision!r} is not a branch: a commit needs one")
    return name, head


def list_refs(conn: sqlite3.Connection, repo: Repo, prefix: str) -> list[tuple[str, str]]:
    """(full name, commit sha) of the refs that start with `prefix`."""
    rows = conn.execute(
        "SELECT r.name, c.sha FROM refs r JOIN commits c ON c.id = r.head WHERE r.repo = ? ORDER BY r.name", (repo.id,)
    )
    return [(row["name"], row["sha"]) for row in rows if row["name"].startswith(prefix)]


def set_ref(conn: sqlite3.Connection, repo: Repo, name: str, head: int, message: str | None = None) -> None:
    """Point a ref, by its full name, at a commit."""
    conn.execute("INSERT OR REPLACE INTO refs VALUES (?, ?, ?, ?)", (repo.id, name, head, message))


def create_ref(conn: sqlite3.Connection, repo: Repo, name: str, head: Commit, message: str | None = None) -> None:
    """Make a branch or a tag, by its full name; HubError 409 if it exists."""
    check_ref_name(name.split("/", 2)[2])
    if conn.execute("SELECT 1 FROM refs WHERE repo = ? AND name = ?", (repo.id, name)).fetchone():
        raise HubError(409, f"Reference already exists: {name}")
    set_ref(conn, repo, name, head.id, message)


def delete_ref(conn: sqlite3.Connection, repo: Repo, name: str) -> None:
    """Remove a branch or a tag, by its full name; HubError 404 if it does not exist."""
    if not conn.execute("DELETE FROM refs WHERE repo = ? AND name = ?", (repo.id, name)).rowcount:
        raise revision_not_found(name.split("/", 2)[2])


def history(conn: sqlite3.Connection, head: Commit, skip: int, limit: int) -> list[Commit]:
    """Up to `limit` commits from `head` backwards, after the first `skip`."""
    rows: Sequence[sqlite3.Row] = conn.execute(
        "WITH RECURSIVE past (id) AS (SELECT ? UNION ALL SELECT c.parent FROM commits c JOIN past p ON c.id = p.id "
        "WHERE c.parent IS NOT NULL) SELECT c.* FROM past JOIN commits c ON c.id = past.id LIMIT ? OFFSET ?",
        (head.id, limit, skip),
    ).fetchall()
    return [_commit(row) for row in rows]


def append_commit(conn: sqlite3.Connection, repo: Repo, head: Commit | None, message: Message) -> Commit:
    """Record a commit after `head`, on its line if `head` is the tip of it, on a copy of the line otherwise."""
    line, seq = _extend(conn, repo, head)
    seed = f"{repo.id} {head.sha if head else ''} {secrets.token_hex(16)}"
    sha = sha1(seed.encode(), usedforsecurity=False).hexdigest()
    parent = head.id if head else None
    return _insert_commit(conn, repo, (sha, line, seq, parent, message))


def squash(conn: sqlite3.Connection, repo: Repo, head: Commit, message: Message) -> Commit:
    """Record a commit with the files of `head` and no parent."""
    line = _copy_line(conn, repo, head)
    sha = sha1(f"{repo.id} {secrets.token_hex(16)}".encode(), usedforsecurity=False).hexdigest()
    return _insert_commit(conn, repo, (sha, line, 0, None, message))


def _insert_commit(conn: sqlite3.Connection, repo: Repo, values: tuple[str, int, int, int | None, Message]) -> Commit:
    sha, line, seq, parent, message = values
    cursor = conn.execute(
        "INSERT INTO commits (repo, sha, line, seq, parent, title, description, author, created_s) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (repo.id, sha, line, seq, parent, message.title, message.description, message.author, time.time()),
    )
    return _commit(conn.execute("SELECT * FROM commits WHERE id = ?", (cursor.lastrowid,)).fetchone())


def _extend(conn: sqlite3.Connection, repo: Repo, head: Commit | None) -> tuple[int, int]:
    if head is None:
        return conn.execute("INSERT INTO lines (repo, tip) VALUES (?, 0)", (repo.id,)).lastrowid or 0, 0
    extended = conn.execute("UPDATE lines SET tip = tip + 1 WHERE id = ? AND tip = ?", (head.line, head.seq)).rowcount
    if extended:
        return head.line, head.seq + 1
    line = _copy_line(conn, repo, head)
    conn.execute("UPDATE lines SET tip = 1 WHERE id = ?", (line,))
    return line, 1


def _copy_line(conn: sqlite3.Connection, repo: Repo, head: Commit) -> int:
    line = conn.execute("INSERT INTO lines (repo, tip) VALUES (?, 0)", (repo.id,)).lastrowid or 0
    conn.execute(
        "INSERT INTO entries SELECT ?, path, 0, ?, oid, size, sha256, xet, made_by FROM entries "
        "WHERE line = ? AND born <= ? AND died > ?",
        (line, ALIVE, head.line, head.seq, head.seq),
    )
    return line


def _repo(row: sqlite3.Row) -> Repo:
    return Repo(row["id"], row["kind"], row["name"], row["owner"], bool(row["private"]), row["created_s"])


def _commit(row: sqlite3.Row) -> Commit:
    names = ("id", "sha", "line", "seq", "parent", "title", "description", "author", "created_s")
    return Commit(*(row[name] for name in names))
