"""Positions -> record batches: the row groups that hold them are scanned ahead, put into order, filtered.

One scan serves all windows, so the next ones are being fetched while one is consumed. A window is decoded when its first row
is asked for; only one decoded window is held, and the pieces taken from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import CorruptFileError
from pipeline.hub.repo import Secret
from pipeline.parquet.conform import conform
from pipeline.parquet.dataset import paths_in
from pipeline.parquet.fetch import Readers
from pipeline.parquet.filtering import GroupFilter, RowFilter
from pipeline.parquet.scan import scan_each
from pipeline.parquet.task import ScanOptions, ScanTask, Task
from pipeline.predicate import Predicate, filter_batch
from pipeline.streaming.order import Part

_PIECE_BYTES = 16 << 20
_PIECE_ROWS = 10_000
_NUMBER = "\0position"  # a column for the time of a filter; no file has one of this name


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How pieces are read: with which token, how far ahead, through which readers (which count, and may be closed)."""

    token: Secret | None
    options: ScanOptions
    readers: Readers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part whose rows are on their way, and for each row the positions of the share that are behind it then."""

    part: Part
    ends: Sequence[int]


def read_pieces(
    parts: Iterable[tuple[Part, list[ScanTask]]], wanted: Wanted, reading: Reading
) -> Generator[Piece, None, None]:
    """The rows of the parts, each part with the tasks that scan its row groups.

    Raises what `scan_each` raises, SchemaError for a file that does not fit, RecipeError for a filter that cannot be computed.
    """
    waiting: deque[_Part] = deque()
    uris: dict[int, str] = {}

    @lru_cache(maxsize=16)
    def columns_in(schema: pa.Schema) -> list[str]:
        return paths_in(schema, wanted.schema)

    def tasks() -> Iterator[Task]:
        for part, scans in _planned(parts, wanted, reading):
            waiting.append(part)
            for task in scans:
                uris[len(uris)] = task.file.uri
                yield task, columns_in(task.footer.schema())

    def conformed() -> Iterator[pa.RecordBatch]:
        for position, batch in scan:
            uris.pop(position - 1, None)
            same = batch.schema.equals(wanted.schema)
            yield batch if same else conform(batch, wanted.schema, uris[position])

    scan = scan_each(tasks(), reading.token, reading.options, readers=reading.readers)
    with closing(scan):
        batches = conformed()
        for first in batches:
            held = waiting.popleft()
            yield from _pieces(held, _first_rows(held.part.total, chain([first], batches)), wanted)
    if waiting:
        raise CorruptFileError(f"{uris.popitem()[1]}: fewer rows came than its footer says")


def _planned(
    parts: Iterable[tuple[Part, list[ScanTask]]], wanted: Wanted, reading: Reading
) -> Iterator[tuple[_Part, list[ScanTask]]]:
    """The parts with their positions, without the row groups in which the filter is true for no row."""
    where = wanted.predicate and RowFilter(predicate=wanted.predicate, schema=wanted.schema)
    groups = GroupFilter(where, reading.token, reading.readers.meter) if where else None
    at = 0
    for part, scans in parts:
        length = len(part.index) if part.index is not None else part.last - part.first
        held = _Part(part=part, ends=range(at + 1, at + length + 1))
        at += length
        kept = [bool(groups.prune(task).row_groups) if groups else True for task in scans]
        if all(kept):
            yield held, scans
        elif any(kept):
            yield _without(held, scans, kept), [task for task, is_kept in zip(scans, kept, strict=True) if is_kept]


def _without(held: _Part, scans: list[ScanTask], kept: list[bool]) -> _Part:
    """A shuffled part without the rows of some of its row groups; those that are left keep their positions."""
    assert held.part.index is not None  # a part in file order is one row group, and kept or not
    places: pa.Array = held.part.index
    moved, end = places, 0
    inside = pa.array([True] * len(places))
    rows = [sum(group.rows for group in task.groups()) for task in scans]
    for count, is_kept in zip(rows, kept, strict=True):
        start, end = end, end + count
        if not is_kept:  # its rows are not read, so those behind it move up
            behind = pc.greater_equal(places, end)
            inside = pc.and_(inside, pc.or_(pc.less(places, start), behind))
            moved = pc.subtract(moved, pc.if_else(behind, count, 0))
    total = sum(count for count, is_kept in zip(rows, kept, strict=True) if is_kept)
    ends = pc.add(pc.indices_nonzero(inside).cast(pa.int64()), held.ends[0]).to_pylist()
    return _Part(part=Part(groups=(), total=total, index=moved.filter(inside)), ends=ends)


def _pieces(held: _Part, batches: Iterator[pa.RecordBatch], wanted: Wanted) -> Iterator[Piece]:
    part, at = held.part, 0
    ordered = _slice(part, batches) if part.index is None else _permute(list(batches), part.index)
    for batch in ordered:
        yield _chosen(batch, held.ends[at : at + batch.num_rows], wanted)
        at += batch.num_rows


def _chosen(batch: pa.RecordBatch, ends: Sequence[int], wanted: Wanted) -> Piece:
    if wanted.predicate is not None:
        numbered = batch.append_column(_NUMBER, pa.array(range(batch.num_rows), pa.int64()))
        found = filter_batch(numbered, wanted.predicate)
        ends = [ends[row] for row in found.column(_NUMBER).to_pylist()]
        batch = found.select(batch.schema.names)
    return Piece(batch=batch if wanted.columns is None else batch.select(list(wanted.columns)), ends=ends)


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
    batches.clear()
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
