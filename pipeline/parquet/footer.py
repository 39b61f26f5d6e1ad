"""A file's footer: schema and row groups, from one range read of its tail.

A `Footer` keeps the footer's own bytes: they are small, picklable, and pyarrow parses them where they are needed. What a plan
asks of it (rows, byte ranges of column chunks) is worked out from there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from pipeline.errors import CorruptFileError, SchemaError
from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret
from pipeline.parquet.layout import leaves
from pipeline.storage import FileRef

_GUESS_BYTES = 64 << 10
_IN_FLIGHT = 16
_MAGIC = b"PAR1"
# Timestamps as INT96, Spark's own form: as nanoseconds those before 1677 or after 2262 would turn into others.
DECODING: Mapping[str, Any] = MappingProxyType({"coerce_int96_timestamp_unit": "us"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """One row group: `chunks` is (top-level column, first byte, end) per column chunk; `num_bytes` is uncompressed."""

    index: int
    rows: int
    num_bytes: int
    chunks: tuple[tuple[str, int, int], ...]

    def ranges(self, columns: Sequence[str] | None = None) -> list[tuple[int, int]]:
        """The byte ranges of these top-level columns (of all for `None`), in file order."""
        wanted = None if columns is None else set(columns)
        return sorted((start, end) for column, start, end in self.chunks if wanted is None or column in wanted)

    def size(self, columns: Sequence[str] | None = None) -> int:
        """The bytes of these columns in the file."""
        return sum(end - start for start, end in self.ranges(columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """A file's footer, as the bytes that stand in the file."""

    raw: bytes

    def metadata(self) -> Any:
        """The parsed `pyarrow.parquet.FileMetaData`."""
        return _parse(self.raw)

    def schema(self) -> pa.Schema:
        """The Arrow schema that the rows are decoded with, and its metadata."""
        return _schema(self.raw)

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return int(self.metadata().num_rows)

    def row_groups(self) -> tuple[RowGroup, ...]:
        """The row groups, in file order."""
        return _row_groups(self.raw)


def read_footer(file: FileRef, token: Secret | None) -> Footer:
    """Read one footer: one range, a second when the footer is larger than the first guess.

    Raises CorruptFileError naming the file when it is not Parquet, SchemaError when two of its columns have one name.
    """
    reader = open_file(file, token)
    try:
        start = max(0, file.size - _GUESS_BYTES)
        tail = reader.read(start, file.size)
        if len(tail) < 12 or tail[-4:] != _MAGIC:
            raise CorruptFileError(
                f"{file.uri}: not a Parquet file (its last four bytes are {tail[-4:]!r}, not b'PAR1')"
            )
        length = struct.unpack("<I", tail[-8:-4])[0]
        begin = file.size - 8 - length
        if begin < 4:
            raise CorruptFileError(f"{file.uri}: a footer of {length} bytes does not fit into {file.size} bytes")
        if begin < start:
            tail = reader.read(begin, start) + tail
            start = begin
        footer = Footer(raw=tail[begin - start : file.size - 8 - start])
    finally:
        reader.close()
    try:
        names = footer.schema().names
    except (OSError, pa.ArrowException) as err:
        raise CorruptFileError(f"{file.uri}: its Parquet footer cannot be read ({one_line(err)})") from err
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise SchemaError(f"{file.uri}: several columns are named {twice[0]!r}; write the file with names that differ")
    return footer


def read_footers(files: Iterable[FileRef], token: Secret | None) -> list[Footer]:
    """The footers of many files, many at once, in their order."""
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        return list(pool.map(lambda file: read_footer(file, token), files))


def one_line(err: Exception) -> str:
    """An error's text on one line."""
    return str(err).replace("\n", " ").strip()[:200]


@lru_cache(maxsize=256)
def _parse(raw: bytes) -> Any:
    return pq.read_metadata(_as_file(raw))


@lru_cache(maxsize=256)
def _schema(raw: bytes) -> pa.Schema:
    return pq.ParquetFile(_as_file(raw), metadata=_parse(raw), **DECODING).schema_arrow


def _as_file(raw: bytes) -> pa.BufferReader:
    """A file that has this footer and no rows."""
    return pa.BufferReader(_MAGIC + raw + struct.pack("<I", len(raw)) + _MAGIC)


@lru_cache(maxsize=4096)
def _row_groups(raw: bytes) -> tuple[RowGroup, ...]:
    metadata = _parse(raw)
    columns = [column for _, column, _ in leaves(_schema(raw))]
    return tuple(_row_group(metadata.row_group(i), i, columns) for i in range(metadata.num_row_groups))


def _row_group(group: Any, index: int, columns: Sequence[str]) -> RowGroup:
    chunks = []
    for i in range(group.num_columns):
        column = group.column(i)
        start = column.data_page_offset
        if column.dictionary_page_offset is not None:
            start = min(start, column.dictionary_page_offset)
        chunks.append((columns[i], start, start + column.total_compressed_size))
    return RowGroup(index=index, rows=group.num_rows, num_bytes=group.total_byte_size, chunks=tuple(chunks))
