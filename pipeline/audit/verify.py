"""Whether a mix has the rows that its recipe plans: sources and mix are read, at their commits, and compared.

In an order of blocks, each block's rows are compared in their order, one block at a time. Where rows were exchanged, what is
compared is sums of their keys by source and shard (row_sums.py), for which nothing is held either; only when these differ, one
shard's keys are, to tell the first row that differs. Values are compared as `IS NOT DISTINCT FROM` does (mix/row_keys.py).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.audit.compare_sums import compare_sums
from pipeline.audit.row_sums import first_other_key
from pipeline.audit.verdicts import Difference, SourceVerdict
from pipeline.hub.repo import Secret
from pipeline.mix.build import read_blocks
from pipeline.mix.plan import Plan
from pipeline.mix.row_keys import row_keys
from pipeline.parquet.conform import conform, plain_type
from pipeline.parquet.footer import Footer, read_footers
from pipeline.parquet.scan import scan
from pipeline.parquet.task import ScanOptions, whole_file
from pipeline.storage import FileRef

_THREADS = min(4, os.cpu_count() or 1)
_OPTIONS = ScanOptions(prefetch_bytes=32 << 20)
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What comparing rows came to: `problems` are of files that could not be compared."""

    method: str
    sources: tuple[SourceVerdict, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard's file and its footer."""

    number: int
    file: FileRef
    footer: Footer

    def rows(self, plan: Plan, token: Secret | None) -> Iterator[pa.RecordBatch]:
        """Its rows, with the columns of the plan."""
        task = whole_file(self.file, self.footer)
        with closing(scan([task], token, plan.schema.names, _OPTIONS)) as batches:  # type: ignore[type-var]
            for batch in batches:
                yield conform(batch, plan.schema, self.file.uri)


def compare_rows(
    plan: Plan, files: Sequence[FileRef | None], token: Secret | None, on_rows: Callable[[int], object]
) -> Compared:
    """Compare a split's files, one for each shard (`None` is passed over), with what the plan says.

    `on_rows` is told how many more rows are compared. Raises CorruptFileError for a file that cannot be read, TransferError.
    """
    there = [(number, file) for number, file in enumerate(files) if file is not None]
    footers = read_footers([file for _, file in there], token)
    shards, problems = [], []
    for (number, file), footer in zip(there, footers, strict=True):
        if why := _other_columns(footer.schema(), plan.schema):
            problems.append(f"shard {number} was not compared: {why}")
        else:
            shards.append(Shard(number=number, file=file, footer=footer))
    if plan.blocks and not plan.exchange and len(files) == plan.shards:
        method, sources = "block by block", _by_block(plan, shards, token, on_rows)
    else:
        method = "by sums of 128-bit row hashes"
        sources, more = compare_sums(plan, shards, token, on_rows, whole=len(shards) == len(files))
        problems += more
    return Compared(method=method, sources=tuple(sources), problems=tuple(problems))


def _other_columns(own: pa.Schema, planned: pa.Schema) -> str | None:
    """In which way a file's columns are not the planned ones."""
    found = [f"column {name!r} is missing" for name in planned.names if name not in own.names]
    found += [f"column {name!r} is not planned" for name in own.names if name not in planned.names]
    found += [
        f"column {column.name!r} is {str(column.type)[:80]}, planned {str(planned.field(column.name).type)[:80]}"
        for column in own
        if column.name in planned.names
        and not plain_type(column.type).equals(plain_type(planned.field(column.name).type))
    ]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more if found else None


@dataclass(slots=True)
class _Tally:
    """By source: rows that were compared, and the first that differ."""

    rows: Counter[int] = field(default_factory=Counter)
    differences: dict[int, Difference] = field(default_factory=dict)


def _by_block(
    plan: Plan, shards: Sequence[Shard], token: Secret | None, on_rows: Callable[[int], object]
) -> list[SourceVerdict]:
    """Shards are compared side by side, each one block at a time."""
    rows: Counter[int] = Counter()
    differences: dict[int, Difference] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for tally in pool.map(lambda shard: _compare_shard(plan, shard, token, on_rows), shards):
            rows += tally.rows
            differences = tally.differences | differences
    return [
        SourceVerdict(source=source.name, rows=rows[number], difference=differences.get(number))
        for number, source in enumerate(plan.sources)
    ]


def _compare_shard(plan: Plan, shard: Shard, token: Secret | None, on_rows: Callable[[int], object]) -> _Tally:
    first, last = plan.block_bounds[shard.number : shard.number + 2]
    blocks = plan.blocks[first:last]
    planned = plan.bounds[shard.number + 1] - plan.bounds[shard.number]
    tally, at = _Tally(), 0
    with closing(shard.rows(plan, token)) as batches, closing(read_blocks(plan, blocks, token, copy=False)) as wanted:  # type: ignore[type-var]
        tables = _in_tables(batches, (block.rows for block in blocks), plan.schema)
        for number, (block, expected) in enumerate(zip(blocks, wanted, strict=True)):
            assert isinstance(expected, pa.Table)
            found = next(tables)
            tally.rows[block.source] += found.num_rows
            if (row := first_difference(expected, found)) is not None:
                what = _what_differs(expected, found, row)
                place = Difference(shard=shard.number, row=at + row, block=first + number, what=what)
                tally.differences.setdefault(block.source, place)
                if shard.footer.rows != planned:
                    return tally  # all rows after this one stand elsewhere
            at += block.rows
            on_rows(block.rows)
        if shard.footer.rows > planned:
            what = f"{shard.footer.rows - planned} rows too many"
            tally.differences.setdefault(
                blocks[-1].source, Difference(shard=shard.number, row=at, block=None, what=what)
            )
    return tally


def _in_tables(batches: Iterable[pa.RecordBatch], sizes: Iterable[int], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows in tables of these sizes, as long as they last."""
    waiting = iter(batches)
    rest: pa.RecordBatch | None = None
    for size in sizes:
        kept: list[pa.RecordBatch] = []
        missing = size
        while missing and (batch := rest if rest is not None else next(waiting, None)) is not None:
            kept.append(batch.slice(0, missing))
            missing -= kept[-1].num_rows
            rest = batch.slice(kept[-1].num_rows) if batch.num_rows > kept[-1].num_rows else None
        yield pa.Table.from_batches(kept, schema)


def first_difference(expected: pa.Table, found: pa.Table) -> int | None:
    """The first row in which two tables of one schema differ, which may be the first that one of them lacks."""
    return first_other_key(_keys(expected), _keys(found))


def _keys(table: pa.Table) -> bytes:
    return b"".join(map(row_keys, table.to_batches()))


def _what_differs(expected: pa.Table, found: pa.Table, row: int) -> str:
    if row >= found.num_rows:
        return "the row is missing"
    names = [
        repr(name)
        for name in expected.schema.names
        if _keys(expected.select([name]).slice(row, 1)) != _keys(found.select([name]).slice(row, 1))
    ]
    return f"{', '.join(names[:_SHOWN])}{' and more' if len(names) > _SHOWN else ''} differ{'s' * (len(names) == 1)}"
