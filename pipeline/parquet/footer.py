"""A file's footer: schema and row groups, from one range read of its tail.

A `Footer` keeps the footer's own bytes: they are small, picklable, and pyarrow parses them where they are needed (parsed.py).
What a plan asks of it (rows, byte ranges of column chunks) is worked out from there, each time anew. Content never changes under
its hash, so the footers of files on the Hub are kept on this machine's disk for ever, and processes that start together read them
once.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import CorruptFileError, SchemaError
from pipeline.hub import cache
from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret
from pipeline.parquet.parsed import MAGIC, parse
from pipeline.parquet.subset import subset_footer
from pipeline.storage import FileRef, Meter

_GUESS_BYTES = 64 << 10
_IN_FLIGHT = 32
_SEAL_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChunk:
    """Where one Parquet column of a row group lies: `path` is its name with dots, `column` the top-level column it is in."""

    path: str
    column: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """One row group: `index` counts in the file, `position` in the footer at hand; `num_bytes` is uncompressed."""

    index: int
    position: int
    rows: int
    num_bytes: int
    chunks: tuple[ColumnChunk, ...]

    def select(self, columns: Sequence[str] | None = None) -> list[int]:
        """The places of the chunks that hold these columns (all for `None`): top-level names, or paths into nested ones."""
        if columns is None:
            return list(range(len(self.chunks)))
        top = {chunk.column for chunk in self.chunks}
        whole = top.intersection(columns)
        paths = tuple(name for name in columns if name not in top)
        return [
            i
            for i, chunk in enumerate(self.chunks)
            if chunk.column in whole or any(f"{chunk.path}.".startswith(f"{path}.") for path in paths)
        ]

    def ranges(self, columns: Sequence[str] | None = None) -> list[tuple[int, int]]:
        """The byte ranges of these columns, in file order."""
        chunks = (self.chunks[i] for i in self.select(columns))
        return sorted((chunk.start, chunk.end) for chunk in chunks)

    def size(self, columns: Sequence[str] | None = None) -> int:
        """The bytes of these columns in the file."""
        return sum(end - start for start, end in self.ranges(columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """A file's footer, as the bytes that stand in the file; `kept` says which of the file's row groups are in it, if not all."""

    raw: bytes
    kept: tuple[int, ...] | None = None

    def metadata(self) -> Any:
        """The parsed `pyarrow.parquet.FileMetaData`."""
        return parse(self.raw).metadata

    def schema(self) -> pa.Schema:
        """The Arrow schema that the rows are decoded with, and its metadata."""
        return parse(self.raw).schema

    @property
    def name(self) -> str:
        """What names a file by its content, wherever it lies: a hash of its footer."""
        return hashlib.blake2b(self.raw, digest_size=8).hexdigest()

    @property
    def shape(self) -> bytes:
        """The bytes that describe its columns: the same in all files of one Parquet schema by one kind of writer."""
        return parse(self.raw).begin

    @property
    def rows(self) -> int:
        """Rows in its row groups."""
        return int(self.metadata().num_rows)

    def counts(self) -> tuple[list[int], list[int]]:
        """Rows and uncompressed bytes of each row group: all that planning needs of many, in a third of the time."""
        metadata = self.metadata()
        groups = [metadata.row_group(position) for position in range(metadata.num_row_groups)]
        return [group.num_rows for group in groups], [group.total_byte_size for group in groups]

    def row_group(self, position: int) -> RowGroup:
        """One row group, by its place in this footer."""
        parsed = parse(self.raw)
        index = position if self.kept is None else self.kept[position]
        return _row_group(parsed.metadata.row_group(position), index, position, parsed.columns)

    def row_groups(self) -> tuple[RowGroup, ...]:
        """The row groups, in file order."""
        return tuple(self.row_group(position) for position in range(self.metadata().num_row_groups))

    def only(self, row_groups: Sequence[int]) -> Footer:
        """The footer of these row groups of the file alone: what a task needs of a large one."""
        every = range(self.metadata().num_row_groups) if self.kept is None else self.kept
        if tuple(row_groups) == tuple(every):
            return self
        places = {index: place for place, index in enumerate(every)}
        return Footer(raw=subset_footer(self.raw, [places[i] for i in row_groups]), kept=tuple(row_groups))


def read_footer(file: FileRef, token: Secret | None) -> Footer:
    """Read one footer: one range, a second when the footer is larger than the first guess; none when this machine knows it.

    Raises CorruptFileError naming the file when it is not Parquet, SchemaError when two of its columns have one name.
    """
    return read_footers([file], token)[0]


def read_footers(files: Iterable[FileRef], token: Secret | None, meter: Meter | None = None) -> list[Footer]:
    """The footers of many files, many at once, in their order. Raises as `read_footer`."""
    files = list(files)
    owner = cache.owner(token)
    found = [_kept(file, owner) for file in files]
    missing = [i for i, footer in enumerate(found) if footer is None]
    if not missing:
        return [footer for footer in found if footer is not None]
    remote = [file.content_id for file in files if file.is_hashed]
    alone = cache.only_one(("footers", owner, *remote)) if remote else nullcontext()
    with alone, ThreadPoolExecutor(min(_IN_FLIGHT, len(missing))) as pool:
        read = pool.map(lambda i: _kept(files[i], owner) or _read(files[i], token, owner, meter), missing)
        for i, footer in zip(missing, read, strict=True):
            found[i] = footer
    return [footer for footer in found if footer is not None]


def _key(file: FileRef, owner: str) -> cache.Key:
    return "footer", owner, file.endpoint or "", file.content_id, str(file.size)


def _kept(file: FileRef, owner: str) -> Footer | None:
    content = cache.load(_key(file, owner)) if file.is_hashed else None
    if content is None or not content.startswith(_sealed(file, b"")) or len(content) == _SEAL_BYTES:
        return None
    return Footer(raw=content[_SEAL_BYTES:])


def _sealed(file: FileRef, raw: bytes) -> bytes:
    """A footer as it is kept: under a seal that names its file, for another file's footer may fit, and give wrong rows.

    That these are the bytes that were stored, the cache itself sees to.
    """
    return hashlib.blake2b(f"{file.content_id} {file.size}".encode(), digest_size=_SEAL_BYTES).digest() + raw


def _read(file: FileRef, token: Secret | None, owner: str, meter: Meter | None) -> Footer:
    footer = Footer(raw=_read_raw(file, token, meter))
    try:
        names = footer.schema().names
    except (OSError, pa.ArrowException) as err:
        raise CorruptFileError(f"{file.uri}: its Parquet footer cannot be read ({one_line(err)})") from err
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise SchemaError(f"{file.uri}: several columns are named {twice[0]!r}; write the file with names that differ")
    if file.is_hashed:
        cache.store(_key(file, owner), _sealed(file, footer.raw))
    return footer


def _read_raw(file: FileRef, token: Secret | None, meter: Meter | None) -> bytes:
    reader = open_file(file, token, meter)
    try:
        start = max(0, file.size - _GUESS_BYTES)
        tail = reader.read(start, file.size)
        if len(tail) < 12 or tail[-4:] != MAGIC:
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
        return tail[begin - start : file.size - 8 - start]
    finally:
        reader.close()


def one_line(err: Exception) -> str:
    """An error's text on one line."""
    return str(err).replace("\n", " ").strip()[:200]


def _row_group(group: Any, index: int, position: int, columns: Sequence[tuple[str, str]]) -> RowGroup:
    chunks = []
    for i in range(group.num_columns):
        chunk = group.column(i)
        start = chunk.data_page_offset
        if chunk.dictionary_page_offset is not None:
            start = min(start, chunk.dictionary_page_offset)
        path, column = columns[i]
        chunks.append(ColumnChunk(path=path, column=column, start=start, end=start + chunk.total_compressed_size))
    return RowGroup(
        index=index, position=position, rows=group.num_rows, num_bytes=group.total_byte_size, chunks=tuple(chunks)
    )
