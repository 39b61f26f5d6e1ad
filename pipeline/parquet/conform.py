"""Batches as exactly one schema, whatever each file says: columns by name, absent ones null, types cast without loss."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import reduce

import pyarrow as pa
from pyarrow import types

from pipeline.errors import SchemaError
from pipeline.parquet.casts import cast

_INTS = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


def conform(batch: pa.RecordBatch, schema: pa.Schema, about: str, *, truncate_ns: bool = False) -> pa.RecordBatch:
    """A batch as exactly this schema. With `truncate_ns`, timestamps and durations in ns are cut to us; otherwise they must fit.

    Raises SchemaError naming the column that does not fit, and what would.
    """
    columns = []
    for column in schema:
        index = batch.schema.get_field_index(column.name)
        if index < 0:
            columns.append(pa.nulls(batch.num_rows, column.type))
            continue
        array = batch.column(index)
        try:
            columns.append(cast(array, column.type, truncate_ns=truncate_ns))
        except (pa.ArrowException, ValueError) as err:
            reason = str(err).replace("\n", " ")[:200]
            raise SchemaError(
                f"{about}: column {column.name!r} does not fit {column.type}: {reason}; {_advice(array.type, reason)}"
            ) from err
    if not columns:
        return batch.select([])
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _advice(own: pa.DataType, reason: str) -> str:
    """What to do about a value that does not fit; Arrow says it loses data where only the unit is too coarse."""
    if re.search(r"(timestamp|duration)\[ns.* would lose data", reason):
        return "its ns are no whole us; in Spark, option 'timestampNs' set to 'truncate' cuts them off"
    return f"it holds {str(own)[:100]}; a type that holds both would do, when Spark reads with .schema(...)"


def plain_type(kind: pa.DataType, *, required: bool = False) -> pa.DataType:
    """The type that files are written with: dictionaries, views and extensions as what they hold.

    Every child is nullable, unless those that are `required` shall stay so.
    """

    def child(field: pa.Field, name: str) -> pa.Field:
        return pa.field(name, plain_type(field.type, required=required), field.nullable or not required)

    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type, required=required)
    if types.is_dictionary(kind):
        return plain_type(kind.value_type, required=required)
    if types.is_struct(kind):
        return pa.struct([child(field, field.name) for field in kind])
    if types.is_map(kind):
        return pa.map_(plain_type(kind.key_type, required=required), child(kind.item_field, "value"))
    if types.is_list(kind) or types.is_list_view(kind):
        return pa.list_(child(kind.value_field, "element"))
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(child(kind.value_field, "element"))
    if types.is_fixed_size_list(kind):
        return pa.list_(child(kind.value_field, "element"), kind.list_size)
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return views.get(kind, kind)


def shared_type(kinds: Iterable[pa.DataType]) -> pa.DataType | None:
    """As `common_type`, but children that are required in all of one type stay so."""
    first, *others = (plain_type(kind, required=True) for kind in kinds)
    return first if all(one.equals(first) for one in others) else common_type([first, *others])


def common_type(kinds: Iterable[pa.DataType]) -> pa.DataType | None:
    """The narrowest plain type that holds every value of all of them, `None` when there is none."""
    plain = [plain_type(kind) for kind in kinds]
    return reduce(lambda left, right: None if left is None else _common(left, right), plain)


def _common(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if left.equals(right) or types.is_null(right):
        return left
    if types.is_null(left):
        return right
    if types.is_integer(left) and types.is_integer(right):
        return _common_int(left, right)
    if types.is_floating(left) and types.is_floating(right):
        return max(left, right, key=lambda kind: kind.bit_width)
    for large, small, test in (
        (pa.large_string(), pa.string(), types.is_large_string),
        (pa.large_binary(), pa.binary(), types.is_large_binary),
    ):
        if {left, right} == {large, small}:
            return left if test(left) else right
    if types.is_list(left) and types.is_list(right):
        inner = _common(left.value_type, right.value_type)
        return None if inner is None else pa.list_(pa.field("element", inner))
    if types.is_struct(left) and types.is_struct(right):
        return _common_struct(left, right)
    return None


def _common_int(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if types.is_signed_integer(left) == types.is_signed_integer(right):
        return max(left, right, key=lambda kind: kind.bit_width)
    signed, unsigned = (left, right) if types.is_signed_integer(left) else (right, left)
    return _INTS.get(max(signed.bit_width, unsigned.bit_width * 2))


def _common_struct(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """Structs with the same children, in the left one's order."""
    theirs = {child.name: child.type for child in right}
    if {child.name for child in left} != set(theirs):
        return None
    children = [(child.name, _common(child.type, theirs[child.name])) for child in left]
    return None if any(kind is None for _, kind in children) else pa.struct(children)
