"""A SQL predicate or expression, parsed once on the driver, applied anywhere by Arrow.

What is read is a subset of SQL; anything else is refused with its position. `sqlglot` is needed to parse, not to apply:
the values below pickle to executors that only have pyarrow.

| written | meaning |
|---|---|
| `name`, `"name"`, `` `name` ``, `a.b.c` | a column, exactly as spelled; a field of a struct |
| `1`, `1.5`, `'text'`, `true`, `null`, `DATE '2026-01-31'`, `TIMESTAMP '...'` | int64, float64; no zone means UTC |
| `= == != <> < <= > >=` | null if a side is null; NaN equals nothing; a quoted date compares with a date column |
| `<=>`, `IS [NOT] DISTINCT FROM`, `IS [NOT] NULL`, `IS [NOT] TRUE` | never null |
| `AND OR NOT` | three-valued logic; a filter keeps the rows that are true, not those that are null |
| `[NOT] IN (literals)`, `[NOT] BETWEEN a AND b` | as in SQL: `x NOT IN (1, null)` is never true |
| `[NOT] LIKE`, `ILIKE` | `%` any text, `_` one character; `\\` escapes them, or the character after `ESCAPE` |
| `RLIKE`, `regexp_like` | an RE2 pattern found anywhere |
| `+ - *` | whole numbers in 64 bits; an overflow stops the run with an error |
| `/` | always a double, as in Spark: `1 / 2` is 0.5; null where the divisor is zero |
| `%` | the remainder, with the dividend's sign; null where the divisor is zero |
| `\\|\\|`, `concat` | null if a part is null; parts must be text |
| `length` | characters of text, bytes of binary |
| `substring(s, 1, 3)` | from the first character; a negative start counts from the end |
| `trim ltrim rtrim` | take away spaces, nothing else |
| `round(x, 1)` | halves away from zero |
| `cast(x as int)`, `x::int` | fractions are cut towards zero; a value that does not fit stops the run with an error |
| `case when ... end`, `if`, `coalesce` | every branch is computed for all rows, so a failing cast fails in any |
| `nullif ifnull nvl least greatest floor ceil` | as in SQL; `least` and `greatest` pass over nulls |
| `replace(s, 'a', 'b')`, `regexp_replace` | every occurrence; in a pattern's replacement `\\1` is its first group |
| `size array_length cardinality` | the length of a list |
| `element_at(list, 1)` | from 1; null where the list is shorter |
| `named_struct('bytes', x, 'path', null)` | a struct |
| `lower upper starts_with ends_with contains abs` | the obvious; what is looked for is a literal |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RecipeError, SchemaError
from pipeline.predicate.terms import Place, Term, compute

__all__ = [
    "Expression",
    "Predicate",
    "cast_expression",
    "filter_batch",
    "parse_expression",
    "parse_predicate",
    "project",
]

_MESSAGE_CHARACTERS = 160  # Arrow quotes the value that it could not read, however long

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A value per row. `columns` are the top-level columns it reads, sorted; none means that it is a constant.

    `source_column` is set when it is a column as it stands. `type` is known when it was parsed with a schema.
    """

    sql: str
    expression: pc.Expression = field(compare=False)
    columns: tuple[str, ...]
    source_column: str | None = None
    type: pa.DataType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """A condition on a row. `columns` are the top-level columns it reads, sorted."""

    sql: str
    expression: pc.Expression = field(compare=False)
    columns: tuple[str, ...]


def parse_predicate(sql: str, schema: pa.Schema | None = None, label: str = "where") -> Predicate:
    """Reads a condition. Without a schema only its syntax is checked, and text is assumed where Arrow must know a type.

    Raises `RecipeError`, which starts with `label` and the position.
    """
    term, columns, _ = _compile(Place(sql=sql, label=label), schema, {})
    if term.type is not None and not (pa.types.is_boolean(term.type) or pa.types.is_null(term.type)):
        problem = f"{term.describe()} must be true or false; compare it with something"
        raise Place(sql=sql, label=label).error(term.offset, problem)
    expression = pc.scalar(pa.scalar(None, pa.bool_())) if term.type == pa.null() else term.expression
    return Predicate(sql=sql, expression=expression, columns=columns)


def parse_expression(
    sql: str,
    schema: pa.Schema | None = None,
    label: str = "expression",
    inputs: Mapping[str, Expression] | None = None,
) -> Expression:
    """Reads a value. A column on its own keeps its type, dictionaries too. Raises as `parse_predicate`.

    With `inputs`, names mean these expressions over the schema, not its columns.
    """
    term, columns, column = _compile(Place(sql=sql, label=label), schema, inputs or {})
    if inputs and column is not None:
        return replace(inputs[column], sql=sql)
    kind = schema.field(column).type if schema is not None and column is not None else term.type
    expression = term.expression if column is None else pc.field(column)
    return Expression(sql=sql, expression=expression, columns=columns, source_column=column, type=kind)


def cast_expression(value: Expression, kind: pa.DataType, label: str = "cast") -> Expression:
    """A value of known type as another type, as CAST does it; lists and structs go child by child. May raise `RecipeError`."""
    from pipeline.predicate.casts import cast_value  # here, because executors have no sqlglot

    expression = cast_value(value.expression, value.type, kind, Place(sql=value.sql, label=label))
    return replace(value, expression=expression, source_column=None, type=kind)


def _compile(
    place: Place, schema: pa.Schema | None, inputs: Mapping[str, Expression]
) -> tuple[Term, tuple[str, ...], str | None]:
    from pipeline.predicate.compiler import compile_sql  # here, because executors have no sqlglot

    return compile_sql(place, schema, inputs)


def filter_batch(batch: pa.RecordBatch, predicate: Predicate) -> pa.RecordBatch:
    """The rows for which the predicate is true, in order, with the batch's own schema.

    Raises `SchemaError` for a missing column, `RecipeError` for a value that cannot be computed (an overflow).
    """
    table = pa.Table.from_batches([batch])
    truth = _evaluate(table, {"mask": predicate})["mask"]
    if not pa.types.is_boolean(truth.type):
        problem = f"{predicate.sql!r} must be true or false, got {truth.type}"
        raise RecipeError(f"{problem}; compare it with something")
    mask = truth.combine_chunks().fill_null(False)
    kept = mask.true_count
    if kept == batch.num_rows:
        return batch
    if kept == 0:
        return batch.slice(0, 0)
    columns = [_keep(column, mask) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _keep(column: pa.Array, mask: pa.BooleanArray) -> pa.Array:
    """The masked values; Arrow has no filter for some types (views), whose kept rows are joined one by one instead."""
    try:
        return column.filter(mask)
    except pa.ArrowNotImplementedError:
        rows = pc.indices_nonzero(mask).to_pylist()
        return pa.concat_arrays([column.slice(row, 1) for row in rows])


def project(rows: Rows, expressions: Mapping[str, Expression]) -> Rows:
    """New columns from old ones, in the given order, as many rows as before.

    Columns as they stand are not copied and keep their field (nullability, metadata). Raises as `filter_batch`.
    """
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    computed = _evaluate(table, {name: e for name, e in expressions.items() if e.source_column is None})
    fields, columns = [], []
    for name, expression in expressions.items():
        if expression.source_column is None:
            columns.append(computed[name])
            fields.append(pa.field(name, computed[name].type))
        else:
            _check_columns(table, expression)
            columns.append(table.column(expression.source_column))
            fields.append(table.schema.field(expression.source_column).with_name(name))
    schema = pa.schema(fields)
    if isinstance(rows, pa.Table):
        return pa.Table.from_arrays(columns, schema=schema)
    return pa.RecordBatch.from_arrays([_one_array(column) for column in columns], schema=schema)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _check_columns(table: pa.Table, wanted: Expression | Predicate) -> None:
    for name in wanted.columns:
        found = table.column_names.count(name)
        if found != 1:
            problem = f"column {name!r} of {wanted.sql!r} is there {found} times, expected once"
            raise SchemaError(f"{problem}; the columns are {', '.join(table.column_names)}")


def _evaluate(table: pa.Table, wanted: Mapping[str, Expression | Predicate]) -> dict[str, pa.ChunkedArray]:
    """Each wanted value over the table, in row order."""
    if not wanted:
        return {}
    for item in wanted.values():
        _check_columns(table, item)
    names = sorted({name for item in wanted.values() for name in item.columns})
    read = table.select(names) if names else pa.table({"-": pa.nulls(table.num_rows)})
    try:
        result = compute(read, {name: item.expression for name, item in wanted.items()})
    except pa.ArrowException as err:
        shown = "; ".join(item.sql for item in wanted.values())
        problem = shorten(" ".join(str(err).split()), _MESSAGE_CHARACTERS, placeholder=" ...")
        raise RecipeError(f"{shown!r} cannot be computed: {problem}; change it or leave such rows out first") from err
    return {name: result.column(name) for name in wanted}
