"""A file in the layout `blocks`: row groups encoded here or copied from elsewhere, appended in one way, and a footer for them.

A row group's bytes depend on its rows alone, or are those of its source, so that storage knows them wherever they stand. Pads
(layout.py) lie between:

    PAR1 [pad of the file] [row group] [pad] [copied run] [marker] [constants] [pad] ... [page indexes] [footer]

The footer is spliced from one that pyarrow wrote for the schema.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet as pq

from pipeline.errors import CorruptFileError, SchemaError
from pipeline.parquet.arrangement import Group, arranged, joined
from pipeline.parquet.features import Features, with_features
from pipeline.parquet.layout import Layout, pad, writer_options
from pipeline.parquet.parsed import MAGIC
from pipeline.parquet.raw_chunk import (
    MovedChunk,
    column_chunk,
    moved_meta_data,
    moved_offset_index,
    raw_chunks,
    row_group,
)
from pipeline.parquet.rowgroup_copy import Part, RawGroup, Target, parts_of
from pipeline.parquet.shape import footer_bytes
from pipeline.parquet.sinks import DigestingSink, WrittenFile
from pipeline.parquet.subset import with_row_groups

_CONSTANTS_KEPT = 256


class _Written(NamedTuple):
    """A row group that is in the file, its chunks in the order of the schema."""

    rows: int
    chunks: list[MovedChunk]


class BlockFile:
    """One Parquet file in the layout `blocks`. `identity` makes its first pad its own, so that global deduplication finds it.

    Holds one encoded row group at most, and what becomes the footer. The sink is anything with `write`; it is not closed.
    """

    def __init__(
        self, sink: Any, schema: pa.Schema, *, layout: Layout, features: Features | None, identity: str = ""
    ) -> None:
        self.schema = with_features(schema, features)
        self._options = writer_options(layout, schema, features)
        self._raw = footer_bytes(_encoded(self.schema.empty_table(), self._options))
        self._target = Target(self._raw)
        self._marker = layout.marker
        self._groups: list[_Written] = []
        self._constants: OrderedDict[tuple[str, pa.Scalar, int], list[Part]] = OrderedDict()
        self.rows = 0
        self.num_bytes = 0
        self._sink = DigestingSink(sink)
        self._sink.write(MAGIC)
        self._write_pad(hashlib.blake2b(identity.encode(), digest_size=16).digest())

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._sink.size

    def write_row_group(self, table: pa.Table) -> None:
        """Encode a table as one row group: its bytes depend on its rows only. Empty tables write nothing."""
        if not table.num_rows:
            return
        # Pages end where chunks end: in one chunk, they depend on nothing but the rows.
        parts = self._encode(table.combine_chunks(), range(len(self._target.leaves)))
        self._append([Group(rows=table.num_rows, parts=parts)])
        self.num_bytes += table.nbytes

    def copy_block(
        self, groups: Sequence[RawGroup], columns: Mapping[str, str], constants: Mapping[str, pa.Scalar] | None = None
    ) -> None:
        """Copy row groups of one file, which `why_not_copied` has nothing against.

        `columns` are columns of this file and those of the source that they are, `constants` what others hold; what is in
        neither is null. Row groups with nothing between them in their source have no pad between them here.
        Raises SchemaError, CorruptFileError.
        """
        copied = [parts_of(group, columns, self._target) for group in groups if group.rows]
        fixed = self._fixed(columns, constants or {})
        for run in joined(copied):
            made = [
                Group(rows=group.rows, parts=group.parts, constants=self._constant_parts(fixed, group.rows))
                for group in run
            ]
            self._append(made)
            self.num_bytes += sum(part.chunk.size for group in made for part in (*group.parts, *group.constants))

    def close(self) -> WrittenFile:
        """Write page indexes and footer."""
        chunks = [chunk for group in self._groups for chunk in group.chunks]
        column_indexes = self._write_indexes([chunk.column_index for chunk in chunks])
        offset_indexes = self._write_indexes([chunk.offset_index for chunk in chunks])
        structs = map(column_chunk, chunks, offset_indexes, column_indexes)
        groups = [
            row_group(group.chunks, [next(structs) for _ in group.chunks], rows=group.rows) for group in self._groups
        ]
        raw = with_row_groups(self._raw, groups, self.rows)
        self._sink.write(raw + len(raw).to_bytes(4, "little") + MAGIC)
        return WrittenFile(rows=self.rows, num_bytes=self.num_bytes, size=self.size)

    def _append(self, groups: Sequence[Group]) -> None:
        """Write row groups side by side, and a pad behind, of a digest of what came since the last marker.

        Behind constants the pad is thus the same for the same constants: 0.3 % of 1 MB blocks are new then, else 1 %.
        """
        moved: list[dict[int, MovedChunk]] = [{} for _ in groups]
        for one in arranged(groups):
            if one is None:
                self._sink.write(self._marker)
                self._sink.take_digest()
            else:
                place, part = one
                moved[place][part.leaf] = self._move(part)
        for group, chunks in zip(groups, moved, strict=True):
            self._groups.append(_Written(group.rows, [chunks[leaf] for leaf in range(len(self._target.leaves))]))
            self.rows += group.rows
        self._write_pad(self._sink.take_digest())

    def _move(self, part: Part) -> MovedChunk:
        chunk, start = part.chunk, self._sink.size
        self._sink.write(_read(part, (chunk.start, chunk.end)))
        meta_data = moved_meta_data(chunk, start, self._target.leaves[part.leaf].path, ordered=part.ordered)
        return MovedChunk(start, self._sink.size, chunk.size, meta_data, *_indexes(part, start - chunk.start))

    def _write_pad(self, digest: bytes) -> None:
        self._sink.write(pad(digest, self._marker))
        self._sink.take_digest()

    def _write_indexes(self, indexes: Sequence[bytes | None]) -> list[int]:
        """Write page indexes side by side; where each begins."""
        at, starts = self._sink.size, []
        for index in indexes:
            starts.append(at)
            at += len(index or b"")
        self._sink.write(b"".join(filter(None, indexes)))
        return starts

    def _encode(self, table: pa.Table, leaves: Sequence[int]) -> list[Part]:
        """A table as a row group in memory, whose chunks are these Parquet columns."""
        file = _encoded(table.replace_schema_metadata(None), self._options | {"store_schema": False})
        view = memoryview(file)
        chunks = raw_chunks(footer_bytes(file), 0)
        return [
            Part(leaf, chunk, lambda start, end: view[start:end], True)
            for leaf, chunk in zip(leaves, chunks, strict=True)
        ]

    def _fixed(self, columns: Mapping[str, str], constants: Mapping[str, pa.Scalar]) -> dict[str, pa.Scalar]:
        """What the columns hold that are not copied."""
        fixed = {}
        for field in self.schema:
            if field.name not in columns:
                fixed[field.name] = constants.get(field.name, pa.scalar(None))
                if not field.nullable and not fixed[field.name].is_valid:
                    raise SchemaError(f"column {field.name!r} may not be null, but the row groups to copy lack it")
        return fixed

    def _constant_parts(self, fixed: Mapping[str, pa.Scalar], rows: int) -> list[Part]:
        return [part for name, value in fixed.items() for part in self._constant(name, value, rows)]

    def _constant(self, name: str, value: pa.Scalar, rows: int) -> list[Part]:
        """The chunks of a column of one value, kept from one block for the next."""
        key = name, value, rows
        if key in self._constants:
            self._constants.move_to_end(key)
        else:
            field = self.schema.field(name)
            column = pa.repeat(value, 1).cast(field.type).take(pa.repeat(0, rows))
            table = pa.table([column], schema=pa.schema([field]))
            self._constants[key] = self._encode(table, self._target.by_column[name])
            if len(self._constants) > _CONSTANTS_KEPT:
                self._constants.popitem(last=False)
        return self._constants[key]


def _encoded(table: pa.Table, options: Mapping[str, Any]) -> pa.Buffer:
    """A file in memory of one row group, or of none for no rows."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        if table.num_rows:
            writer.write_table(table, row_group_size=table.num_rows)
    return sink.getvalue()


def _read(part: Part, extent: tuple[int, int]) -> bytes | memoryview:
    data = part.read(*extent)
    if len(data) != extent[1] - extent[0]:
        raise CorruptFileError(f"a column chunk at byte {extent[0]} has {len(data)} bytes, not {extent[1] - extent[0]}")
    return data


def _indexes(part: Part, by: int) -> tuple[bytes | None, bytes | None]:
    """The chunk's column index and offset index, so many bytes further. A broken one is left out: rows are read without."""
    chunk = part.chunk
    column_index = bytes(_read(part, chunk.column_index)) if chunk.column_index and part.ordered else None
    try:
        offset_index = moved_offset_index(bytes(_read(part, chunk.offset_index)), by) if chunk.offset_index else None
    except CorruptFileError:
        return None, None
    return column_index, offset_index
