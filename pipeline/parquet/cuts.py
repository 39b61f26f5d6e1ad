"""Where row groups end: at rows that say so themselves, so that an insert moves the cuts near it and no others.

Row groups of equal size all shift after an insert, and every page that a cut runs through is new to storage. Here a row ends a
group when a hash of its values is small for its size, between an eighth of the allowed bytes and all of them: content-defined
chunking as Xet and Parquet's writers have it, by rows. Cuts follow from the rows alone, never from how they are batched.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.parquet.row_hashes import row_hashes, row_sizes

# A cut comes from an eighth of the bytes on, after a quarter on average; one group in thirty ends only because it is full.
# Simulated inserts move 0.2 cuts before both sides cut alike again; with a half instead of an eighth it is 1.4.
_LEAST = 8
_CHANCES = 4
_LOOK_AHEAD = 4_096  # rows that are hashed at a time


class Cuts:
    """Row groups of at most `max_bytes` as Arrow holds them and `max_rows` rows; a larger row is one by itself.

    `bytes` are those of the group that has begun.
    """

    def __init__(self, max_bytes: int, max_rows: int | None = None) -> None:
        self._max_bytes = max(1, max_bytes)
        self._max_rows = max_rows
        self.bytes = 0
        self._rows = 0

    def reset(self) -> None:
        """A row group ended for another reason."""
        self.bytes = 0
        self._rows = 0

    def runs(self, batch: pa.RecordBatch) -> Iterator[tuple[int, bool]]:
        """The batch's rows as runs: how many, and whether a row group ends with them. One of no rows ends the group before."""
        ends = memoryview(pc.cumulative_sum(row_sizes(batch)).buffers()[1]).cast("q")[: batch.num_rows]
        at = 0
        while at < batch.num_rows:
            start = (ends[at - 1] if at else 0) - self.bytes
            cut = self._cut(batch, ends, start, at)
            end = batch.num_rows if cut is None else cut
            self.bytes = ends[end - 1] - start if end else self.bytes
            self._rows += end - at
            if cut is not None:
                self.reset()
            yield end - at, cut is not None
            at = end

    def _cut(self, batch: pa.RecordBatch, ends: Sequence[int], start: int, at: int) -> int | None:
        """Before which row the group ends that began at byte `start`; `None` when it goes on."""
        full = bisect_right(ends, start + self._max_bytes, at)
        if full == at and not self._rows:
            full = at + 1
        if self._max_rows:
            full = min(full, at + self._max_rows - self._rows)
        enough = bisect_left(ends, start + self._max_bytes // _LEAST, at)
        for first in range(enough, full, _LOOK_AHEAD):
            told = self._told(batch.slice(first, min(_LOOK_AHEAD, full - first)))
            if told is not None:
                return first + told + 1
        return full if full < len(ends) or self._rows + full - at == self._max_rows else None

    def _told(self, rows: pa.RecordBatch) -> int | None:
        """The first row that a group may end after: the likelier, the larger it is."""
        within = max(1, self._max_bytes // _CHANCES)
        sizes = pc.min_element_wise(row_sizes(rows), within)
        chances = pc.multiply(sizes, (2**63 - 1) // within).cast(pa.uint64())
        hashes = pc.shift_right(row_hashes(rows), pa.scalar(1, pa.uint64()))
        found = pc.index(pc.less(hashes, chances), True).as_py()
        return found if found >= 0 else None
