"""CAST, and what a literal is in Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from pipeline.predicate.functions import ArgumentError
from pipeline.predicate.terms import NUMBERS, Place, Term, cast_literal, family, type_of

if TYPE_CHECKING:
    from pipeline.predicate.compiler import Compiler

_DTYPE = exp.DataType.Type
_TYPES: dict[Any, pa.DataType] = {
    _DTYPE.BOOLEAN: pa.bool_(),
    _DTYPE.TINYINT: pa.int8(),
    _DTYPE.SMALLINT: pa.int16(),
    _DTYPE.INT: pa.int32(),
    _DTYPE.BIGINT: pa.int64(),
    _DTYPE.UTINYINT: pa.uint8(),
    _DTYPE.USMALLINT: pa.uint16(),
    _DTYPE.UINT: pa.uint32(),
    _DTYPE.UBIGINT: pa.uint64(),
    _DTYPE.FLOAT: pa.float32(),
    _DTYPE.DOUBLE: pa.float64(),
    _DTYPE.TEXT: pa.string(),
    _DTYPE.VARCHAR: pa.string(),
    _DTYPE.BINARY: pa.binary(),
    _DTYPE.VARBINARY: pa.binary(),
    _DTYPE.DATE: pa.date32(),
    _DTYPE.DATETIME: pa.timestamp("us"),
    _DTYPE.TIMESTAMP: pa.timestamp("us"),
    _DTYPE.TIMESTAMPNTZ: pa.timestamp("us"),
    _DTYPE.TIMESTAMPTZ: pa.timestamp("us", "UTC"),
}


def literal_term(compiler: Compiler, node: Any, offset: int, value: pa.Scalar) -> Term:
    return Term(expression=pc.scalar(value), type=value.type, offset=offset, literal=value, text=compiler.shown(node))


def cast(compiler: Compiler, node: Any, offset: int) -> Term:
    """Numbers lose their fraction (towards zero), times their rest; what does not fit stops the run with one line."""
    term, kind = compiler.term(node.this, offset), _target_type(compiler, node, offset)
    found = _cast(term, kind)
    return (
        literal_term(compiler, node, offset, found)
        if isinstance(found, pa.Scalar)
        else compiler.finish(node, offset, found)
    )


def cast_value(value: pc.Expression, own: pa.DataType | None, kind: pa.DataType, place: Place) -> pc.Expression:
    """A value of a known type as another one, as CAST does it. Raises `RecipeError` where there is no such cast."""
    term = Term(expression=value, type=own, offset=0, text=place.sql)
    try:
        found = _cast(term, kind)
        type_of(pc.field("-").cast(kind), pa.schema([pa.field("-", own or pa.null())]))
    except ArgumentError as err:
        raise place.error(err.offset, err.problem) from err
    except (pa.ArrowException, ValueError) as err:
        raise place.error(0, f"{term.describe()} cannot become {kind}; choose a type that its values fit") from err
    return found


def _cast(term: Term, kind: pa.DataType) -> Any:
    """The value as an expression, or a scalar where it is a literal that had to be read."""
    groups = (None if term.type is None else family(term.type), family(kind))
    if groups[0] in NUMBERS and groups[1] == "time":
        raise ArgumentError(
            term, f"{term.describe()} cannot become {kind}: its unit is unknown; compare the number itself"
        )
    if term.literal is not None and groups == ("text", "time"):
        try:
            return cast_literal(term.literal, kind)
        except pa.ArrowException as err:
            raise ArgumentError(
                term, f"{term.text} is not a {kind}; write '2026-01-31' or '2026-01-31 23:59:59'"
            ) from err
    whole = groups == ("float", "integer")
    options = pc.CastOptions(
        kind,
        allow_float_truncate=term.type is None or groups[1] == "float",
        allow_decimal_truncate=True,
        allow_time_truncate=True,
    )
    subject = pc.trunc(term.expression) if whole else term.expression
    return subject.cast(options=options)


def _target_type(compiler: Compiler, node: Any, offset: int) -> pa.DataType:
    target = node.args["to"]
    numbers = [str(parameter.this.this) for parameter in target.expressions if isinstance(parameter.this, exp.Literal)]
    if target.this == _DTYPE.DECIMAL and len(numbers) == len(target.expressions) <= 2:
        precision, scale = (int(n) for n in [*numbers, *("10", "0")[len(numbers) :]])
        if 1 <= precision <= 38 and scale <= precision:
            return pa.decimal128(precision, scale)
    elif target.this in _TYPES and not target.expressions:
        return _TYPES[target.this]
    known = "boolean, tinyint, smallint, int, bigint, float, double, decimal(p, s), string, binary, date, timestamp"
    raise compiler.place.error(offset, f"type {target.sql()} is not supported; cast to one of {known}")
