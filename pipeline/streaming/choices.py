"""Which stream the next row of an interleave comes from: a pure function of (seed, epoch, i), the same on all ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.permutation import hash_int, uniform_words

Stopping = Literal["first_exhausted", "all_exhausted"]

_BLOCK = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Draws of a stream's number, independent of each other, by weight."""

    weights: tuple[float, ...]
    seed: int
    epoch: int

    def block(self, start: int, length: int) -> pa.Array:
        """The choices (int64) at start, ..., start + length - 1."""
        words = uniform_words(hash_int("interleave", self.seed, self.epoch), start, start + length)
        total = sum(self.weights)
        found = pa.repeat(pa.scalar(0, pa.int64()), length)
        for bound in list(accumulate(self.weights))[:-1]:
            word = pa.scalar(min(int(bound / total * 2**64), 2**64 - 1), pa.uint64())
            found = pc.add(found, pc.greater_equal(words, word).cast(pa.int64()))
        return found

    def after(self, start: int) -> Iterator[int]:
        """The choices from `start` on."""
        while True:
            yield from self.block(start, _BLOCK).to_pylist()
            start += _BLOCK


@dataclass(slots=True, kw_only=True)
class Walk:
    """Where one share of an interleave is: choices `drawn`, `rows` given, and (pass, rows taken in it) per stream."""

    drawn: int
    passes: list[int]
    taken: list[int]
    rows: int = 0
    ended: bool = False


def walk(walk: Walk, rows: int | None, choices: Choices, size: Callable[[int, int], int], stopping: Stopping) -> Walk:
    """Go on until so many rows in all were given (`None`: until the end), without reading any.

    `size` is the rows that a stream has for this share in a pass. What no stream can exhaust is counted a block at a time.
    """
    while not walk.ended and (rows is None or walk.rows < rows):
        length = _BLOCK if rows is None else min(_BLOCK, rows - walk.rows)
        block = choices.block(walk.drawn, length)
        counts = {one["values"]: one["counts"] for one in pc.value_counts(block).to_pylist()}
        if all(walk.taken[n] + count <= size(n, walk.passes[n]) for n, count in counts.items()):
            for n, count in counts.items():
                walk.taken[n] += count
            walk.drawn += length
            walk.rows += length
            continue
        for number in block.to_pylist():
            if walk.ended:
                break
            _step(walk, number, size, stopping)
    return walk


def _step(walk: Walk, number: int, size: Callable[[int, int], int], stopping: Stopping) -> None:
    if walk.taken[number] >= size(number, walk.passes[number]):
        if is_over(walk.passes, number, stopping):
            walk.ended = True
            return
        walk.passes[number] += 1
        walk.taken[number] = 0
        if not size(number, walk.passes[number]):
            walk.drawn += 1
            return
    walk.drawn += 1
    walk.rows += 1
    walk.taken[number] += 1


def is_over(passes: Sequence[int], ended: int, stopping: Stopping) -> bool:
    """Whether the interleave ends when this stream has no row left in its pass: those before theirs have not ended once."""
    return stopping == "first_exhausted" or (
        all(passes[n] for n in range(len(passes)) if n != ended) and not passes[ended]
    )
