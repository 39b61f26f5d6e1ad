"""The functions that an expression may call: one table from a name to its arguments and its Arrow meaning.

Each builder takes terms whose count was checked and returns an Arrow expression; `ArgumentError` says what is wrong
with which argument. Patterns, positions and digits are options of Arrow's kernels, so they must be literals.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.predicate.terms import NUMBERS, Term, align, convert, family, shield

_MAX_POSITION = 2**31 - 1


class ArgumentError(Exception):
    """An argument that a function cannot take: the term, and the sentence to show."""

    def __init__(self, term: Term, problem: str) -> None:
        super().__init__(problem)
        self.offset = term.offset
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """The least and most arguments, how it is written, and how it becomes an Arrow expression."""

    least: int
    most: int
    usage: str
    build: Callable[[list[Term]], pc.Expression]


def text(term: Term, role: str = "a string") -> pc.Expression:
    """A term that must be text (or of unknown type)."""
    if term.type is None or family(term.type) == "text":
        return shield(term)
    if pa.types.is_null(term.type):
        return term.expression.cast(pa.string())
    raise ArgumentError(term, f"{term.describe()} must be {role}; write cast({term.text} as string)")


def literal_text(term: Term, role: str) -> str:
    """The value of a term that must be a string literal."""
    if term.literal is None or family(term.literal.type) != "text":
        raise ArgumentError(term, f"{role} must be a string literal, got {term.text}")
    return str(term.literal.as_py())


def _literal_int(term: Term, role: str) -> int:
    if term.literal is None or not pa.types.is_integer(term.literal.type):
        raise ArgumentError(term, f"{role} must be a whole number literal, got {term.text}")
    value = int(term.literal.as_py())
    if abs(value) > _MAX_POSITION:
        raise ArgumentError(term, f"{role} must be between -{_MAX_POSITION} and {_MAX_POSITION}, got {value}")
    return value


def searchable(term: Term) -> pc.Expression:
    """Text or bytes: what pattern functions search in."""
    return shield(term) if term.type is not None and family(term.type) == "binary" else text(term)


def number(term: Term) -> Term:
    """A term that must be a number; whole numbers widen to 64 bits, so that small columns do not overflow."""
    if term.type is None:
        return Term(expression=shield(term), type=None, offset=term.offset, text=term.text)
    group = family(term.type)
    if group == "null":
        return Term(expression=term.expression.cast(pa.int64()), type=pa.int64(), offset=term.offset, text=term.text)
    if group not in NUMBERS:
        raise ArgumentError(
            term, f"{term.describe()} must be a number; write cast({term.text} as double) if it holds one"
        )
    if group != "integer" or pa.types.is_uint64(term.type):
        return term
    wide = pa.int64()
    literal = None if term.literal is None else term.literal.cast(wide)
    return Term(expression=convert(term, wide), type=wide, offset=term.offset, literal=literal, text=term.text)


def join(terms: list[Term]) -> pc.Expression:
    """Text after text; null if one is null."""
    kinds = [t.type for t in terms]
    parts = [text(term) for term in terms]
    if all(kind is not None for kind in kinds):
        large = any(pa.types.is_large_string(kind) for kind in kinds)
        parts = [part.cast(pa.large_string()) for part in parts] if large else parts
        return pc.binary_join_element_wise(*parts, _separator(large=large), null_handling="emit_null")
    return pc.binary_join_element_wise(*parts, pc.scalar(""), null_handling="emit_null")


def _separator(*, large: bool) -> pc.Expression:
    return pc.scalar(pa.scalar("", pa.large_string() if large else pa.string()))


def choose(conditions: list[pc.Expression], values: list[Term]) -> pc.Expression:
    """The value of the first condition that is true, else the last value. Raises `NoCommonTypeError`."""
    *results, chosen = align(values)[0]
    for condition, result in zip(reversed(conditions), reversed(results), strict=True):
        chosen = pc.if_else(pc.coalesce(condition, pc.scalar(False)), result, chosen)
    return chosen


def truth(term: Term) -> pc.Expression:
    """A term that must be true, false or null."""
    if term.type is None or pa.types.is_boolean(term.type):
        return term.expression
    if pa.types.is_null(term.type):
        return pc.scalar(pa.scalar(None, pa.bool_()))
    raise ArgumentError(term, f"{term.describe()} must be true or false; compare it with something")


def check_regex(term: Term) -> str:
    """A regular expression literal that RE2 accepts."""
    pattern = literal_text(term, "the regular expression")
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowException as err:
        raise ArgumentError(term, f"{term.text} is not a regular expression that RE2 knows: {err}") from err
    return pattern


def like_pattern(pattern: Term, escape: Term | None) -> str:
    r"""A LIKE pattern in Arrow's form: `\` escapes. Refuses an escape that escapes nothing."""
    value = literal_text(pattern, "the pattern of LIKE")
    mark = "\\" if escape is None else literal_text(escape, "ESCAPE")
    if len(mark) != 1 and escape is not None:
        raise ArgumentError(escape, f"ESCAPE must be one character, got {escape.text}")
    parts = re.findall(re.escape(mark) + r"(?:.|$)|[^\n]|\n", value, flags=re.DOTALL)
    bad = next((p for p in parts if p[0] == mark and p[1:] not in {"%", "_", mark}), None)
    if bad is not None:
        raise ArgumentError(
            pattern, f"in the pattern {pattern.text}, {mark} must be followed by %, _ or {mark}; double it"
        )
    plain = ("\\\\" if p == "\\" else p for p in (f"\\{p[1]}" if p[0] == mark else p for p in parts))
    return "".join(plain)


def _substring(terms: list[Term]) -> pc.Expression:
    start = _literal_int(terms[1], "the position in substring")
    length = _literal_int(terms[2], "the length in substring") if len(terms) == 3 else None
    first = start - 1 if start > 0 else start
    stop = None if length is None else first + max(length, 0)
    if first < 0 and stop is not None and stop >= 0:
        stop = None
    empty = length is not None and length <= 0
    return pc.utf8_slice_codeunits(text(terms[0]), 0 if empty else first, 0 if empty else stop)


def _length(terms: list[Term]) -> pc.Expression:
    kind = terms[0].type
    count = pc.binary_length if kind is not None and family(kind) == "binary" else pc.utf8_length
    argument = shield(terms[0]) if count is pc.binary_length else text(terms[0], "text or binary")
    return count(argument).cast(pa.int64())


def _round(terms: list[Term]) -> pc.Expression:
    digits = _literal_int(terms[1], "the digits in round") if len(terms) == 2 else 0
    return pc.round(number(terms[0]).expression, digits, "half_towards_infinity")


def _whole(apply: Callable[[pc.Expression], pc.Expression]) -> Callable[[list[Term]], pc.Expression]:
    """Whole numbers as they are: as doubles they would lose digits."""

    def build(terms: list[Term]) -> pc.Expression:
        term = number(terms[0])
        return term.expression if term.type is not None and pa.types.is_integer(term.type) else apply(term.expression)

    return build


def _coalesce(terms: list[Term]) -> pc.Expression:
    return pc.coalesce(*align(terms)[0])


def _nullif(terms: list[Term]) -> pc.Expression:
    """Null where both are equal; else the first, in its own type."""
    left, right = align(terms)[0]
    missing = pc.scalar(None if terms[0].type is None else pa.scalar(None, terms[0].type))
    return pc.if_else(pc.coalesce(left == right, pc.scalar(False)), missing, _typed(terms[0]))


def _typed(term: Term) -> pc.Expression:
    """As `shield`, for null too, which has no casts to itself."""
    return term.expression if term.type is not None and pa.types.is_null(term.type) else shield(term)


def _extreme(pick: Callable[..., pc.Expression]) -> Callable[[list[Term]], pc.Expression]:
    """The least or greatest of values; nulls are passed over."""
    return lambda terms: pick(*align(terms)[0])


def _replace(terms: list[Term]) -> pc.Expression:
    old, new = (literal_text(term, "what replace takes away, and puts there,") for term in terms[1:])
    return pc.replace_substring(text(terms[0]), old, new)


def _regexp_replace(terms: list[Term]) -> pc.Expression:
    new = literal_text(terms[2], "what regexp_replace puts there")
    return pc.replace_substring_regex(text(terms[0]), check_regex(terms[1]), new)


def _element(terms: list[Term]) -> pc.Expression:
    """The n-th element of a list, from 1; null where the list is shorter."""
    kind, place = terms[0].type, _literal_int(terms[1], "the position in element_at")
    if kind is not None and not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise ArgumentError(terms[0], f"{terms[0].describe()} must be a list")
    if place < 1:
        raise ArgumentError(terms[1], f"the position in element_at must be 1 or more, got {place}")
    # Of a slice of fixed size, what is not there is null; of a list itself, an error.
    one = pc.list_slice(terms[0].expression, place - 1, place, 1, return_fixed_size_list=True)
    return pc.list_element(one, 0)


def _struct(terms: list[Term]) -> pc.Expression:
    """A struct of names and values in turn."""
    if len(terms) % 2:
        raise ArgumentError(terms[-1], "named_struct needs a value for each name")
    names = [literal_text(term, "a name in named_struct") for term in terms[::2]]
    if len(set(names)) < len(names):
        raise ArgumentError(terms[0], "named_struct gives a name twice; rename one")
    return pc.make_struct(*(_typed(term) for term in terms[1::2]), field_names=names)


def _size(terms: list[Term]) -> pc.Expression:
    return pc.list_value_length(terms[0].expression).cast(pa.int64())


def _starts(terms: list[Term]) -> pc.Expression:
    return pc.starts_with(searchable(terms[0]), literal_text(terms[1], "what starts_with looks for"))


def _ends(terms: list[Term]) -> pc.Expression:
    return pc.ends_with(searchable(terms[0]), literal_text(terms[1], "what ends_with looks for"))


def _contains(terms: list[Term]) -> pc.Expression:
    return pc.match_substring(searchable(terms[0]), literal_text(terms[1], "what contains looks for"))


def _matches(terms: list[Term]) -> pc.Expression:
    return pc.match_substring_regex(searchable(terms[0]), check_regex(terms[1]))


def _if(terms: list[Term]) -> pc.Expression:
    return choose([truth(terms[0])], terms[1:])


def _table() -> dict[str, Function]:
    """Every name, with its synonyms spelled out."""
    rows: list[tuple[str, int, int, str, Callable[[list[Term]], pc.Expression]]] = [
        ("length char_length", 1, 1, "length(text)", _length),
        ("lower", 1, 1, "lower(text)", lambda t: pc.utf8_lower(text(t[0]))),
        ("upper", 1, 1, "upper(text)", lambda t: pc.utf8_upper(text(t[0]))),
        ("trim", 1, 1, "trim(text)", lambda t: pc.utf8_trim(text(t[0]), " ")),
        ("ltrim", 1, 1, "ltrim(text)", lambda t: pc.utf8_ltrim(text(t[0]), " ")),
        ("rtrim", 1, 1, "rtrim(text)", lambda t: pc.utf8_rtrim(text(t[0]), " ")),
        ("substring substr", 2, 3, "substring(text, start, length)", _substring),
        ("starts_with startswith", 2, 2, "starts_with(text, 'start')", _starts),
        ("ends_with endswith", 2, 2, "ends_with(text, 'end')", _ends),
        ("contains", 2, 2, "contains(text, 'part')", _contains),
        ("regexp_like rlike", 2, 2, "regexp_like(text, 'pattern')", _matches),
        ("concat", 1, 1000, "concat(text, ...)", join),
        ("replace", 3, 3, "replace(text, 'old', 'new')", _replace),
        ("regexp_replace", 3, 3, r"regexp_replace(text, '(pattern)', '\1')", _regexp_replace),
        ("coalesce", 1, 1000, "coalesce(value, ...)", _coalesce),
        ("ifnull nvl", 2, 2, "ifnull(value, other)", _coalesce),
        ("nullif", 2, 2, "nullif(value, other)", _nullif),
        ("least", 2, 1000, "least(value, ...)", _extreme(pc.min_element_wise)),
        ("greatest", 2, 1000, "greatest(value, ...)", _extreme(pc.max_element_wise)),
        ("if", 3, 3, "if(condition, then, else)", _if),
        ("abs", 1, 1, "abs(number)", lambda t: pc.abs_checked(number(t[0]).expression)),
        ("round", 1, 2, "round(number, digits)", _round),
        ("floor", 1, 1, "floor(number)", _whole(pc.floor)),
        ("ceil ceiling", 1, 1, "ceil(number)", _whole(pc.ceil)),
        ("size array_length cardinality", 1, 1, "size(list)", _size),
        ("element_at", 2, 2, "element_at(list, 1)", _element),
        ("named_struct", 2, 1000, "named_struct('name', value, ...)", _struct),
    ]
    named = ((names, Function(least=a, most=b, usage=usage, build=build)) for names, a, b, usage, build in rows)
    return {name: function for names, function in named for name in names.split()}


FUNCTIONS = _table()
