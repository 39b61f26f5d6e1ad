"""The order of a mix: pure functions of a seed, the same on every machine and in every version.

A permutation of rows is a Feistel network, so position and row are computed from each other's number and nothing is stored.
An order of blocks is a sort by hashes, so a block keeps its place among its source's blocks when another source changes.
Every hash is BLAKE2b over an unambiguous encoding; Python's own `random` and `hash` are not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

Item = TypeVar("Item")

_ROUNDS = 8
_MASK = 2**64 - 1
_MIX_A = 0xBF58476D1CE4E5B9
_MIX_B = 0x94D049BB133111EB
_MAX_SIZE = 2**62


def _digest(key: Iterable[object], size: int) -> bytes:
    """BLAKE2b of values, each written as type, length and text, so that no two keys read the same."""
    state = hashlib.blake2b(digest_size=size)
    for part in key:
        text = str(part).encode("utf-8", "surrogatepass")
        state.update(f"{type(part).__name__}:{len(text)}:".encode())
        state.update(text)
    return state.digest()


def hash_int(*key: str | int) -> int:
    """64 uniform bits that depend on nothing but the key."""
    return int.from_bytes(_digest(key, 8), "big")


def unit_interval(*key: str | int) -> float:
    """A uniform number in [0, 1) with 53 bits that depends on nothing but the key."""
    return (hash_int(*key) >> 11) * 2.0**-53


def hash_order(items: Iterable[Item], key: Callable[[Item], str | int], seed: int) -> list[Item]:
    """The items sorted by a hash of their key: adding or removing items never changes the order of the others."""
    return sorted(items, key=lambda item: (_digest((seed, "order", key(item)), 16), str(key(item))))


@dataclass(frozen=True, slots=True)
class Permutation:
    """A keyed bijection of [0, size) in constant memory: position -> row.

    A balanced Feistel network over the smallest even number of bits that holds `size`; values outside are mapped again
    until they fall inside (cycle walking, at most 4 times on average). Its 8 rounds use SplitMix64's finaliser under keys
    from BLAKE2b of seed, purpose and size, so that each of them gives an independent order. The order is part of the
    format: changing it breaks every pinned mix.
    """

    size: int
    seed: int
    purpose: str = "rows"
    _half: int = field(init=False, repr=False, compare=False)
    _keys: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.size <= _MAX_SIZE:
            raise ValueError(f"size must be between 0 and 2**62, got {self.size}")
        key = ("permutation", self.purpose, self.seed, self.size)
        object.__setattr__(self, "_half", max(1, ((self.size - 1).bit_length() + 1) // 2))
        object.__setattr__(self, "_keys", tuple(hash_int(*key, n) for n in range(_ROUNDS)))

    def one(self, index: int) -> int:
        """The row at a position. Raises `IndexError` outside [0, size)."""
        if not 0 <= index < self.size:
            raise IndexError(f"position must be between 0 and {self.size - 1}, got {index}")
        value = self._encrypt_one(index)
        while value >= self.size:
            value = self._encrypt_one(value)
        return value

    def of(self, index: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The rows (int64) at positions (int64). Raises `IndexError` if one is null or outside [0, size)."""
        array = index.combine_chunks() if isinstance(index, pa.ChunkedArray) else index
        if len(array) == 0:
            return pa.array([], pa.int64())
        low, high = (bound.as_py() for bound in pc.min_max(array, skip_nulls=False).values())
        if low is None or low < 0 or high >= self.size:
            raise IndexError(f"positions must be between 0 and {self.size - 1}, got {low} to {high}")
        values = self._encrypt(array.cast(pa.uint64()))
        limit = pa.scalar(self.size, pa.uint64())
        outside = pc.greater_equal(values, limit)
        while outside.true_count:
            values = pc.replace_with_mask(values, outside, self._encrypt(values.filter(outside)))
            outside = pc.greater_equal(values, limit)
        return values.cast(pa.int64())

    def of_range(self, start: int, stop: int) -> pa.Array:
        """The rows (int64) at positions start, ..., stop - 1."""
        steps = pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), max(0, stop - start)), start=start - 1)
        return self.of(steps)

    def _encrypt_one(self, value: int) -> int:
        mask = (1 << self._half) - 1
        left, right = value >> self._half, value & mask
        for key in self._keys:
            left, right = right, left ^ (_mix_one(right ^ key) >> (64 - self._half))
        return left << self._half | right

    def _encrypt(self, value: pa.Array) -> pa.Array:
        half = pa.scalar(self._half, pa.uint64())
        left, right = pc.shift_right(value, half), pc.bit_wise_and(value, _word((1 << self._half) - 1))
        for key in self._keys:
            mixed = pc.shift_right(_mix(pc.bit_wise_xor(right, _word(key))), _word(64 - self._half))
            left, right = right, pc.bit_wise_xor(left, mixed)
        return pc.bit_wise_or(pc.shift_left(left, half), right)


def _word(value: int) -> pa.Scalar:
    return pa.scalar(value, pa.uint64())


def _mix_one(value: int) -> int:
    """SplitMix64's finaliser (Steele, Lea and Flood, 2014) on one 64-bit word."""
    value = (value ^ (value >> 30)) * _MIX_A & _MASK
    value = (value ^ (value >> 27)) * _MIX_B & _MASK
    return value ^ (value >> 31)


def _mix(value: pa.Array) -> pa.Array:
    """The same on an array; Arrow's unchecked product wraps at 64 bits."""
    value = pc.multiply(pc.bit_wise_xor(value, pc.shift_right(value, _word(30))), _word(_MIX_A))
    value = pc.multiply(pc.bit_wise_xor(value, pc.shift_right(value, _word(27))), _word(_MIX_B))
    return pc.bit_wise_xor(value, pc.shift_right(value, _word(31)))


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
    salt = hashlib.blake2b(_digest((seed, "block"), 32), digest_size=16)
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
