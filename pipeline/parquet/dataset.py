"""The files of a split as one table: one schema for all, and every file's rows in it.

Files may differ: a column that was added later is null in those before it, and types are cast where no value is lost. Which
columns there are is known from the first file and the card, so that a split of thousands of files need not be looked through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from pyarrow import types

from pipeline.errors import SchemaError
from pipeline.hub.repo import Secret
from pipeline.parquet.conform import conform
from pipeline.parquet.filtering import GroupFilter, RowFilter
from pipeline.parquet.footer import read_footers
from pipeline.parquet.layout import leaves
from pipeline.parquet.parsed import plain_path
from pipeline.parquet.scan import scan_each
from pipeline.parquet.task import ScanOptions, ScanTask
from pipeline.predicate import Predicate, filter_batch
from pipeline.storage import FileRef

_AT_ONCE = 256
_FIRST = 16


def stored_schema(files: Sequence[FileRef], known: Sequence[str], token: Secret | None) -> pa.Schema:
    """The schema of a split's first file, and after it the `known` columns (or paths) that only other files have.

    A column that is null throughout in the first file has the type that the first other file knows.
    """
    arrow = read_footers(files[:_FIRST], token)[0].schema()  # as many as cost the time of one
    wanted = dict.fromkeys(top_column(arrow, name) or name for name in known)
    missing = [name for name in wanted if arrow.get_field_index(name) < 0]
    missing += [field.name for field in arrow if types.is_null(field.type)]
    for start in range(1, len(files), _AT_ONCE) if missing else ():
        for footer in read_footers(files[start : start + _AT_ONCE], token):
            other = footer.schema()
            for name in [name for name in missing if _tells(other, name)]:
                place = arrow.get_field_index(name)
                field = other.field(name)
                arrow = arrow.append(field) if place < 0 else arrow.set(place, field)
                missing.remove(name)
        if not missing:
            break
    return arrow


def _tells(schema: pa.Schema, name: str) -> bool:
    return schema.get_field_index(name) >= 0 and not types.is_null(schema.field(name).type)


def choose(schema: pa.Schema, columns: Sequence[str], about: str) -> pa.Schema:
    """The schema of these columns, each a top-level name or a path into a nested one. Raises SchemaError for one not there."""
    paths = group_paths(schema, columns)
    fields = []
    for name, rests in paths.items():
        kind = narrow(schema.field(name).type, rests) if schema.get_field_index(name) >= 0 else None
        if kind is None:
            wrong = next(column for column in columns if column == name or column.startswith(f"{name}."))
            raise SchemaError(f"{about}: no column {wrong!r}; it has {', '.join(map(repr, schema.names))}")
        fields.append(schema.field(name).with_type(kind))
    return pa.schema(fields)


def group_paths(schema: pa.Schema, columns: Sequence[str]) -> dict[str, list[str]]:
    """Top-level column -> the paths in it that were asked for, an empty one for all of it."""
    found: dict[str, list[str]] = {}
    for column in columns:
        name = top_column(schema, column) or column
        found.setdefault(name, []).append(column[len(name) + 1 :])
    return found


def top_column(schema: pa.Schema, path: str) -> str | None:
    """The top-level column that a path leads into, the one of the longest name; `None` when there is none."""
    name = path
    while name and schema.get_field_index(name) < 0:
        name = name.rpartition(".")[0]
    return name or None


def paths_in(own: pa.Schema, wanted: pa.Schema) -> list[str]:
    """What to ask a file for: the wanted columns that it has, of narrowed ones the parts that it has."""
    found: list[str] = []
    for field in wanted:
        if own.get_field_index(field.name) < 0:
            continue
        there = [path for path, _, _ in leaves(pa.schema([own.field(field.name)]))]
        asked = {path for path, _, _ in leaves(pa.schema([field]))}
        part = [plain_path(path) for path in there if path in asked]
        found += part if 0 < len(part) < len(there) else [field.name]
    return found


def narrow(kind: pa.DataType, paths: Sequence[str]) -> pa.DataType | None:
    """A type with the parts at these paths alone, through lists; `None` when one of them is not there."""
    if "" in paths:
        return kind
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = narrow(kind.value_type, paths)
        return None if inner is None else _like(kind, kind.value_field.with_type(inner))
    if not types.is_struct(kind):
        return None
    children, matched = [], 0
    for child in kind:
        rests = [path[len(child.name) + 1 :] for path in paths if f"{path}.".startswith(f"{child.name}.")]
        if rests:
            inner = narrow(child.type, rests)
            if inner is None:
                return None
            children.append(child.with_type(inner))
            matched += len(rests)
    return pa.struct(children) if matched == len(paths) else None


def _like(kind: pa.DataType, element: pa.Field) -> pa.DataType:
    """A list of the same sort with another element."""
    if types.is_fixed_size_list(kind):
        return pa.list_(element, kind.list_size)
    return pa.large_list(element) if types.is_large_list(kind) else pa.list_(element)


def scan_as(
    tasks: Iterable[ScanTask],
    schema: pa.Schema,
    token: Secret | None,
    options: ScanOptions | None = None,
    where: Predicate | None = None,
    *,
    truncate_ns: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of the tasks as batches of exactly this schema; a column that a file lacks is null, and `truncate_ns` is as in
    `conform`.

    With a condition, which was compiled for this schema, the rows for which it is true: row groups in which it is for none are
    not fetched, and batches without a row are left out. Raises what `scan` raises, SchemaError for a value that does not fit,
    RecipeError for a condition that cannot be computed.
    """
    uris: list[str] = []
    groups = GroupFilter(RowFilter(predicate=where, schema=schema), token) if where else None

    def own_columns() -> Iterator[tuple[ScanTask, list[str]]]:
        for task in tasks:
            uris.append(task.file.uri)
            yield groups.prune(task) if groups else task, paths_in(task.footer.schema(), schema)

    for position, batch in scan_each(own_columns(), token, options):
        same = batch.schema.equals(schema)
        found = batch if same else conform(batch, schema, uris[position], truncate_ns=truncate_ns)
        kept = filter_batch(found, where) if where else found
        if kept.num_rows or not where:
            yield kept
