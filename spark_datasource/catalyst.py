"""Spark's optimised plans, looked at through the JVM: what a query needs of one of its relations.

There is no public way to a plan. What is read here (node and expression names, `references`, `output`) has been the same since
Spark 2; an expression of another name is passed over, which costs bytes and no rows.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

# Floats are not among them: to Spark NaN is greater than any number, to Arrow it equals nothing. Nor are timestamps, whose
# zones are the session's.
_COMPARED = ("boolean", "tinyint", "smallint", "int", "bigint", "string", "date")
_COMPARISONS = {
    "EqualTo": "=",
    "EqualNullSafe": "<=>",
    "GreaterThan": ">",
    "GreaterThanOrEqual": ">=",
    "LessThan": "<",
    "LessThanOrEqual": "<=",
}
_TEXTS = {"StartsWith": "starts_with", "EndsWith": "ends_with", "Contains": "contains"}
_EPOCH = datetime.date(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = (datetime.date.min - _EPOCH).days, (datetime.date.max - _EPOCH).days  # that Python has
_HIDES = ("InMemoryRelation", "LogicalRDD")
"""What stands for a part of a query that was cached or checkpointed: the relation is read below it too, unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The columns of a relation that anything in a plan refers to, in their order; `where` keeps at least the rows it keeps."""

    columns: tuple[str, ...]
    where: str | None


def needs_of(result: Any, whole: Any, *, virtual: Collection[str] = ()) -> Needs | None:
    """What the plan of a DataFrame needs of another, classic one that it was made from.

    `None` when it does not read it, or where a part of it is cached or checkpointed. Conditions on `virtual` columns are left
    out.
    """
    plan = result._jdf.queryExecution().optimizedPlan()  # noqa: SLF001
    table = _items(whole._jdf.queryExecution().analyzed().collectLeaves())[0].table()  # noqa: SLF001
    nodes = list(_nodes(plan))
    leaves = [node for node in nodes if (own := _table(node)) is not None and own.equals(table)]
    if not leaves or any(_kind(node) in _HIDES for node in nodes):
        return None
    used = {attribute.exprId().toString() for attribute in _items(plan.output())}
    for node in nodes:
        if node not in leaves:
            used |= {attribute.exprId().toString() for attribute in _items(node.references().toSeq())}
    columns = {attribute.name(): attribute for attribute in _items(leaves[0].output())}
    named = [_items(leaf.output()) for leaf in leaves]
    wanted = {attribute.name() for output in named for attribute in output if attribute.exprId().toString() in used}
    above = [node for node in nodes if node not in leaves and any(child.equals(leaves[0]) for child in _children(node))]
    where = _condition(above[0], virtual) if len(leaves) == len(above) == 1 else None
    return Needs(columns=tuple(name for name in columns if name in wanted), where=where)


def _nodes(plan: Any) -> Iterator[Any]:
    """A plan's nodes, those of its subqueries too."""
    waiting = [plan, *_items(plan.subqueriesAll())]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += _children(node)


def _children(node: Any) -> list[Any]:
    return _items(node.children())


def _table(node: Any) -> Any:
    """The table that a node reads, `None` where it reads none."""
    kind = _kind(node)
    if kind == "DataSourceV2ScanRelation":
        return node.relation().table()
    return node.table() if kind == "DataSourceV2Relation" else None


def _condition(node: Any, virtual: Collection[str]) -> str | None:
    return _as_sql(node.condition(), virtual) if _kind(node) == "Filter" else None


def _as_sql(condition: Any, virtual: Collection[str]) -> str | None:
    """A condition as our own SQL, the parts of an AND that can be told; `None` when nothing can."""
    if _kind(condition) == "And":
        sides = [side for child in _children(condition) if (side := _as_sql(child, virtual))]
        return " AND ".join(f"({side})" for side in sides) or None
    names = {attribute.name() for attribute in _items(condition.references().toSeq())}
    return None if names.intersection(virtual) else _exactly(condition)


def _exactly(condition: Any) -> str | None:
    """A condition as SQL of the same meaning, or `None`."""
    kind, children = _kind(condition), _children(condition)
    if kind in ("And", "Or"):
        sides = [_exactly(child) for child in children]
        return f" {kind.upper()} ".join(f"({side})" for side in sides) if all(sides) else None
    if kind == "Not":
        inner = _exactly(children[0])
        return f"NOT ({inner})" if inner else None
    if kind in ("IsNull", "IsNotNull"):
        column = _column(children[0], anything=True)
        return f"{column} IS {'NOT ' if kind == 'IsNotNull' else ''}NULL" if column else None
    return _comparison(kind, children)


def _comparison(kind: str, children: list[Any]) -> str | None:
    terms = [_column(child) or _literal(child) for child in children]
    if None in terms or len(terms) < 2:
        return None
    if kind in _COMPARISONS:
        return f"{terms[0]} {_COMPARISONS[kind]} {terms[1]}"
    if _column(children[0]) is None:
        return None
    if kind == "In":
        return f"{terms[0]} IN ({', '.join(map(str, terms[1:]))})"
    return f"{_TEXTS[kind]}({terms[0]}, {terms[1]})" if kind in _TEXTS else None


def _column(expression: Any, *, anything: bool = False) -> str | None:
    if _kind(expression) != "AttributeReference":
        return None
    known = anything or expression.dataType().simpleString() in _COMPARED
    return f'"{expression.name()}"' if known and '"' not in expression.name() else None


def _literal(expression: Any) -> str | None:
    if _kind(expression) != "Literal" or expression.value() is None:
        return None
    kind, value = expression.dataType().simpleString(), expression.value()
    if kind == "string":
        text = value.toString()
        return "'" + text.replace("'", "''") + "'" if "\\" not in text else None
    if kind == "date":
        is_known = _FIRST_DAY <= value <= _LAST_DAY
        return f"DATE '{_EPOCH + datetime.timedelta(days=value)}'" if is_known else None
    return str(value).lower() if kind in _COMPARED else None


def _kind(node: Any) -> str:
    return str(node.getClass().getSimpleName())


def _items(seq: Any) -> list[Any]:
    """A Scala sequence as a list."""
    return [seq.apply(i) for i in range(seq.size())]
