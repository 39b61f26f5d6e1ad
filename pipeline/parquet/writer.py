"""Record batches into one Parquet file after another, each into a sink that is given.

A `FileWriter` writes one file in a layout. A `SplitWriter` cuts a stream of batches into files by rows and bytes. Neither
holds more than one row group; the sink is anything with `write`, so that a file can be uploaded while it is made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from pipeline.errors import OptionError
from pipeline.parquet.block_file import BlockFile
from pipeline.parquet.cuts import Cuts
from pipeline.parquet.dictionaries import repeating_columns
from pipeline.parquet.features import Features, with_features
from pipeline.parquet.layout import Kind, Layout, writer_options
from pipeline.parquet.rowgroup_copy import RawGroup
from pipeline.parquet.sinks import CountingSink
from pipeline.parquet.sinks import WrittenFile as WrittenFile

_GROUPS_PER_FILE = 8


def check_writable(schema: pa.Schema) -> None:
    """Raises what pyarrow raises for a type that Parquet cannot hold, such as a struct without children."""
    pq.ParquetWriter(pa.BufferOutputStream(), schema).close()


class FileWriter:
    """One Parquet file. `identity` makes the first pad of a `blocks` file its own, so that global deduplication finds it."""

    def __init__(
        self, sink: Any, schema: pa.Schema, *, layout: Layout, features: Features | None, identity: str = ""
    ) -> None:
        self._file: BlockFile | EditableFile
        if layout.kind is Kind.BLOCKS:
            self._file = BlockFile(sink, schema, layout=layout, features=features, identity=identity)
        else:
            self._file = EditableFile(sink, schema, layout=layout, features=features)

    @property
    def schema(self) -> pa.Schema:
        """The file's columns, with features."""
        return self._file.schema

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._file.rows

    @property
    def num_bytes(self) -> int:
        """Bytes of these rows, as Arrow holds them; for copied ones, as their pages do before compression."""
        return self._file.num_bytes

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.size

    def write_row_group(self, table: pa.Table) -> None:
        """Write a table as one row group. Empty tables write nothing."""
        self._file.write_row_group(table)

    def copy_block(
        self, groups: Sequence[RawGroup], columns: Mapping[str, str], constants: Mapping[str, pa.Scalar] | None = None
    ) -> None:
        """Copy row groups into a `blocks` file, as `BlockFile.copy_block` does."""
        assert isinstance(self._file, BlockFile), "an editable file is cut by its rows, not by those of others"
        self._file.copy_block(groups, columns, constants)

    def close(self) -> WrittenFile:
        """Write the footer."""
        return self._file.close()


class EditableFile:
    """A file in the layout `editable`. Nothing is written before the first row group, which decides about dictionaries."""

    def __init__(self, sink: Any, schema: pa.Schema, *, layout: Layout, features: Features | None) -> None:
        self._sink = CountingSink(sink)
        self._file = pa.PythonFile(self._sink, mode="w")
        self.schema = with_features(schema, features)
        self._layout, self._features = layout, features
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0
        self.num_bytes = 0

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._sink.size

    def write_row_group(self, table: pa.Table) -> None:
        """Write a table as one row group. Empty tables write nothing."""
        if not table.num_rows:
            return
        writer = self._begun(table)
        writer.write_table(table.replace_schema_metadata(self.schema.metadata), row_group_size=table.num_rows)
        self.rows += table.num_rows
        self.num_bytes += table.nbytes

    def close(self) -> WrittenFile:
        """Write the footer, which says that the file is cut by content, under the key that `datasets` has for it."""
        writer = self._begun(self.schema.empty_table())
        writer.add_key_value_metadata({"content_defined_chunking": "true"})
        writer.close()
        self._file.close()
        return WrittenFile(rows=self.rows, num_bytes=self.num_bytes, size=self.size)

    def _begun(self, first: pa.Table) -> pq.ParquetWriter:
        """The writer, which is made for the first row group."""
        if self._writer is None:
            options = writer_options(self._layout, self.schema, self._features, repeating_columns(first))
            self._writer = pq.ParquetWriter(self._file, self.schema, **options)
        return self._writer


class SplitWriter:
    """A stream of batches as files of at most `max_rows` rows, and about `max_bytes` bytes each.

    Row groups end where their rows say so (cuts.py), at `row_group_bytes` and `row_group_rows` at the latest. A file ends with
    a row group, so that it has at most an eighth more than `max_bytes`, or a row more. `open_file(index)` gives a FileWriter;
    `close_file(writer)` ends one. A file is always opened, so that no rows still make one valid, empty file when `at_least_one`.
    """

    def __init__(
        self,
        open_file: Callable[[int], FileWriter],
        close_file: Callable[[FileWriter], None],
        *,
        row_group_bytes: int,
        row_group_rows: int | None = None,
        max_rows: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        if max_rows is not None and max_rows < 1:
            raise OptionError(f"option 'maxRecordsPerFile' must be at least 1, got {max_rows}")
        self._open, self._close = open_file, close_file
        group_bytes = min(row_group_bytes, max_bytes // _GROUPS_PER_FILE) if max_bytes else row_group_bytes
        self._cuts = Cuts(group_bytes, row_group_rows)
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._current: FileWriter | None = None
        self._files = 0
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0

    @property
    def pending_bytes(self) -> int:
        """What is held of the row group that has begun, as Arrow counts it."""
        return self._cuts.bytes

    @property
    def is_open(self) -> bool:
        """Whether a file is begun and not ended."""
        return self._current is not None

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch; write each row group that it completes."""
        while batch.num_rows:
            room = min(batch.num_rows, self._room())
            self._write(batch.slice(0, room))
            if self._room() == 0:
                self.flush(batch.schema)
            batch = batch.slice(room)

    def flush(self, schema: pa.Schema) -> None:
        """End the row group that has begun."""
        self._cuts.reset()
        if not self._pending:
            return
        writer = self._opened()
        table = pa.Table.from_batches(self._pending, schema)
        self._pending, self._pending_rows = [], 0
        writer.write_row_group(table)
        if self._room() == 0 or (self._max_bytes is not None and writer.size >= self._max_bytes):
            self.end_file()

    def end_file(self) -> None:
        """End the file that is open; rows that wait go to the next one."""
        if self._current is not None:
            self._close(self._current)
            self._current = None

    def close(self, schema: pa.Schema, *, at_least_one: bool) -> None:
        """Write what is left and end the last file."""
        self.flush(schema)
        if at_least_one and not self._files:
            self._opened()
        self.end_file()

    def _write(self, batch: pa.RecordBatch) -> None:
        at = 0
        for rows, ends in self._cuts.runs(batch):
            if rows:
                self._pending.append(batch.slice(at, rows))
                self._pending_rows += rows
                at += rows
            if ends:
                self.flush(batch.schema)

    def _room(self) -> int:
        """How many more rows the file takes."""
        if self._max_rows is None:
            return sys.maxsize
        return self._max_rows - self._pending_rows - (self._current.rows if self._current else 0)

    def _opened(self) -> FileWriter:
        if self._current is None:
            self._current = self._open(self._files)
            self._files += 1
        return self._current
