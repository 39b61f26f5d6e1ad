"""From SQL text to a `Term`: sqlglot parses, this walks its tree and refuses each node and argument it does not know.

sqlglot's own function names are switched off, so that each call arrives as it was written and is looked up in
`FUNCTIONS`. Positions are those of a node's first token; operators carry none in sqlglot, so theirs is where their left
side starts.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp, parser, tokens
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel, SqlglotError

from pipeline.errors import RecipeError
from pipeline.predicate.functions import FUNCTIONS, ArgumentError
from pipeline.predicate.operators import OPERATORS
from pipeline.predicate.terms import NoCommonTypeError, Place, Term, type_of

if TYPE_CHECKING:
    from pipeline.predicate import Expression

_PLAIN = parser.Parser


class _MixSQL(Dialect):
    """Standard SQL with both kinds of quoted names and no built-in functions."""

    class Tokenizer(tokens.Tokenizer):
        IDENTIFIERS = ['"', "`"]  # noqa: RUF012  (sqlglot's own way to configure a dialect)

    class Parser(parser.Parser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
        FUNCTION_PARSERS = {"CAST": _PLAIN.FUNCTION_PARSERS["CAST"]}  # noqa: RUF012
        NO_PAREN_FUNCTION_PARSERS = {"CASE": _PLAIN.NO_PAREN_FUNCTION_PARSERS["CASE"]}  # noqa: RUF012


def compile_sql(
    place: Place, schema: pa.Schema | None, inputs: Mapping[str, Expression]
) -> tuple[Term, tuple[str, ...], str | None]:
    """The term, the top-level columns it reads (sorted), and the column that it is, if it is nothing else.

    With `inputs`, names are theirs, not the schema's. Raises `RecipeError` with the position of what cannot be read.
    """
    try:
        tree = _parse(place)
        compiler = Compiler(place=place, schema=schema, columns=set(), inputs=inputs)
        term = compiler.term(tree)
    except RecursionError as err:
        raise place.error(0, "the expression is nested too deeply; use IN (...) or fewer parentheses") from err
    path = compiler.path(tree) if isinstance(tree, exp.Column) else []
    return term, tuple(sorted(compiler.columns)), path[0] if len(path) == 1 else None


def _parse(place: Place) -> exp.Expr:
    """The one expression in the text."""
    try:
        trees = _MixSQL().parse_into(exp.Condition, place.sql)
    except SqlglotError as err:
        raise _syntax_error(place, err) from err
    if not trees or trees[0] is None:
        raise place.error(0, "the expression is empty; write a condition such as length(text) > 20")
    if len(trees) > 1:
        raise place.error(place.sql.find(";"), "there is more than one expression; join conditions with AND")
    tree = trees[0]
    while isinstance(tree, exp.Paren):
        tree = tree.this
    return tree


def _syntax_error(place: Place, err: SqlglotError) -> RecipeError:
    """sqlglot's error in one line; it gives the end of the token, and for unclosed quotes nothing."""
    details: dict[str, Any] = next(iter(getattr(err, "errors", [])), {})
    if not details:
        return place.error(len(place.sql), "a quote or comment is not closed; close it")
    lines = place.sql.split("\n")[: details["line"] - 1]
    offset = sum(len(line) + 1 for line in lines) + details["col"] - max(len(details["highlight"] or ""), 1)
    problem = str(details["description"]).partition("<class")[0].strip()
    if problem.startswith("Required keyword"):
        problem = "something is missing"
    return place.error(offset, f"cannot read the SQL at {details['highlight']!r}: {problem}; check what stands there")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """Walks a tree; `columns` collects the top-level columns that it meets."""

    place: Place
    schema: pa.Schema | None
    columns: set[str]
    inputs: Mapping[str, Expression]

    def term(self, node: exp.Expr, parent_offset: int = 0) -> Term:
        """The term of a node. Raises `RecipeError` with its position."""
        offset = _offset(node, parent_offset)
        try:
            if isinstance(node, exp.Column | exp.Dot):
                return self._column(node, offset)
            if isinstance(node, exp.Anonymous):
                return self._call(node, offset)
            return self._operator(node, offset)
        except ArgumentError as err:
            raise self.place.error(err.offset, err.problem) from err
        except NoCommonTypeError as err:
            problem = f"{err} have no common type; use cast(x as type) on one of them"
            raise self.place.error(offset, problem) from err

    def finish(self, node: exp.Expr, offset: int, expression: pc.Expression) -> Term:
        """A computed term; its type is found by evaluating it over no rows, if the columns' types are known."""
        shown, kind = self.shown(node), None
        if self.schema is not None or node.find(exp.Column) is None:
            try:
                kind = type_of(expression, self.schema or pa.schema([pa.field("-", pa.null())]))
            except (pa.ArrowException, ValueError) as err:
                problem = f"{shown} does not fit its types: {str(err).partition(chr(10))[0]}; use cast(x as type)"
                raise self.place.error(offset, problem) from err
        return Term(expression=expression, type=kind, offset=offset, text=shown)

    def shown(self, node: exp.Expr) -> str:
        """The text of a node, shortened to a line."""
        written = " ".join(node.sql(comments=False, unsupported_level=ErrorLevel.IGNORE).split())
        return written if len(written) <= 40 else f"{written[:37]}..."

    def refuse(self, node: exp.Expr, offset: int) -> RecipeError:
        usages = ", ".join(dict.fromkeys(f.usage for f in FUNCTIONS.values()))
        operators = "comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL, CASE, CAST, arithmetic"
        return self.place.error(offset, f"{self.shown(node)} is not supported; use {operators} and {usages}")

    def path(self, node: exp.Column | exp.Dot) -> list[str]:
        """The names in `a.b.c`, outermost first."""
        parts = node.parts
        if not all(isinstance(part, exp.Identifier) for part in parts):
            raise self.refuse(node, _offset(node, 0))
        return [str(part.this) for part in parts]

    def _column(self, node: exp.Column | exp.Dot, offset: int) -> Term:
        names = self.path(node)
        kind = None if self.schema is None else self._resolve(names, offset)
        if self.inputs:
            whole = self.inputs[names[0]]
            self.columns.update(whole.columns)
            field = pc.struct_field(whole.expression, names[1:]) if len(names) > 1 else whole.expression
        else:
            self.columns.add(names[0])
            field = pc.field(names[0]) if len(names) == 1 else pc.field(*names)
        if kind is not None and pa.types.is_dictionary(kind):
            kind = kind.value_type
            field = field.cast(kind)
        for view, plain in ((pa.string_view(), pa.string()), (pa.binary_view(), pa.binary())):
            if kind == view:
                kind, field = plain, field.cast(plain)
        return Term(expression=field, type=kind, offset=offset, text=self.shown(node))

    def _resolve(self, names: list[str], offset: int) -> pa.DataType:
        """The type at a path of names in the schema."""
        assert self.schema is not None
        known_inputs = [pa.field(name, one.type) for name, one in self.inputs.items()]
        fields, path = known_inputs or list(self.schema), "column"
        for depth, name in enumerate(names):
            found = [field for field in fields if field.name == name]
            if len(found) != 1:
                known = sorted({field.name for field in fields})
                raise self.place.error(offset, _unknown(f"{path} {name!r}", name, known, len(found)))
            kind = found[0].type
            fields = list(kind.fields) if pa.types.is_struct(kind) else []
            path = f"field of struct {'.'.join(names[: depth + 1])!r}"
            if not fields and depth + 1 < len(names):
                shown = ".".join(names[: depth + 1])
                raise self.place.error(
                    offset, f"{shown!r} is {kind}, not a struct; it has no field {names[depth + 1]!r}"
                )
        return kind

    def _call(self, node: exp.Expr, offset: int) -> Term:
        name = str(node.this).lower() if isinstance(node.this, str) else self.shown(node.this)
        function = FUNCTIONS.get(name)
        if function is None:
            close = difflib.get_close_matches(name, FUNCTIONS, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            problem = f"function {name!r} is not supported; {hint}use one of {', '.join(FUNCTIONS)}"
            raise self.place.error(offset, problem)
        if not function.least <= len(node.expressions) <= function.most:
            problem = f"function {name!r} got {len(node.expressions)} arguments; write {function.usage}"
            raise self.place.error(offset, problem)
        arguments = [self.term(argument, offset) for argument in node.expressions]
        return self.finish(node, offset, function.build(arguments))

    def _operator(self, node: exp.Expr, offset: int) -> Term:
        build = OPERATORS.get(type(node))
        if build is None or not _known_arguments(node):
            raise self.refuse(node, offset)
        return build(self, node, offset)


_ARGUMENTS = {"this", "expression", "expressions", "is_string", "negate", "low", "high", "to", "ifs", "default", "true"}
_HARMLESS = {"safe", "typed", "nested", "coalesce"}


def _known_arguments(node: exp.Expr) -> bool:
    """Whether sqlglot read nothing into a node that would be dropped in silence, such as FORMAT in a cast."""
    return all(name in _ARGUMENTS | _HARMLESS for name, value in node.args.items() if value)


def _offset(node: exp.Expr, parent_offset: int) -> int:
    """Where a node starts: its own token, else the first of those below it, else its parent's."""
    starts = [n.meta["start"] for n in node.walk() if "start" in n.meta]
    return min(starts, default=parent_offset)


def _unknown(what: str, name: str, known: list[str], found: int) -> str:
    if found > 1:
        return f"{what} appears {found} times in the schema; rename all but one"
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lower, 1)
    hint = f"did you mean {lower[close[0]]!r}? " if close else ""
    shown = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return f"unknown {what}; {hint}there are {shown or 'none'}"
