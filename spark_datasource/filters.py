"""The options `filters` and `where` -> one condition on rows, checked against the dataset's columns before anything is read.

Spark 4.1 to 4.3 must not be told of filters by itself (source.py says why), so they come as options.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.errors import OptionError, RecipeError
from pipeline.parquet.dataset import top_column
from pipeline.predicate import Predicate, filter_batch, parse_predicate
from spark_datasource.option_values import literal

_MOST_CHARACTERS = 100_000
_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)\Z")
_EXPECTED = 'a list such as [("score", ">", 0.9)], or a list of such lists, one of which must hold'
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "in": lambda column, value: column.isin(value),
    "not in": lambda column, value: ~column.isin(value),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A column, an operator and a value, or a list of values for `in` and `not in`."""

    column: str
    operator: str
    value: Any


Filters = tuple[tuple[Comparison, ...], ...]
"""Alternatives, each a conjunction: what pyarrow calls disjunctive normal form."""


def parse_filters(text: str) -> Filters:
    """The option's text, JSON or Python. Raises ValueError that says what was expected."""
    found = literal(text, _EXPECTED)
    if not isinstance(found, (list, tuple)) or not found:
        raise ValueError(_EXPECTED)
    if all(_is_comparison(one) for one in found):
        found = [found]
    elif not all(isinstance(one, (list, tuple)) and one and all(map(_is_comparison, one)) for one in found):
        raise ValueError(_EXPECTED)
    return tuple(tuple(_comparison(*one) for one in conjunction) for conjunction in found)


def compile_filters(filters: Filters | None, where: str | None, schema: pa.Schema) -> Predicate | None:
    """The condition over rows of this schema; `None` when there is none.

    Raises OptionError for `filters` and RecipeError for a `where` that do not fit the columns.
    """
    if where is not None:
        if len(where) > _MOST_CHARACTERS:
            raise OptionError(
                f"option 'where' has {len(where)} characters; expected {_MOST_CHARACTERS} at most; join a table of the values"
            )
        return parse_predicate(where, schema, "where")
    if filters is None:
        return None
    expression = reduce(
        operator.or_, (reduce(operator.and_, (_compile(one, schema) for one in each)) for each in filters)
    )
    columns = {top_column(schema, one.column) or "" for each in filters for one in each}
    predicate = Predicate(sql=_text(filters), expression=expression, columns=tuple(sorted(columns)))
    _try(predicate, schema)
    return predicate


def _is_comparison(one: Any) -> bool:
    return isinstance(one, (list, tuple)) and len(one) == 3 and isinstance(one[0], str) and isinstance(one[1], str)


def _comparison(column: str, name: str, value: Any) -> Comparison:
    name = " ".join(name.lower().split())
    if name not in _OPERATORS:
        raise ValueError(f"{_EXPECTED}; operators are {' '.join(_OPERATORS)}, not {name!r}")
    if name.endswith("in"):
        if not isinstance(value, (list, tuple, set)):
            raise ValueError(f"{_EXPECTED}; {name!r} takes a list of values")
        value = tuple(value)
    return Comparison(column=column, operator=name, value=value)


def _compile(one: Comparison, schema: pa.Schema) -> pc.Expression:
    top = top_column(schema, one.column)
    if top is None:
        raise OptionError(
            f"option 'filters' names column {one.column!r}; the dataset has {', '.join(map(repr, schema.names))}"
        )
    path = one.column[len(top) + 1 :]
    column = pc.field(top, *path.split(".")) if path else pc.field(top)
    kind = schema.field(top).type
    try:
        for name in path.split(".") if path else ():
            kind = kind.field(name).type
        value = [_value(each, kind) for each in one.value] if isinstance(one.value, tuple) else _value(one.value, kind)
        return _OPERATORS[one.operator](column, value)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, KeyError, AttributeError) as err:
        reason = str(err).replace("\n", " ")[:200]
        raise OptionError(
            f"option 'filters' cannot compare {one.column!r}, which is {kind}, with {one.value!r:.80}: {reason}"
        ) from err


def _value(value: Any, kind: pa.DataType) -> Any:
    """A literal as what it is compared with: JSON has no dates and times, so they come as text. Without a zone they are UTC."""
    if not types.is_temporal(kind) or not isinstance(value, str):
        return pa.scalar(value)
    if types.is_timestamp(kind) and kind.tz and not _ZONE.search(value):
        value += "Z" if ":" in value else "T00:00:00Z"
    return pa.scalar(value).cast(kind)


def _try(predicate: Predicate, schema: pa.Schema) -> None:
    """Compute it over no rows: types that cannot be compared are found on the driver."""
    arrays = [pa.array([], schema.field(name).type) for name in predicate.columns]
    empty = pa.RecordBatch.from_arrays(arrays, names=list(predicate.columns))
    try:
        filter_batch(empty, predicate)
    except (RecipeError, pa.ArrowException) as err:
        raise OptionError(f"option 'filters' does not fit the columns: {err}") from err


def _text(filters: Filters) -> str:
    joined = (" and ".join(f"{one.column} {one.operator} {one.value!r}" for one in each) for each in filters)
    return " or ".join(joined)
