"""What a stretch of rows is known to hold in a column, and whether any such row could satisfy a filter.

Arrow decides: it simplifies a filter under the guarantee that all rows of a fragment satisfy some expression, and leaves the
fragment out when nothing remains. Its own guarantees for Parquet statistics forget that a float column may hold NaN, which
statistics leave out and `NOT (x <= 10)` keeps. So they are made here, one per case: values within the bounds, NaN, null. Rows
are excluded only if every case is. A type whose order in Parquet is not certainly Arrow's has no bounds, which excludes nothing.

Bounds are read as what the file's own type says they are, and given as values of the schema's type: only between types where
every value that a row group is read with is the same number or text in both. A bound that the schema's type lacks is none.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (Statistics, ColumnOrder)
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache, reduce
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs, types

from pipeline.parquet.footer import Footer
from pipeline.parquet.layout import leaves
from pipeline.predicate import Predicate

_MOST_CASES = 32  # per stretch of rows; columns beyond are taken to hold anything
_MOST_DECIMAL_BYTES = 32
_PHYSICAL = {
    "bool": {"BOOLEAN"},
    "integer": {"INT32", "INT64"},
    "float": {"FLOAT", "DOUBLE"},
    "date": {"INT32"},
    "timestamp": {"INT64"},
    "decimal": {"INT32", "INT64", "FIXED_LEN_BYTE_ARRAY"},
    "text": {"BYTE_ARRAY"},
    "binary": {"BYTE_ARRAY"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A Parquet column that a filter reads: its position, its path of names, its type in the schema that the filter was
    compiled for and in the file, how Parquet stores it."""

    index: int
    names: tuple[str, ...]
    kind: pa.DataType
    own: pa.DataType
    physical: str = ""

    @property
    def field(self) -> pc.Expression:
        """The column in an expression."""
        return pc.field(self.names[0]) if len(self.names) == 1 else pc.field(*self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Whether a column may hold values and nulls, and between which physical values; `None` for not known."""

    low: Any = None
    high: Any = None
    values: bool = True
    nulls: bool = True


@lru_cache(maxsize=64)
def filter_leaves(footer: Footer, schema: pa.Schema, predicate: Predicate) -> tuple[Leaf, ...]:
    """The file's columns that the filter reads and whose bounds would mean something to it."""
    parquet = footer.metadata().schema
    columns = _comparable_columns(footer.schema(), schema, predicate)
    found = [replace(leaf, physical=parquet.column(leaf.index).physical_type) for leaf in columns]
    return tuple(leaf for leaf in found if _trusted(leaf))


@lru_cache(maxsize=64)
def _comparable_columns(stored: pa.Schema, schema: pa.Schema, predicate: Predicate) -> tuple[Leaf, ...]:
    """Those whose types allow it; found once for the many files that have one schema."""
    written = str(predicate.expression)
    paths = [*_paths(stored)]
    times = Counter(names for names, _ in paths)
    found = []
    for index, (names, own) in enumerate(paths):
        if own is None or names[0] not in predicate.columns or times[names] > 1:
            continue
        kind = _type_at(schema, names)
        if kind is None or not _comparable(plain(own), kind):
            continue
        leaf = Leaf(index=index, names=names, kind=kind, own=plain(own))
        if len(names) == 1 or str(leaf.field) in written:
            found.append(leaf)
    return tuple(found)


def chunk_bounds(leaf: Leaf, footer: Footer, row_group: int) -> Bounds:
    """The bounds of a column chunk, from its statistics where its writer's are to be trusted."""
    chunk = footer.metadata().row_group(row_group).column(leaf.index)
    statistics = chunk.statistics
    if statistics is None:
        return Bounds()
    known = statistics.has_min_max
    low, high = (statistics.min_raw, statistics.max_raw) if known else (None, None)
    counted = statistics.has_null_count
    values = not counted or statistics.null_count != chunk.num_values
    return Bounds(low=low, high=high, values=values, nulls=not counted or statistics.null_count != 0)


def possible(
    predicate: Predicate, schema: pa.Schema, columns: Sequence[Leaf], stretches: Sequence[Sequence[Bounds]]
) -> list[bool]:
    """Per stretch of rows, given the bounds of each column there, whether a row of it could satisfy the filter."""
    bound = plain_schema(schema)
    guarantees = [_guarantees(columns, stretch) for stretch in stretches]
    first = _satisfiable(predicate.expression, bound, [next(each) for each in guarantees])
    answers = []
    for likely, others in zip(
        first, guarantees, strict=True
    ):  # the other cases only matter where the usual one is excluded
        answers.append(likely or any(_satisfiable(predicate.expression, bound, list(others))))
    return answers


@lru_cache(maxsize=16)
def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with dictionaries and views as what they stand for; a filter compiled with it prunes on those too.

    Arrow does not see through the cast that a filter compiled with such a column's own type contains.
    """
    return pa.schema([field.with_type(plain(field.type)) for field in schema])


def plain(kind: pa.DataType) -> pa.DataType:
    """The type in which expressions compare values of this one."""
    if types.is_dictionary(kind):
        kind = kind.value_type
    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)


def _satisfiable(expression: pc.Expression, schema: pa.Schema, guarantees: list[pc.Expression]) -> list[bool]:
    """Per guarantee, whether rows that keep it could satisfy the expression; nothing is read.

    Arrow works the expression out where the guarantee leaves only one value, which may fail (a cast): that counts as yes.
    """
    if not guarantees:
        return []
    form, files = ds.ParquetFileFormat(), fs.LocalFileSystem()
    fragments = [
        form.make_fragment(str(number), filesystem=files, partition_expression=guarantee)
        for number, guarantee in enumerate(guarantees)
    ]
    try:
        everything: Any = ds.FileSystemDataset(fragments, schema, form, files)
        kept = {int(fragment.path) for fragment in everything.get_fragments(expression)}
    except pa.ArrowException:
        if len(guarantees) == 1:
            return [True]
        return [_satisfiable(expression, schema, [guarantee])[0] for guarantee in guarantees]
    return [number in kept for number in range(len(guarantees))]


def _guarantees(columns: Sequence[Leaf], stretch: Sequence[Bounds]) -> Iterator[pc.Expression]:
    """All combinations of the columns' cases, the usual one first."""
    chosen: list[list[pc.Expression]] = []
    for leaf, bounds in zip(columns, stretch, strict=True):
        cases = _cases(leaf, bounds)
        if math.prod(map(len, chosen)) * len(cases) <= _MOST_CASES:
            chosen.append(cases)
    return (reduce(operator.and_, combination, pc.scalar(True)) for combination in product(*chosen))


def _cases(leaf: Leaf, bounds: Bounds) -> list[pc.Expression]:
    """What a row may hold in a column: expressions of which one is true for every row."""
    field, cases = leaf.field, []
    if bounds.values:
        cases.append(_within(leaf, field, bounds))
        if types.is_floating(leaf.kind):
            cases.append(field == pa.scalar(math.nan, leaf.kind))
    if bounds.nulls or not cases:
        cases.append(field.is_null())
    return cases


def _within(leaf: Leaf, field: pc.Expression, bounds: Bounds) -> pc.Expression:
    try:
        low, high = _value(leaf, bounds.low), _value(leaf, bounds.high)
        if low is None or high is None or low > high:
            return field.is_valid()
        first, last = _scalar(leaf, low), _scalar(leaf, high)
    # Such as text cut in the middle of a character, or a number that one of the types lacks.
    except (pa.ArrowException, OverflowError, ValueError):
        return field.is_valid()
    if low == high and not types.is_floating(leaf.kind):  # -0.0 and 0.0 are equal, but not one value
        return field == first
    return (field >= first) & (field <= last)


def _value(leaf: Leaf, value: Any) -> Any:
    """What a physical value stands for by the file's own type; its order in Python is that of the column. `None` for no bound."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if types.is_decimal(leaf.own) and isinstance(value, bytes):
        return int.from_bytes(value, "big", signed=True) if 0 < len(value) <= _MOST_DECIMAL_BYTES else None
    if types.is_unsigned_integer(leaf.own):
        return value % (1 << (32 if leaf.physical == "INT32" else 64))
    return value


def _scalar(leaf: Leaf, value: Any) -> pa.Scalar:
    """A bound as the schema's type. Raises where the file's type or the schema's lacks it."""
    if types.is_decimal(leaf.kind):
        digits = tuple(map(int, str(abs(value))))
        value = Decimal((int(value < 0), digits, -leaf.kind.scale))
    elif _group(leaf.kind) == "text":
        value = value.decode()
    if leaf.own != leaf.kind:
        pa.scalar(value, leaf.own)
    return pa.scalar(value, leaf.kind)


def _group(kind: pa.DataType) -> str | None:
    """The kind of values whose order in Parquet is known to be Arrow's."""
    tests = {
        "bool": types.is_boolean,
        "integer": types.is_integer,
        "float": lambda t: types.is_float32(t) or types.is_float64(t),
        "date": types.is_date32,
        "timestamp": types.is_timestamp,
        "decimal": types.is_decimal,
        "text": lambda t: types.is_string(t) or types.is_large_string(t),
        "binary": lambda t: types.is_binary(t) or types.is_large_binary(t),
    }
    return next((name for name, test in tests.items() if test(kind)), None)


def _comparable(own: pa.DataType, kind: pa.DataType) -> bool:
    """Whether the file's values are the same, in the same order, when they are read as the schema's type.

    A cast that `conform` makes or refuses by the value alone (units, scales, zones, floats that are rounded) is not looked into.
    """
    if own == kind or (types.is_float32(own) and types.is_float64(kind)):
        return True
    return _group(own) == _group(kind) and _group(kind) in {"integer", "text", "binary"}


def _trusted(leaf: Leaf) -> bool:
    """Whether Parquet stores such values in a form whose order is known (INT96 has none)."""
    group = _group(leaf.kind)
    return group is not None and leaf.physical in _PHYSICAL[group]


def _type_at(schema: pa.Schema, names: Sequence[str]) -> pa.DataType | None:
    """The type at a path of names, if there is exactly one such path."""
    fields = list(schema)
    kind = None
    for name in names:
        found = [field for field in fields if field.name == name]
        if len(found) != 1:
            return None
        kind = found[0].type
        fields = list(kind.fields) if types.is_struct(kind) else []
    return plain(kind) if len(names) == 1 else kind


def _paths(schema: pa.Schema) -> Iterator[tuple[tuple[str, ...], pa.DataType | None]]:
    """Each Parquet column's path of names, and its type unless it is in a list or is an extension's."""

    def walk(names: tuple[str, ...], kind: pa.DataType) -> Iterator[tuple[tuple[str, ...], pa.DataType | None]]:
        if types.is_struct(kind):
            for child in kind:
                yield from walk((*names, child.name), child.type)
        elif types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
            yield from ((names, None) for _ in leaves(pa.schema([pa.field("", kind)])))
        else:
            yield names, kind

    return (found for field in schema for found in walk((field.name,), field.type))
