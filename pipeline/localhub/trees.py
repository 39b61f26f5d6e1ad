"""The files of a commit: one, some, or a page of them in path order.

The one idea: the table is read in path order from a *seek* position, so a page costs what it shows, and a folder is
stepped over in one seek when it is not to be opened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from pipeline.localhub.answers import entry_not_found
from pipeline.localhub.hashing import lfs_pointer
from pipeline.localhub.repos import Commit

AFTER_SLASH: Final = "0"
LAST: Final = "\U0010ffff"
BATCH: Final = 1000
_VIEW: Final = "line = ? AND born <= ? AND died > ?"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit. `sha256` is set for large files, `xet` for those in Xet storage; `made_by` is a commit id."""

    path: str
    oid: str
    size: int
    sha256: str | None
    xet: str | None
    made_by: int

    @property
    def pointer_bytes(self) -> int:
        """Length of the pointer that stands for a large file."""
        return len(lfs_pointer(self.sha256 or "", self.size))


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a commit; `made_by` is the id of the last commit that changed something in it that is still there."""

    path: str
    oid: str
    made_by: int


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing, and the seek position of the rest, if there is one."""

    items: list[Entry | Folder]
    rest: str | None


def find_entry(conn: sqlite3.Connection, commit: Commit, path: str) -> Entry | None:
    """The file at `path`."""
    row = conn.execute(
        f"SELECT * FROM entries WHERE {_VIEW} AND path = ?",  # noqa: S608 - a constant
        (commit.line, commit.seq, commit.seq, path),
    ).fetchone()
    return None if row is None else _entry(row)


def find_item(conn: sqlite3.Connection, commit: Commit, path: str) -> Entry | Folder | None:
    """The file or folder at `path`."""
    return find_entry(conn, commit, path) or _folder(conn, commit, path)


def all_entries(conn: sqlite3.Connection, commit: Commit) -> Iterator[Entry]:
    """Every file, in path order."""
    return map(_entry, _scan(conn, commit, "", LAST, -1))


def list_page(conn: sqlite3.Connection, commit: Commit, folder: str, seek: str, recursive: bool, limit: int) -> Page:
    """About `limit` items of a folder ("" for all), from `seek` ("" at first); HubError 404 if there is no such folder."""
    low, high = (f"{folder}/", f"{folder}{AFTER_SLASH}") if folder else ("", LAST)
    seek = max(seek, low)
    items: list[Entry | Folder] = []
    before = seek[:-1] if seek > low else ""

    def scan(at: str) -> list[sqlite3.Row]:
        return _scan(conn, commit, at, high, BATCH).fetchall()

    for entry in map(_entry, walk(scan, seek, len(low) if not recursive else None)):
        if len(items) >= limit:
            return Page(items, seek)
        if recursive:
            items += [
                made for path in _new_folders(before, entry.path, len(low)) if (made := _folder(conn, commit, path))
            ]
            items.append(entry)
            before, seek = entry.path, entry.path + "\0"
        elif (cut := entry.path.find("/", len(low))) < 0:
            items.append(entry)
            seek = entry.path + "\0"
        else:
            items.append(_folder(conn, commit, entry.path[:cut]) or entry)
            seek = entry.path[:cut] + AFTER_SLASH
    if folder and not items and seek == low:
        raise entry_not_found(folder)
    return Page(items, None)


def commits_by_id(conn: sqlite3.Connection, ids: Iterable[int]) -> dict[int, sqlite3.Row]:
    """The commits with these ids, for the `lastCommit` of a listing."""
    wanted = sorted(set(ids))
    marks = ",".join("?" * len(wanted))
    rows = conn.execute(f"SELECT * FROM commits WHERE id IN ({marks})", wanted)  # noqa: S608 - only question marks
    return {row["id"]: row for row in rows}


def walk(scan: Callable[[str], list[sqlite3.Row]], seek: str, flat_from: int | None) -> Iterator[sqlite3.Row]:
    """Files from `seek` on; with `flat_from`, only the first file of each folder below that position of the path.

    `scan` reads the first BATCH files from a seek position, or all if they are fewer.
    """
    while True:
        rows = scan(seek)
        for row in rows:
            yield row
            cut = row["path"].find("/", flat_from) if flat_from is not None else -1
            if cut >= 0:
                seek = row["path"][:cut] + AFTER_SLASH
                break
            seek = row["path"] + "\0"
        else:
            if len(rows) < BATCH:
                return


def _scan(conn: sqlite3.Connection, commit: Commit, low: str, high: str, limit: int) -> sqlite3.Cursor:
    return conn.execute(
        f"SELECT * FROM entries WHERE {_VIEW} AND path >= ? AND path < ? ORDER BY path LIMIT ?",  # noqa: S608 - a constant
        (commit.line, commit.seq, commit.seq, low, high, limit),
    )


def _new_folders(before: str, path: str, start: int) -> Iterator[str]:
    """The folders of `path` below `start` that the path before it, in order, did not have."""
    cut = path.find("/", start)
    while cut >= 0:
        if not before.startswith(path[: cut + 1]):
            yield path[:cut]
        cut = path.find("/", cut + 1)


def _folder(conn: sqlite3.Connection, commit: Commit, path: str) -> Folder | None:
    row = conn.execute(
        f"SELECT max(made_by) AS made_by, count(*) AS files FROM entries WHERE {_VIEW} AND path > ? AND path < ?",  # noqa: S608
        (commit.line, commit.seq, commit.seq, f"{path}/", f"{path}{AFTER_SLASH}"),
    ).fetchone()
    if not row["files"]:
        return None
    seed = f"tree {path} {row['made_by']} {row['files']}"
    return Folder(path, sha1(seed.encode(), usedforsecurity=False).hexdigest(), row["made_by"])


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(row["path"], row["oid"], row["size"], row["sha256"], row["xet"], row["made_by"])
