"""A commit: read the operations that a client streams, keep the small files' bytes, change the tree in one transaction.

The one idea: everything slow or large happens before the transaction (decoding, hashing, making bytes durable), so that
what is inside is a few rows, and the commit is there completely or not at all. All regular files of one commit share one
*pack*, a file that is flushed once.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from pipeline.localhub.answers import HubError, Span, entry_not_found, parse_json, well_formed
from pipeline.localhub.byte_store import ByteStore
from pipeline.localhub.database import ALIVE
from pipeline.localhub.hashing import git_oid, lfs_pointer
from pipeline.localhub.names import check_path
from pipeline.localhub.repos import HEADS, Commit, Message, Repo, append_commit, set_ref

LARGE_SUFFIXES: Final = (
    ".7z", ".arrow", ".avro", ".bin", ".bz2", ".ckpt", ".flac", ".ftz", ".gif", ".gz", ".h5", ".jpeg", ".jpg", ".joblib",
    ".lz4", ".mds", ".mlmodel", ".model", ".mp3", ".mp4", ".msgpack", ".npy", ".npz", ".ogg", ".onnx", ".orc", ".ot",
    ".parquet", ".pb", ".pcm", ".pickle", ".pkl", ".png", ".pt", ".pth", ".rar", ".raw", ".safetensors", ".sam", ".tar",
    ".tflite", ".tgz", ".tiff", ".wasm", ".wav", ".webm", ".webp", ".xz", ".zip", ".zst",
)  # fmt: skip
"""Files that go to large storage whatever their size, roughly those of a new dataset repo on the Hub."""

REGULAR_BYTES_MAX: Final = 10 * 1000 * 1000
_LINE_BYTES_MAX: Final = REGULAR_BYTES_MAX * 4 // 3 + 64 * 1024
_SHORT_SHA: Final = 5


@dataclass(frozen=True, slots=True)
class PutBlob:
    """Put a regular file at `path`; its bytes are in the pack, or were there before."""

    path: str
    oid: str
    size: int


@dataclass(frozen=True, slots=True)
class PutLarge:
    """Put an uploaded large file at `path`; `size` is unknown when the client copies."""

    path: str
    sha256: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a file, or a folder with all that is in it."""

    path: str
    folder: bool


Operation = PutBlob | PutLarge | Delete


@dataclass(slots=True)
class Proposal:
    """What a client wants to commit. `packed` says where in the pack each new blob is: oid -> (start, size)."""

    title: str = ""
    description: str = ""
    parent: str | None = None
    operations: list[Operation] = field(default_factory=list)
    pack: str = ""
    packed: dict[str, tuple[int, int]] = field(default_factory=dict)


def read_proposal(body: BinaryIO, store: ByteStore) -> Proposal:
    """Read the ndjson of a commit request, one line in memory at a time; HubError 400 or 413 if it is malformed."""
    proposal = Proposal(pack=secrets.token_hex(20))
    with store.create() as draft:
        while line := body.readline(_LINE_BYTES_MAX + 1):
            if len(line) > _LINE_BYTES_MAX:
                raise HubError(
                    413, f"a line of the commit is too long: upload what is over {REGULAR_BYTES_MAX} bytes first"
                )
            if line.strip():
                _read_line(line, proposal, draft.file)
        if proposal.packed:
            draft.keep("packs", proposal.pack)
    return proposal


def land(conn: sqlite3.Connection, repo: Repo, head: Commit, proposal: Proposal, author: str) -> Commit:
    """Apply a proposal on top of `head`; HubError 412 if it was made for another parent, 404 or 400 if it does not apply."""
    if proposal.parent and not (len(proposal.parent) >= _SHORT_SHA and head.sha.startswith(proposal.parent)):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    message = Message(proposal.title, proposal.description, author)
    commit = append_commit(conn, repo, head, message)
    for oid, (start, size) in proposal.packed.items():
        conn.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?)", (oid, proposal.pack, start, size))
    for operation in proposal.operations:
        if isinstance(operation, Delete):
            _delete(conn, commit, operation)
        elif isinstance(operation, PutBlob):
            _put(conn, commit, (operation.path, operation.oid, operation.size, None, None))
        else:
            _put(conn, commit, _large_row(conn, repo, operation))
    _refuse_clashes(conn, commit, [op.path for op in proposal.operations if not isinstance(op, Delete)])
    return commit


def start(conn: sqlite3.Connection, store: ByteStore, repo: Repo, author: str) -> Commit:
    """Make the first commit of a repo, on `main`, with the `.gitattributes` that the Hub puts there."""
    data = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES).encode()
    oid = git_oid(len(data), data)
    if conn.execute("SELECT 1 FROM blobs WHERE oid = ?", (oid,)).fetchone() is None:
        with store.create() as draft:
            draft.file.write(data)
            draft.keep("packs", oid)
        conn.execute("INSERT INTO blobs VALUES (?, ?, 0, ?)", (oid, oid, len(data)))
    commit = append_commit(conn, repo, None, Message("initial commit", "", author))
    _put(conn, commit, (".gitattributes", oid, len(data), None, None))
    set_ref(conn, repo, HEADS + "main", commit.id)
    return commit


def read_blob(conn: sqlite3.Connection, store: ByteStore, oid: str, span: Span | None = None) -> bytes:
    """The bytes of a regular file, or a range of them."""
    row = conn.execute("SELECT * FROM blobs WHERE oid = ?", (oid,)).fetchone()
    if row is None:
        raise HubError(404, f"no such blob: {oid}")
    start, end = (span.start, span.end) if span else (0, row["size"])
    return b"".join(store.read("packs", row["pack"], row["start"] + start, row["start"] + end))


def find_large(conn: sqlite3.Connection, repo: Repo, sha256: str) -> tuple[int, str | None] | None:
    """(size, Xet hash or None) of a large file that this repo holds, verified; None if it holds none with this sha256."""
    row = conn.execute(
        "SELECT f.size, f.hash FROM files f JOIN file_repos r ON r.file = f.hash WHERE f.sha256 = ? AND r.repo = ? "
        "UNION ALL SELECT size, NULL FROM lfs WHERE sha256 = ? AND repo = ?",
        (sha256, repo.id, sha256, repo.id),
    ).fetchone()
    return None if row is None else (row[0], row[1])


def _read_line(line: bytes, proposal: Proposal, pack: BinaryIO) -> None:
    with well_formed("line of a commit"):
        data = parse_json(line)
        key, value = data["key"], data["value"]
        if key == "header":
            proposal.title = str(value.get("summary", ""))
            proposal.description = str(value.get("description") or "")
            proposal.parent = None if value.get("parentCommit") is None else str(value["parentCommit"])
        else:
            proposal.operations.append(_operation(key, value, proposal, pack))


def _operation(key: str, value: Mapping[str, Any], proposal: Proposal, pack: BinaryIO) -> Operation:
    path = check_path(value["path"].removesuffix("/") if key == "deletedFolder" else value["path"])
    if key == "file":
        data = _content(value)
        if len(data) > REGULAR_BYTES_MAX:
            raise HubError(413, f"{path!r} is longer than {REGULAR_BYTES_MAX} bytes: upload it to large storage first")
        oid = git_oid(len(data), data)
        if oid not in proposal.packed:
            proposal.packed[oid] = (pack.tell(), len(data))
            pack.write(data)
        return PutBlob(path, oid, len(data))
    if key == "lfsFile":
        return PutLarge(path, str(value["oid"]), None if value.get("size") is None else int(value["size"]))
    if key in {"deletedFile", "deletedFolder"}:
        return Delete(path, key == "deletedFolder")
    raise HubError(400, f"unknown operation {key!r} in the commit")


def _content(value: Mapping[str, Any]) -> bytes:
    if value.get("encoding", "base64") != "base64":
        return str(value["content"]).encode()
    try:
        return base64.b64decode(value["content"], validate=True)
    except binascii.Error as err:
        raise HubError(400, f"the content of {value['path']!r} is not base64") from err


def _large_row(conn: sqlite3.Connection, repo: Repo, put: PutLarge) -> tuple[str, str, int, str, str | None]:
    found = find_large(conn, repo, put.sha256)
    if found is None:
        raise HubError(400, f"no file with sha256 {put.sha256} was uploaded to this repo, wanted for {put.path!r}")
    size, xet = found
    if put.size not in {None, size}:
        raise HubError(400, f"{put.path!r} has {size} bytes, the commit says {put.size}")
    pointer = lfs_pointer(put.sha256, size)
    return put.path, git_oid(len(pointer), pointer), size, put.sha256, xet


def _put(conn: sqlite3.Connection, commit: Commit, row: tuple[str, str, int, str | None, str | None]) -> None:
    _end(conn, commit, "path = ?", (row[0],))
    values = (commit.line, row[0], commit.seq, ALIVE, *row[1:], commit.id)
    conn.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def _delete(conn: sqlite3.Connection, commit: Commit, operation: Delete) -> None:
    if operation.folder:
        ended = _end(conn, commit, "path > ? AND path < ?", (f"{operation.path}/", f"{operation.path}0"))
    else:
        ended = _end(conn, commit, "path = ?", (operation.path,))
    if not ended:
        raise entry_not_found(operation.path)


def _end(conn: sqlite3.Connection, commit: Commit, where: str, values: tuple[str, ...]) -> int:
    """End the entries that `where` selects; those that this very commit made go without a trace."""
    at = (commit.line, ALIVE, *values)
    gone = conn.execute(
        f"DELETE FROM entries WHERE line = ? AND died = ? AND {where} AND born = ?",  # noqa: S608 - constants
        (*at, commit.seq),
    ).rowcount
    ended = conn.execute(
        f"UPDATE entries SET died = ? WHERE line = ? AND died = ? AND {where}",  # noqa: S608 - constants
        (commit.seq, *at),
    ).rowcount
    return gone + ended


def _refuse_clashes(conn: sqlite3.Connection, commit: Commit, paths: Iterable[str]) -> None:
    """HubError 400 if one of `paths`, as far as this commit left a file there, is now both a file and a folder."""
    folders = set()
    for path in paths:
        if not _alive(conn, commit, "path = ? AND born = ?", (path, commit.seq)):
            continue
        if _alive(conn, commit, "path > ? AND path < ?", (f"{path}/", f"{path}0")):
            raise HubError(400, f"{path!r} would be both a file and a folder")
        parts = path.split("/")[:-1]
        folders |= {"/".join(parts[: depth + 1]) for depth in range(len(parts))}
    for folder in folders:
        if _alive(conn, commit, "path = ?", (folder,)):
            raise HubError(400, f"{folder!r} would be both a file and a folder")


def _alive(conn: sqlite3.Connection, commit: Commit, where: str, values: tuple[str | int, ...]) -> bool:
    query = f"SELECT 1 FROM entries WHERE line = ? AND died = ? AND {where}"  # noqa: S608 - constants
    return conn.execute(query, (commit.line, ALIVE, *values)).fetchone() is not None
