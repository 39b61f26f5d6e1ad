"""The rows of a split by position: how many there are, which of them a share holds, and the pieces that hold them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from time import monotonic

from pipeline.ahead import one_ahead
from pipeline.errors import OptionError
from pipeline.parquet.fetch import Readers
from pipeline.parquet.task import ScanTask
from pipeline.streaming.groups import FEW_FILES, Footers, GroupTable
from pipeline.streaming.options import StreamOptions
from pipeline.streaming.order import Part, cut_windows, parts
from pipeline.streaming.reading import Piece, Reading, read_pieces
from pipeline.streaming.shares import Interval, Seat, remaining, share
from pipeline.streaming.source import Source
from pipeline.streaming.state import Position
from pipeline.streaming.stats import StreamStats


@dataclass(slots=True, kw_only=True)
class Rows:
    """A split's rows. The files' row groups are counted when that is first needed, and then travel with it."""

    source: Source
    options: StreamOptions
    footers: Footers
    table: GroupTable | None = field(default=None)

    @classmethod
    def open(cls, source: Source, options: StreamOptions) -> Rows:
        """Count at once where shares need it or it costs nothing, so that workers need not do it again."""
        rows = cls(source=source, options=options, footers=Footers(source.files, source.token, source.known))
        if options.shuffle or options.world_size > 1 or len(source.files) <= FEW_FILES:
            rows.counted()
        return rows

    def counted(self) -> GroupTable:
        """All row groups."""
        if self.table is None:
            self.table = self.footers.table()
        return self.table

    def total(self) -> int:
        """The rows of the split."""
        return self.counted().total

    def left(self, position: Position) -> list[Interval]:
        """The positions that nobody has taken. Raises OptionError for a state that takes more than there is."""
        try:
            return remaining(self.total(), position.segments, self.options.remainder)
        except ValueError as err:
            raise OptionError(f"the state does not fit this stream: {err}") from err

    def share(self, seat: Seat, begun: Position) -> list[Interval] | None:
        """The positions a seat reads, `None` for all in file order: those need not be counted before the first row."""
        begun.check_seat(seat)
        if seat.shares == 1 and not begun.segments and not self.options.shuffle and self.table is None:
            return None
        return share(self.left(begun), seat, self.options.remainder)

    def pieces(self, epoch: int, intervals: list[Interval] | None, stats: StreamStats) -> Generator[Piece]:
        """The rows at these positions of an epoch, at all for `None`; counts them, and the time until they are there."""
        parts = self._in_file_order() if intervals is None else self._at(epoch, intervals)
        readers = Readers(self.source.token, stats.meter, self.options.scan.cache_bytes)
        reading = Reading(token=self.source.token, options=self.options.scan, readers=readers)
        ahead = one_ahead(read_pieces(parts, self.source.wanted, reading), "order", readers.close)
        with closing(ahead) as pieces:
            while True:
                since = monotonic()
                piece = next(pieces, None)
                stats.wait_s += monotonic() - since
                if piece is None:
                    return
                stats.rows += len(piece.ends)
                yield piece

    def _at(self, epoch: int, intervals: list[Interval]) -> Iterator[tuple[Part, list[ScanTask]]]:
        table, order = self.counted(), self.options.order(epoch)
        for part in parts(cut_windows(table.rows, table.sizes, order), intervals, table.rows, order):
            yield part, [self.footers.task(*table.locate(group)) for group in part.groups]

    def _in_file_order(self) -> Iterator[tuple[Part, list[ScanTask]]]:
        for start in range(0, len(self.source.files), FEW_FILES):
            files = range(start, min(start + FEW_FILES, len(self.source.files)))
            for file, footer in zip(files, self.footers.read(files), strict=True):
                self.footers.check(file, footer)
                for group, rows in enumerate(footer.counts()[0]):
                    if rows:
                        yield Part(groups=(), total=rows, last=rows), [self.footers.task(file, group, footer)]
