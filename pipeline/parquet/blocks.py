"""Byte ranges into blocks that are worth a request, and a file of which some blocks are here or on their way."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from pipeline.storage import RangeReader


def merge_ranges(ranges: Iterable[tuple[int, int]], hole_bytes: int, block_bytes: int) -> list[tuple[int, int]]:
    """Sorted ranges with neighbours joined over small holes, and large ones cut, so that several requests share the work."""
    merged: list[tuple[int, int]] = []
    for start, end in ranges:
        if merged and start - merged[-1][1] <= hole_bytes and end - merged[-1][0] <= block_bytes:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    pieces: list[tuple[int, int]] = []
    for start, end in merged:
        count = max(1, -(-(end - start) // block_bytes))
        step = -(-(end - start) // count) if end > start else 1
        pieces += [(at, min(at + step, end)) for at in range(start, max(end, start + 1), step)]
    return pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The bytes [start, end) of a file, on their way."""

    start: int
    end: int
    data: Future[bytes]


class SparseFile(io.RawIOBase):
    """A file of which some pieces, in file order, come; the rest is read when it is asked for.

    A read waits for the pieces that it is in, and for no others. Pieces are handed over, not copied.
    """

    def __init__(self, size: int, pieces: Sequence[Piece], reader: RangeReader) -> None:
        super().__init__()
        self._size = size
        self._pieces = pieces
        self._reader = reader
        self._at = 0

    def extents(self) -> list[tuple[int, int]]:
        """Where the pieces begin and end."""
        return [(piece.start, piece.end) for piece in self._pieces]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def read(self, size: int = -1) -> memoryview | bytes:  # Arrow takes any buffer
        end = self._size if size < 0 else min(self._size, self._at + size)
        start, self._at = self._at, max(end, self._at)
        return self.read_range(start, end) if end > start else b""

    def read_range(self, start: int, end: int) -> memoryview | bytes:
        """The bytes [start, end), wherever the file stands."""
        parts: list[memoryview | bytes] = []
        for piece in self._pieces:
            if piece.end <= start or piece.start >= end:
                continue
            if piece.start > start:
                parts.append(self._reader.read(start, piece.start))
                start = piece.start
            taken = min(piece.end, end)
            parts.append(memoryview(piece.data.result())[start - piece.start : taken - piece.start])
            start = taken
        if start < end:
            parts.append(self._reader.read(start, end))
        return parts[0] if len(parts) == 1 else b"".join(parts)
