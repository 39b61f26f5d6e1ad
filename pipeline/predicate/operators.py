"""What each operator of the subset means in Arrow: one builder per node class of sqlglot.

Three-valued logic throughout: a null operand gives null, except in AND, OR (Kleene), IS, `<=>`, CASE and COALESCE.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from pipeline.predicate import functions as fn
from pipeline.predicate.casts import cast, literal_term
from pipeline.predicate.functions import ArgumentError
from pipeline.predicate.terms import Term, align, cast_literal, convert, fits

if TYPE_CHECKING:
    from pipeline.predicate.compiler import Compiler

Builder = Callable[["Compiler", Any, int], Term]

_NULL = pa.scalar(None, pa.bool_())


def _number(compiler: Compiler, node: Any, offset: int, written: str) -> Term:
    """A number as int64, as uint64 if only that holds it, else as float64."""
    if re.fullmatch(r"-?[0-9]+", written):
        value = int(written) if len(written) <= 100 else 2**64
        if not -(2**63) <= value < 2**64:
            problem = f"the number {written[:40]} does not fit 64 bits; write it with a decimal point"
            raise compiler.place.error(offset, problem)
        return literal_term(compiler, node, offset, pa.scalar(value, pa.int64() if value < 2**63 else pa.uint64()))
    if not re.fullmatch(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", written):
        raise compiler.place.error(offset, f"{written[:40]} is not a number; write it like 12, 1.5 or 1e6")
    if not math.isfinite(float(written)):
        raise compiler.place.error(offset, f"the number {written[:40]} is too large; at most 1.797e308 fits")
    return literal_term(compiler, node, offset, pa.scalar(float(written), pa.float64()))


def _literal(compiler: Compiler, node: Any, offset: int) -> Term:
    if node.is_string:
        return literal_term(compiler, node, offset, pa.scalar(str(node.this), pa.string()))
    return _number(compiler, node, offset, str(node.this))


def _boolean(compiler: Compiler, node: Any, offset: int) -> Term:
    return literal_term(compiler, node, offset, pa.scalar(bool(node.this)))


def _null(compiler: Compiler, node: Any, offset: int) -> Term:
    return literal_term(compiler, node, offset, pa.scalar(None))


def _paren(compiler: Compiler, node: Any, offset: int) -> Term:
    return compiler.term(node.this, offset)


def _pair(compiler: Compiler, node: Any, offset: int) -> list[Term]:
    return [compiler.term(node.this, offset), compiler.term(node.expression, offset)]


def _compare(apply: Callable[[Any, Any], Any]) -> Builder:
    def build(compiler: Compiler, node: Any, offset: int) -> Term:
        (left, right), _ = align(_pair(compiler, node, offset))
        return compiler.finish(node, offset, apply(left, right))

    return build


def _same(left: Any, right: Any) -> Any:
    """Equal, or both null: never null itself."""
    return pc.coalesce(left == right, pc.scalar(False)) | (left.is_null() & right.is_null())


def _logic(apply: Callable[[Any, Any], Any]) -> Builder:
    """AND or OR over a whole chain, as a balanced tree: a thousand operands nest ten deep."""

    def build(compiler: Compiler, node: Any, offset: int) -> Term:
        operands, left = [], node
        while type(left) is type(node):
            operands.append(left.expression)
            left = left.this
        terms = [fn.truth(compiler.term(operand, offset)) for operand in (left, *reversed(operands))]
        while len(terms) > 1:
            rest = terms[len(terms) & ~1 :]
            terms = [apply(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)] + rest
        return Term(expression=terms[0], type=pa.bool_(), offset=offset, text=compiler.shown(node))

    return build


def _not(compiler: Compiler, node: Any, offset: int) -> Term:
    return compiler.finish(node, offset, ~fn.truth(compiler.term(node.this, offset)))


def _is(compiler: Compiler, node: Any, offset: int) -> Term:
    term = compiler.term(node.this, offset)
    if isinstance(node.expression, exp.Null):
        return compiler.finish(node, offset, term.expression.is_null())
    if not isinstance(node.expression, exp.Boolean):
        raise compiler.refuse(node, offset)
    truth = fn.truth(term)
    return compiler.finish(node, offset, pc.coalesce(truth if node.expression.this else ~truth, pc.scalar(False)))


def _in(compiler: Compiler, node: Any, offset: int) -> Term:
    """True if a value is equal; else null if the operand or a value is null; else false."""
    term = compiler.term(node.this, offset)
    items = [compiler.term(item, offset) for item in node.expressions]
    computed = next((item for item in items if item.literal is None), None)
    if computed is not None or not items:
        found = f"got {computed.text}" if computed else "got none"
        raise compiler.place.error(offset, f"IN needs a list of literals such as IN ('a', 'b'), {found}")
    values = [item for item in items if item.literal is not None and item.literal.is_valid]
    match = pc.if_else(term.expression.is_valid(), _match(term, values), pc.scalar(_NULL))
    if len(values) < len(items):
        match = pc.if_else(match, pc.scalar(True), pc.scalar(_NULL))
    return compiler.finish(node, offset, match)


def _match(term: Term, values: list[Term]) -> pc.Expression:
    """Whether a term is one of the values; those that its type cannot hold are never equal to it."""
    kind, literals = term.type, [value.literal for value in values if value.literal is not None]
    if kind is None:
        try:
            return term.expression.isin(pa.array([literal.as_py() for literal in literals]))
        except pa.ArrowException as err:
            raise ArgumentError(term, "the values of IN must have one type; use cast") from err
    align([term, *values])
    kept = [cast_literal(literal, kind) for literal in literals if fits(literal, kind)]
    if not kept or pa.types.is_null(kind):
        return pc.scalar(False)
    subject = term.expression
    if pa.types.is_floating(kind):  # Arrow's hash table tells -0.0 from 0.0; adding 0.0 makes them one
        subject = pc.add(subject, pc.scalar(pa.scalar(0.0, kind)))
        kept = [pa.scalar(value.as_py() + 0.0, kind) for value in kept]
    return subject.isin(pa.array([value.as_py() for value in kept], kind))


def _between(compiler: Compiler, node: Any, offset: int) -> Term:
    term = compiler.term(node.this, offset)
    (low_subject, low), _ = align([term, compiler.term(node.args["low"], offset)])
    (high_subject, high), _ = align([term, compiler.term(node.args["high"], offset)])
    return compiler.finish(node, offset, (low_subject >= low) & (high_subject <= high))


def _like(compiler: Compiler, node: Any, offset: int) -> Term:
    escape = compiler.term(node.expression, offset) if isinstance(node, exp.Escape) else None
    like = node.this if isinstance(node, exp.Escape) else node
    if not isinstance(like, exp.Like | exp.ILike):
        raise compiler.refuse(node, offset)
    subject, pattern = _pair(compiler, like, offset)
    ignore_case = isinstance(like, exp.ILike)
    match = pc.match_like(fn.searchable(subject), fn.like_pattern(pattern, escape), ignore_case=ignore_case)
    return compiler.finish(node, offset, ~match if like.args.get("negate") else match)


def _rlike(compiler: Compiler, node: Any, offset: int) -> Term:
    subject, pattern = _pair(compiler, node, offset)
    return compiler.finish(node, offset, pc.match_substring_regex(fn.searchable(subject), fn.check_regex(pattern)))


def _join(compiler: Compiler, node: Any, offset: int) -> Term:
    return compiler.finish(node, offset, fn.join(_pair(compiler, node, offset)))


def _arithmetic(apply: Callable[[Any, Any], pc.Expression]) -> Builder:
    def build(compiler: Compiler, node: Any, offset: int) -> Term:
        (left, right), _ = align([fn.number(term) for term in _pair(compiler, node, offset)])
        return compiler.finish(node, offset, apply(left, right))

    return build


def _divide(compiler: Compiler, node: Any, offset: int) -> Term:
    """Always a double; null where the divisor is zero."""
    left, right = (convert(fn.number(term), pa.float64()) for term in _pair(compiler, node, offset))
    return compiler.finish(node, offset, pc.divide(left, _nonzero(right, pa.float64())))


def _modulo(compiler: Compiler, node: Any, offset: int) -> Term:
    """The remainder with the sign of the dividend; null where the divisor is zero."""
    (left, right), kind = align([fn.number(term) for term in _pair(compiler, node, offset)])
    if kind is not None and pa.types.is_decimal(kind):
        left, right, kind = left.cast(pa.float64()), right.cast(pa.float64()), pa.float64()
    return compiler.finish(node, offset, pc.remainder(left, _nonzero(right, kind or pa.int64())))


def _nonzero(divisor: pc.Expression, kind: pa.DataType) -> pc.Expression:
    zero = pc.scalar(0).cast(kind)
    return pc.if_else(divisor == zero, pc.scalar(None).cast(kind), divisor)


def _negate(compiler: Compiler, node: Any, offset: int) -> Term:
    if isinstance(node.this, exp.Literal) and not node.this.is_string:
        return _number(compiler, node, offset, f"-{node.this.this}")
    term = fn.number(compiler.term(node.this, offset))
    signed = convert(term, pa.int64()) if term.type == pa.uint64() else term.expression
    return compiler.finish(node, offset, pc.negate_checked(signed))


def _case(compiler: Compiler, node: Any, offset: int) -> Term:
    conditions, results = [], []
    for branch in node.args["ifs"]:
        test = branch.this if node.this is None else exp.EQ(this=node.this.copy(), expression=branch.this.copy())
        conditions.append(fn.truth(compiler.term(test, offset)))
        results.append(compiler.term(branch.args["true"], offset))
    default = node.args.get("default") or exp.Null()
    expression = fn.choose(conditions, [*results, compiler.term(default, offset)])
    return compiler.finish(node, offset, expression)


OPERATORS: dict[type[Any], Builder] = {
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Null: _null,
    exp.Paren: _paren,
    exp.EQ: _compare(lambda a, b: a == b),
    exp.NEQ: _compare(lambda a, b: a != b),
    exp.LT: _compare(lambda a, b: a < b),
    exp.LTE: _compare(lambda a, b: a <= b),
    exp.GT: _compare(lambda a, b: a > b),
    exp.GTE: _compare(lambda a, b: a >= b),
    exp.NullSafeEQ: _compare(_same),
    exp.NullSafeNEQ: _compare(lambda a, b: ~_same(a, b)),
    exp.And: _logic(lambda a, b: a & b),
    exp.Or: _logic(lambda a, b: a | b),
    exp.Not: _not,
    exp.Is: _is,
    exp.In: _in,
    exp.Between: _between,
    exp.Like: _like,
    exp.ILike: _like,
    exp.Escape: _like,
    exp.RegexpLike: _rlike,
    exp.DPipe: _join,
    exp.Add: _arithmetic(pc.add_checked),
    exp.Sub: _arithmetic(pc.subtract_checked),
    exp.Mul: _arithmetic(pc.multiply_checked),
    exp.Div: _divide,
    exp.Mod: _modulo,
    exp.Neg: _negate,
    exp.Cast: cast,
    exp.Case: _case,
}
