"""Batches as exactly one schema, whatever each file says: columns by name, absent ones null, types cast without loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import types

from pipeline.errors import SchemaError

_INTS = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


def conform(batch: pa.RecordBatch, schema: pa.Schema, about: str) -> pa.RecordBatch:
    """A batch as exactly this schema.

    Raises SchemaError naming the column that does not fit.
    """
    columns = []
    for column in schema:
        index = batch.schema.get_field_index(column.name)
        if index < 0:
            columns.append(pa.nulls(batch.num_rows, column.type))
            continue
        try:
            columns.append(_cast(batch.column(index), column.type))
        except (pa.ArrowException, ValueError) as err:
            reason = str(err).replace("\n", " ")[:200]
            raise SchemaError(f"{about}: column {column.name!r} does not fit {column.type}: {reason}") from err
    if not columns:
        return batch.select([])
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that files are written with: dictionaries, views and extensions as what they hold, every child nullable."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_struct(kind):
        return pa.struct([pa.field(child.name, plain_type(child.type)) for child in kind])
    if types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if types.is_list(kind) or types.is_list_view(kind):
        return pa.list_(pa.field("element", plain_type(kind.value_type)))
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(pa.field("element", plain_type(kind.value_type)))
    if types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", plain_type(kind.value_type)), kind.list_size)
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return views.get(kind, kind)


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


def _cast(array: Any, kind: pa.DataType) -> Any:
    if array.type.equals(kind):
        return array
    if isinstance(array, pa.ExtensionArray):
        return _cast(array.storage, kind)
    if _holds(array.type, lambda one: types.is_list_view(one) or types.is_large_list_view(one)):
        # Arrow's own cast of list views loses rows (GH-50994), so they are built anew.
        return pa.array(array.to_pylist(), kind)
    cast = array.cast(kind)
    if _holds(array.type, types.is_floating) and not _same_floats(array, cast):
        raise ValueError(f"a value of {array.type} would be rounded")
    return cast


def _holds(kind: pa.DataType, test: Callable[[pa.DataType], bool]) -> bool:
    """Whether a type, or one inside it, passes a test."""
    return test(kind) or any(_holds(kind.field(i).type, test) for i in range(kind.num_fields))


def _same_floats(array: Any, cast: Any) -> bool:
    """Whether floats came through a cast unchanged, for Arrow checks integers and not these."""
    if cast.type.num_fields or not types.is_floating(cast.type):
        narrowed = _widths(array.type) > _widths(cast.type)
        return not narrowed or cast.cast(array.type).equals(array)
    if cast.type.bit_width >= array.type.bit_width:
        return True
    back = cast.cast(array.type)
    same = pc.or_(pc.equal(back, array), pc.and_(pc.is_nan(back), pc.is_nan(array)))
    return bool(pc.all(same, min_count=0).as_py())


def _widths(kind: pa.DataType) -> int:
    """The bits of all floats in a type."""
    own = kind.bit_width if types.is_floating(kind) else 0
    return own + sum(_widths(kind.field(i).type) for i in range(kind.num_fields))
