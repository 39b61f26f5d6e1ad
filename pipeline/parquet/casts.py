"""Arrow arrays as another type, or an error: no value is rounded, cut, wrapped around or lost.

Arrow's own casts check integers and units, but round floats and decimals, cut the time off a timestamp and lose rows of list
views (GH-50994). So nested arrays are taken apart here and rebuilt from their children, and what Arrow does not check is cast
back and compared.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import types


def cast(array: Any, kind: pa.DataType, *, truncate_ns: bool = False) -> Any:
    """An array as exactly this type; children of structs go by name, absent ones are null, more are left out.

    With `truncate_ns`, timestamps and durations in ns become those in us that are not later. Raises `pa.ArrowException` or
    ValueError for a value that does not fit.
    """
    own = array.type
    if own.equals(kind):
        return array
    if types.is_null(own):
        return pa.nulls(len(array), kind)
    if isinstance(own, pa.BaseExtensionType):
        truth = isinstance(own, pa.Bool8Type) and types.is_boolean(kind)
        return pc.not_equal(array.storage, 0) if truth else cast(array.storage, kind, truncate_ns=truncate_ns)
    if types.is_dictionary(own):
        return cast(array.dictionary_decode(), kind, truncate_ns=truncate_ns)
    if types.is_run_end_encoded(own):
        return cast(pc.run_end_decode(array), kind, truncate_ns=truncate_ns)
    if types.is_struct(own) and types.is_struct(kind) and kind.num_fields:
        return _struct(array, kind, truncate_ns)
    if types.is_map(own) and types.is_map(kind):
        return _map(array, kind, truncate_ns)
    if is_list(own) and is_list(kind):
        return _list(array, kind, truncate_ns)
    return _leaf(array, kind, truncate_ns)


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is a list of any sort; maps are none."""
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(test(kind) for test in tests)


def _struct(array: Any, kind: pa.DataType, truncate_ns: bool) -> Any:
    # Flattened, the children of null structs are null, whatever stands there.
    own = dict(zip((child.name for child in array.type), array.flatten(), strict=True))
    children = [
        cast(own[child.name], child.type, truncate_ns=truncate_ns)
        if child.name in own
        else pa.nulls(len(array), child.type)
        for child in kind
    ]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=_mask(array))


def _map(array: Any, kind: pa.DataType, truncate_ns: bool) -> Any:
    first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
    keys = cast(array.keys.slice(first, last - first), kind.key_type, truncate_ns=truncate_ns)
    items = cast(array.items.slice(first, last - first), kind.item_type, truncate_ns=truncate_ns)
    offsets = pc.subtract(array.offsets, first)
    return pa.MapArray.from_arrays(offsets, keys, items, type=kind, mask=_mask(array))


def _list(array: Any, kind: pa.DataType, truncate_ns: bool) -> Any:
    lengths = pc.fill_null(pc.list_value_length(array).cast(pa.int64()), 0)
    values = cast(array.flatten(), kind.value_type, truncate_ns=truncate_ns)
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths)])
    if types.is_large_list(kind):
        return pa.LargeListArray.from_arrays(offsets, values, type=kind, mask=_mask(array))
    plain = kind if types.is_list(kind) else pa.list_(kind.value_field)
    found = pa.ListArray.from_arrays(offsets.cast(pa.int32()), values, type=plain, mask=_mask(array))
    return found if types.is_list(kind) else found.cast(kind)


def _mask(array: Any) -> Any:
    return array.is_null() if array.null_count else None


def _leaf(array: Any, kind: pa.DataType, truncate_ns: bool) -> Any:
    if truncate_ns and _is_ns(array.type) and _has_unit(kind) and not _is_ns(kind):
        array = _whole_us(array)
    found = array.cast(kind)
    if _unchecked(array.type, kind) and not _same(found.cast(array.type), array):
        raise ValueError(f"a value of {array.type} would be rounded")
    return found


def _has_unit(kind: pa.DataType) -> bool:
    return bool(types.is_timestamp(kind) or types.is_duration(kind))


def _is_ns(kind: pa.DataType) -> bool:
    return _has_unit(kind) and kind.unit == "ns"


def _whole_us(array: Any) -> Any:
    """The ns that are whole us, at or before each value (Arrow's division goes towards zero)."""
    numbers = array.view(pa.int64())
    whole = pc.multiply(pc.divide(numbers, 1000), 1000)
    late = pc.if_else(pc.greater(whole, numbers), 1000, 0)
    return pc.subtract(whole, late).view(array.type)


def _unchecked(own: pa.DataType, kind: pa.DataType) -> bool:
    """Whether Arrow would lose something of a value in silence.

    It checks integers, units and text by itself, and floats of as many bits or more hold all.
    """
    if _is_text(own) or _is_text(kind):
        return False
    if types.is_floating(own) and types.is_floating(kind):
        return bool(kind.bit_width < own.bit_width)
    groups = (types.is_integer, types.is_decimal, _has_unit, types.is_date, types.is_time)
    return not any(group(own) and group(kind) for group in groups)


def _is_text(kind: pa.DataType) -> bool:
    tests = (types.is_string, types.is_large_string, types.is_string_view, types.is_fixed_size_binary)
    return any(test(kind) for test in (*tests, types.is_binary, types.is_large_binary, types.is_binary_view))


def _same(left: Any, right: Any) -> bool:
    """Whether two arrays of one type have the same values, NaN being NaN."""
    if types.is_nested(left.type):
        return bool(left.equals(right))
    same = pc.equal(left, right)
    if types.is_floating(left.type):
        same = pc.or_(same, pc.and_(pc.is_nan(left), pc.is_nan(right)))
    return bool(pc.all(same, min_count=0).as_py())
