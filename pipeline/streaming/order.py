"""The global order of an epoch's rows: a pure function of (seed, epoch), whoever reads which part of it.

Row groups, permuted across all files, are cut into windows, and the rows of a window are permuted among themselves. A window's
order depends on nothing outside it, so any position is found without reading what stands before it. A share that begins inside
a window reads that window's row groups too: cheap while windows are small beside shares.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.permutation import Permutation, hash_int, uniform_words
from pipeline.streaming.shares import Interval

SHUFFLE_BYTES = 128_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the order depends on. A window has `shuffle_rows` rows or somewhat more, but few bytes (uncompressed)."""

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


def cut_windows(rows: Sequence[int], sizes: Sequence[int], order: Order) -> list[Window]:
    """The windows of the epoch, in order, from each row group's rows and uncompressed bytes."""
    numbers: Iterable[int] = range(len(rows))
    if order.shuffle:
        numbers = Permutation(len(rows), order.seed, f"stream groups {order.epoch}").of_range(0, len(rows)).to_pylist()
    windows: list[Window] = []
    start = 0
    for groups in _runs((number for number in numbers if rows[number]), rows, sizes, order):
        length = sum(rows[group] for group in groups)
        windows.append(Window(number=len(windows), start=start, groups=tuple(groups), rows=length))
        start += length
    return windows


def parts(
    windows: Sequence[Window], intervals: Iterable[Interval], rows: Sequence[int], order: Order
) -> Iterator[Part]:
    """What to read for these positions, window by window. Row groups without a wanted row are left out."""
    starts = [window.start for window in windows]
    for start, end in intervals:
        for at in range(bisect_right(starts, start) - 1, len(windows)):
            window = windows[at]
            if window.start >= end:
                break
            low, high = max(start, window.start) - window.start, min(end - window.start, window.rows)
            if order.shuffle:
                yield _shuffled(window, low, high, rows, order)
            else:
                yield Part(groups=window.groups, total=window.rows, first=low, last=high)


def _runs(numbers: Iterable[int], rows: Sequence[int], sizes: Sequence[int], order: Order) -> Iterator[list[int]]:
    run: list[int] = []
    held_rows = held_bytes = 0
    for number in numbers:
        full = held_rows >= order.shuffle_rows or (len(run) >= 2 and held_bytes + sizes[number] > order.shuffle_bytes)
        if run and (full or not order.shuffle):
            yield run
            run, held_rows, held_bytes = [], 0, 0
        run.append(number)
        held_rows += rows[number]
        held_bytes += sizes[number]
    if run:
        yield run


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
