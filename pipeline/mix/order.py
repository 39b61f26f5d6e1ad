"""The order of a mix's blocks, and exact shares: pure functions of a seed, the same on every machine and in every version.

An order of blocks is a sort by hashes, so a block keeps its place among its source's blocks when another source changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction

from pipeline.permutation import digest, unit_interval


def spread_blocks(
    blocks: Sequence[Sequence[str]], seed: int, names: Sequence[str] | None = None
) -> list[tuple[int, int]]:
    """A balanced interleave of the sources' blocks: (source, index into its `blocks`) in the order of the mix.

    Each source's block ids are first ordered by hash; the j-th of n then stands at (j + u) / n with u in [0, 1) a hash of
    the source. So every stretch of the mix holds each source's share to within one block (a u per block doubles chi2 in windows
    of 512 and 4,096 rows), and growing one source leaves the others' blocks in their order. An id that occurs again (a
    repeat) is a block of its own. `names` identify the sources where their numbers may change between builds.
    """
    placed: list[tuple[float, int, int, int]] = []
    for source, ids in enumerate(blocks):
        name = source if names is None else names[source]
        order = _hashed(ids, seed)
        count = len(order)
        shift = unit_interval(seed, "spread", name)
        placed += [((j + shift) / count, source, j, index) for j, index in enumerate(order)]
    placed.sort()
    return [(source, index) for _, source, _, index in placed]


def _hashed(ids: Sequence[str], seed: int) -> list[int]:
    """Indexes into `ids`, by the hash of the id and of how often it occurred before."""
    salt = hashlib.blake2b(digest((seed, "block"), 32), digest_size=16)
    seen: dict[str, int] = {}
    keyed = []
    for index, block in enumerate(ids):
        occurrence = seen.get(block, 0)
        seen[block] = occurrence + 1
        state = salt.copy()
        state.update(occurrence.to_bytes(8, "big"))
        state.update(block.encode("utf-8", "surrogatepass"))
        keyed.append((state.digest(), block, index))
    keyed.sort()
    return [index for _, _, index in keyed]


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
