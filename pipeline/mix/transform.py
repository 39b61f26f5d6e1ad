"""What happens to a source's rows on their way into a mix: a condition, a function of the user's, the columns made of them.

`bind` reads the recipe's texts against a real schema, on the driver. A `Transform` is pure, pickles to executors, and knows when
it changes nothing but names: then row groups can be copied without decoding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import RecipeError
from pipeline.mix.columns import WhereIs, bind_columns, placed
from pipeline.mix.recipe import Source
from pipeline.mix.row_function import RowFunction, bind_function
from pipeline.parquet.features import Features
from pipeline.permutation import digest
from pipeline.predicate import Expression, Predicate, filter_batch, parse_predicate, project


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """First `predicate` chooses rows, then `function` makes rows of them, then `expressions` are the mix's columns that come out.

    `read_schema` are the columns that are read, top-level ones with a type that holds every file's. `fingerprint` names all that
    decides what comes out of given rows.
    """

    read_schema: pa.Schema
    predicate: Predicate | None = None
    function: RowFunction | None = None
    expressions: Mapping[str, Expression]
    fingerprint: str = ""

    @property
    def schema(self) -> pa.Schema:
        """What comes out; a column is not nullable where its file's is not, or where it is a constant."""
        given = self.function.schema if self.function is not None else self.read_schema
        return pa.schema([_field(name, one, given) for name, one in self.expressions.items()])

    @property
    def changes_rows(self) -> bool:
        """Whether other rows may come out than go in."""
        return self.predicate is not None or self.function is not None

    @property
    def kept(self) -> Mapping[str, str] | None:
        """The source's column that each of the mix's is, constants left out; `None` when something is computed."""
        if self.function is not None or any(one.columns and not one.source_column for one in self.expressions.values()):
            return None
        return {name: one.source_column for name, one in self.expressions.items() if one.source_column}

    @property
    def constants(self) -> Mapping[str, pa.Scalar]:
        """The values of the columns that read nothing."""
        return {name: _value(one) for name, one in self.expressions.items() if not one.columns}

    def carried(self, features: Features) -> Features:
        """Of what is known of the columns that are read, what still holds: for columns that are them, as they were."""
        given = self.function.schema if self.function is not None else self.read_schema
        found = {}
        for name, one in self.expressions.items():
            column = one.source_column
            if column in features and given.field(column).type.equals(self.read_schema.field(column).type):
                found[name] = features[column]
        return found

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """What becomes of rows of `read_schema`: rows of `schema`. With a function, all rows of a row group at once.

        Raises `RecipeError` for a value that cannot be computed and for a function that fails.
        """
        rows = filter_batch(batch, self.predicate) if self.predicate is not None else batch
        rows = self.function(rows) if self.function is not None else rows
        if not self.expressions:
            return rows.select([])
        made = project(rows, self.expressions)
        return pa.RecordBatch.from_arrays(made.columns, schema=self.schema)


def bind(
    source: Source,
    schema: pa.Schema,
    *,
    where_is: WhereIs,
    allow_code: bool = False,
    folder: str = ".",
    declared: Collection[str] | None = None,
) -> Transform:
    """A source's `where`, `map`, `columns` and `cast` over the schema of its files.

    `where_is` gives the place of one of the source's keys, such as `columns.text`; `folder` is the recipe's; of the columns only
    those that the mix has `declared` come out. Raises `RecipeError` that starts with the place.
    """
    predicate = None
    if source.where is not None:
        with placed(where_is, "where"):
            predicate = parse_predicate(source.where, schema, f"source {source.name!r}, where")
    function = None
    if isinstance(source.map, str):
        with placed(where_is, "map"):
            function = _function(source, source.map, schema, folder, allow_code=allow_code)
    expressions = bind_columns(source, function.schema if function is not None else schema, where_is)
    if declared is not None:
        expressions = {name: one for name, one in expressions.items() if name in declared}
        if not expressions:
            problem = f"source {source.name!r} has none of the columns that the mix declares ({', '.join(declared)})"
            raise RecipeError(f"{where_is('columns')}: {problem}; name them in 'columns'")
    read = schema if function is not None else _needed(expressions.values(), predicate, schema)
    said = (source.where, source.columns, source.map, source.cast, function.fingerprint if function else "")
    types = [f"{column.name} {column.type}" for column in read]
    return Transform(
        read_schema=read,
        predicate=predicate,
        function=function,
        expressions=expressions,
        fingerprint=digest((repr(said), *types), 16).hex(),
    )


def _function(source: Source, name: str, schema: pa.Schema, folder: str, *, allow_code: bool) -> RowFunction:
    if not allow_code:
        raise RecipeError(
            f"map: {name!r} is Python code, which is not run unasked; read it, then pass --allow-code, or use SQL"
        )
    return bind_function(name, source=source.name, folder=folder, schema=schema)


def _needed(expressions: Iterable[Expression], predicate: Predicate | None, schema: pa.Schema) -> pa.Schema:
    """What must be read of a schema: at least one column, for a batch without columns has no rows; then the narrowest."""
    needed = {name for one in expressions for name in one.columns} | set(predicate.columns if predicate else ())
    if not needed and schema.names:
        needed = {min(schema, key=lambda column: _width(column.type)).name}
    return pa.schema([column for column in schema if column.name in needed])


def _width(kind: pa.DataType) -> int:
    try:
        return int(kind.bit_width)
    except ValueError:
        return 1 << 30


def _field(name: str, made: Expression, given: pa.Schema) -> pa.Field:
    if made.source_column is not None:
        column = given.field(made.source_column)
        return pa.field(name, column.type, column.nullable)
    nullable = bool(made.columns) or not _value(made).is_valid
    return pa.field(name, made.type, nullable)


def _value(constant: Expression) -> pa.Scalar:
    return project(pa.table({"-": pa.nulls(1)}), {"value": constant}).column("value")[0]
