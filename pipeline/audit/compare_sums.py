"""Rows that were exchanged, compared by sums of their keys: of what the plan draws from the sources, and of what the mix has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.audit.row_sums import RowSums, first_other_key
from pipeline.audit.verdicts import Difference, SourceVerdict
from pipeline.hub.repo import Secret
from pipeline.mix.pieces import POSITION, SHARD, Piece, pieces_of, read_drawn
from pipeline.mix.plan import Plan
from pipeline.mix.row_keys import KEY_BYTES, row_keys

_THREADS = min(4, os.cpu_count() or 1)
_PIECE_BYTES = 16 << 20
_ALL = "(all sources)"


class ShardRows(Protocol):
    """A shard's number and rows."""

    @property
    def number(self) -> int:
        """Which shard."""
        ...

    def rows(self, plan: Plan, token: Secret | None) -> Iterator[pa.RecordBatch]:
        """Its rows, with the columns of the plan."""
        ...


def compare_sums(
    plan: Plan, shards: Sequence[ShardRows], token: Secret | None, on_rows: Callable[[int], object], *, whole: bool
) -> tuple[list[SourceVerdict], list[str]]:
    """Compare by source, or all sources together in a mix without a column of them; and say what is wrong with the order.

    Unless these shards are the `whole` split, rows of others are left out.
    """
    numbers = {shard.number for shard in shards}
    column = plan.recipe.source_column
    expected, found = RowSums(), RowSums()
    with ThreadPoolExecutor(_THREADS) as pool:
        pieces = pieces_of(plan, _PIECE_BYTES, copied=True)
        for sums in pool.map(lambda piece: _drawn(plan, piece, token, on_rows), pieces):
            expected.merge(sums)
        for sums in pool.map(lambda shard: _stored(plan, shard, token), shards):
            found.merge(sums)
    if not whole:
        expected = expected.only(numbers)
    names = [source.name for source in plan.sources] if column is not None else [_ALL]
    names += [name for name, _ in found.sums if name not in names]
    verdicts = [_verdict(name, expected, found) for name in dict.fromkeys(names)]
    wrong = next((one.difference for one in verdicts if one.difference is not None), None)
    moved = _first_other(expected, found, order=True) if wrong is None else None
    if wrong is None and moved is None:
        return verdicts, []
    shard = next((one for one in shards if one.number == (wrong.shard if wrong else moved)), None)
    row = _first_row(plan, shard, token) if shard is not None else None
    if wrong is None:
        place = f"shard {moved}" + (f", row {row}" if row is not None else "")
        return verdicts, [f"the rows are those of the plan, but in another order, first at {place}"]
    return [_located(one, wrong.shard, row) for one in verdicts], []


def _drawn(plan: Plan, piece: Piece, token: Secret | None, on_rows: Callable[[int], object]) -> RowSums:
    """The sums of the rows that the plan draws from a piece."""
    sums = RowSums()
    name = plan.sources[piece.source].name if plan.recipe.source_column is not None else _ALL
    for batch in read_drawn(plan, piece, token):
        rows = batch.select(plan.schema.names)
        sums.add(rows, _repeat(name, rows.num_rows), batch[SHARD], batch[POSITION])
        on_rows(rows.num_rows)
    return sums


def _stored(plan: Plan, shard: ShardRows, token: Secret | None) -> RowSums:
    """The sums of the rows that a shard has."""
    sums = RowSums()
    column = plan.recipe.source_column
    at = plan.bounds[min(shard.number, plan.shards)]
    for rows in shard.rows(plan, token):
        sources = rows[column] if column is not None else _repeat(_ALL, rows.num_rows)
        shards = pa.repeat(pa.scalar(shard.number, pa.int32()), rows.num_rows)
        sums.add(rows, sources, shards, pa.array(range(at, at + rows.num_rows), pa.int64()))
        at += rows.num_rows
    return sums


def _verdict(name: str, expected: RowSums, found: RowSums) -> SourceVerdict:
    want, have = expected.total(name), found.total(name)
    if (want.rows, want.keys) == (have.rows, have.keys):
        return SourceVerdict(source=name, rows=have.rows, difference=None)
    shard = _first_other(expected, found, order=False, name=name)
    what = f"{have.rows:,} rows, planned {want.rows:,}" if have.rows != want.rows else "other rows than planned"
    difference = Difference(shard=0 if shard is None else shard, row=None, block=None, what=what)
    return SourceVerdict(source=name, rows=have.rows, difference=difference)


def _first_other(expected: RowSums, found: RowSums, *, order: bool, name: str | None = None) -> int | None:
    """The first shard that has other rows (with `order`: or the same in another order) of a source, or of any."""
    keys = {key for key in {*expected.sums, *found.sums} if name in (None, key[0])}
    differ = [shard for source, shard in keys if not expected.same((source, shard), found, order=order)]
    return min(differ, default=None)


def _located(one: SourceVerdict, shard: int, row: int | None) -> SourceVerdict:
    """The verdict with the row that was found for this shard."""
    if one.difference is None or one.difference.shard != shard:
        return one
    place = Difference(shard=shard, row=row, block=None, what=one.difference.what)
    return SourceVerdict(source=one.source, rows=one.rows, difference=place)


def _first_row(plan: Plan, shard: ShardRows, token: Secret | None) -> int | None:
    """The first row of a shard that is not the planned one. Reads the sources again, and holds 24 bytes for each of its rows."""
    wanted = b"".join(_in_order(_keys_of_shard(plan, shard.number, token)))
    found = b"".join(row_keys(rows) for rows in shard.rows(plan, token))
    return first_other_key(wanted, found)


def _keys_of_shard(plan: Plan, shard: int, token: Secret | None) -> Iterator[tuple[pa.Array, bytes]]:
    """The planned positions and keys of a shard's rows."""
    for piece in pieces_of(plan, _PIECE_BYTES, copied=True):
        for batch in read_drawn(plan, piece, token):
            mine = batch.filter(pc.equal(batch[SHARD], shard))
            if mine.num_rows:
                yield mine[POSITION], row_keys(mine.select(plan.schema.names))


def _in_order(parts: Iterable[tuple[pa.Array, bytes]]) -> list[bytes]:
    positions, keys = [], []
    for places, content in parts:
        positions.append(places)
        keys.append(pa.Array.from_buffers(pa.binary(KEY_BYTES), len(places), [None, pa.py_buffer(content)]))
    if not positions:
        return []
    order = pc.sort_indices(pa.chunked_array(positions))
    found: list[bytes] = pa.chunked_array(keys).take(order).to_pylist()
    return found


def _repeat(name: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(name, pa.string()), rows)
