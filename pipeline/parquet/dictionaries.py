"""Which columns repeat few values, so that a dictionary makes them smaller and faster to read.

A dictionary of many values costs bytes and deduplication (layout.py); none at all costs a column of 10 words three times its
bytes and twice the time to read it. So a file's first row group decides, by its rows alone: at most one value in eight is
distinct, and all that are fit into a small page.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.parquet.layout import is_list_like

_MOST_BYTES = 64 << 10
_VALUES_PER_ENTRY = 8
_SAMPLE = 20_000  # values that tell, nearly for nothing, of most columns that a dictionary is not for them
_LEAST_WIDTH = 4  # of a number in Parquet
_TEXTS = (types.is_string, types.is_large_string)
_DECIMALS = (types.is_decimal128, types.is_decimal256)  # Arrow tells no others apart
_NUMBERS = (types.is_integer, types.is_float32, types.is_float64, types.is_date, types.is_timestamp, *_DECIMALS)


def repeating_columns(rows: pa.Table) -> tuple[str, ...]:
    """The dotted paths of the Parquet columns, texts and numbers, of which these rows hold few distinct values."""
    likely = {path for path, values in _columns(rows.slice(0, _SAMPLE)) if _entries(values.slice(0, _SAMPLE))}
    chosen = ((path, values) for path, values in _columns(rows) if path in likely)
    return tuple(path for path, values in chosen if _repeats(values))


def _repeats(values: pa.ChunkedArray) -> bool:
    present: int = len(values) - values.null_count
    return 0 < _entries(values) * _VALUES_PER_ENTRY <= present


def _entries(values: pa.ChunkedArray) -> int:
    """How many distinct values there are; none when they take more than a dictionary may have."""
    distinct = values.unique().drop_null()
    if any(test(values.type) for test in _TEXTS):
        taken = len(distinct) * _LEAST_WIDTH + (pc.sum(pc.binary_length(distinct)).as_py() or 0)
    else:
        taken = len(distinct) * max(_LEAST_WIDTH, values.type.byte_width)
    return len(distinct) if taken <= _MOST_BYTES else 0


def _columns(rows: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        parts: dict[str, list[pa.Array]] = {}
        for chunk in column.chunks:
            for path, values in _leaves(name, chunk):
                parts.setdefault(path, []).append(values)
        for path, chunks in parts.items():
            yield path, pa.chunked_array(chunks)


def _leaves(path: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The values of each Parquet column of texts or numbers, by the paths that `layout.leaves` gives."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from _leaves(path, array.storage)
    elif types.is_struct(kind):
        for index, child in enumerate(kind):
            yield from _leaves(f"{path}.{child.name}", array.field(index))
    elif types.is_map(kind):
        first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
        pairs = array.values.slice(first, last - first)
        yield from _leaves(f"{path}.key_value.key", pairs.field(0))
        yield from _leaves(f"{path}.key_value.value", pairs.field(1))
    elif is_list_like(kind):
        yield from _leaves(f"{path}.list.element", array.flatten())
    elif types.is_dictionary(kind):
        yield from _leaves(path, array.dictionary_decode())
    elif any(test(kind) for test in (*_TEXTS, *_NUMBERS)):
        yield path, array
