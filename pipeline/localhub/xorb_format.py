"""A xorb on the wire: chunks one after the other, each an 8-byte header and its bytes.

The one idea: `XorbReader` is fed blocks as they arrive and checks each chunk when it is complete, so that a xorb of 64 MiB
costs the memory of one block. The header is version (1 byte), stored length (3), scheme (1), raw length (3), little-endian;
schemes are 0 none, 1 LZ4 frame, 2 LZ4 frame over bytes regrouped by position modulo 4.
"""

from __future__ import annotations

import struct
from typing import Final

import pyarrow as pa

from pipeline.localhub.answers import HubError
from pipeline.localhub.hashing import MerkleTree, chunk_hash

CHUNK_BYTES_MAX: Final = 128 * 1024
XORB_BYTES_MAX: Final = 64 * 1024 * 1024
XORB_CHUNKS_MAX: Final = 8 * 1024
HEADER_BYTES: Final = 8
RECORD: Final = struct.Struct("<32sII")
"""What is remembered of a chunk: its hash, where its raw bytes end and where its stored bytes end, from the xorb's start."""


class XorbReader:
    """Checks a xorb while it arrives; after `finish` its `root` and `records` are known."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._tree = MerkleTree()
        self._records = bytearray()
        self._raw_end = 0
        self._stored_end = 0

    def feed(self, block: bytes) -> None:
        """Take the next bytes; HubError 400 if they cannot be part of a xorb."""
        self._pending += block
        view = bytes(self._pending)
        used = 0
        while len(view) - used >= HEADER_BYTES:
            stored, scheme, raw = parse_header(view, used)
            end = used + HEADER_BYTES + stored
            if end > len(view):
                break
            self._add(decode_chunk(view[used + HEADER_BYTES : end], scheme, raw), end - used)
            used = end
        del self._pending[:used]

    def finish(self) -> tuple[bytes, bytes]:
        """Return (xorb hash, one RECORD per chunk); HubError 400 if bytes are left over or there are none."""
        if self._pending or not self._records:
            raise HubError(400, f"xorb ends inside a chunk, {len(self._pending)} bytes are left over")
        return self._tree.root(), bytes(self._records)

    def _add(self, data: bytes, stored: int) -> None:
        digest = chunk_hash(data)
        self._tree.add(digest, len(data))
        self._raw_end += len(data)
        self._stored_end += stored
        self._records += RECORD.pack(digest, self._raw_end, self._stored_end)
        if self._raw_end > XORB_BYTES_MAX or len(self._records) > XORB_CHUNKS_MAX * RECORD.size:
            raise HubError(400, f"xorb is larger than {XORB_BYTES_MAX} bytes or {XORB_CHUNKS_MAX} chunks")


def parse_header(data: bytes, at: int) -> tuple[int, int, int]:
    """Read a chunk header: (stored length, scheme, raw length); HubError 400 if it is none."""
    stored = int.from_bytes(data[at + 1 : at + 4], "little")
    raw = int.from_bytes(data[at + 5 : at + 8], "little")
    scheme = data[at + 4]
    if data[at] != 0 or scheme > 2 or not 0 < raw <= CHUNK_BYTES_MAX or stored > 2 * CHUNK_BYTES_MAX:
        raise HubError(400, f"not a xorb chunk header: {data[at : at + 8].hex()}")
    return stored, scheme, raw


def decode_chunk(stored: bytes, scheme: int, raw_bytes: int) -> bytes:
    """Return a chunk's raw bytes; HubError 400 if they do not have the length that the header gives."""
    data = stored
    if scheme:
        try:
            data = pa.decompress(stored, decompressed_size=raw_bytes, codec="lz4", asbytes=True)
        except (OSError, ValueError) as err:
            raise HubError(400, f"xorb chunk is not an LZ4 frame: {err}") from err
        if scheme == 2:
            data = _ungroup(data)
    if len(data) != raw_bytes:
        raise HubError(400, f"xorb chunk has {len(data)} bytes, its header says {raw_bytes}")
    return data


def _ungroup(grouped: bytes) -> bytes:
    whole = bytearray(len(grouped))
    start = 0
    for position in range(4):
        end = start + len(range(position, len(grouped), 4))
        whole[position::4] = grouped[start:end]
        start = end
    return bytes(whole)
