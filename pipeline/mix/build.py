"""A plan carried out, one shard at a time; every function here runs in a task.

Block order: a shard's blocks are read one after the other through the prefetching scan. Where many blocks share a row group
that would read it many times, and in row order, rows are exchanged instead (`pieces.py`), and `write_rows` cuts them into the
same row groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from pipeline.errors import CorruptFileError
from pipeline.hub.repo import Secret
from pipeline.hub.upload import ShardReceipt
from pipeline.mix.blocks import Block
from pipeline.mix.plan import Plan, group_ends, groups_of
from pipeline.parquet.conform import conform
from pipeline.parquet.layout import Kind, Layout
from pipeline.parquet.scan import scan_each
from pipeline.predicate import project
from pipeline.writing import ShardStore


def blocks_of(plan: Plan, shard: int) -> list[Block]:
    """The blocks of a shard, in order."""
    start, end = plan.bounds[shard], plan.bounds[shard + 1]
    at, found = 0, []
    for block in plan.blocks:
        if start <= at < end:
            found.append(block)
        at += block.rows
    return found


def build_shard(plan: Plan, shard: int, token: Secret | None, store: ShardStore) -> ShardReceipt:
    """Build a shard of a plan in block order from its blocks."""
    return _write(plan, shard, read_blocks(plan, blocks_of(plan, shard), token), store)


def read_blocks(plan: Plan, blocks: Sequence[Block], token: Secret | None) -> Iterator[pa.Table]:
    """The blocks' rows as the mix has them, a table per block. Neighbours in a file are read together.

    Raises CorruptFileError when a file has other rows than were planned.
    """
    ends = {source: group_ends(plan.sources[source]) for source in {block.source for block in blocks}}
    runs = list(_runs(blocks))
    spans = [_span(run, ends[run[0].source][run[0].file]) for run in runs]
    tasks = [
        (
            plan.sources[run[0].source].task(run[0].file, range(*span)),
            plan.sources[run[0].source].columns_in(run[0].file),
        )
        for run, span in zip(runs, spans, strict=True)
    ]
    batches = _ByTask(scan_each(tasks, token))
    for number, (run, span) in enumerate(zip(runs, spans, strict=True)):
        file_ends = ends[run[0].source][run[0].file]
        at = file_ends[span[0] - 1] if span[0] else 0
        yield from _cut_run(plan, run, at, batches.of(number))


def _cut_run(plan: Plan, run: Sequence[Block], at: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The blocks of one run out of its batches; `at` is the row in the file at which they begin."""
    source = plan.sources[run[0].source]
    uri = source.files[run[0].file].uri
    kept: list[pa.RecordBatch] = []
    waiting = list(run)
    for batch in batches:
        rows = source.rows_of(batch, uri)
        while waiting:
            start, end = max(waiting[0].start - at, 0), min(waiting[0].end - at, rows.num_rows)
            if end > start:
                kept.append(as_mix(plan, run[0].source, rows.slice(start, end - start)))
            if waiting[0].end > at + rows.num_rows:
                break
            yield _table(plan, kept, waiting.pop(0), uri)
            kept = []
        at += rows.num_rows
    if waiting:
        raise CorruptFileError(f"{uri}: has fewer rows than the plan counted; make a new plan")


def _table(plan: Plan, kept: Sequence[pa.RecordBatch], block: Block, uri: str) -> pa.Table:
    table = pa.Table.from_batches(kept, plan.schema)
    if table.num_rows != block.rows:
        raise CorruptFileError(f"{uri}: has other rows than the plan counted; make a new plan")
    return table


def as_mix(plan: Plan, source: int, rows: pa.RecordBatch) -> pa.RecordBatch:
    """A source's rows as the mix has them: its columns, and the source's name."""
    opened = plan.sources[source]
    mixed = project(rows, opened.expressions)
    if plan.recipe.source_column is not None:
        name = pa.repeat(pa.scalar(opened.name, pa.string()), rows.num_rows)
        mixed = mixed.append_column(plan.recipe.source_column, name)
    return conform(mixed, plan.schema, f"source {opened.name!r}")


def write_rows(plan: Plan, shard: int, batches: Iterable[pa.RecordBatch], store: ShardStore) -> ShardReceipt:
    """Write a shard's rows, which come in order of position, in the row groups that the plan says."""
    return _write(plan, shard, _regroup(batches, _group_rows(plan, shard), plan.schema), store)


def _write(plan: Plan, shard: int, tables: Iterable[pa.Table], store: ShardStore) -> ShardReceipt:
    column = plan.recipe.source_column
    layout = Layout(kind=Kind.BLOCKS, dictionary_columns=(column,) if column else ())
    identity = f"{plan.recipe.seed}:{shard}:{plan.shards}:{plan.rows}"
    writer = store.open(f"shard-{shard:05d}", plan.schema, layout=layout, features=plan.features, identity=identity)
    for table in tables:
        # Pages end where chunks end: in one chunk, they depend on nothing but the rows.
        writer.write_row_group(table.combine_chunks())
    store.end(writer)
    receipt = store.finish()[0]
    planned = plan.bounds[shard + 1] - plan.bounds[shard]
    if receipt.rows != planned:
        raise CorruptFileError(
            f"shard {shard}: got {receipt.rows} rows, but the plan counted {planned}; make a new plan"
        )
    return receipt


def _group_rows(plan: Plan, shard: int) -> Iterator[int]:
    if plan.blocks:
        yield from (block.rows for block in blocks_of(plan, shard))
        return
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


def _runs(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Blocks that follow each other in the mix and in their file, together."""
    run: list[Block] = []
    for block in blocks:
        last = run[-1] if run else None
        if last and (last.source, last.file, last.end) != (block.source, block.file, block.start):
            yield run
            run = []
        run.append(block)
    if run:
        yield run


def _span(run: Sequence[Block], ends: Sequence[int]) -> tuple[int, int]:
    return groups_of(ends, run[0])[0], groups_of(ends, run[-1])[1]


class _ByTask:
    """Batches that say which task they are of, handed out task by task."""

    def __init__(self, batches: Iterator[tuple[int, pa.RecordBatch]]) -> None:
        self._batches = batches
        self._next = next(batches, None)

    def of(self, number: int) -> Iterator[pa.RecordBatch]:
        """The batches of one task; those of earlier ones that nobody took are passed over."""
        while self._next is not None and self._next[0] <= number:
            at, batch = self._next
            if at == number:
                yield batch
            self._next = next(self._batches, None)
