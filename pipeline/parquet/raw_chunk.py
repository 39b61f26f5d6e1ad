"""A column chunk as it stands in a file: where its bytes and page indexes lie, and its metadata written anew for another place.

What a writer measured (statistics, sizes, encodings) stays in the bytes that it came in. Field numbers are those of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (ColumnChunk, ColumnMetaData, OffsetIndex).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import CorruptFileError
from pipeline.parquet.subset import column_chunks
from pipeline.parquet.thrift import (
    I32,
    I64,
    LIST,
    STRUCT,
    Field,
    fields,
    integer,
    items,
    write_integer,
    write_list_header,
    write_struct,
)

Values = dict[int, tuple[int, bytes]]
# Of ColumnChunk.
_FILE_PATH, _FILE_OFFSET, _META_DATA, _OFFSET_INDEX, _COLUMN_INDEX, _CRYPTO, _ENCRYPTED = 1, 2, 3, 4, 6, 8, 9
# Of ColumnMetaData. Bloom filters stay behind: they lie elsewhere in the file, and none is expected in a mix.
_TYPE, _PATH, _UNCOMPRESSED, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE, _STATISTICS = 1, 3, 6, 7, 9, 11, 12
_MOVED = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17)
_UNORDERED = (3, 4)  # of Statistics: the counts
_PAGE_LOCATIONS = 1  # of OffsetIndex


class RawChunk(NamedTuple):
    """A column chunk: its bytes are [start, end) of its file, `size` those of its pages before compression.

    `kind` is its physical type. `column_index` and `offset_index` are extents in the file.
    """

    kind: int
    start: int
    end: int
    size: int
    values: Values
    column_index: tuple[int, int] | None
    offset_index: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class MovedChunk:
    """A column chunk at its new place: its ColumnMetaData, and its page indexes, which are written behind all row groups."""

    start: int
    end: int
    size: int
    meta_data: bytes
    column_index: bytes | None
    offset_index: bytes | None


def raw_chunks(raw: bytes, row_group: int) -> list[RawChunk]:
    """The column chunks of a row group of a FileMetaData, in the order of its schema.

    Raises CorruptFileError for those that are not whole in the file: encrypted, in another file, without sizes.
    """
    return [_raw_chunk(raw, extent) for extent in column_chunks(raw, row_group)]


def _raw_chunk(raw: bytes, extent: Field) -> RawChunk:
    outer, _ = fields(raw, extent.start)
    if _FILE_PATH in outer or _CRYPTO in outer or _ENCRYPTED in outer or _META_DATA not in outer:
        raise CorruptFileError(
            "a column chunk is encrypted or in another file; expected all of a row group in one file"
        )
    meta, _ = fields(raw, outer[_META_DATA].start)
    try:
        kind, start = integer(raw, meta[_TYPE]), integer(raw, meta[_DATA_PAGE])
        size, compressed = integer(raw, meta[_UNCOMPRESSED]), integer(raw, meta[_COMPRESSED])
    except KeyError as err:
        raise CorruptFileError(f"a Parquet column chunk lacks its field {err}") from err
    values = {
        number: (meta[number].kind, raw[meta[number].start : meta[number].end]) for number in _MOVED if number in meta
    }
    if _DICTIONARY_PAGE in meta:
        first = integer(raw, meta[_DICTIONARY_PAGE])
        if first > 0:
            start = min(start, first)
        else:
            del values[_DICTIONARY_PAGE]
    if start < 0 or compressed < 0:
        raise CorruptFileError(f"a Parquet column chunk has {compressed} bytes from byte {start}")
    column, offset = (_extent(raw, outer, number) for number in (_COLUMN_INDEX, _OFFSET_INDEX))
    return RawChunk(kind, start, start + compressed, size, values, column, offset)


def _extent(raw: bytes, chunk: dict[int, Field], number: int) -> tuple[int, int] | None:
    if number not in chunk or number + 1 not in chunk:
        return None
    start, length = integer(raw, chunk[number]), integer(raw, chunk[number + 1])
    return (start, start + length) if start > 0 and length > 0 else None


def moved_meta_data(chunk: RawChunk, start: int, path: bytes, *, ordered: bool) -> bytes:
    """Its ColumnMetaData with its first byte at `start`, under another path (the bytes of a list of names).

    Unless `ordered`, its bounds are left out: the new file would say that they are of another order than they are.
    """
    by = start - chunk.start
    values = chunk.values | {_PATH: (LIST, path)}
    if by:
        for number in (_DATA_PAGE, _DICTIONARY_PAGE):
            if number in values:
                values[number] = I64, write_integer(integer_of(values[number]) + by)
    if not ordered and _STATISTICS in values:
        raw = values[_STATISTICS][1]
        found, _ = fields(raw, 0)
        counts = {number: (one.kind, raw[one.start : one.end]) for number, one in found.items() if number in _UNORDERED}
        values[_STATISTICS] = STRUCT, write_struct(counts)
    return write_struct(values)


def integer_of(value: tuple[int, bytes]) -> int:
    """A whole number out of its value."""
    return integer(value[1], Field(value[0], 0, len(value[1])))


def moved_offset_index(data: bytes, by: int) -> bytes:
    """An OffsetIndex whose pages lie so many bytes further. Raises CorruptFileError for bytes that are none."""
    index, end = fields(data, 0)
    if _PAGE_LOCATIONS not in index or end != len(data):
        raise CorruptFileError("an offset index has no page locations")
    where = index[_PAGE_LOCATIONS]
    pages = items(data, where, STRUCT)
    moved = [data[: where.start], write_list_header(STRUCT, len(pages))]
    for page in pages:
        offset = fields(data, page.start, until=2)[0].get(1)
        if offset is None:
            raise CorruptFileError("a page in an offset index has no offset")
        moved += data[page.start : offset.start], write_integer(integer(data, offset) + by), data[offset.end : page.end]
    moved.append(data[where.end :])
    return b"".join(moved)


def column_chunk(chunk: MovedChunk, offset_index: int, column_index: int) -> bytes:
    """The ColumnChunk of a chunk whose page indexes, if it has them, begin at these bytes."""
    values: Values = {_FILE_OFFSET: (I64, b"\0"), _META_DATA: (STRUCT, chunk.meta_data)}
    for number, data, start in (
        (_OFFSET_INDEX, chunk.offset_index, offset_index),
        (_COLUMN_INDEX, chunk.column_index, column_index),
    ):
        if data is not None:
            values[number] = I64, write_integer(start)
            values[number + 1] = I32, write_integer(len(data))
    return write_struct(values)


def row_group(chunks: Sequence[MovedChunk], structs: Sequence[bytes], *, rows: int) -> bytes:
    """The RowGroup of such chunks and their ColumnChunk structs.

    It has no ordinal, which 16 bits hold only up to 32,767, and names no sorting columns.
    """
    numbers = {
        2: sum(chunk.size for chunk in chunks),
        3: rows,
        5: min(chunk.start for chunk in chunks),
        6: sum(chunk.end - chunk.start for chunk in chunks),
    }
    columns = write_list_header(STRUCT, len(structs)) + b"".join(structs)
    return write_struct({1: (LIST, columns), **{number: (I64, write_integer(n)) for number, n in numbers.items()}})
