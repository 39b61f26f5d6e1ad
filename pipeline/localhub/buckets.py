"""Buckets: files at paths, without commits.

The one idea: a bucket is a repo of the kind `bucket`, so names, visibility, tokens and the storage treat it as any other;
what is its own is one table, in which a path stands for a file that the bucket holds in Xet storage. A prefix is a
prefix of the text of a path, not a folder: "log" finds `log`, `log/a` and `logs/b`.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import Any, Final

from pipeline.localhub.accounts import Identity
from pipeline.localhub.answers import HubError, parse_json, well_formed
from pipeline.localhub.files import grant, size_held
from pipeline.localhub.names import check_path
from pipeline.localhub.repos import Repo, find_repo
from pipeline.localhub.trees import AFTER_SLASH, BATCH, LAST, walk

PAGE: Final = 1000
_MTIMES_MS: Final = range(-30_610_224_000_000, 253_402_300_800_000)
"""From the year 1000 to 9999: what clients can read back."""


@dataclass(frozen=True, slots=True)
class BucketFile:
    """A file of a bucket; `mtime_ms` is what its client says, `uploaded_s` is when it came."""

    path: str
    xet: str
    size: int
    mtime_ms: int
    uploaded_s: float


@dataclass(frozen=True, slots=True)
class BucketFolder:
    """What some paths have in common up to a slash; `uploaded_s` is of the latest of them."""

    path: str
    uploaded_s: float


@dataclass(frozen=True, slots=True)
class Put:
    """Let `path` stand for a file that the bucket, or `source`, the (kind, name) of another repo, holds."""

    path: str
    xet: str
    mtime_ms: int
    source: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Remove:
    """Let `path` stand for nothing."""

    path: str


def read_operations(body: bytes) -> list[Put | Remove]:
    """Read the ndjson of a batch; HubError 400 if it is malformed."""
    with well_formed("line of a batch"):
        return [_operation(parse_json(line)) for line in body.splitlines() if line.strip()]


def apply(conn: sqlite3.Connection, bucket: Repo, operation: Put | Remove, user: Identity) -> None:
    """Carry out one operation; HubError, and nothing done, if it cannot be. To remove what is not there is no error."""
    check_path(operation.path)
    if isinstance(operation, Remove):
        conn.execute("DELETE FROM bucket_files WHERE repo = ? AND path = ?", (bucket.id, operation.path))
        return
    source = find_repo(conn, *operation.source, user) if operation.source else bucket
    size = size_held(conn, operation.xet, source.id)
    if size is None:
        raise HubError(404, "file not found in source repo" if operation.source else "file not found in Xet storage")
    grant(conn, operation.xet, bucket.id)
    row = (bucket.id, operation.path, operation.xet, size, operation.mtime_ms, time.time())
    conn.execute("INSERT OR REPLACE INTO bucket_files VALUES (?, ?, ?, ?, ?, ?)", row)


def find_file(conn: sqlite3.Connection, bucket: Repo, path: str) -> BucketFile | None:
    """The file at `path`."""
    row = conn.execute("SELECT * FROM bucket_files WHERE repo = ? AND path = ?", (bucket.id, path)).fetchone()
    return None if row is None else _file(row)


def totals(conn: sqlite3.Connection, bucket: Repo) -> tuple[int, int]:
    """(bytes, number) of the files of a bucket."""
    row = conn.execute("SELECT sum(size), count(*) FROM bucket_files WHERE repo = ?", (bucket.id,)).fetchone()
    return row[0] or 0, row[1]


def list_files(
    conn: sqlite3.Connection, bucket: Repo, prefix: str, seek: str, recursive: bool
) -> tuple[list[BucketFile | BucketFolder], str | None]:
    """Up to PAGE items whose paths begin with `prefix`, from `seek` ("" at first), and the seek position of the rest.

    Without `recursive`, files below the first slash after the prefix, one that follows on it not counted, are folded
    into folders: both "a" and "a/" list the folder `a`.
    """
    depth = len(prefix) + 1
    seek = max(seek, prefix)
    items: list[BucketFile | BucketFolder] = []

    def scan(at: str) -> list[sqlite3.Row]:
        return conn.execute(
            "SELECT * FROM bucket_files WHERE repo = ? AND path >= ? AND path < ? ORDER BY path LIMIT ?",
            (bucket.id, at, prefix + LAST, BATCH),
        ).fetchall()

    for row in walk(scan, seek, None if recursive else depth):
        if len(items) == PAGE:
            return items, seek
        cut = -1 if recursive else row["path"].find("/", depth)
        items.append(_file(row) if cut < 0 else _folder(conn, bucket, row["path"][:cut]))
        seek = row["path"] + "\0" if cut < 0 else row["path"][:cut] + AFTER_SLASH
    return items, None


def _operation(data: dict[str, Any]) -> Put | Remove:
    kind, path = data["type"], _text(data, "path")
    if kind == "deleteFile":
        return Remove(path)
    if kind not in {"addFile", "copyFile"}:
        raise HubError(400, f"unknown operation {kind!r} in the batch")
    mtime_ms = int(data["mtime"])
    if mtime_ms not in _MTIMES_MS:
        raise HubError(400, f"mtime must be in milliseconds since 1970, got {mtime_ms}")
    source = (_text(data, "sourceRepoType"), _text(data, "sourceRepoId")) if kind == "copyFile" else None
    return Put(path, _text(data, "xetHash"), mtime_ms, source)


def _text(data: dict[str, Any], key: str) -> str:
    if not isinstance(data[key], str):
        raise HubError(400, f"{key} must be a string, got {data[key]!r}")
    return str(data[key])


def _file(row: sqlite3.Row) -> BucketFile:
    return BucketFile(row["path"], row["xet"], row["size"], row["mtime_ms"], row["uploaded_s"])


def _folder(conn: sqlite3.Connection, bucket: Repo, path: str) -> BucketFolder:
    row = conn.execute(
        "SELECT max(uploaded_s) FROM bucket_files WHERE repo = ? AND path > ? AND path < ?",
        (bucket.id, f"{path}/", f"{path}{AFTER_SLASH}"),
    ).fetchone()
    return BucketFolder(path, row[0])
