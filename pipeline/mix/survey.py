"""What must be read to know how many rows a mix can draw: all that is behind a `where`, a function or `dedup_by`.

Of files that are not Parquet that is all rows, for nothing tells how many there are.

The sources are gone through in runs of row groups, of about 64 MB of the columns that it takes: those of the condition, those
that rows are compared by, all for a function. What is found in a run depends on its own rows alone, so runs can be read anywhere,
in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyarrow import types

from pipeline.errors import RecipeError
from pipeline.mix.recipe import Recipe
from pipeline.mix.sources import OpenSource
from pipeline.mix.task_files import reading_print
from pipeline.permutation import digest

_RUN_BYTES = 64 << 20
_TEXT_BYTES = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Neighbouring row groups of a source's file: [start, end)."""

    source: int
    file: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How many rows of each row group of a run are left, and their keys, KEY_BYTES each, when rows are compared.

    `rows` are all rows of each task, where files are not Parquet.
    """

    kept: tuple[int, ...]
    keys: bytes = b""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is to be found out: the sources with no more than the columns that it takes, the columns by which rows are compared
    (`None`: they are not) with the mix's types, and for each source a hash of all that decides what is found in a file.
    """

    sources: tuple[OpenSource, ...]
    keys: pa.Schema | None
    prints: tuple[str, ...]

    def runs(self) -> list[Run]:
        """The runs of the sources that must be read, in their order."""
        return [
            Run(source=number, file=file, start=start, end=end)
            for number, source in enumerate(self.sources)
            if self.keys is not None or source.transform.changes_rows or not source.counted
            for file in range(len(source.files))
            for start, end in _runs(source, file)
        ]


def plan_survey(recipe: Recipe, sources: Sequence[OpenSource], schema: pa.Schema) -> Survey:
    """What must be found out about sources whose mix has this schema. No runs are left when all counts follow from footers.

    Raises RecipeError for a column to compare by that the mix lacks, or of which a source has none.
    """
    keys = None if recipe.dedup_by is None else _key_columns(recipe, sources, schema)
    narrow = tuple(_narrow(source, keys) for source in sources)
    return Survey(sources=narrow, keys=keys, prints=tuple(_fingerprint(source, keys) for source in narrow))


def _key_columns(recipe: Recipe, sources: Sequence[OpenSource], schema: pa.Schema) -> pa.Schema:
    """The columns by which rows are compared. The columns that say where a row comes from never count: all rows would differ."""
    assert recipe.dedup_by is not None
    added = {recipe.source_column, recipe.source_row_column}
    own = [name for name in schema.names if name not in added]
    names = own if recipe.dedup_by == ("*",) else list(recipe.dedup_by)
    place = recipe.where_is("dedup_by")
    if missing := [name for name in names if name not in own]:
        raise RecipeError(
            f"{place}: the sources have no column {missing[0]!r} to compare rows by; expected some of {', '.join(own)}"
        )
    for source in sources:
        if not set(names) & source.transform.expressions.keys():
            raise RecipeError(
                f"{place}: source {source.name!r} has none of the columns {', '.join(names)}, so all of its rows would be the "
                "same; give it one with 'columns'"
            )
    return pa.schema([schema.field(name) for name in names])


def _narrow(source: OpenSource, keys: pa.Schema | None) -> OpenSource:
    """The source with the columns that counting, or comparing, needs."""
    transform = source.transform
    source = replace(source, selection=None)
    if transform.function is not None:
        return source
    wanted = {} if keys is None else {n: one for n, one in transform.expressions.items() if n in keys.names}
    needed = {name for one in wanted.values() for name in one.columns}
    needed |= set(transform.predicate.columns if transform.predicate is not None else ())
    read = pa.schema([column for column in transform.read_schema if column.name in needed])
    return replace(source, transform=replace(transform, read_schema=read, expressions=wanted))


def _fingerprint(source: OpenSource, keys: pa.Schema | None) -> str:
    """What decides the result besides the file: for a mere `where`, that and the types of its columns."""
    transform = source.transform
    read = [f"{column.name} {column.type}" for column in transform.read_schema]
    if source.reader is not None:
        read.append(reading_print(source.reader, source.files, transform.read_schema.names))
    if keys is None and transform.function is None:
        where = transform.predicate.sql if transform.predicate is not None else ""
        return digest(("count", where, *read), 16).hex()
    compared = [] if keys is None else [f"{column.name} {column.type}" for column in keys]
    return digest(("keys", transform.fingerprint, *compared, "read", *read), 16).hex()


def _runs(source: OpenSource, file: int) -> Iterator[tuple[int, int]]:
    """A file's row groups in runs; they depend on the file and on the columns that are read alone."""
    rows, sizes = source.files[file].rows, source.files[file].sizes
    width = _width(source.transform.read_schema) if source.reader is None else None
    start = size = 0
    for group, count in enumerate(rows):
        own = sizes[group] if width is None else min(sizes[group], width * count)
        if group > start and size + own > _RUN_BYTES:
            yield start, group
            start, size = group, 0
        size += own
    if rows:
        yield start, len(rows)


def _width(schema: pa.Schema) -> int | None:
    """What a row hardly exceeds, `None` where that cannot be told: `sizes` are of all columns that a mix reads, images too."""
    found = 0
    for column in schema:
        if types.is_primitive(column.type):
            found += max(1, column.type.bit_width // 8)
        elif types.is_string(column.type) or types.is_large_string(column.type):
            found += _TEXT_BYTES
        else:
            return None
    return found
