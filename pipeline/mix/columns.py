"""The columns of a mix that a source brings, each as one expression over the source's own: `columns`, then `map`, then `cast`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa

from pipeline.errors import DatasetError, RecipeError, SchemaError
from pipeline.mix.recipe import Source
from pipeline.mix.recipe_columns import REST
from pipeline.parquet.conform import plain_type
from pipeline.predicate import Expression, cast_expression, parse_expression
from pipeline.predicate.type_names import parse_type

WhereIs = Callable[[str], str]


@contextmanager
def placed(where_is: WhereIs, key: str) -> Iterator[None]:
    """Put the place of a source's key before whatever is raised."""
    try:
        yield
    except DatasetError as err:
        kind = RecipeError if isinstance(err, SchemaError) else type(err)
        raise kind(f"{where_is(key)}: {err}") from err


def bind_columns(source: Source, schema: pa.Schema, where_is: WhereIs) -> dict[str, Expression]:
    """The source's mix columns over a schema, in the recipe's order. Raises `RecipeError` that starts with the place."""
    bound: dict[str, Expression] = {}
    for name, written in _pairs(source.columns or ((REST, REST),), schema):
        with placed(where_is, f"columns.{name}"):
            bound[name] = _made_of(written, schema, _label(source, name))
    if source.map and not isinstance(source.map, str):
        bound |= _mapped(source, source.map, bound, schema, where_is)
    for name, written in source.cast:
        with placed(where_is, f"cast.{name}"):
            if name not in bound:
                raise RecipeError(f"{_label(source, name)} is not there to cast; {_there(name, bound)}")
            bound[name] = _cast(bound[name], parse_type(written), _label(source, name))
    return bound


def _pairs(pairs: tuple[tuple[str, str], ...], schema: pa.Schema) -> list[tuple[str, str]]:
    """The pairs, with those of all other columns where `*` stands: of those that have no place of their own yet."""
    placed_already = {name for pair in pairs for name in pair}
    rest = [(name, name) for name in schema.names if name not in placed_already]
    return [one for pair in pairs for one in (rest if pair == (REST, REST) else [pair])]


def _made_of(written: str, schema: pa.Schema, label: str) -> Expression:
    """A column that has exactly this name, else a path into a nested one, else SQL."""
    path = [written] if written in schema.names else written.split(".")
    if _leads_somewhere(path, schema):
        quoted = ".".join('"' + name.replace('"', '""') + '"' for name in path)
        return replace(parse_expression(quoted, schema, label), sql=written)
    try:
        return parse_expression(written, schema, label)
    except RecipeError as err:
        if re.fullmatch(r"[A-Za-z]\w*", written):
            raise RecipeError(f"{err}; a constant text would be \"'{written}'\"") from err
        raise


def _leads_somewhere(path: list[str], schema: pa.Schema) -> bool:
    kind: pa.DataType = pa.struct(list(schema))
    for name in path:
        position = kind.get_field_index(name) if pa.types.is_struct(kind) else -1
        if position < 0:
            return False
        kind = kind.field(position).type
    return True


def _mapped(
    source: Source,
    pairs: tuple[tuple[str, str], ...],
    bound: Mapping[str, Expression],
    schema: pa.Schema,
    where_is: WhereIs,
) -> dict[str, Expression]:
    """What `map` computes from the columns as `columns` left them."""
    found = {}
    for name, sql in pairs:
        with placed(where_is, f"map.{name}"):
            found[name] = parse_expression(sql, schema, _label(source, name), bound)
    return found


def _cast(value: Expression, kind: pa.DataType, label: str) -> Expression:
    """The value itself where only its Arrow type differs, not what files hold."""
    assert value.type is not None
    if plain_type(value.type).equals(plain_type(kind)):
        return value
    return cast_expression(value, kind, label)


def _label(source: Source, name: str) -> str:
    return f"source {source.name!r}, column {name!r}"


def _there(name: str, bound: Mapping[str, Expression]) -> str:
    close = difflib.get_close_matches(name, bound, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}there are {', '.join(list(bound)[:30])}"
