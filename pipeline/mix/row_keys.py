"""128 bits for each row that follow from its values alone: rows with the same key are the same row, for all practical purposes.

Two values are the same where SQL says IS NOT DISTINCT FROM: nulls are the same as each other and differ from all else (from an
empty text or list too), NaN is NaN whatever its bits, and -0.0 is 0.0. Text and bytes are compared by their bytes, lists element
by element, structs field by field, maps entry by entry in the order that they have. What stands below a null does not count.
Keys are BLAKE2b of an encoding that a schema makes unambiguous, so they can be compared among rows of one schema only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.parquet.casts import cast, is_list
from pipeline.parquet.conform import plain_type

KEY_BYTES = 16


def row_keys(batch: pa.RecordBatch) -> bytes:
    """The keys of a batch's rows, one after the other, KEY_BYTES each. They do not depend on what other rows are in the batch."""
    if not batch.num_rows:
        return b""
    columns = [_slots(cast(column, plain_type(column.type))) for column in batch.columns]
    rows = _side_by_side(columns, batch.num_rows)
    return _digests(*_content(rows), range(batch.num_rows + 1))


def _slots(array: pa.Array) -> pa.FixedSizeBinaryArray:
    """Each value as bytes, of a width that follows from the type: whether it is there, then a number itself or a digest."""
    if not len(array):
        return pa.array([], pa.binary(1))
    values = _values(array)
    valid = array.is_valid()
    if array.null_count:
        values = pc.if_else(valid, values, pa.scalar(bytes(values.type.byte_width), values.type))
    return _side_by_side([_as_bytes(valid.cast(pa.uint8())), values], len(array))


def _values(array: pa.Array) -> pa.FixedSizeBinaryArray:
    """As `_slots`, with anything where a value is null."""
    kind = array.type
    if types.is_struct(kind):
        return _side_by_side([_slots(array.field(index)) for index in range(kind.num_fields)], len(array))
    if types.is_map(kind):
        return _digests_of_maps(array)
    if is_list(kind):
        return _digests_of_lists(array)
    if types.is_null(kind) or kind == pa.binary(0):
        return _from_bytes(bytes(len(array)), 1)
    if types.is_boolean(kind):
        return _as_bytes(array.cast(pa.uint8()))
    if types.is_floating(kind):
        return _as_bytes(_canonical(array))
    if types.is_primitive(kind) or types.is_fixed_size_binary(kind) or types.is_decimal(kind):
        return _as_bytes(array)
    return _digests_of_bytes(array.cast(pa.large_binary()))


def _canonical(array: pa.Array) -> pa.Array:
    """Floats with one NaN and one zero."""
    if types.is_float16(array.type):
        array = array.cast(pa.float32())
    one_nan = pc.if_else(pc.is_nan(array), pa.scalar(float("nan"), array.type), array)
    return pc.add(one_nan, pa.scalar(0.0, array.type))


def _digests_of_bytes(array: pa.LargeBinaryArray) -> pa.FixedSizeBinaryArray:
    _, offsets, content = array.buffers()
    ends = pa.Array.from_buffers(pa.int64(), len(array) + 1, [None, offsets], offset=array.offset)
    found = _digests(memoryview(content or b""), 1, ends.to_pylist())
    return _from_bytes(found, KEY_BYTES)


def _digests_of_lists(array: pa.Array) -> pa.FixedSizeBinaryArray:
    lengths = pc.if_else(array.is_valid(), pc.list_value_length(array).cast(pa.int64()), 0)
    ends = [0, *pc.cumulative_sum(lengths).to_pylist()]
    return _from_bytes(_digests(*_content(_slots(array.flatten())), ends), KEY_BYTES)


def _digests_of_maps(array: pa.MapArray) -> pa.FixedSizeBinaryArray:
    ends = array.offsets.to_pylist()
    first, entries = ends[0], ends[-1] - ends[0]
    columns = [_slots(array.keys.slice(first, entries)), _slots(array.items.slice(first, entries))]
    found = _digests(*_content(_side_by_side(columns, entries)), [end - first for end in ends])
    return _from_bytes(found, KEY_BYTES)


def _digests(content: memoryview, width: int, ends: Iterable[int]) -> bytes:
    """The digests of what lies between each two neighbours of `ends`, which count items of `width` bytes."""
    digest = hashlib.blake2b
    return b"".join(
        [digest(content[start * width : end * width], digest_size=KEY_BYTES).digest() for start, end in pairwise(ends)]
    )


def _side_by_side(columns: Sequence[pa.FixedSizeBinaryArray], rows: int) -> pa.FixedSizeBinaryArray:
    """The columns' bytes, row by row."""
    if not columns:
        return _from_bytes(bytes(rows), 1)
    parts = [column.cast(pa.large_binary()) for column in columns]
    joined = pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))
    width = sum(column.type.byte_width for column in columns)
    return pa.Array.from_buffers(pa.binary(width), rows, [None, joined.buffers()[2]])


def _as_bytes(array: pa.Array) -> pa.FixedSizeBinaryArray:
    """The bytes of values that all take as many; of nulls, whatever is there."""
    width = array.type.bit_width // 8
    return pa.Array.from_buffers(pa.binary(width), len(array), [None, array.buffers()[1]], offset=array.offset)


def _from_bytes(content: bytes, width: int) -> pa.FixedSizeBinaryArray:
    return pa.Array.from_buffers(pa.binary(width), len(content) // width, [None, pa.py_buffer(content)])


def _content(array: pa.FixedSizeBinaryArray) -> tuple[memoryview, int]:
    """The bytes of an array that begins with its buffer, and those of each value."""
    content = array.buffers()[1]
    return memoryview(content if content is not None else b""), array.type.byte_width
