"""A number for each row that follows from its values alone, and the bytes that it takes: cheap, not safe against collisions.

Of texts and bytes the length and a few bytes are looked at, of lists of numbers the length and a few elements, of other lists
the sum over their elements. What stands below a null does not count; a null takes what Arrow keeps for it. All of it is Arrow
arithmetic, which wraps around: an executor need not have numpy.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

_U64 = pa.uint64()
_I64 = pa.int64()
_WORDS = {1: pa.uint8(), 2: pa.uint16(), 4: pa.uint32(), 8: _U64}
_LAST_BYTES = 4
_END_ELEMENTS = 3
_FIXED = (types.is_primitive, types.is_fixed_size_binary, types.is_decimal, types.is_null)
_LARGE = (types.is_large_string, types.is_large_binary, types.is_large_list)
_SALT = 0xC2B2AE3D27D4EB4F
_PRIME = 0x9E3779B97F4A7C15


def row_hashes(batch: pa.RecordBatch) -> pa.UInt64Array:
    """The hash of each row."""
    return _hashes_of_columns(batch.columns, batch.num_rows)


def row_sizes(batch: pa.RecordBatch) -> pa.Int64Array:
    """The bytes of each row, as Arrow holds it, but for the bits that say what is null."""
    return _sizes_of_columns(batch.columns, batch.num_rows)


def _hashes_of_columns(columns: list[pa.Array], rows: int) -> pa.Array:
    hashes = (_mixed(pc.add(_hashes(one), _u64(_SALT * (index + 1)))) for index, one in enumerate(columns))
    return reduce(pc.add, hashes, _constant(rows, 0, _U64))


def _sizes_of_columns(columns: list[pa.Array], rows: int) -> pa.Array:
    fixed = sum(_slot(column.type) for column in columns if _is_fixed(column.type))
    return reduce(pc.add, (_sizes(one) for one in columns if not _is_fixed(one.type)), _constant(rows, fixed, _I64))


def _hashes(array: pa.Array) -> pa.Array:
    """A hash of each slot; none is null."""
    array = _plain(array)
    hashes = _hashes_of_values(array)
    return pc.if_else(array.is_valid(), hashes, _u64(_SALT)) if array.null_count else hashes


def _sizes(array: pa.Array) -> pa.Array:
    """The bytes of each slot."""
    array = _plain(array)
    if _is_fixed(array.type):
        return _constant(len(array), _slot(array.type), _I64)
    sizes = _sizes_of_values(array)
    return pc.if_else(array.is_valid(), sizes, pa.scalar(_slot(array.type), _I64)) if array.null_count else sizes


def _plain(array: pa.Array) -> pa.Array:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(array.storage)
    if types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    return array.cast(pa.large_binary()) if kind in (pa.string_view(), pa.binary_view()) else array


def _hashes_of_values(array: pa.Array) -> pa.Array:
    kind = array.type
    if types.is_struct(kind):
        return _hashes_of_columns([array.field(index) for index in range(kind.num_fields)], len(array))
    if (spans := _list_spans(array)) is not None:
        if _is_fixed(array.values.type):
            return _hashes_of_fixed_lists(array.values, spans)
        inside, values = _elements(array, spans)
        counts = pc.subtract(inside[1:], inside[:-1]).cast(_U64)
        return pc.add(_between(_mixed(_hashes(values)), inside), counts)
    if (spans := _byte_spans(array)) is not None:
        return _hashes_of_bytes(array.buffers()[-1], spans)
    if types.is_boolean(kind):
        return array.cast(_U64).fill_null(0)
    if width := _width(kind):
        return pc.fill_null(array.view(_WORDS[width]).cast(_U64), 0)
    return _constant(len(array), 1, _U64)


def _sizes_of_values(array: pa.Array) -> pa.Array:
    kind = array.type
    if types.is_struct(kind):
        return _sizes_of_columns([array.field(index) for index in range(kind.num_fields)], len(array))
    if (spans := _list_spans(array)) is not None:
        inside, values = _elements(array, spans)
        content = _sizes_within(values, inside)
        return content if types.is_fixed_size_list(kind) else pc.add(content, _slot(kind))
    if (spans := _byte_spans(array)) is not None:
        return pc.add(pc.subtract(spans[1:], spans[:-1]), _slot(kind))
    return _constant(len(array), _slot(kind), _I64)


def _sizes_within(values: pa.Array, spans: pa.Array) -> pa.Array:
    """The bytes of the values between each two neighbours of `spans`."""
    taken = pc.multiply(pc.subtract(spans[1:], spans[:-1]), _slot(values.type))
    if _is_fixed(values.type):
        return taken
    if (ends := _byte_spans(values)) is not None and not values.null_count:
        reached = ends.take(spans)
        return pc.add(taken, pc.subtract(reached[1:], reached[:-1]))
    return _between(_sizes(values), spans)


def _slot(kind: pa.DataType) -> int:
    """The bytes that Arrow keeps for a value whatever it is, so for a null too; a bit counts as a byte."""
    if (inner := _stands_for(kind)) is not None:
        return _slot(inner)
    if types.is_struct(kind):
        return max(1, sum(_slot(child.type) for child in kind))
    if types.is_fixed_size_list(kind):
        return max(1, int(kind.list_size) * _slot(kind.value_type))
    if types.is_fixed_size_binary(kind) or types.is_decimal(kind):
        return max(1, int(kind.byte_width))
    if types.is_primitive(kind):
        return max(1, int(kind.bit_width) // 8)
    if types.is_null(kind):
        return 1
    return 8 if any(test(kind) for test in _LARGE) else 4


def _is_fixed(kind: pa.DataType) -> bool:
    """Whether all values of a type take the same bytes."""
    if (inner := _stands_for(kind)) is not None:
        return _is_fixed(inner)
    if types.is_struct(kind):
        return all(_is_fixed(child.type) for child in kind)
    if types.is_fixed_size_list(kind):
        return _is_fixed(kind.value_type)
    return any(test(kind) for test in _FIXED)


def _stands_for(kind: pa.DataType) -> pa.DataType | None:
    """The type of what `_plain` makes of such an array, `None` where that is itself."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    if types.is_dictionary(kind):
        return kind.value_type
    return pa.large_binary() if kind in (pa.string_view(), pa.binary_view()) else None


def _width(kind: pa.DataType) -> int:
    """The bytes of a number or a time, 0 for all else."""
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_temporal(kind)
    return int(kind.byte_width) if number and kind.bit_width in (8, 16, 32, 64) else 0


def _list_spans(array: pa.Array) -> pa.Array | None:
    """Where in `array.values` the elements of each list begin, and the last one's end; `None` for what is no list."""
    kind = array.type
    if types.is_fixed_size_list(kind):
        return _positions(len(array) + 1, array.offset, kind.list_size)
    if types.is_map(kind) or types.is_list(kind) or types.is_large_list(kind):
        return array.offsets.cast(_I64)
    return None


def _byte_spans(array: pa.Array) -> pa.Array | None:
    """Where in the last buffer the bytes of each value begin, and the last one's end; `None` for what is not made of bytes."""
    kind = array.type
    if types.is_large_string(kind) or types.is_large_binary(kind):
        return _slice_of(_I64, array.buffers()[1], array.offset, len(array) + 1)
    if types.is_string(kind) or types.is_binary(kind):
        return _slice_of(pa.int32(), array.buffers()[1], array.offset, len(array) + 1).cast(_I64)
    if types.is_fixed_size_binary(kind) or types.is_decimal(kind):
        return _positions(len(array) + 1, array.offset, kind.byte_width)
    return None


def _hashes_of_bytes(content: pa.Buffer | None, spans: pa.Array) -> pa.Array:
    starts, ends = spans[:-1], spans[1:]
    sizes = pc.subtract(ends, starts)
    hashes = sizes.cast(_U64)
    if content is None or not content.size or not len(sizes):
        return hashes
    octets = _slice_of(pa.uint8(), content, 0, content.size)
    middle = pc.add(starts, pc.shift_right(sizes, 1))
    last = [pc.max_element_wise(starts, pc.subtract(ends, one + 1)) for one in range(_LAST_BYTES)]
    for place in (starts, middle, *last):
        inside = pc.min_element_wise(place, content.size - 1)
        hashes = pc.add(pc.multiply(hashes, _u64(_PRIME)), octets.take(inside).cast(_U64))
    return pc.if_else(pc.equal(sizes, 0), _u64(0), hashes)


def _hashes_of_fixed_lists(values: pa.Array, spans: pa.Array) -> pa.Array:
    """Whether there are nulls does not matter, so that a row's hash does not depend on the rows beside it."""
    starts, ends = spans[:-1], spans[1:]
    counts = pc.subtract(ends, starts)
    hashes = counts.cast(_U64)
    if not len(values):
        return hashes
    first = [pc.min_element_wise(pc.add(starts, one), pc.subtract(ends, 1)) for one in range(_END_ELEMENTS)]
    last = [pc.subtract(ends, one + 1) for one in range(_END_ELEMENTS)]
    for place in (*first, pc.add(starts, pc.shift_right(counts, 1)), *last):
        inside = pc.min_element_wise(pc.max_element_wise(starts, place), len(values) - 1)
        hashes = pc.add(pc.multiply(hashes, _u64(_PRIME)), _mixed(_hashes(values.take(inside))))
    return pc.if_else(pc.equal(counts, 0), _u64(0), hashes)


def _elements(array: pa.Array, spans: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The elements of the lists, no others, and the spans in them."""
    first, last = spans[0].as_py(), spans[-1].as_py()
    return pc.subtract(spans, first), array.values.slice(first, last - first)


def _between(numbers: pa.Array, spans: pa.Array) -> pa.Array:
    """The sum of the numbers between each two neighbours of `spans`."""
    sums = pa.concat_arrays([_constant(1, 0, numbers.type), pc.cumulative_sum(numbers)])
    reached = sums.take(spans)
    return pc.subtract(reached[1:], reached[:-1])


def _mixed(hashes: pa.Array) -> pa.Array:
    spread = pc.multiply(hashes, _u64(_PRIME))
    return pc.multiply(pc.bit_wise_xor(spread, pc.shift_right(spread, _u64(31))), _u64(_PRIME))


def _slice_of(kind: pa.DataType, content: pa.Buffer | None, offset: int, length: int) -> pa.Array:
    return pa.Array.from_buffers(kind, length, [None, content], offset=offset)


def _positions(count: int, first: int, step: int) -> pa.Array:
    """`first * step`, `(first + 1) * step`, ...: where the slots of a fixed size begin."""
    ones = _constant(count, step, _I64)
    return pc.add(pc.cumulative_sum(ones), (first - 1) * step)


def _constant(count: int, value: int, kind: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), count)


def _u64(value: int) -> Any:
    return pa.scalar(value % 2**64, _U64)
