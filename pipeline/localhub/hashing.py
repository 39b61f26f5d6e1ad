"""The hashes of the Xet protocol: chunk, xorb, file and range.

The one idea: a chunk's name is the keyed BLAKE3 of its raw bytes, and every larger thing is the root of a tree over
(chunk hash, length) pairs whose branches are cut where a hash is divisible by 4. Follows the public specification,
https://huggingface.co/docs/xet/hashing.
"""

from __future__ import annotations

import struct
from hashlib import sha1
from typing import Final

from blake3 import blake3

HASH_BYTES: Final = 32
ZERO: Final = bytes(HASH_BYTES)
Leaf = tuple[bytes, int]

_CHUNK_KEY: Final = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY: Final = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_RANGE_KEY: Final = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FEWEST_CHILDREN: Final = 2
_MOST_CHILDREN: Final = 9


def to_hex(digest: bytes) -> str:
    """Write a hash as the protocol does: four little-endian 64-bit numbers in hexadecimal."""
    return "{:016x}{:016x}{:016x}{:016x}".format(*struct.unpack("<4Q", digest))


def from_hex(text: str) -> bytes:
    """Read what `to_hex` wrote; ValueError if it is not 64 hexadecimal digits."""
    if len(text) != 2 * HASH_BYTES:
        raise ValueError(f"a hash has 64 hexadecimal digits, got {len(text)}")
    return struct.pack("<4Q", *struct.unpack(">4Q", bytes.fromhex(text)))


def chunk_hash(data: bytes) -> bytes:
    """The name of a chunk."""
    return blake3(data, key=_CHUNK_KEY).digest()


def range_hash(chunk_hashes: bytes) -> bytes:
    """The proof, in a shard, that its writer knows the chunks of a term: over their hashes, one after the other."""
    return blake3(chunk_hashes, key=_RANGE_KEY).digest()


class MerkleTree:
    """The tree over chunks that are added one by one; it remembers a few nodes per level, whatever the number of chunks."""

    def __init__(self) -> None:
        self._open: list[list[Leaf]] = []
        self._closed: list[int] = []

    def add(self, digest: bytes, size: int, level: int = 0) -> None:
        """Add the next chunk (or, from below, the next node of a level)."""
        if level == len(self._open):
            self._open.append([])
            self._closed.append(0)
        group = self._open[level]
        group.append((digest, size))
        if len(group) == _MOST_CHILDREN or (len(group) > _FEWEST_CHILDREN and digest[24] & 3 == 0):
            self._close(level)

    def root(self) -> bytes:
        """The hash of the whole, ZERO if nothing was added; nothing can be added after it."""
        level = 0
        while level < len(self._open):
            group = self._open[level]
            if len(group) == 1 and not self._closed[level]:
                return group[0][0]
            if group:
                self._close(level)
            level += 1
        return ZERO

    def file_root(self) -> bytes:
        """The name of a file of these chunks: the root, keyed with a salt of zeros."""
        root = self.root()
        return blake3(root, key=ZERO).digest() if self._open else ZERO

    def _close(self, level: int) -> None:
        group = self._open[level]
        text = "".join(f"{to_hex(digest)} : {size}\n" for digest, size in group)
        self._open[level] = []
        self._closed[level] += 1
        self.add(blake3(text.encode(), key=_NODE_KEY).digest(), sum(size for _, size in group), level + 1)


def is_dedup_key(digest: bytes) -> bool:
    """Whether clients ask for this chunk in global deduplication: one in 1024 by its last number."""
    return digest[24] == 0 and digest[25] & 3 == 0


def git_oid(size: int, data: bytes) -> str:
    """The git blob id of `data`."""
    return sha1(b"blob %d\0" % size + data, usedforsecurity=False).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """The text that git holds in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
