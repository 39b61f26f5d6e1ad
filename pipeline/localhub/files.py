"""Files in Xet storage: accepted from a shard after every hash in it was checked, and read back from xorbs.

The one idea: nothing that a shard claims is believed. The terms must name xorbs that the user may read, each term carries
a proof over its chunk hashes, the file hash is recomputed from all chunks, and the sha256 from the bytes themselves,
once, before any commit can name them.
"""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate
from typing import Final

from pipeline.localhub.accounts import Identity
from pipeline.localhub.answers import HubError
from pipeline.localhub.database import Database
from pipeline.localhub.hashing import MerkleTree, from_hex, is_dedup_key, range_hash, to_hex
from pipeline.localhub.shard_format import Shard, ShardFile, Term, write_dedup_shard
from pipeline.localhub.xorbs import Xorbs, XorbTable, readable

_TERM: Final = struct.Struct("<32sIII")
_DEDUP_XORBS_MAX: Final = 64
_SHARD_CHUNKS_MAX: Final = 8 * 1024 * 1024
"""Chunks in all files of a shard, about half a terabyte: what one request can make the server check."""


@dataclass(frozen=True, slots=True)
class XetFile:
    """A file and the terms that it is made of; term i ends at raw byte `ends[i]`."""

    digest: bytes
    size: int
    terms: tuple[Term, ...]
    ends: tuple[int, ...]


class Files:
    """The files of a Hub that are in Xet storage."""

    def __init__(self, database: Database, xorbs: Xorbs) -> None:
        self._database = database
        self._xorbs = xorbs
        self.find = lru_cache(maxsize=64)(self._load)

    def accept(self, shard: Shard, repo: int, user: Identity) -> bool:
        """Check every file of a shard and record that `repo` holds it; HubError 400 or 413 if anything in it is wrong.

        False if the repo held all of them already.
        """
        if sum(term.end - term.start for file in shard.files for term in file.terms) > _SHARD_CHUNKS_MAX:
            raise HubError(413, f"the files of a shard have more than {_SHARD_CHUNKS_MAX} chunks")
        keys = [self._check(file, shard.dedup_keys, user) for file in shard.files]
        with self._database.write() as conn:
            known = [size_held(conn, to_hex(file.digest), repo) is not None for file in shard.files]
            for file, chunks in zip(shard.files, keys, strict=True):
                _record(conn, file, chunks, repo)
        return not all(known)

    def held_by(self, digest: bytes, repo: int) -> bool:
        """Whether this repo holds the file."""
        with self._database.read() as conn:
            return size_held(conn, to_hex(digest), repo) is not None

    def read(self, file: XetFile, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes [start, end) of a file, a few MiB at a time."""
        at = 0
        for term, term_end in zip(file.terms, file.ends, strict=True):
            if term_end > start and at < end:
                base = self._xorbs.table(term.xorb).raw_ends[term.start] - at
                yield from self._xorbs.raw(term.xorb, base + max(start, at), base + min(end, term_end))
            at = term_end

    def dedup_answer(self, chunk: bytes, user: Identity) -> bytes | None:
        """A shard with the xorbs, as far as the user may read them, of the files that have this chunk; None if there is none."""
        seen: dict[bytes, None] = {}
        with self._database.read() as conn:
            for row in conn.execute("SELECT file, term FROM dedup WHERE chunk = ?", (chunk,)):
                if len(seen) >= _DEDUP_XORBS_MAX:
                    break
                if _readable_file(conn, row["file"], user):
                    terms = self.find(from_hex(row["file"])).terms[row["term"] :]
                    seen |= {name: None for name in {term.xorb: None for term in terms} if readable(conn, name, user)}
        return self._dedup_shard(list(seen)[:_DEDUP_XORBS_MAX]) if seen else None

    def _dedup_shard(self, xorbs: list[bytes]) -> bytes:
        tables = ((xorb, self._xorbs.table(xorb)) for xorb in xorbs)
        listed = ((xorb, list(table.chunks(0, table.count)), table.stored_ends[-1]) for xorb, table in tables)
        return write_dedup_shard(listed, int(time.time()))

    def _load(self, digest: bytes) -> XetFile:
        with self._database.read() as conn:
            row = conn.execute("SELECT size, terms FROM files WHERE hash = ?", (to_hex(digest),)).fetchone()
        if row is None:
            raise HubError(404, f"no such file: {to_hex(digest)}")
        terms = tuple(Term(*values) for values in _TERM.iter_unpack(row["terms"]))
        return XetFile(digest, row["size"], terms, tuple(accumulate(term.raw_bytes for term in terms)))

    def _check(self, file: ShardFile, marked: frozenset[bytes], user: Identity) -> dict[bytes, int]:
        """Check one file; return the chunks by which others may find it, each with the term that it is in."""
        name = to_hex(file.digest)
        if len(file.proofs) != len(file.terms):
            raise HubError(400, f"file {name} comes without a proof for each of its terms")
        self._check_xorbs(name, {term.xorb for term in file.terms}, user)
        tree, keys = MerkleTree(), dict[bytes, int]()
        for index, (term, proof) in enumerate(zip(file.terms, file.proofs, strict=True)):
            table = self._check_term(name, term, proof)
            for digest, size in table.chunks(term.start, term.end):
                if not keys or is_dedup_key(digest) or digest in marked:
                    keys.setdefault(digest, index)
                tree.add(digest, size)
        if tree.file_root() != file.digest:
            raise HubError(400, f"file {name} does not have the hash of its chunks")
        self._check_sha256(file)
        return keys

    def _check_xorbs(self, name: str, xorbs: set[bytes], user: Identity) -> None:
        with self._database.read() as conn:
            for xorb in xorbs:
                if not readable(conn, xorb, user):
                    raise HubError(400, f"file {name} names the unknown xorb {to_hex(xorb)}")

    def _check_term(self, name: str, term: Term, proof: bytes) -> XorbTable:
        table = self._xorbs.table(term.xorb)
        if not term.start < term.end <= table.count or table.raw_bytes(term.start, term.end) != term.raw_bytes:
            raise HubError(
                400, f"file {name} names chunks {term.start} to {term.end} of xorb {to_hex(term.xorb)} wrongly"
            )
        if range_hash(table.hashes_of(term.start, term.end)) != proof:
            raise HubError(400, f"file {name} has a wrong proof for xorb {to_hex(term.xorb)}")
        return table

    def _check_sha256(self, file: ShardFile) -> None:
        if file.sha256 is None:
            return
        name = to_hex(file.digest)
        with self._database.read() as conn:
            row = conn.execute("SELECT sha256 FROM files WHERE hash = ?", (name,)).fetchone()
        known = row["sha256"] if row is not None else None
        if known is None:
            ends = tuple(accumulate(term.raw_bytes for term in file.terms))
            digest = sha256()
            whole = XetFile(file.digest, ends[-1] if ends else 0, file.terms, ends)
            for piece in self.read(whole, 0, whole.size):
                digest.update(piece)
            known = digest.hexdigest()
        if known != file.sha256:
            raise HubError(400, f"file {name} has the sha256 {known}, the shard says {file.sha256}")


def size_held(conn: sqlite3.Connection, file: str, repo: int) -> int | None:
    """The size of a file that `repo` holds; None if it does not hold it."""
    row = conn.execute(
        "SELECT f.size FROM file_repos r JOIN files f ON f.hash = r.file WHERE r.file = ? AND r.repo = ?", (file, repo)
    ).fetchone()
    return None if row is None else int(row["size"])


def grant(conn: sqlite3.Connection, file: str, repo: int) -> None:
    """Record that `repo` holds a file."""
    conn.execute("INSERT OR IGNORE INTO file_repos VALUES (?, ?)", (file, repo))


def _record(conn: sqlite3.Connection, file: ShardFile, keys: dict[bytes, int], repo: int) -> None:
    name = to_hex(file.digest)
    terms = b"".join(_TERM.pack(term.xorb, term.raw_bytes, term.start, term.end) for term in file.terms)
    size = sum(term.raw_bytes for term in file.terms)
    conn.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?)", (name, size, file.sha256, terms))
    if file.sha256 is not None:
        conn.execute("UPDATE files SET sha256 = ? WHERE hash = ? AND sha256 IS NULL", (file.sha256, name))
    rows = [(chunk, name, term) for chunk, term in keys.items()]
    conn.executemany("INSERT OR IGNORE INTO dedup VALUES (?, ?, ?)", rows)
    grant(conn, name, repo)


def _readable_file(conn: sqlite3.Connection, file: str, user: Identity) -> bool:
    rows = conn.execute(
        "SELECT r.owner, r.private FROM file_repos f JOIN repos r ON r.id = f.repo WHERE f.file = ?", (file,)
    )
    return any(user.sees(row["owner"], bool(row["private"])) for row in rows)
