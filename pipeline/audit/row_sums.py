"""Sums of row keys, by source and shard: two sets of rows in any order are the same where their sums are.

A row's key is 128 bits of its values (row_keys.py). Both halves are summed modulo 2^64, once as they are, and once times a number
that follows from the row's position, so that the second tells of order too. A chance collision is out of the question; who may
choose rows at will could make one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.mix.row_keys import KEY_BYTES, row_keys

_U64 = pa.uint64()
_MASK = 2**64 - 1
_PARTS = ("low", "high", "placed_low", "placed_high")


@dataclass(slots=True)
class Sum:
    """How many rows, the sum of their keys, and the sum of their keys times their places."""

    rows: int = 0
    keys: tuple[int, int] = (0, 0)
    placed: tuple[int, int] = (0, 0)

    def add(self, rows: int, keys: tuple[int, int], placed: tuple[int, int]) -> None:
        """Add another sum's numbers."""
        self.rows += rows
        self.keys = _plus(self.keys, keys)
        self.placed = _plus(self.placed, placed)


@dataclass(slots=True)
class RowSums:
    """Sums by (source, shard)."""

    sums: dict[tuple[str, int], Sum] = field(default_factory=dict)

    def add(self, rows: pa.RecordBatch, sources: pa.Array, shards: pa.Array, positions: pa.Array) -> None:
        """Add rows, with the name of each one's source, its shard, and its position in the mix."""
        if not rows.num_rows:
            return
        low, high = _halves(row_keys(rows))
        place = pc.add(pc.multiply(positions.cast(_U64), _u64(2)), _u64(1))
        placed = (pc.multiply(low, place), pc.multiply(high, place))
        table = pa.table({"source": sources, "shard": shards, **dict(zip(_PARTS, (low, high, *placed), strict=True))})
        summed = table.group_by(["source", "shard"]).aggregate([([], "count_all"), *((part, "sum") for part in _PARTS)])
        for one in summed.to_pylist():
            sums = [one[f"{part}_sum"] for part in _PARTS]
            self._of(one).add(one["count_all"], (sums[0], sums[1]), (sums[2], sums[3]))

    def _of(self, one: dict[str, Any]) -> Sum:
        return self.sums.setdefault((str(one["source"]), one["shard"]), Sum())

    def merge(self, other: RowSums) -> None:
        """Add other rows' sums."""
        for key, one in other.sums.items():
            self.sums.setdefault(key, Sum()).add(one.rows, one.keys, one.placed)

    def only(self, shards: Collection[int]) -> RowSums:
        """The sums of these shards alone."""
        return RowSums({key: one for key, one in self.sums.items() if key[1] in shards})

    def same(self, key: tuple[str, int], other: RowSums, *, order: bool) -> bool:
        """Whether another one has the same rows of this source in this shard, with `order` at the same positions."""
        mine, theirs = self.sums.get(key, Sum()), other.sums.get(key, Sum())
        return mine == theirs if order else (mine.rows, mine.keys) == (theirs.rows, theirs.keys)

    def total(self, source: str) -> Sum:
        """The sum of a source over all shards."""
        whole = Sum()
        for (name, _), one in self.sums.items():
            if name == source:
                whole.add(one.rows, one.keys, one.placed)
        return whole


def first_other_key(expected: bytes, found: bytes) -> int | None:
    """The first row whose key is another one, or which one side lacks."""
    if expected == found:
        return None
    for at in range(0, min(len(expected), len(found)), KEY_BYTES):
        if expected[at : at + KEY_BYTES] != found[at : at + KEY_BYTES]:
            return at // KEY_BYTES
    return min(len(expected), len(found)) // KEY_BYTES


def _halves(keys: bytes) -> tuple[pa.Array, pa.Array]:
    words = pa.Array.from_buffers(_U64, len(keys) // 8, [None, pa.py_buffer(keys)])
    pairs = pa.FixedSizeListArray.from_arrays(words, 2)
    return pc.list_element(pairs, 0), pc.list_element(pairs, 1)


def _plus(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    return (left[0] + right[0]) & _MASK, (left[1] + right[1]) & _MASK


def _u64(value: int) -> Any:
    return pa.scalar(value, _U64)
