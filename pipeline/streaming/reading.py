"""Positions -> record batches: the row groups that hold them are scanned ahead, put into order, filtered.

One scan serves all windows, so the next ones are being fetched while one is consumed. A window is decoded when its first row
is asked for; only one decoded window is held, and the pieces taken from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import CorruptFileError
from pipeline.hub.repo import Secret
from pipeline.parquet.conform import conform
from pipeline.parquet.scan import ScanOptions, ScanTask, scan_each
from pipeline.predicate import Predicate, filter_batch
from pipeline.streaming.order import Part

_PIECE_BYTES = 16 << 20
_PIECE_ROWS = 10_000
_NUMBER = "\0position"  # a column for the time of a filter; no file has one of this name

Task = tuple[ScanTask, Sequence[str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What becomes of a row: `schema` is read, `predicate` chooses, `columns` of it are given (all for `None`)."""

    schema: pa.Schema
    predicate: Predicate | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some rows in order; `ends` says for each how many positions of the share are behind it then."""

    batch: pa.RecordBatch
    ends: Sequence[int]


def read_pieces(
    tasks: Iterable[tuple[Part, list[ScanTask]]],
    wanted: Wanted,
    token: Secret | None,
    options: ScanOptions | None = None,
) -> Generator[Piece]:
    """The rows of the parts, each part with the tasks that scan its row groups.

    Raises what `scan_each` raises, SchemaError for a file that does not fit, RecipeError for a filter that cannot be computed.
    """
    at = 0
    with closing(_ordered(tasks, wanted, token, options)) as batches:
        for batch in batches:
            ends = range(at + 1, at + batch.num_rows + 1)
            at += batch.num_rows
            yield _chosen(batch, ends, wanted)


def _chosen(batch: pa.RecordBatch, ends: range, wanted: Wanted) -> Piece:
    kept: Sequence[int] = ends
    if wanted.predicate is not None:
        numbered = batch.append_column(_NUMBER, pa.array(range(batch.num_rows), pa.int64()))
        found = filter_batch(numbered, wanted.predicate)
        kept = [ends[row] for row in found.column(_NUMBER).to_pylist()]
        batch = found.select(batch.schema.names)
    return Piece(batch=batch if wanted.columns is None else batch.select(list(wanted.columns)), ends=kept)


def _ordered(
    parts: Iterable[tuple[Part, list[ScanTask]]], wanted: Wanted, token: Secret | None, options: ScanOptions | None
) -> Generator[pa.RecordBatch]:
    """The rows of all parts. The scan asks for tasks ahead, so parts wait here until their rows come."""
    waiting: deque[Part] = deque()
    uris: dict[int, str] = {}

    def tasks() -> Iterator[Task]:
        for part, scans in parts:
            waiting.append(part)
            for task in scans:
                uris[len(uris)] = task.file.uri
                own = set(task.footer.schema().names)
                yield task, [name for name in wanted.schema.names if name in own]

    def conformed() -> Iterator[pa.RecordBatch]:
        for position, batch in scan:
            uris.pop(position - 1, None)
            same = batch.schema.equals(wanted.schema)
            yield batch if same else conform(batch, wanted.schema, uris[position])

    scan: Any = scan_each(tasks(), token, options)
    with closing(scan):
        batches = conformed()
        for first in batches:
            part = waiting.popleft()
            whole = _first_rows(part.total, chain([first], batches))
            yield from _slice(part, whole) if part.index is None else _permute(list(whole), part.index)
    if waiting:
        raise CorruptFileError(f"{uris.popitem()[1]}: fewer rows came than its footer says")


def _first_rows(rows: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    while rows > 0 and (batch := next(batches, None)) is not None:
        rows -= batch.num_rows
        yield batch


def _slice(part: Part, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    at = 0
    for batch in batches:
        low, high = max(part.first - at, 0), min(part.last - at, batch.num_rows)
        if low < high:
            yield batch.slice(low, high - low)
        at += batch.num_rows


def _permute(batches: list[pa.RecordBatch], index: pa.Array) -> Iterator[pa.RecordBatch]:
    """The rows at these places, in pieces: a window may be large, and so may be its rows."""
    table = pa.Table.from_batches(batches)
    if table.num_rows <= (pc.max(index).as_py() or 0):
        raise CorruptFileError(f"a row group has fewer rows than its footer says: {table.num_rows}")
    row_bytes = max(1, table.nbytes // table.num_rows)
    step = max(1, min(_PIECE_ROWS, _PIECE_BYTES // row_bytes))
    table = table.combine_chunks()
    for start in range(0, len(index), step):
        places = index.slice(start, step)
        yield pa.RecordBatch.from_arrays([_take(one, places) for one in table.columns], schema=table.schema)


def _take(column: pa.ChunkedArray, places: pa.Array) -> pa.Array:
    """The values at these places; Arrow has no such function for some types (views), whose values are joined one by one."""
    source = column.chunk(0) if column.num_chunks == 1 else column
    try:
        taken = source.take(places)
    except pa.ArrowNotImplementedError:
        ones = [one for place in places.to_pylist() for one in column.slice(place, 1).chunks]
        taken = pa.chunked_array(ones, column.type)
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken
