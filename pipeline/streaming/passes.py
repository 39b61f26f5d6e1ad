"""The passes of an interleave's streams: a stream that ended early begins again, and workers may be a pass apart."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.streaming.choices import Walk
from pipeline.streaming.iterable import Stream
from pipeline.streaming.shares import Segment, count, extend, share_rows
from pipeline.streaming.state import Position

PASS = 1 << 32  # a stream's epoch in pass p of epoch e is e + p * 2**32

Begun = list[list[Position]]  # per stream its passes under way: one, or two where workers are apart


def later(begun: Sequence[Position], number: int) -> list[Position]:
    """The passes behind this one, of which workers that were ahead took rows before."""
    return [one for one in begun if one.epoch // PASS > number]


def joined_position(begun: Position, number: int, stream: int, ends: Sequence[Walk], sizes: Sizes) -> Position:
    """A stream's position in a pass, in which some workers are, and others are not yet or no more."""
    rows = []
    for end in ends:
        at = end.passes[stream]
        rows.append(end.taken[stream] if at == number else sizes(stream, number) if at > number else 0)
    segment = Segment(world_size=sizes.world_size, rows=tuple(rows))
    return Position(epoch=begun.epoch, segments=extend(begun.segments, segment), share=begun.share)


def pass_of(begun: Sequence[Position], number: int) -> Position:
    """The position in which a stream begins a pass."""
    epoch = begun[0].epoch % PASS + number * PASS
    return next((one for one in begun if one.epoch == epoch), Position(epoch=epoch))


class Sizes:
    """The rows that every share has of a stream in a pass."""

    def __init__(self, streams: Sequence[Stream], begun: Begun, workers: int) -> None:
        self._streams = streams
        self._begun = begun
        self._workers = workers
        self._known: dict[tuple[int, int], int] = {}
        self.world_size = streams[0].options.world_size

    def position(self, stream: int, number: int) -> Position:
        """Where the pass begins."""
        return pass_of(self._begun[stream], number)

    def __call__(self, stream: int, number: int) -> int:
        if (stream, number) not in self._known:
            one = self._streams[stream]
            left = count(one.rows.left(self.position(stream, number)))
            shares = self.world_size * self._workers
            self._known[stream, number] = share_rows(left, shares, one.options.remainder)
        return self._known[stream, number]
