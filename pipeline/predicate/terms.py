"""Typed pieces of an expression, and how two of different types meet.

A `Term` is an Arrow expression whose result type is known (when the columns' types are). Types are aligned here, by
explicit casts, because Arrow's own coercion narrows literals first: it would compare an int64 with 1.5 as float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.acero as acero
import pyarrow.compute as pc

from pipeline.errors import RecipeError

_UNITS = ("s", "ms", "us", "ns")


class NoCommonTypeError(Exception):
    """Two terms, named in the message, whose values cannot meet in one type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """An expression, its type (`None`: unknown), its value if it is a literal, the offset of its first character."""

    expression: pc.Expression
    type: pa.DataType | None
    offset: int
    literal: pa.Scalar | None = None
    text: str = ""

    def describe(self) -> str:
        return f"{self.text} ({self.type})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The text that an offset points into, and the name that messages give it."""

    sql: str
    label: str

    def error(self, offset: int, problem: str) -> RecipeError:
        """One line with the 1-based column (and the line, if there are several) of the character at `offset`."""
        before = self.sql[: max(offset, 0)]
        column = f"1-based column {len(before) - before.rfind(chr(10))}"
        line = f"line {before.count(chr(10)) + 1}, " if "\n" in self.sql.strip() else ""
        return RecipeError(f"{self.label}: {line}{column}: {' '.join(problem.split())}")


def compute(table: pa.Table, expressions: dict[str, pc.Expression]) -> pa.Table:
    """Evaluates expressions over a table on this thread, in row order."""
    source = acero.Declaration("table_source", acero.TableSourceNodeOptions(table))
    options = acero.ProjectNodeOptions(list(expressions.values()), list(expressions))
    plan = acero.Declaration.from_sequence([source, acero.Declaration("project", options)])
    return plan.to_table(use_threads=False)


def type_of(expression: pc.Expression, schema: pa.Schema) -> pa.DataType:
    """The type that an expression has over a schema, found on zero rows. Raises `pa.ArrowException` if it has none."""
    return compute(schema.empty_table(), {"value": expression}).schema.field("value").type


def family(kind: pa.DataType) -> str:
    """The group within which values can be compared: number, text, binary, time, boolean, null or other."""
    tests = {
        "null": pa.types.is_null,
        "boolean": pa.types.is_boolean,
        "integer": pa.types.is_integer,
        "float": pa.types.is_floating,
        "decimal": pa.types.is_decimal,
        "text": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t),
        "binary": lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_fixed_size_binary(t),
        "time": lambda t: pa.types.is_date(t) or pa.types.is_timestamp(t),
    }
    return next((name for name, test in tests.items() if test(kind)), "other")


NUMBERS = frozenset({"integer", "float", "decimal"})


def convert(term: Term, kind: pa.DataType) -> pc.Expression:
    """The term's expression as `kind`; only whole numbers may lose digits, when they become floats."""
    if term.type == kind:
        return term.expression
    if term.literal is not None:
        return pc.scalar(cast_literal(term.literal, kind))
    return term.expression.cast(kind, safe=not (pa.types.is_floating(kind) and term.type is not None))


def shield(term: Term) -> pc.Expression:
    """The expression with a literal hidden in a cast, so that Arrow keeps its type when the other types are unknown."""
    return term.expression if term.literal is None or term.type is None else term.expression.cast(term.type)


def align(terms: list[Term]) -> tuple[list[pc.Expression], pa.DataType | None]:
    """All terms in one common type, and that type (`None`: a type is unknown). Raises `NoCommonTypeError`."""
    if any(term.type is None for term in terms):
        known = next((t.type for t in terms if t.type is not None and not pa.types.is_null(t.type)), None)
        return [t.expression.cast(known) if known and _is_null(t) else shield(t) for t in terms], None
    kind = reduce(_meet, terms).type
    kind = pa.bool_() if kind is None or pa.types.is_null(kind) else kind
    return [convert(term, kind) for term in terms], kind


def _is_null(term: Term) -> bool:
    return term.type is not None and pa.types.is_null(term.type)


def _meet(left: Term, right: Term) -> Term:
    """A stand-in for both terms, with their common type; a literal takes the other's type when that loses nothing."""
    for one, other in ((left, right), (right, left)):
        if one.literal is not None and other.type is not None and fits(one.literal, other.type):
            return other
    kind = _common(left.type, right.type)
    if kind is None:
        raise NoCommonTypeError(f"{left.describe()} and {right.describe()}")
    return Term(expression=left.expression, type=kind, offset=left.offset, text=left.text)


def fits(literal: pa.Scalar, kind: pa.DataType) -> bool:
    """Whether a type of the same family holds exactly this value. Text fits bytes, and a time if it can be read."""
    own, other = family(literal.type), family(kind)
    if own == "text" and other in {"time", "binary"}:
        return _try_cast(literal, kind) is not None
    if own != other and not {own, other} <= NUMBERS:
        return False
    there = _try_cast(literal, kind)
    back = None if there is None else _try_cast(there, literal.type)
    return back is not None and bool(back.equals(literal))


def _try_cast(literal: pa.Scalar, kind: pa.DataType) -> pa.Scalar | None:
    try:
        return cast_literal(literal, kind)
    except pa.ArrowException:
        return None


def cast_literal(literal: pa.Scalar, kind: pa.DataType) -> pa.Scalar:
    """A literal in another type; a date or time without a zone is taken as UTC. Raises `pa.ArrowException`."""
    if pa.types.is_decimal(kind) and pa.types.is_integer(literal.type):
        return literal.cast(pa.decimal128(20, 0)).cast(kind)
    if not pa.types.is_timestamp(kind) or kind.tz is None or not pa.types.is_string(literal.type):
        return literal.cast(kind)
    try:
        return literal.cast(kind)
    except pa.ArrowException:
        return literal.cast(pa.timestamp(kind.unit)).cast(kind)


def _common(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both, or None."""
    groups = {family(left), family(right)}
    if left == right or groups >= {"null"}:
        return right if pa.types.is_null(left) else left
    if groups <= NUMBERS:
        return _common_number(left, right)
    if groups == {"text"}:
        return pa.large_string()
    if groups <= {"text", "binary"}:
        return pa.large_binary()
    return _common_time(left, right) if groups == {"time"} else None


def _common_number(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    groups = {family(left), family(right)}
    if "float" in groups:
        return pa.float64()
    if groups == {"integer"}:
        mixed = pa.uint64() in (left, right) and (pa.types.is_signed_integer(left) or pa.types.is_signed_integer(right))
        both_unsigned = pa.types.is_unsigned_integer(left) and pa.types.is_unsigned_integer(right)
        return pa.decimal128(20, 0) if mixed else pa.uint64() if both_unsigned else pa.int64()
    digits = [(20, 0) if pa.types.is_integer(t) else (t.precision - t.scale, t.scale) for t in (left, right)]
    scale = max(s for _, s in digits)
    precision = max(whole for whole, _ in digits) + scale
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(min(precision, 76), scale)


def _common_time(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    stamps = [t for t in (left, right) if pa.types.is_timestamp(t)]
    if len({t.tz is None for t in stamps}) > 1:
        return None
    unit = max((t.unit for t in stamps), key=_UNITS.index, default="ms")
    return pa.timestamp(unit, stamps[0].tz if stamps else None)
