"""The global order of an epoch's rows: a pure function of (seed, epoch), whoever reads which part of it.

Row groups, permuted across all files, are cut into windows, and the rows of a window are permuted among themselves. A window's
order depends on nothing outside it, so any position is found without reading what stands before it. A share that begins inside
a window reads that window's row groups too: cheap while windows are small beside shares.

So a window has `shuffle_rows` rows or somewhat more, and is smaller in two cases, though never under two row groups. One is
memory: `shuffle_bytes`, uncompressed. The other is re-reading: shares of R rows together read about 1 + window / R times the
epoch. So of an epoch of at least 100,000 rows a window takes 1/1000 and no more, and 100 shares read at most 1.1 times the
epoch. Where two row groups are more than that, they are what counts: of a million rows 8, 32 and 256 shares read 1.00, 1.02 and
1.25 times the epoch from row groups of 500 rows, and 1.06, 1.25 and 3.04 times from row groups of 4,000 (with windows of 10,000
rows it was 1.04, 1.28 and 3.54, and 1.08, 1.37 and 4.05). Below 100,000 rows 1/1000 is less than a batch should be mixed from,
and all of the epoch is read in seconds: there windows stay as asked.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.permutation import Permutation, hash_int, uniform_words
from pipeline.streaming.shares import Interval

SHUFFLE_BYTES = 128_000_000
_SMALL_ROWS = 100_000
_WINDOWS = 1000
_STEP = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the order depends on besides the row groups; how large windows are with it, this module's docstring says."""

    shuffle: bool
    seed: int = 0
    epoch: int = 0
    shuffle_rows: int = 10_000
    shuffle_bytes: int = SHUFFLE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some row groups, by number, whose rows are permuted among themselves; `start` is the position of its first row."""

    number: int
    start: int
    groups: tuple[int, ...]
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows of a window: of the `total` rows of `groups`, those at `index` in this order, or `first` to `last` for `None`."""

    groups: tuple[int, ...]
    total: int
    index: pa.Array | None = None
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The windows of an epoch in order, made when they are asked for: 24 bytes for each, and 8 for each row group.

    `groups` are the row groups' numbers in the epoch's order; `firsts` says where in them each window begins, `starts` the
    position of its first row, and both the end.
    """

    groups: array[int]
    firsts: array[int]
    starts: array[int]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> Window:
        if not 0 <= number < len(self):
            raise IndexError(f"window must be between 0 and {len(self) - 1}, got {number}")
        first, end = self.firsts[number : number + 2]
        start, stop = self.starts[number : number + 2]
        return Window(number=number, start=start, groups=tuple(self.groups[first:end]), rows=stop - start)

    def at(self, position: int) -> int:
        """The number of the window that holds a row."""
        return bisect_right(self.starts, position) - 1


def cut_windows(rows: Sequence[int], sizes: Sequence[int], order: Order) -> Windows:
    """The windows of the epoch, from each row group's rows and uncompressed bytes.

    One plain loop over arrays: 0.4 s and 40 MB for a million row groups.
    """
    total = pc.sum(_column(rows)).as_py() or 0
    most = order.shuffle_rows if order.shuffle else 1
    enough = most if total < _SMALL_ROWS else min(most, total // _WINDOWS)
    groups, firsts, starts = array("q"), array("q", [0]), array("q", [0])
    number = first = held_rows = held_bytes = at = 0
    for numbers, lengths, memories in _in_order(rows, sizes, order):
        groups.extend(numbers)
        for length, size in zip(lengths, memories, strict=True):
            large = held_rows >= enough or held_bytes + size > order.shuffle_bytes
            if large and (held_rows >= most or number - first >= 2):
                firsts.append(number)
                starts.append(at)
                first, held_rows, held_bytes = number, 0, 0
            held_rows += length
            held_bytes += size
            at += length
            number += 1
    if number:
        firsts.append(number)
        starts.append(at)
    return Windows(groups=groups, firsts=firsts, starts=starts)


def parts(windows: Windows, intervals: Iterable[Interval], rows: Sequence[int], order: Order) -> Iterator[Part]:
    """What to read for these positions, window by window. Row groups without a wanted row are left out."""
    for start, end in intervals:
        for number in range(windows.at(start), len(windows)):
            window = windows[number]
            if window.start >= end:
                break
            low, high = max(start, window.start) - window.start, min(end - window.start, window.rows)
            if order.shuffle:
                yield _shuffled(window, low, high, rows, order)
            else:
                yield Part(groups=window.groups, total=window.rows, first=low, last=high)


def _in_order(rows: Sequence[int], sizes: Sequence[int], order: Order) -> Iterator[list[memoryview]]:
    """The epoch's row groups that have rows, some at a time: their numbers, rows, bytes."""
    permutation = Permutation(len(rows), order.seed, f"stream groups {order.epoch}")
    all_rows, all_sizes = _column(rows), _column(sizes)
    for start in range(0, len(rows), _STEP):
        end = min(start + _STEP, len(rows))
        groups = permutation.of_range(start, end) if order.shuffle else _column(range(start, end))
        groups = groups.filter(pc.greater(all_rows.take(groups), 0))
        columns = groups, all_rows.take(groups), all_sizes.take(groups)
        yield [memoryview(one.buffers()[1]).cast("q")[: len(one)] for one in columns]


def _column(values: Sequence[int]) -> pa.Array:
    held = values if isinstance(values, array) and values.typecode == "q" else array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(held), [None, pa.py_buffer(held)])


def _shuffled(window: Window, low: int, high: int, rows: Sequence[int], order: Order) -> Part:
    # A sort by hashes (stable, so pure too): a tenth of the time of a Permutation, which is for what no memory holds.
    words = uniform_words(hash_int("stream rows", order.seed, order.epoch, window.number), 0, window.rows)
    index = pc.sort_indices(words).slice(low, high - low).cast(pa.int64())
    if high - low == window.rows:
        return Part(groups=window.groups, total=window.rows, index=index)
    kept: list[int] = []
    moved = index
    ends = list(accumulate(rows[group] for group in window.groups))
    for group, end in zip(window.groups, ends, strict=True):
        inside = pc.and_(pc.less(index, end), pc.greater_equal(index, end - rows[group]))
        if pc.any(inside).as_py():
            kept.append(group)
        else:  # its rows are not read, so those behind it move up
            moved = pc.subtract(moved, pc.if_else(pc.greater_equal(index, end), rows[group], 0))
    return Part(groups=tuple(kept), total=sum(rows[group] for group in kept), index=moved)
