"""Several streams as one: each row comes from one of them, drawn by weight.

The draws do not depend on rank or worker, so every share takes equally many rows of each stream, and the streams' own segments
say what was taken, for any number of ranks. A stream that ends early begins again in a pass with another order of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from math import isfinite
from multiprocessing import RawValue
from multiprocessing.context import get_spawning_popen
from typing import Any, get_args

import pyarrow as pa

from pipeline.errors import OptionError, SchemaError
from pipeline.parquet.features import Features
from pipeline.streaming.choices import Choices, Stopping, Walk, is_over, walk
from pipeline.streaming.iterable import Stream
from pipeline.streaming.options import check_whole
from pipeline.streaming.passes import PASS, Begun, Sizes, joined_position, later, pass_of
from pipeline.streaming.seats import torch_class
from pipeline.streaming.shares import Seat, dealt
from pipeline.streaming.state import VERSION, Position, from_json, to_json


def interleave(
    streams: Sequence[Stream],
    weights: Sequence[float] | None = None,
    seed: int = 0,
    stopping_strategy: Stopping = "first_exhausted",
) -> Interleaved:
    """The rows of several streams, each drawn from one of them with probability in proportion to its weight (equal ones).

    It ends when a stream that is drawn has no row left ("first_exhausted"), or when that has happened to each of them
    ("all_exhausted"): until then those that end early begin again, in another order. Streams need the same columns, format
    and ranks. Epochs and states are set on the interleave, and what was loaded into its streams is not looked at.

    Raises OptionError, SchemaError for columns that differ.
    """
    if not streams or not all(type(one) is Stream for one in streams):
        raise OptionError(f"streams must be a list of streams, at least one, got {streams!r}")
    weights = [1.0] * len(streams) if weights is None else list(weights)
    if len(weights) != len(streams) or not all(isfinite(one) and one > 0 for one in weights):
        raise OptionError(f"weights must be {len(streams)} numbers above 0, one per stream, got {weights!r}")
    if stopping_strategy not in get_args(Stopping):
        raise OptionError(f"stopping_strategy must be one of {get_args(Stopping)}, got {stopping_strategy!r}")
    check_whole("seed", seed)
    for other in streams[1:]:
        _check_alike(streams[0], other)
    return Interleaved(tuple(streams), Choices(weights=tuple(weights), seed=seed, epoch=0), stopping_strategy)


def _check_alike(one: Stream, other: Stream) -> None:
    for name in ("rank", "world_size", "remainder", "format"):
        mine, theirs = getattr(one.options, name), getattr(other.options, name)
        if mine != theirs:
            raise OptionError(f"streams must have one {name}, got {mine!r} and {theirs!r}")
    if not one.schema.equals(other.schema):
        differ = next((a, b) for a, b in _pairs(one.schema, other.schema) if a != b)
        raise SchemaError(
            f"{one!r} and {other!r}: columns must be equal, got {differ[0]} and {differ[1]}; choose columns"
        )


def _pairs(one: pa.Schema, other: pa.Schema) -> list[tuple[str, str]]:
    names = max(len(one), len(other))
    first, second = (
        [f"{name}: {kind}" for name, kind in zip(schema.names, schema.types, strict=True)] for schema in (one, other)
    )
    first, second = ([*shown, *["none"] * names][:names] for shown in (first, second))
    return list(zip(first, second, strict=True))


class Interleaved:
    """Several streams as one; see `pipeline.interleave`, which makes it. It has a stream's methods, and their meaning."""

    def __init__(
        self,
        streams: tuple[Stream, ...],
        choices: Choices,
        stopping: Stopping,
        begun: tuple[int, Begun] | None = None,
        epoch: Any = 0,
    ) -> None:
        self._streams = streams
        self._choices = choices
        self._stopping: Stopping = stopping
        self._epoch = RawValue("q", epoch) if isinstance(epoch, int) else epoch
        self._loaded = begun
        self._cursor: _Cursor | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return torch_class(Interleaved)

    def __reduce__(self) -> tuple[Any, ...]:
        epoch = self.epoch if get_spawning_popen() is None else self._epoch
        return Interleaved, (self._streams, self._choices, self._stopping, self._loaded, epoch)

    def __iter__(self) -> Iterator[Any]:
        drawn, begun = self._begun()
        self._cursor = _Cursor(self._streams, begun, drawn, self._streams[0].seat(), self.epoch)
        return self._cursor.follow(self._draws(), self._stopping)

    def __len__(self) -> int:
        """The rows of this rank in an epoch. Raises TypeError where a stream's `len` does."""
        for one in self._streams:
            len(one)
        fresh = [[Position(epoch=self.epoch)] for _ in self._streams]
        return self._walk(0, fresh, 1, None).rows

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows, as they are stored."""
        return self._streams[0].schema

    @property
    def features(self) -> Features | None:
        """The Hugging Face features of the rows: those of the first stream."""
        return self._streams[0].features

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration gives."""
        return int(self._epoch.value)

    def set_epoch(self, epoch: int) -> None:
        """Give the rows of this epoch from the next iteration on, here and in workers that are running already."""
        check_whole("epoch", epoch, 0)
        if epoch >= PASS:
            raise OptionError(f"epoch must be below 2**32, got {epoch}")
        self._epoch.value = epoch

    def state_dict(self, rows_consumed: int | None = None, num_workers: int = 0, batch_size: int = 1) -> dict[str, Any]:
        """Where it stands; as `Stream.state_dict`. Raises OptionError also for `rows_consumed` of streams of batches."""
        drawn, begun = self._begun()
        if rows_consumed is not None:
            drawn, begun = self._consumed(rows_consumed, num_workers, batch_size)
        elif self._cursor is not None and self._cursor.epoch == self.epoch:
            drawn, begun = self._cursor.position()
        return {
            "version": VERSION,
            "seed": self._choices.seed,
            "epoch": self.epoch,
            "drawn": drawn,
            "fingerprint": self._fingerprint(),
            "streams": [
                [to_json(position, one.options.seed, one.fingerprint()) for position in passes]
                for one, passes in zip(self._streams, begun, strict=True)
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken; as `Stream.load_state_dict`."""
        own = {**state, "segments": []} if isinstance(state, Mapping) else state
        epoch = from_json(own, self._choices.seed, self._fingerprint()).epoch
        try:
            drawn, states = int(state["drawn"]), list(state["streams"])
            pairs = list(zip(self._streams, states, strict=True))
        except (KeyError, TypeError, ValueError) as err:
            raise OptionError(f"the state is damaged ({err!r}); it must be one that state_dict gave") from err
        begun = [
            [from_json(one, stream.options.seed, stream.fingerprint()) for one in passes] for stream, passes in pairs
        ]
        self._loaded, self._cursor = (drawn, begun), None
        self.set_epoch(epoch)

    def _fingerprint(self) -> dict[str, Any]:
        return {"weights": list(self._choices.weights), "stopping_strategy": self._stopping}

    def _begun(self) -> tuple[int, Begun]:
        if self._loaded is not None and self._loaded[1][0][0].epoch % PASS == self.epoch:
            return self._loaded
        return 0, [[Position(epoch=self.epoch)] for _ in self._streams]

    def _draws(self) -> Choices:
        return Choices(weights=self._choices.weights, seed=self._choices.seed, epoch=self.epoch)

    def _walk(self, drawn: int, begun: Begun, workers: int, rows: int | None) -> Walk:
        passes = [one[0].epoch // PASS for one in begun]
        begin = Walk(drawn=drawn, passes=passes, taken=[0] * len(begun))
        return walk(begin, rows, self._draws(), Sizes(self._streams, begun, workers), self._stopping)

    def _consumed(self, rows: int, num_workers: int, batch_size: int) -> tuple[int, Begun]:
        for name, value, least in (
            ("rows_consumed", rows, 0),
            ("num_workers", num_workers, 0),
            ("batch_size", batch_size, 1),
        ):
            check_whole(name, value, least)
        if any(one.filtered or one.options.batch_rows for one in self._streams):
            raise OptionError(
                "rows_consumed cannot be used with a filter or batch_rows; take the state where it is read"
            )
        workers = max(1, num_workers)
        drawn, begun = self._begun()
        given = dealt(rows, workers, batch_size, rows)
        if (whole := self._walk(drawn, begun, workers, given[0])).ended:
            try:
                given = dealt(rows, workers, batch_size, whole.rows)
            except ValueError as err:
                raise OptionError(f"rows_consumed does not fit this interleave: {err}") from err
        walks = {each: self._walk(drawn, begun, workers, each) for each in set(given)}
        ends = [walks[each] for each in given]
        sizes = Sizes(self._streams, begun, workers)
        found: Begun = []
        for n, passes in enumerate(begun):
            numbers = range(min(end.passes[n] for end in ends), max(end.passes[n] for end in ends) + 1)
            joined = [joined_position(sizes.position(n, number), number, n, ends, sizes) for number in numbers]
            found.append([*joined, *later(passes, numbers[-1])])
        return max(end.drawn for end in ends), found


class _Cursor:
    """An iteration under way: the streams' passes, and how far each is."""

    def __init__(self, streams: Sequence[Stream], begun: Begun, drawn: int, seat: Seat, epoch: int) -> None:
        self._streams = streams
        self._begun = begun
        self._seat = seat
        self.epoch = epoch
        self.walk = Walk(drawn=drawn, passes=[one[0].epoch // PASS for one in begun], taken=[0] * len(streams))

    def position(self) -> tuple[int, Begun]:
        """Choices drawn, and where each stream stands once every share has drawn as many."""
        found = []
        for n, stream in enumerate(self._streams):
            begun = pass_of(self._begun[n], self.walk.passes[n])
            at = stream.advanced(begun, self._seat, self.walk.taken[n])
            found.append([at, *later(self._begun[n], self.walk.passes[n])])
        return self.walk.drawn, found

    def follow(self, choices: Choices, stopping: Stopping) -> Iterator[Any]:
        """The items from here on."""
        state = self.walk
        with ExitStack() as stack:
            items = [stack.enter_context(closing(self._items(n))) for n in range(len(self._streams))]
            for n in choices.after(state.drawn):
                found = next(items[n], None)
                if found is None:
                    if is_over(state.passes, n, stopping):
                        return
                    state.passes[n], state.taken[n] = state.passes[n] + 1, 0
                    items[n] = stack.enter_context(closing(self._items(n)))
                    found = next(items[n], None)
                state.drawn += 1
                if found is not None:
                    state.taken[n] = found[1]
                    yield found[0]

    def _items(self, n: int) -> Any:
        stream, begun = self._streams[n], pass_of(self._begun[n], self.walk.passes[n])
        return stream.items(begun.epoch, stream.rows.share(self._seat, begun))
