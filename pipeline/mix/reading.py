"""Rows of a source's row groups, or of the tasks that take their place, as the mix has them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import pyarrow as pa

from pipeline.formats.rows import read_rows
from pipeline.hub.repo import Secret
from pipeline.mix.plan import Plan
from pipeline.mix.select import apply_mask
from pipeline.mix.sources import OpenSource
from pipeline.parquet.conform import conform


def group_rows(
    source: OpenSource, file: int, group: int, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """What the source's conditions and columns make of the rows of one row group, without those that dedup drops.

    A function of the user's gets all rows of the row group at once, so that what it makes depends on nothing else.
    """
    transform = source.transform
    uri = source.files[file].file.uri
    whole = (conform(batch, transform.read_schema, uri) for batch in batches)
    mask = source.selection.mask(file, group) if source.selection is not None else None
    at = 0
    for batch in [_joined(list(whole), transform.read_schema)] if transform.function else whole:
        rows = transform.apply(batch)
        yield apply_mask(rows, mask, at)
        at += rows.num_rows


Groups = Generator[tuple[int, Iterator[pa.RecordBatch]], None, None]
"""The numbers of row groups, or of the tasks in their place, and their rows as a file has them."""


def read_tasks(source: OpenSource, file: int, groups: Iterable[int], token: Secret | None) -> Groups:
    """Tasks of a file that is not Parquet. Raises what `read_rows` raises."""
    assert source.reader is not None
    for group in groups:
        task = source.files[file].tasks[group]
        yield group, read_rows(source.reader, task, token, source.transform.read_schema.names)


def as_mix(plan: Plan, source: int, rows: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
    """A source's rows as the mix has them: its columns, the source's name and the rows' numbers in it, if these are wanted.

    `first_row` is the number of the first one among the rows that the source has to give, in the order of its files.
    """
    opened, recipe = plan.sources[source], plan.recipe
    if recipe.source_column is not None:
        rows = rows.append_column(recipe.source_column, pa.repeat(pa.scalar(opened.name, pa.string()), rows.num_rows))
    if recipe.source_row_column is not None:
        numbers = pa.array(range(first_row, first_row + rows.num_rows), pa.int64())
        rows = rows.append_column(recipe.source_row_column, numbers)
    return conform(rows, plan.schema, f"source {opened.name!r}")


def _joined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    found = table.to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema)
