"""What a Parquet file is written into: the caller's sink, counted and, for blocks, digested."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """What went into a file: `num_bytes` as Arrow holds the rows, `size` as the file."""

    rows: int
    num_bytes: int
    size: int


class CountingSink:
    """Passes writes on, and counts them."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self.closed = False
        self.size = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._sink.write(view)
        self.size += view.nbytes
        return view.nbytes

    def flush(self) -> None:
        """Nothing waits here."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


class DigestingSink(CountingSink):
    """Remembers a digest of what passed since it was last taken, too: half the time that images take to write."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink)
        self._digest = hashlib.blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return super().write(data)

    def take_digest(self) -> bytes:
        digest, self._digest = self._digest, hashlib.blake2b(digest_size=16)
        return digest.digest()
