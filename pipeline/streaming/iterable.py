"""An iterable over a split that shuffles, shares itself among processes, and says where it stands.

What an iteration gives is a pure function of the stream, its epoch and the state that was loaded into it. Nothing is open between
iterations, so a stream pickles to workers; its epoch is in shared memory, so that workers that live on see `set_epoch`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing import RawValue
from multiprocessing.context import get_spawning_popen
from typing import Any

import pyarrow as pa

from pipeline.errors import CorruptFileError, OptionError, SetupError
from pipeline.parquet.features import Features
from pipeline.streaming.decode import needs_decoding
from pipeline.streaming.formats import Item, Shape, shape_items
from pipeline.streaming.options import StreamOptions, check_whole
from pipeline.streaming.rows import Rows
from pipeline.streaming.seats import find_worker, torch_class
from pipeline.streaming.shares import Interval, Seat, Segment, count, cut, dealt, extend, share_rows
from pipeline.streaming.state import Position, from_json, share_of, to_json
from pipeline.streaming.stats import StreamStats

_DATASETS_SHARDS = 64


@dataclass(slots=True, kw_only=True)
class Cursor:
    """An iteration under way: `taken` positions of its share are behind it."""

    epoch: int
    seat: Seat
    taken: int = 0


class Stream:
    """The rows of a split; see `pipeline.stream`, which makes it.

    It iterates as often as one likes: the rows of its epoch, or those that are left of it when a state of that epoch was loaded.
    A loaded state stays loaded, so iterating again gives the same rows; `set_epoch` goes on to the next ones. In workers of a
    torch DataLoader each gives its own share. `stats` counts what this process has read.
    """

    def __init__(self, rows: Rows, start: Position | None = None, epoch: Any = 0) -> None:
        self.rows = rows
        self.stats = StreamStats()
        self._epoch = RawValue("q", epoch) if isinstance(epoch, int) else epoch
        self._start = start or Position()
        self._cursor: Cursor | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return torch_class(Stream)

    def __reduce__(self) -> tuple[Any, ...]:
        # Shared memory can be handed to a process that is being started, and to no other.
        epoch = self.epoch if get_spawning_popen() is None else self._epoch
        return Stream, (self.rows, self._start, epoch)

    def __iter__(self) -> Iterator[Any]:
        cursor = Cursor(epoch=self.epoch, seat=self.seat())
        self._cursor = cursor
        return self._follow(cursor, self.rows.share(cursor.seat, self.begun(cursor.epoch)))

    def __len__(self) -> int:
        """The rows of this rank in an epoch; a few less or more in a DataLoader whose workers do not divide them.

        Raises TypeError with a filter: how many rows pass is known when they have been read.
        """
        if self.filtered:
            raise TypeError("a stream with a filter has no len(): how many rows pass is known when they have been read")
        return share_rows(self.rows.total(), self.options.world_size, self.options.remainder)

    def __repr__(self) -> str:
        seat = f"rank={self.options.rank}, world_size={self.options.world_size}"
        return f"Stream({self.rows.source.about!r}, {seat}, epoch={self.epoch})"

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows, as they are stored."""
        return self.rows.source.schema

    @property
    def features(self) -> Features | None:
        """The Hugging Face features of the rows; `None` when a column has a type without one."""
        return self.rows.source.features

    @property
    def options(self) -> StreamOptions:
        """How rows are ordered, shared and shaped."""
        return self.rows.options

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration gives."""
        return int(self._epoch.value)

    @property
    def filtered(self) -> bool:
        """Whether a filter leaves out rows."""
        return self.rows.source.wanted.predicate is not None

    def set_epoch(self, epoch: int) -> None:
        """Give the rows of this epoch from the next iteration on, here and in workers that are running already."""
        check_whole("epoch", epoch, 0)
        self._epoch.value = epoch

    def state_dict(self, rows_consumed: int | None = None, num_workers: int = 0, batch_size: int = 1) -> dict[str, Any]:
        """Where the stream stands, as a few hundred bytes of JSON; what was yielded counts as taken.

        Every rank advances alike, so one rank's state resumes any number of ranks and workers. The workers of a plain DataLoader
        are not seen from its process: say there how many rows the loop has `rows_consumed` since this iteration began, with the
        loader's `num_workers` and `batch_size` (1 where it is None). A state that is taken in a worker, or under a filter with
        several ranks, resumes the same share under the same layout only.
        Raises OptionError for more rows than there are, and for `rows_consumed` with a filter: it counts rows that passed.
        """
        position = self.begun(self.epoch)
        if rows_consumed is not None:
            position = self.consumed(rows_consumed, num_workers, batch_size)
        elif self._cursor is not None and self._cursor.epoch == self.epoch:
            position = self.advanced(position, self._cursor.seat, self._cursor.taken)
        return to_json(position, self.options.seed, self.fingerprint())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken, in its epoch. Load it before a DataLoader starts workers.

        Raises OptionError for the state of another dataset, commit or order, naming which.
        """
        position = from_json(state, self.options.seed, self.fingerprint())
        if position.segments:
            self.rows.left(position)
        self._start, self._cursor = position, None
        self.set_epoch(position.epoch)

    def to_datasets(self) -> Any:
        """This rank's rows of the current epoch as a `datasets.IterableDataset`, which shares them among its own workers.

        Raises SetupError where `datasets` is missing.
        """
        try:
            import datasets
        except ModuleNotFoundError as err:
            raise SetupError("to_datasets needs the package 'datasets': pip install 'datasets>=5.2,<6'") from err
        features = None if self.features is None else datasets.Features.from_dict(self.features)
        options = replace(self.options, format="python", decode=False, batch_rows=None)
        self.rows.counted()
        plain = Stream(replace(self.rows, options=options), self._start, self.epoch)
        seat = Seat(world_size=options.world_size, rank=options.rank)
        intervals = self.rows.share(seat, self.begun(self.epoch)) or []
        arguments = {"shards": cut(intervals, _DATASETS_SHARDS) or [[]], "stream": plain}
        return datasets.IterableDataset.from_generator(_generate, features=features, gen_kwargs=arguments)

    def fingerprint(self) -> dict[str, Any]:
        """What the order of rows depends on besides seed and epoch."""
        shuffle_rows = self.options.shuffle_rows if self.options.shuffle else 0
        order = {"shuffle": self.options.shuffle, "shuffle_rows": shuffle_rows, "remainder": self.options.remainder}
        return {**self.rows.source.identity, **order}

    def seat(self) -> Seat:
        """Which share this process reads."""
        worker, workers = find_worker() or (0, 1)
        return Seat(world_size=self.options.world_size, rank=self.options.rank, workers=workers, worker=worker)

    def begun(self, epoch: int) -> Position:
        """Where an iteration of this epoch begins."""
        return self._start if self._start.epoch == epoch else Position(epoch=epoch)

    def advanced(self, begun: Position, seat: Seat, taken: int) -> Position:
        """The position once every share of the seat's layout has taken so many rows."""
        if not taken:
            return begun
        alone = seat.shares > 1 and (self.filtered or find_worker() is not None)
        segment = Segment(world_size=seat.world_size, rows=(taken,) * seat.workers)
        share = share_of(seat) if alone else begun.share
        return Position(epoch=begun.epoch, segments=extend(begun.segments, segment), share=share)

    def consumed(self, rows: int, num_workers: int, batch_size: int) -> Position:
        """The position once a plain DataLoader has yielded so many rows. Raises OptionError as `state_dict`."""
        for name, value, least in (
            ("rows_consumed", rows, 0),
            ("num_workers", num_workers, 0),
            ("batch_size", batch_size, 1),
        ):
            check_whole(name, value, least)
        if self.filtered:
            raise OptionError(
                "rows_consumed cannot be used with a filter, for it counts only rows that passed; "
                "take the state in the process that reads, or use torchdata's StatefulDataLoader"
            )
        begun, workers, world_size = self.begun(self.epoch), max(1, num_workers), self.options.world_size
        each = share_rows(count(self.rows.left(begun)), world_size * workers, self.options.remainder)
        try:
            given = dealt(rows, workers, batch_size * (self.options.batch_rows or 1), each)
        except ValueError as err:
            raise OptionError(f"rows_consumed does not fit this stream: {err}") from err
        segment = Segment(world_size=world_size, rows=given)
        return Position(epoch=begun.epoch, segments=extend(begun.segments, segment), share=begun.share)

    def items(self, epoch: int, intervals: list[Interval] | None) -> Generator[Item]:
        """The items at these positions of an epoch (at all for `None`), each with the positions behind it."""
        options, features = self.options, self.features or {}
        decodes = options.decode and options.format != "arrow"
        media = {name: one for name, one in features.items() if decodes and needs_decoding({name: one})}
        shape = Shape(format=options.format, batch_rows=options.batch_rows, media=media)
        with closing(self.rows.pieces(epoch, intervals, self.stats)) as pieces:
            try:
                yield from shape_items(pieces, shape)
            except UnicodeDecodeError as err:
                raise CorruptFileError(f"{self.rows.source.about}: a text is not UTF-8 ({err.reason})") from err

    def _follow(self, cursor: Cursor, intervals: list[Interval] | None) -> Iterator[Any]:
        with closing(self.items(cursor.epoch, intervals)) as items:
            for item, end in items:
                cursor.taken = end
                yield item
        if self.filtered:  # rows behind the last one that passed
            cursor.taken = self.rows.total() if intervals is None else count(intervals)


def _generate(shards: list[list[Interval]], stream: Stream) -> Iterator[Any]:
    for intervals in shards:
        for row, _ in stream.items(stream.epoch, intervals):
            yield row
