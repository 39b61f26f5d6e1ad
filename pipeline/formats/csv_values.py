"""What the text of a CSV column means: the types that pandas would find in it, which `datasets` reads CSV with.

A column is int64 (uint64 where only that holds it), float64, bool or string; an int column with missing values is float64, a
column of nothing but missing values too; dates stay strings. Floats are rounded correctly here, where pandas is off by one unit
in the last place at times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import types

NA_VALUES = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
TRUE_VALUES, FALSE_VALUES = ("True", "TRUE", "true"), ("False", "FALSE", "false")
_INT = r"^\s*[+-]?\d+\s*$"
_FLOAT = r"(?i)^\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)\s*$"


class UnfitError(ValueError):
    """A value that is none of its column's type: its index and text."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(f"{text!r:.80}")
        self.index = index


def infer_type(
    values: pa.Array, true: tuple[str, ...] = TRUE_VALUES, false: tuple[str, ...] = FALSE_VALUES
) -> pa.DataType:
    """The type that pandas finds in strings, null where one is missing."""
    found = values.drop_null()
    if not len(found):
        return pa.float64()
    if _all(pc.match_substring_regex(found, _INT)):
        return pa.float64() if values.null_count else _int_type(found)
    if _all(pc.match_substring_regex(found, _FLOAT)):
        return pa.float64()
    return pa.bool_() if _all(pc.is_in(found, pa.array([*true, *false]))) else pa.string()


def convert(
    values: pa.Array,
    field: pa.Field,
    labels: list[str] | None = None,
    true: tuple[str, ...] = TRUE_VALUES,
    false: tuple[str, ...] = FALSE_VALUES,
) -> pa.Array:
    """Strings as a field's type; with `labels`, those among them as their numbers.

    Raises UnfitError for the first one that is no such value, pa.ArrowInvalid, also where Arrow has no such conversion.
    """
    kind = field.type
    if labels is not None:
        numbers = pc.index_in(values, pa.array(labels, pa.string()))
        rest = pc.if_else(pc.is_valid(numbers), pa.scalar(None, pa.string()), values)
        return pc.coalesce(numbers.cast(kind), convert(rest, field))
    if types.is_string(kind):
        return values
    if types.is_integer(kind):
        return _to_ints(values, kind)
    if types.is_floating(kind):
        _check(values, pc.match_substring_regex(values, _FLOAT))
        return _unsigned(values).cast(kind)
    if types.is_boolean(kind):
        is_true = pc.is_in(values, pa.array(true))
        _check(values, pc.or_(is_true, pc.is_in(values, pa.array(false))))
        return pc.if_else(pc.is_valid(values), is_true, pa.scalar(None, pa.bool_()))
    try:
        return values.cast(kind)
    except pa.ArrowNotImplementedError as err:
        raise pa.ArrowInvalid(f"text cannot be read as {kind}") from err


def _int_type(found: pa.Array) -> pa.DataType:
    plain = _unsigned(found)
    for kind in (pa.int64(), pa.uint64()):
        if _try(lambda kind=kind: plain.cast(kind)) is not None:  # type: ignore[misc]
            return kind
    return pa.string()


def _to_ints(values: pa.Array, kind: pa.DataType) -> pa.Array:
    is_int = pc.match_substring_regex(values, _INT)
    plain = _unsigned(values)
    if _all(is_int.drop_null()):
        return plain.cast(kind)
    _check(values, pc.match_substring_regex(values, _FLOAT))
    floats = plain.cast(pa.float64())
    _check(values, pc.equal(pc.floor(floats), floats))
    whole = pc.if_else(is_int, plain, pa.scalar(None, pa.string())).cast(kind)
    return pc.coalesce(whole, pc.if_else(is_int, pa.scalar(None, pa.float64()), floats).cast(kind))


def _unsigned(values: pa.Array) -> pa.Array:
    """Numbers as Arrow reads them: without a plus and what is around them."""
    return pc.replace_substring_regex(pc.ascii_trim_whitespace(values), r"^\+", "")


def _check(values: pa.Array, fits: pa.Array) -> None:
    """Raises UnfitError for the first value that is not missing and does not fit."""
    index = pc.index(fits, pa.scalar(False)).as_py()
    while index >= 0 and not values[index].is_valid:
        later = pc.index(fits.slice(index + 1), pa.scalar(False)).as_py()
        index = index + 1 + later if later >= 0 else -1
    if index >= 0:
        raise UnfitError(index, values[index].as_py())


def _all(found: pa.Array) -> bool:
    return bool(pc.all(found, min_count=0).as_py())


def _try(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except pa.ArrowInvalid:
        return None
