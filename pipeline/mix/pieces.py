"""A plan's sources in pieces, for whoever exchanges rows: each row with its position in the mix, and its shard.

Whoever exchanges brings a shard's rows together in order of position; `build.write_rows` takes them from there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.hub.repo import Secret
from pipeline.mix.build import as_mix
from pipeline.mix.plan import Plan, choice_of, permutation_of
from pipeline.mix.sources import OpenSource
from pipeline.parquet.scan import scan

POSITION, SHARD = "__position", "__shard"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedBlock:
    """A block of a file, and where it goes."""

    start: int
    rows: int
    position: int
    shard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some row groups of one of a source's files; `first_row` is the number of their first row in the file, `first_drawn`
    in the source. `blocks` are the file's, in block order, sorted by where they start.
    """

    source: int
    file: int
    row_groups: tuple[int, ...]
    first_row: int
    first_drawn: int
    blocks: tuple[PlacedBlock, ...]


def pieces_of(plan: Plan, target_bytes: int) -> list[Piece]:
    """The sources' row groups in runs of about this size, for tasks that exchange rows."""
    pieces: list[Piece] = []
    placed = _placed(plan)
    for number, source in enumerate(plan.sources):
        drawn = 0
        for file, counts in enumerate(source.counts):
            blocks = tuple(sorted(placed.get((number, file), ()), key=lambda block: (block.start, block.rows)))
            first_row = 0
            for run in _runs_of_groups(source, file, target_bytes):
                pieces.append(
                    Piece(
                        source=number,
                        file=file,
                        row_groups=tuple(run),
                        first_row=first_row,
                        first_drawn=drawn,
                        blocks=blocks,
                    )
                )
                rows = sum(counts[index] for index in run)
                first_row += rows
                drawn += rows
    return pieces


def _runs_of_groups(source: OpenSource, file: int, target_bytes: int) -> Iterator[list[int]]:
    run: list[int] = []
    size = 0
    for group in source.footers[file].row_groups():
        run.append(group.index)
        size += group.size(source.read_columns)
        if size >= target_bytes:
            yield run
            run, size = [], 0
    if run:
        yield run


def read_drawn(plan: Plan, piece: Piece, token: Secret | None) -> Iterator[pa.RecordBatch]:
    """A piece's rows as often as they are drawn, as the mix has them, with their `POSITION` and `SHARD` in front."""
    source = plan.sources[piece.source]
    task = source.task(piece.file, piece.row_groups)
    place = _place_blocks(piece) if plan.blocks else _place_rows(plan, piece)
    done = 0
    for batch in scan([task], token, source.columns_in(piece.file)):
        rows = source.rows_of(batch, task.file.uri)
        mixed = as_mix(plan, piece.source, rows)
        for chosen, positions, shards in place(done, rows.num_rows):
            taken = mixed.take(chosen)
            arrays = [positions, shards, *taken.columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=exchange_schema(plan))
        done += rows.num_rows


def exchange_schema(plan: Plan) -> pa.Schema:
    """What `read_drawn` gives and `write_rows` takes."""
    return pa.schema([pa.field(POSITION, pa.int64()), pa.field(SHARD, pa.int32()), *plan.schema])


# The rows of a batch that are drawn, the positions they get, and the shards these are in.
Placed = tuple[pa.Array, pa.Array, pa.Array]


def _place_rows(plan: Plan, piece: Piece) -> Callable[[int, int], Iterator[Placed]]:
    """In row order: a row that the source's permutation maps below what is drawn goes where the mix's permutation says."""
    choice, order = choice_of(plan, piece.source), permutation_of(plan)
    draw, offset = plan.draws[piece.source], plan.offsets()[piece.source]

    def place(done: int, rows: int) -> Iterator[Placed]:
        begin = piece.first_drawn + done
        numbers = choice.of_range(begin, begin + rows)
        for copy in range(draw.whole + (draw.rest > 0)):
            chosen = pc.less(numbers, draw.base if copy < draw.whole else draw.rest)
            positions = order.of(pc.add(numbers.filter(chosen), offset + copy * draw.base))
            shards = pc.divide(pc.multiply(positions, plan.shards), plan.rows).cast(pa.int32())
            yield pc.indices_nonzero(chosen), positions, shards

    return place


def _place_blocks(piece: Piece) -> Callable[[int, int], Iterator[Placed]]:
    """In block order: a block's rows follow its position. Blocks overlap only as copies, so their ends are in order too."""
    ends = [placed.start + placed.rows for placed in piece.blocks]

    def place(done: int, rows: int) -> Iterator[Placed]:
        first = piece.first_row + done
        for placed in islice(piece.blocks, bisect_right(ends, first), None):
            if placed.start >= first + rows:
                break
            start, end = max(placed.start, first), min(placed.start + placed.rows, first + rows)
            if start < end:
                position = placed.position + start - placed.start
                count = end - start
                yield (
                    pa.array(range(start - first, end - first), pa.int64()),
                    pa.array(range(position, position + count), pa.int64()),
                    pa.repeat(pa.scalar(placed.shard, pa.int32()), count),
                )

    return place


def _placed(plan: Plan) -> dict[tuple[int, int], list[PlacedBlock]]:
    """For each file of each source, its blocks and where they go."""
    found: dict[tuple[int, int], list[PlacedBlock]] = {}
    position = shard = 0
    for block in plan.blocks:
        while position >= plan.bounds[shard + 1]:
            shard += 1
        placed = PlacedBlock(start=block.start, rows=block.rows, position=position, shard=shard)
        found.setdefault((block.source, block.file), []).append(placed)
        position += block.rows
    return found
