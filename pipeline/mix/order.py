"""The order of a mix's blocks, and exact shares: pure functions of a seed, the same on every machine and in every version.

Orders are sorts by hashes of what a block is, so growing a source, or giving it another weight, changes neither the order of the
others' blocks among themselves nor that of its own.

balanced   the j-th of a source's n blocks stands at (j + u) / n, with u in [0, 1) a hash of the source. So every stretch of the
           mix holds each source's share to within one block. (A u per block doubles chi2 in windows of 512 and 4,096 rows.)
random     all blocks by their hashes.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.mix.blocks import Blocks, joined
from pipeline.permutation import digest, unit_interval

if TYPE_CHECKING:
    from pipeline.mix.sources import OpenSource


def by_hash(source: OpenSource, blocks: Blocks, seed: int, purpose: str) -> array[int]:
    """The places of a source's blocks in hashed order. A block that is there again is one of its own."""
    return _sorted(_hashes(source, blocks, seed, purpose))


def spread_balanced(sources: Sequence[OpenSource], blocks: Sequence[Blocks], seed: int) -> Blocks:
    """All sources' blocks in balanced order."""
    ordered = [own.take(by_hash(one, own, seed, "order")) for one, own in zip(sources, blocks, strict=True)]
    return joined(ordered).take(interleave([*map(len, blocks)], seed, [source.name for source in sources]))


def interleave(counts: Sequence[int], seed: int, names: Sequence[str]) -> array[int]:
    """The balanced order of sources that have so many blocks: places in the sequence of all of the first, all of the next, ..."""
    places = array("d")
    for count, name in zip(counts, names, strict=True):
        shift = unit_interval(seed, "spread", name)
        places.extend((j + shift) / count for j in range(count))
    return _sorted(places)


def spread_random(sources: Sequence[OpenSource], blocks: Sequence[Blocks], seed: int) -> Blocks:
    """All sources' blocks in random order."""
    hashes = array("Q")
    for source, own in zip(sources, blocks, strict=True):
        hashes.extend(_hashes(source, own, seed, f"order {source.name}"))
    return joined(blocks).take(_sorted(hashes))


def in_file_order(blocks: Blocks) -> Blocks:
    """A source's blocks as they stand in its files."""
    return blocks.take(sorted(range(len(blocks)), key=lambda place: (blocks.file[place], blocks.start[place])))


def _hashes(source: OpenSource, blocks: Blocks, seed: int, purpose: str) -> array[int]:
    """64 bits of BLAKE2b for each block: of its file's name, its first row, and how often it was there before."""
    salts = [hashlib.blake2b(digest((seed, purpose, file.name), 32), digest_size=8) for file in source.files]
    seen: dict[tuple[int, int], int] = {}
    found = bytearray()
    for file, start in zip(blocks.file, blocks.start, strict=True):
        occurrence = seen.get((file, start), 0)
        seen[file, start] = occurrence + 1
        state = salts[file].copy()
        state.update(start.to_bytes(8, "big") + occurrence.to_bytes(4, "big"))
        found += state.digest()
    hashes = array("Q", bytes(found))
    if sys.byteorder == "big":
        hashes.byteswap()
    return hashes


def _sorted(keys: array[int] | array[float]) -> array[int]:
    """The places of the keys in rising order; equal ones stay in theirs."""
    kind = pa.float64() if keys.typecode == "d" else pa.uint64()
    values = pa.Array.from_buffers(kind, len(keys), [None, pa.py_buffer(keys)])
    return array("Q", pc.array_sort_indices(values).buffers()[1].to_pybytes()[: 8 * len(keys)])


def apportion(weights: Sequence[float | Fraction], total: int) -> list[int]:
    """Whole numbers in proportion to the weights that sum to `total`: the largest remainder method, in exact arithmetic.

    Equal remainders go to the earlier entry. Raises `ValueError` for a negative or infinite weight, or none above 0.
    """
    if total < 0:
        raise ValueError(f"total must be 0 or more, got {total}")
    bad = next((w for w in weights if not 0 <= w < float("inf")), None)
    if bad is not None:
        raise ValueError(f"weights must be 0 or more and finite, got {bad}")
    shares = [Fraction(weight) for weight in weights]
    whole = sum(shares)
    if not whole:
        if total:
            raise ValueError(f"one weight must be above 0 to share {total}, got {list(weights)}")
        return [0] * len(shares)
    exact = [share * total / whole for share in shares]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda n: counts[n] - exact[n])
    for n in by_remainder[: total - sum(counts)]:
        counts[n] += 1
    return counts
