"""Stored xorbs: where each chunk is, who may read it, and the raw bytes of a run of chunks.

The one idea: a xorb's chunk table is one small immutable blob, parsed once and kept, with running ends, so that lengths
and positions are differences and look-ups are bisections.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from pipeline.localhub.accounts import Identity
from pipeline.localhub.answers import HubError
from pipeline.localhub.byte_store import ByteStore, Draft
from pipeline.localhub.database import Database
from pipeline.localhub.hashing import HASH_BYTES, from_hex, to_hex
from pipeline.localhub.xorb_format import HEADER_BYTES, RECORD, decode_chunk, parse_header

_PIECE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class XorbTable:
    """The chunks of one xorb: their hashes in a row, and where chunk i ends, raw and stored (index i + 1; index 0 is 0)."""

    hashes: bytes
    raw_ends: array[int]
    stored_ends: array[int]

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return len(self.raw_ends) - 1

    def raw_bytes(self, start: int, end: int) -> int:
        """Raw length of the chunks [start, end)."""
        return self.raw_ends[end] - self.raw_ends[start]

    def hashes_of(self, start: int, end: int) -> bytes:
        """The hashes of the chunks [start, end), in a row."""
        return self.hashes[start * HASH_BYTES : end * HASH_BYTES]

    def chunks(self, start: int, end: int) -> Iterator[tuple[bytes, int]]:
        """(hash, raw length) of the chunks [start, end)."""
        for index in range(start, end):
            yield self.hashes_of(index, index + 1), self.raw_bytes(index, index + 1)

    def chunk_at(self, raw: int) -> int:
        """The chunk that holds raw byte `raw`."""
        return bisect_right(self.raw_ends, raw) - 1


@dataclass(frozen=True, slots=True)
class Upload:
    """A xorb that was checked: its hash, a RECORD per chunk, and who uploaded it to which repo."""

    digest: bytes
    records: bytes
    user: Identity
    repo: int


class Xorbs:
    """The xorbs of a Hub."""

    def __init__(self, database: Database, store: ByteStore) -> None:
        self._database = database
        self._store = store
        self.table = lru_cache(maxsize=256)(self._load)

    def keep(self, draft: Draft, upload: Upload) -> bool:
        """Store a xorb that was checked, and who uploaded it; False if this user could read it already.

        The file gets its name inside the transaction: the same chunks may come in another compression at the same time.
        """
        name = to_hex(upload.digest)
        draft.flush()
        with self._database.write() as conn:
            seen = readable(conn, upload.digest, upload.user)
            if conn.execute("SELECT 1 FROM xorbs WHERE hash = ?", (name,)).fetchone() is None:
                draft.keep("xorbs", name)
                size = RECORD.unpack_from(upload.records, len(upload.records) - RECORD.size)[2]
                conn.execute("INSERT INTO xorbs VALUES (?, ?, ?)", (name, size, upload.records))
            conn.execute("INSERT OR IGNORE INTO xorb_uploads VALUES (?, ?, ?)", (name, upload.user.name, upload.repo))
        return not seen

    def raw(self, digest: bytes, raw_start: int, raw_end: int) -> Iterator[bytes]:
        """Yield the raw bytes [raw_start, raw_end) of a xorb, a few MiB at a time."""
        table = self.table(digest)
        chunk = table.chunk_at(raw_start)
        while raw_start < raw_end:
            end = chunk + 1
            limit = table.raw_ends[chunk] + _PIECE_BYTES
            while table.raw_ends[end] < min(raw_end, limit):
                end += 1
            stored = b"".join(
                self._store.read("xorbs", to_hex(digest), table.stored_ends[chunk], table.stored_ends[end])
            )
            piece = b"".join(_decode(stored))
            skip = raw_start - table.raw_ends[chunk]
            piece = piece[skip : skip + raw_end - raw_start]
            yield piece
            raw_start += len(piece)
            chunk = end

    def _load(self, digest: bytes) -> XorbTable:
        with self._database.read() as conn:
            row = conn.execute("SELECT records FROM xorbs WHERE hash = ?", (to_hex(digest),)).fetchone()
        if row is None:
            raise HubError(404, f"unknown xorb {to_hex(digest)}")
        hashes, raw_ends, stored_ends = zip(*RECORD.iter_unpack(row["records"]), strict=True)
        return XorbTable(b"".join(hashes), array("I", (0, *raw_ends)), array("I", (0, *stored_ends)))


def readable(conn: sqlite3.Connection, digest: bytes, user: Identity) -> bool:
    """Whether the user uploaded this xorb, or it was uploaded to a repo that the user may read.

    Only an upload counts, not a file that refers to the xorb: a public file may share a xorb with private ones.
    """
    rows = conn.execute(
        "SELECT u.user, r.owner, r.private FROM xorb_uploads u LEFT JOIN repos r ON r.id = u.repo WHERE u.xorb = ?",
        (to_hex(digest),),
    )
    return any(
        (row["user"] == user.name != "") or (row["owner"] is not None and user.sees(row["owner"], bool(row["private"])))
        for row in rows
    )


def parse_hash(text: str) -> bytes:
    """Read a hash in a URL; HubError 400 if it is none."""
    try:
        return from_hex(text)
    except ValueError as err:
        raise HubError(400, f"not a hash: {text!r}") from err


def _decode(stored: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(stored):
        length, scheme, raw = parse_header(stored, at)
        yield decode_chunk(stored[at + HEADER_BYTES : at + HEADER_BYTES + length], scheme, raw)
        at += HEADER_BYTES + length
