"""The readers of what a recipe says of columns: what they are made of, their types, and which rows are wanted for them."""

from __future__ import annotations

import re

from pipeline.errors import RecipeError
from pipeline.mix.recipe_yaml import Value, error_at
from pipeline.predicate import parse_expression, parse_predicate
from pipeline.predicate.type_names import parse_type

REST = "*"
CONTENT = "*"  # what `dedup_by: content` becomes: all columns, whatever they are

_LITERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_COLUMN = "be a source column, a path such as meta.lang, SQL, or a constant such as \"'en'\" or 1"


def columns(value: Value) -> tuple[tuple[str, str], ...]:
    """Pairs of mix column and what it is made of, from a mapping or a list of columns to keep; `*` is all others."""
    if value.kind == "seq":
        return tuple((name, name) for name in names(value, "be a list of columns"))
    if value.kind != "map" or not value.node.value:
        raise value.must("be a mapping of mix column to source column or SQL, or a list of columns")
    # Any text may be a column's name; whether it is, or else is SQL, is known with the source's schema.
    found = tuple((str(key.node.value), _made_of(member)) for key, member in value.items())
    for (name, made_of), (_, member) in zip(found, value.items(), strict=True):
        if name == REST and made_of != REST:
            raise member.must('be "*", for all other columns')
    return found


def _made_of(value: Value) -> str:
    """Text as it is; a number, a boolean or null as the SQL constant."""
    if value.kind in {"int", "float"}:
        written = str(value.node.value).replace("_", "")
        if not _LITERAL.fullmatch(written):
            raise value.must(_COLUMN)
        return written
    if value.kind == "bool":
        return "true" if value.boolean() else "false"
    return "null" if value.kind == "null" else value.text(_COLUMN)


def names(value: Value, what: str) -> tuple[str, ...]:
    """A list of names, each once."""
    found: list[str] = []
    for element in value.elements(what):
        name = element.text("be a column's name")
        if name in found:
            raise element.error(f"{name!r} is given twice; keep one")
        found.append(name)
    return tuple(found)


def types(value: Value) -> tuple[tuple[str, str], ...]:
    """Pairs of column and type, each type as written."""
    if value.kind != "map" or not value.node.value:
        raise value.must("be a mapping of columns to types such as {label: bigint, text: string}")
    found = []
    for key, member in value.items():
        written = member.text("be a type such as string or bigint")
        try:
            parse_type(written)
        except ValueError as err:
            raise member.error(str(err)) from err
        found.append((str(key.node.value), written))
    return tuple(found)


def row_map(value: Value) -> str | tuple[tuple[str, str], ...]:
    """`module:function`, or pairs of mix column and SQL over the columns."""
    if value.kind == "map" and value.node.value:
        return tuple((str(key.node.value), _expression(member)) for key, member in value.items())
    what = "be a function such as my_module:clean, or a mapping of mix columns to SQL"
    written = value.text(what)
    if not _FUNCTION.fullmatch(written):
        raise value.must(what)
    return written


def _expression(value: Value) -> str:
    written = _made_of(value)
    try:
        parse_expression(written, None, value.path)
    except RecipeError as err:
        raise error_at(value.file, value.position, str(err)) from err
    return written


def where(value: Value) -> str:
    written = value.text("be a condition in SQL")
    try:
        parse_predicate(written, None, value.path)
    except RecipeError as err:
        raise error_at(value.file, value.position, str(err)) from err
    return written


def own_column(value: Value) -> str | None:
    """The name of a column that the mix adds, or None for false."""
    what = "be a column's name, or false for no such column"
    if value.kind == "bool":
        if value.boolean():
            raise value.must(what)
        return None
    return value.text(what)


def dedup_by(value: Value) -> tuple[str, ...]:
    """Columns, or `CONTENT` alone."""
    what = "be content, or a list of columns such as [text]"
    if value.kind == "seq":
        return names(value, what)
    if value.text(what) != "content":
        raise value.must(what)
    return (CONTENT,)
