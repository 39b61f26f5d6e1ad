"""Byte ranges into blocks that are worth a request, and a file of which some blocks are here."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

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


class SparseFile(io.RawIOBase):
    """A file of which some pieces are here; the rest is read when it is asked for. Pieces are handed over, not copied."""

    def __init__(self, size: int, pieces: Sequence[tuple[int, bytes]], reader: RangeReader) -> None:
        super().__init__()
        self._size = size
        self._pieces = [(start, memoryview(data)) for start, data in sorted(pieces)]
        self._reader = reader
        self._at = 0

    @property
    def is_one_piece(self) -> bool:
        """Whether all that is here lies together."""
        return len(self._pieces) == 1

    def extents(self) -> list[tuple[int, int]]:
        """Where the pieces that are here begin and end."""
        return [(start, start + len(data)) for start, data in self._pieces]

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
        return self._read(start, end) if end > start else b""

    def _read(self, start: int, end: int) -> memoryview | bytes:
        parts: list[memoryview | bytes] = []
        for begin, data in self._pieces:
            stop = begin + len(data)
            if stop <= start or begin >= end:
                continue
            if begin > start:
                parts.append(self._reader.read(start, begin))
                start = begin
            taken = min(stop, end)
            parts.append(data[start - begin : taken - begin])
            start = taken
        if start < end:
            parts.append(self._reader.read(start, end))
        return parts[0] if len(parts) == 1 else b"".join(parts)
