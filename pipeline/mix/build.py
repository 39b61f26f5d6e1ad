"""A plan carried out, one shard at a time; every function here runs in a task.

Block order: the row groups of a shard's blocks are fetched ahead, many at once. Those that go into the mix as they are, are
copied raw, byte for byte; the others are decoded and written anew. Where many blocks share a row group that would read it many
times, and in row order, rows are exchanged instead (`pieces.py`), and `write_rows` cuts them into the same row groups.

Blocks of files that are not Parquet are read one at a time, each while the one before it is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, islice

import pyarrow as pa

from pipeline.ahead import one_ahead
from pipeline.errors import CorruptFileError
from pipeline.hub.repo import Secret
from pipeline.hub.upload import ShardReceipt
from pipeline.mix.block_footers import group_ends, read_block_footers
from pipeline.mix.blocks import Block
from pipeline.mix.files import SourceFile
from pipeline.mix.plan import Plan, groups_of
from pipeline.mix.priming import prime
from pipeline.mix.reading import as_mix, group_rows, read_tasks
from pipeline.parquet.fetch import Fetch
from pipeline.parquet.footer import Footer
from pipeline.parquet.layout import Kind, Layout
from pipeline.parquet.rowgroup_copy import RawGroup, copy_ranges
from pipeline.parquet.scan import decode_group, fetch_groups
from pipeline.parquet.task import ScanOptions, ScanTask
from pipeline.writing import ShardStore

_OPTIONS = ScanOptions(prefetch_bytes=64 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedBlock:
    """A block to copy raw: its row groups, and which of their columns are which of the mix's."""

    groups: Sequence[RawGroup]
    columns: dict[str, str]
    constants: dict[str, pa.Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Blocks that are read together: one to copy, or several to decode that follow each other in a file."""

    blocks: Sequence[Block]
    groups: tuple[int, ...]
    task: ScanTask | None  # for Parquet
    at: int  # the file's kept row with which its first row group begins
    before: int  # the source's kept rows in the files before, where rows get numbers


def build_shard(
    plan: Plan, shard: int, blocks: Sequence[Block], token: Secret | None, store: ShardStore
) -> ShardReceipt:
    """Build a shard in block order; `plan` need not have its blocks. Raises CorruptFileError for other rows than planned."""
    prime(plan, blocks, token, store)
    return _write(plan, shard, read_blocks(plan, blocks, token), store, identity=_identity(plan, blocks))


def write_rows(
    plan: Plan, shard: int, batches: Iterable[pa.RecordBatch], token: Secret | None, store: ShardStore
) -> ShardReceipt:
    """Write a shard's rows, which come in order of position, in the row groups that the plan says.

    In block order, those that are copied raw do not come, and are read here.
    """
    if not plan.blocks:
        tables = _regroup(batches, _group_rows(plan, shard), plan.schema)
        identity = f"{plan.recipe.seed}:{plan.split}:{shard}:{plan.shards}:{plan.rows}"
        return _write(plan, shard, tables, store, identity=identity)
    blocks = plan.blocks[slice(*plan.block_bounds[shard : shard + 2])]
    copied = [block for block in blocks if block.copied]
    prime(plan, copied, token, store)
    exchanged = _regroup(batches, (block.rows for block in blocks if not block.copied), plan.schema)
    with closing(read_blocks(plan, copied, token)) as raw:
        parts = (next(raw) if block.copied else _next_rows(exchanged, block, shard) for block in blocks)
        return _write(plan, shard, parts, store, identity=_identity(plan, blocks))


def _next_rows(tables: Iterator[pa.Table], block: Block, shard: int) -> pa.Table:
    table = next(tables, None)
    if table is None or table.num_rows != block.rows:
        raise CorruptFileError(f"shard {shard}: other rows came than the plan counted; make a new plan")
    return table


def _identity(plan: Plan, blocks: Sequence[Block]) -> str:
    """What makes a file's beginning its own: its blocks."""
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks:
        source = plan.sources[block.source]
        digest.update(f"{source.name}:{source.files[block.file].name}:{block.start}:{block.rows};".encode())
    return digest.hexdigest()


def read_blocks(
    plan: Plan, blocks: Sequence[Block], token: Secret | None, *, copy: bool = True
) -> Generator[pa.Table | CopiedBlock, None, None]:
    """The blocks, in order: their rows as the mix has them, or, with `copy`, what can be copied raw.

    Raises CorruptFileError when a file has other rows than were planned.
    """
    runs = list(_runs(plan, blocks, read_block_footers(plan, blocks, token), copy=copy))
    fetches = (fetch for number, run in enumerate(runs) for fetch in _fetches(plan, number, run, copy=copy))
    others = one_ahead(_other_blocks(plan, runs, token), "blocks")
    with closing(fetch_groups(fetches, token, _OPTIONS)) as fetched, closing(others):
        for run in runs:
            if run.task is None:
                yield from islice(others, len(run.blocks))
                continue
            groups = islice(fetched, len(run.task.row_groups))  # not one more: what comes next gives up what is here
            if copy and run.blocks[0].copied:
                raw = [RawGroup(footer=f.task.footer, position=f.group.position, read=d.read_range) for f, d in groups]
                yield _copied(plan, run.blocks[0], raw)
                continue
            decoded = ((fetch.group.index, decode_group(fetch, data, _OPTIONS)) for fetch, data in groups)
            yield from _cut_run(plan, run, decoded)


def _other_blocks(plan: Plan, runs: Iterable[_Run], token: Secret | None) -> Generator[pa.Table, None, None]:
    """The blocks of the runs that are not of Parquet files."""
    for run in runs:
        if run.task is None:
            source, file = run.blocks[0].source, run.blocks[0].file
            with closing(read_tasks(plan.sources[source], file, run.groups, token)) as groups:
                yield from _cut_run(plan, run, groups)


def _write(
    plan: Plan, shard: int, parts: Iterable[pa.Table | CopiedBlock], store: ShardStore, *, identity: str
) -> ShardReceipt:
    column = plan.recipe.source_column
    layout = Layout(kind=Kind.BLOCKS, dictionary_columns=(column,) if column else (), marker=plan.marker)
    writer = store.open(f"shard-{shard:05d}", plan.schema, layout=layout, features=plan.features, identity=identity)
    for part in parts:
        if isinstance(part, CopiedBlock):
            writer.copy_block(part.groups, part.columns, part.constants)
        else:
            # Pages end where chunks end: in one chunk, they depend on nothing but the rows.
            writer.write_row_group(part.combine_chunks())
    store.end(writer)
    receipt = store.finish()[0]
    planned = plan.bounds[shard + 1] - plan.bounds[shard]
    if receipt.rows != planned:
        raise CorruptFileError(
            f"shard {shard}: got {receipt.rows} rows, but the plan counted {planned}; make a new plan"
        )
    return receipt


def _rows_before(plan: Plan, blocks: Iterable[Block]) -> dict[int, list[int]]:
    """For each source that the blocks are of, the kept rows before each of its files."""
    sources = dict.fromkeys(block.source for block in blocks) if plan.recipe.source_row_column else ()
    return {
        source: list(accumulate((sum(file.kept) for file in plan.sources[source].files), initial=0))
        for source in sources
    }


def _runs(plan: Plan, blocks: Sequence[Block], footers: dict[str, Footer], *, copy: bool) -> Iterator[_Run]:
    """Blocks with the row groups that have their rows; decoded ones that follow each other in a file, together."""
    ends, before = group_ends(plan, blocks), _rows_before(plan, blocks)
    for run in _neighbours(blocks, copy=copy):
        first = run[0]
        file = _file(plan, first)
        kept = ends[first.source, first.file]
        # Row groups of which nothing is kept lie between blocks, and inside of one that joins its neighbours.
        spans = (range(*groups_of(kept, block)) for block in run)
        groups = tuple(sorted({group for span in spans for group in span if file.kept[group]}))
        begin = groups[0]
        task = None
        if not file.tasks:
            task = ScanTask(file=file.file, footer=footers[file.file.uri].only(groups), row_groups=groups)
        at = kept[begin - 1] if begin else 0
        rows_before = before[first.source][first.file] if before else 0
        yield _Run(blocks=run, groups=groups, task=task, at=at, before=rows_before)


def _neighbours(blocks: Sequence[Block], *, copy: bool) -> Iterator[list[Block]]:
    run: list[Block] = []
    for block in blocks:
        last = run[-1] if run else None
        if last and (
            (copy and (last.copied or block.copied))
            or (last.source, last.file, last.end) != (block.source, block.file, block.start)
        ):
            yield run
            run = []
        run.append(block)
    if run:
        yield run


def _fetches(plan: Plan, number: int, run: _Run, *, copy: bool) -> Iterator[Fetch]:
    if run.task is None:
        return
    block = run.blocks[0]
    source = plan.sources[block.source]
    columns = source.columns_in(block.file)
    for group in run.task.groups():
        raw = copy and block.copied
        ranges = copy_ranges(run.task.footer, group.position, columns) if raw else group.ranges(columns)
        yield Fetch(position=number, task=run.task, columns=columns, group=group, ranges=ranges)


def _copied(plan: Plan, block: Block, groups: Sequence[RawGroup]) -> CopiedBlock:
    source = plan.sources[block.source]
    assert source.transform.kept is not None
    present = set(source.columns_in(block.file))
    columns = {name: column for name, column in source.transform.kept.items() if column in present}
    constants = dict(source.transform.constants)
    if plan.recipe.source_column is not None:
        constants[plan.recipe.source_column] = pa.scalar(source.name, pa.string())
    typed = {name: value.cast(plan.schema.field(name).type) for name, value in constants.items()}
    return CopiedBlock(groups=groups, columns=columns, constants=typed)


def _cut_run(plan: Plan, run: _Run, groups: Iterable[tuple[int, Iterable[pa.RecordBatch]]]) -> Iterator[pa.Table]:
    """The blocks of one run out of its row groups' rows."""
    place = run.blocks[0]
    source = plan.sources[place.source]
    uri = source.files[place.file].file.uri
    kept: list[pa.RecordBatch] = []
    waiting = list(run.blocks)
    at = run.at
    for index, batches in groups:
        for rows in group_rows(source, place.file, index, batches):
            while waiting:
                start, end = max(waiting[0].start - at, 0), min(waiting[0].end - at, rows.num_rows)
                if end > start:
                    kept.append(as_mix(plan, place.source, rows.slice(start, end - start), run.before + at + start))
                if waiting[0].end > at + rows.num_rows:
                    break
                yield _table(plan, kept, waiting.pop(0), uri)
                kept = []
            at += rows.num_rows
            if not waiting:
                return
    if waiting:
        raise CorruptFileError(f"{uri}: has fewer rows than the plan counted; make a new plan")


def _table(plan: Plan, kept: Sequence[pa.RecordBatch], block: Block, uri: str) -> pa.Table:
    table = pa.Table.from_batches(kept, plan.schema)
    if table.num_rows != block.rows:
        raise CorruptFileError(f"{uri}: has other rows than the plan counted; make a new plan")
    return table


def _group_rows(plan: Plan, shard: int) -> Iterator[int]:
    """The rows of a shard's row groups, in row order."""
    left = plan.bounds[shard + 1] - plan.bounds[shard]
    while left > 0:
        yield min(left, plan.group_rows)
        left -= plan.group_rows


def _regroup(batches: Iterable[pa.RecordBatch], sizes: Iterator[int], schema: pa.Schema) -> Iterator[pa.Table]:
    """The batches' rows in tables of these sizes; what is left over at the end comes as it is."""
    kept: list[pa.RecordBatch] = []
    missing = next(sizes, 0)
    for batch in batches:
        while batch.num_rows:
            head = batch.slice(0, missing) if missing else batch
            kept.append(head)
            batch = batch.slice(head.num_rows)
            missing -= head.num_rows
            if missing <= 0:
                yield pa.Table.from_batches(kept, schema)
                kept, missing = [], next(sizes, 0)
    if kept:
        yield pa.Table.from_batches(kept, schema)


def _file(plan: Plan, block: Block) -> SourceFile:
    return plan.sources[block.source].files[block.file]
