"""Who reads which rows: pure arithmetic on the N positions of an epoch's global sequence.

Every worker of every rank takes an equal, contiguous share of what nobody has taken yet. What was taken is a short list of
segments, one per layout that the job ran in, so a job resumed with other ranks or workers sees each remaining row once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Interval = tuple[int, int]
Remainder = Literal["drop", "pad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Rows that each worker of every rank has taken while `world_size` ranks ran; one entry per worker of a rank."""

    world_size: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One worker of one rank. Shares are numbered rank by rank."""

    world_size: int = 1
    rank: int = 0
    workers: int = 1
    worker: int = 0

    @property
    def shares(self) -> int:
        """How many shares there are in all."""
        return self.world_size * self.workers

    @property
    def number(self) -> int:
        """The number of this one's share."""
        return self.rank * self.workers + self.worker


def count(intervals: Iterable[Interval]) -> int:
    """The positions in intervals."""
    return sum(end - start for start, end in intervals)


def share_rows(rows: int, shares: int, remainder: Remainder) -> int:
    """The rows of each of `shares` equal shares: the rest is left out, or filled up by repeating the first rows."""
    return rows // shares if remainder == "drop" else -(-rows // shares)


def remaining(total: int, segments: Iterable[Segment], remainder: Remainder) -> list[Interval]:
    """What of `total` positions nobody has taken, in order.

    Raises ValueError for a segment in which more rows were taken than there were.
    """
    left = [(0, total)] if total else []
    for segment in segments:
        left = _without(left, segment, remainder)
    return left


def share(intervals: Sequence[Interval], seat: Seat, remainder: Remainder) -> list[Interval]:
    """The part of the remaining sequence that a seat reads, in order; positions repeat where `remainder` pads."""
    total = count(intervals)
    rows = share_rows(total, seat.shares, remainder)
    at, end = seat.number * rows, (seat.number + 1) * rows
    spans = []
    while at < end:
        start = at % total
        length = min(end - at, total - start)
        spans.append((start, start + length))
        at += length
    return [one for span in spans for one in pick(intervals, [span])]


def pick(intervals: Sequence[Interval], spans: Iterable[Interval]) -> list[Interval]:
    """The positions at these ranks among those in the intervals: spans 0 to n of n positions are all. Both are in order."""
    found: list[Interval] = []
    index, before = 0, 0  # positions in the intervals before this one
    for start, end in spans:
        while start < end:
            low, high = intervals[index]
            if start >= before + high - low:
                index, before = index + 1, before + high - low
                continue
            stop = min(end, before + high - low)
            piece = (low + start - before, low + stop - before)
            if found and found[-1][1] == piece[0]:
                piece = (found.pop()[0], piece[1])
            found.append(piece)
            start = stop
    return found


def cut(intervals: Sequence[Interval], pieces: int) -> list[list[Interval]]:
    """The intervals in so many pieces of almost equal length; empty ones are left out."""
    total = count(intervals)
    spans = [(total * n // pieces, total * (n + 1) // pieces) for n in range(pieces)]
    return [pick(intervals, [span]) for span in spans if span[0] < span[1]]


def extend(segments: tuple[Segment, ...], more: Segment) -> tuple[Segment, ...]:
    """The segments with what was taken since: equal rows under the same layout as before only lengthen the last one."""
    if not any(more.rows):
        return segments
    last = segments[-1] if segments else None
    same = last and (last.world_size, len(last.rows)) == (more.world_size, len(more.rows))
    if last and same and len(set(last.rows)) == 1:
        rows = tuple(a + b for a, b in zip(last.rows, more.rows, strict=True))
        return (*segments[:-1], Segment(world_size=more.world_size, rows=rows))
    return (*segments, more)


def dealt(rows: int, workers: int, batch_rows: int, share_rows: int) -> tuple[int, ...]:
    """The rows that each worker has given once a plain torch DataLoader has yielded `rows` of them.

    Its workers take turns, a batch each, and the last batch of a worker may be short. Raises ValueError for more rows than
    the workers have.
    """
    if not 0 <= rows <= workers * share_rows:
        raise ValueError(f"{rows} rows were consumed, but {workers} workers have {workers * share_rows}")
    rounds = min(rows // (batch_rows * workers), share_rows // batch_rows)
    given = [rounds * batch_rows] * workers
    left = rows - sum(given)
    while left:
        for worker in range(workers):
            batch = min(batch_rows, share_rows - given[worker], left)
            given[worker] += batch
            left -= batch
    return tuple(given)


def _without(left: Sequence[Interval], segment: Segment, remainder: Remainder) -> list[Interval]:
    total = count(left)
    workers = len(segment.rows)
    shares = segment.world_size * workers
    rows = share_rows(total, shares, remainder)
    if max(segment.rows) > rows:
        raise ValueError(f"{max(segment.rows)} rows were taken from a share of {rows}")
    spans = []
    for number in range(shares):
        start = number * rows + segment.rows[number % workers]
        spans.append((min(start, total), min((number + 1) * rows, total)))
    spans.append((min(shares * rows, total), total))
    return pick(left, spans)
