"""A plan's sources in pieces, for whoever exchanges rows: each row with its position in the mix, and its shard.

Whoever exchanges brings a shard's rows together in order of position; `build.write_rows` takes them from there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import CorruptFileError
from pipeline.hub.repo import Secret
from pipeline.mix.files import SourceFile
from pipeline.mix.membership import count_rows, rows_in
from pipeline.mix.plan import Plan, choice_of, permutation_of
from pipeline.mix.reading import Groups, as_mix, group_rows, read_tasks
from pipeline.mix.sources import OpenSource
from pipeline.parquet.fetch import fetches_of
from pipeline.parquet.footer import read_footers
from pipeline.parquet.scan import decode_group, fetch_groups
from pipeline.parquet.task import ScanOptions, ScanTask
from pipeline.storage import is_changed

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
    """Some row groups of one of a source's files; `first_row` is the number of their first row in the file, `before` those of the
    files before it, `first_drawn` how many of the split's rows the source has before. `blocks` are the file's, in block order,
    sorted by where they start.
    """

    source: int
    file: int
    row_groups: tuple[int, ...]
    first_row: int
    before: int
    first_drawn: int
    blocks: tuple[PlacedBlock, ...]


def pieces_of(plan: Plan, target_bytes: int, *, copied: bool = False) -> list[Piece]:
    """The sources' row groups in runs of about this size, for tasks that exchange rows: of files that have such.

    Blocks that are copied raw are not exchanged; with `copied` their rows are drawn all the same.
    """
    pieces: list[Piece] = []
    placed = _placed(plan, copied=copied)
    for number, source in enumerate(plan.sources):
        drawn = before = 0
        for index, file in enumerate(source.files):
            if plan.blocks and (number, index) not in placed:
                before += sum(file.kept)
                continue
            blocks = tuple(sorted(placed.get((number, index), ()), key=lambda block: (block.start, block.rows)))
            first_row = 0
            for run in _runs_of_groups(file, target_bytes):
                pieces.append(
                    Piece(
                        source=number,
                        file=index,
                        row_groups=tuple(run),
                        first_row=first_row,
                        before=before,
                        first_drawn=drawn,
                        blocks=blocks,
                    )
                )
                last_row = first_row + sum(file.kept[group] for group in run)
                drawn += count_rows(file.name, first_row, last_row, plan.part)
                first_row = last_row
            before += first_row
    return pieces


def _runs_of_groups(file: SourceFile, target_bytes: int) -> Iterator[list[int]]:
    run: list[int] = []
    size = 0
    for group, num_bytes in enumerate(file.sizes):
        run.append(group)
        size += num_bytes
        if size >= target_bytes:
            yield run
            run, size = [], 0
    if run:
        yield run


def read_drawn(plan: Plan, piece: Piece, token: Secret | None) -> Iterator[pa.RecordBatch]:
    """A piece's rows as often as they are drawn, as the mix has them, with their `POSITION` and `SHARD` in front."""
    source = plan.sources[piece.source]
    place = _place_blocks(piece) if plan.blocks else _RowPlaces(plan, piece)
    done = 0
    read = _row_groups if source.reader is None else read_tasks
    with closing(read(source, piece.file, piece.row_groups, token)) as groups:
        for group, batches in groups:
            for rows in group_rows(source, piece.file, group, batches):
                mixed = as_mix(plan, piece.source, rows, piece.before + piece.first_row + done)
                for chosen, positions, shards in place(done, rows.num_rows):
                    arrays = [positions, shards, *mixed.take(chosen).columns]
                    yield pa.RecordBatch.from_arrays(arrays, schema=exchange_schema(plan))
                done += rows.num_rows


def _row_groups(source: OpenSource, number: int, groups: tuple[int, ...], token: Secret | None) -> Groups:
    file = source.files[number].file
    footer = read_footers([file], token)[0]
    if footer.name != source.files[number].name or is_changed(file):
        raise CorruptFileError(f"{file.uri}: is not the file that was planned with; make a new plan")
    task = ScanTask(file=file, footer=footer.only(groups), row_groups=groups)
    fetches = fetches_of([(task, source.columns_in(number))])
    with closing(fetch_groups(fetches, token, ScanOptions())) as fetched:
        for fetch, data in fetched:
            yield fetch.group.index, decode_group(fetch, data, ScanOptions())


def exchange_schema(plan: Plan) -> pa.Schema:
    """What `read_drawn` gives and `write_rows` takes."""
    return pa.schema([pa.field(POSITION, pa.int64()), pa.field(SHARD, pa.int32()), *plan.schema])


# The rows of a batch that are drawn, the positions they get, and the shards these are in.
Placed = tuple[pa.Array, pa.Array, pa.Array]


class _RowPlaces:
    """In row order: a row that the source's permutation maps below what is drawn goes where the mix's permutation says.

    Of several splits, only this one's rows are numbered. Called for stretches of a piece's rows, in order.
    """

    def __init__(self, plan: Plan, piece: Piece) -> None:
        self._plan, self._piece = plan, piece
        self._name = plan.sources[piece.source].files[piece.file].name
        self._choice, self._order = choice_of(plan, piece.source), permutation_of(plan)
        self._numbered = piece.first_drawn
        self._bounds = pa.array(plan.bounds[1:-1], pa.int64())

    def __call__(self, done: int, rows: int) -> Iterator[Placed]:
        plan, source = self._plan, self._piece.source
        draw, offset = plan.draws[source], plan.offsets()[source]
        first = self._piece.first_row + done
        mine = pc.indices_nonzero(rows_in(self._name, first, first + rows, plan.part))
        numbers = self._choice.of_range(self._numbered, self._numbered + len(mine))
        self._numbered += len(mine)
        for copy in range(draw.whole + (draw.rest > 0)):
            chosen = pc.less(numbers, draw.base if copy < draw.whole else draw.rest)
            positions = self._order.of(pc.add(numbers.filter(chosen), offset + copy * draw.base))
            shards = pc.search_sorted(self._bounds, positions, side="right").cast(pa.int32())
            yield mine.filter(chosen), positions, shards


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


def _placed(plan: Plan, *, copied: bool) -> dict[tuple[int, int], list[PlacedBlock]]:
    """For each file of each source, its blocks (without `copied`: those that are not copied raw), and where they go."""
    found: dict[tuple[int, int], list[PlacedBlock]] = {}
    position = shard = 0
    for block in plan.blocks:
        while position >= plan.bounds[shard + 1]:
            shard += 1
        if copied or not block.copied:
            placed = PlacedBlock(start=block.start, rows=block.rows, position=position, shard=shard)
            found.setdefault((block.source, block.file), []).append(placed)
        position += block.rows
    return found
