"""A shard: which files are made of which chunks, in 48-byte entries.

The one idea: read what clients upload (a header, a file section, a xorb section, no footer), and write the only kind of
shard that goes back to them: some xorbs' chunk lists with a version-1 footer, the answer to a deduplication query. Layout:
https://huggingface.co/docs/xet/shard and the public xet-core sources.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.localhub.answers import HubError
from pipeline.localhub.hashing import to_hex

SHARD_BYTES_MAX: Final = 64 * 1024 * 1024
_TAG: Final = b"HFRepoMetaData\x00UigEj{\x81W\x83\xa5\xbd\xd9\\\xcd\xd1J\xa9"
_HEADER: Final = struct.Struct("<32sQQ")
_ENTRY: Final = struct.Struct("<32sIIII")
_FOOTER: Final = struct.Struct("<9Q32s2Q6Q3QQ")
_BOOKEND: Final = b"\xff" * 32
_WITH_VERIFICATION: Final = 1 << 31
_WITH_SHA256: Final = 1 << 30
_DEDUP_KEY: Final = 1 << 31
_NEVER: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Term:
    """Chunks [start, end) of one xorb, `raw_bytes` long: a stretch of a file."""

    xorb: bytes
    raw_bytes: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file as a client describes it; nothing of this is believed before it is checked."""

    digest: bytes
    terms: tuple[Term, ...]
    proofs: tuple[bytes, ...]
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Shard:
    """The files of a shard, and the chunks that its xorb section marks as keys for global deduplication."""

    files: tuple[ShardFile, ...]
    dedup_keys: frozenset[bytes]


def parse_shard(data: bytes) -> Shard:
    """Read an uploaded shard; HubError 400 if it is none."""
    try:
        tag, version, _ = _HEADER.unpack_from(data)
        if tag != _TAG or version != 2:
            raise HubError(400, f"not a shard of version 2, got version {version}")
        files, at = _parse_files(data, _HEADER.size)
        return Shard(files, _parse_keys(data, at))
    except struct.error as err:
        raise HubError(400, "shard ends inside an entry") from err


def write_dedup_shard(xorbs: Iterable[tuple[bytes, Sequence[tuple[bytes, int]], int]], now_s: int) -> bytes:
    """Write the chunk lists of `xorbs`, each (hash, [(chunk hash, raw length)], stored length), as a shard with a footer."""
    body = bytearray(_HEADER.pack(_TAG, 2, _FOOTER.size))
    body += _ENTRY.pack(_BOOKEND, 0, 0, 0, 0)
    xorbs_at = len(body)
    raw_total = stored_total = 0
    for digest, chunks, stored in xorbs:
        raw = sum(size for _, size in chunks)
        body += _ENTRY.pack(digest, 0, len(chunks), raw, stored)
        start = 0
        for chunk, size in chunks:
            body += _ENTRY.pack(chunk, start, size, 0, 0)
            start += size
        raw_total, stored_total = raw_total + raw, stored_total + stored
    body += _ENTRY.pack(_BOOKEND, 0, 0, 0, 0)
    end = len(body)
    offsets = (1, _HEADER.size, xorbs_at, end, 0, end, 0, end, 0)
    sizes = (stored_total, raw_total, raw_total)
    return bytes(body) + _FOOTER.pack(*offsets, bytes(32), now_s, _NEVER, *([0] * 6), *sizes, end)


def _parse_files(data: bytes, at: int) -> tuple[tuple[ShardFile, ...], int]:
    files: list[ShardFile] = []
    while True:
        digest, flags, count, _, _ = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if digest == _BOOKEND:
            return tuple(files), at
        rows = [_ENTRY.unpack_from(data, at + index * _ENTRY.size) for index in range(count)]
        at += count * _ENTRY.size
        proofs: tuple[bytes, ...] = ()
        if flags & _WITH_VERIFICATION:
            proofs = tuple(_ENTRY.unpack_from(data, at + index * _ENTRY.size)[0] for index in range(count))
            at += count * _ENTRY.size
        sha256 = None
        if flags & _WITH_SHA256:
            sha256 = to_hex(_ENTRY.unpack_from(data, at)[0])
            at += _ENTRY.size
        terms = tuple(Term(xorb, raw, start, end) for xorb, _, raw, start, end in rows)
        files.append(ShardFile(digest, terms, proofs, sha256))


def _parse_keys(data: bytes, at: int) -> frozenset[bytes]:
    keys: set[bytes] = set()
    while True:
        digest, _, count, _, _ = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if digest == _BOOKEND:
            return frozenset(keys)
        for index in range(count):
            chunk, _, _, flags, _ = _ENTRY.unpack_from(data, at + index * _ENTRY.size)
            if flags & _DEDUP_KEY:
                keys.add(chunk)
        at += count * _ENTRY.size
