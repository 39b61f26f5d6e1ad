"""Hashes and permutations that never change: pure functions of a seed, the same on every machine and in every version.

A permutation of rows is a Feistel network, so position and row are computed from each other's number and nothing is stored.
Every hash is BLAKE2b over an unambiguous encoding; Python's own `random` and `hash` are not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

_ROUNDS = 8
_MASK = 2**64 - 1
_MIX_A = 0xBF58476D1CE4E5B9
_MIX_B = 0x94D049BB133111EB
_GAMMA = 0x9E3779B97F4A7C15
_MAX_SIZE = 2**62


def digest(key: Iterable[object], size: int) -> bytes:
    """BLAKE2b of values, each written as type, length and text, so that no two keys read the same."""
    state = hashlib.blake2b(digest_size=size)
    for part in key:
        text = str(part).encode("utf-8", "surrogatepass")
        state.update(f"{type(part).__name__}:{len(text)}:".encode())
        state.update(text)
    return state.digest()


def hash_int(*key: str | int) -> int:
    """64 uniform bits that depend on nothing but the key."""
    return int.from_bytes(digest(key, 8), "big")


def unit_interval(*key: str | int) -> float:
    """A uniform number in [0, 1) with 53 bits that depends on nothing but the key."""
    return (hash_int(*key) >> 11) * 2.0**-53


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


def uniform_words(key: int, start: int, stop: int) -> pa.Array:
    """64 uniform bits (uint64) for each of start, ..., stop - 1: SplitMix64 from a 64-bit key, jumped to `start`."""
    first = (key + (start + 1) * _GAMMA) & _MASK
    steps = pa.repeat(pa.scalar(_GAMMA, pa.uint64()), max(0, stop - start - 1))
    return _mix(
        pc.cumulative_sum(pa.concat_arrays([pa.array([first], pa.uint64()), steps]).slice(0, max(0, stop - start)))
    )
