"""Rows into files by the values of some columns: `lang=en/`, `lang=de/`, as Spark and Hive name such folders.

Each value has a `SplitWriter` of its own. All of them together hold no more rows than one row group: beyond that the value that
holds the most writes its. Few files are open at a time; the one written to longest ago is ended. So rows that come sorted by
the columns make as few files as there are values, and rows that do not make more, smaller ones, in the same memory.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.errors import OptionError
from pipeline.parquet.writer import SplitWriter

# Of each file that is open, storage's client holds up to 64 MB.
_OPEN_FILES = 2
_NULL = "__HIVE_DEFAULT_PARTITION__"
_MOST_BYTES = 200
_NEVER = re.compile(r"[\x00-\x1f\x7f\\]")
# What Spark escapes in a folder's name (ExternalCatalogUtils.escapePathName).
_ESCAPED = frozenset([*map(chr, range(1, 32)), *"\"#%'*/:=?\\{[]^", "\x7f"])


class PartitionedWriter:
    """A stream of batches as files in folders. `open_split(folder)` gives the writer of a folder's files.

    `max_bytes` bounds the rows that are held, in bytes as Arrow counts them.
    """

    def __init__(self, columns: Sequence[str], open_split: Callable[[str], SplitWriter], *, max_bytes: int) -> None:
        self._columns = tuple(columns)
        self._open_split = open_split
        self._max_bytes = max_bytes
        self._splits: dict[str, SplitWriter] = {}
        self._opened: OrderedDict[str, None] = OrderedDict()
        self._held = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch; its rows keep their order within a folder."""
        for folder, rows in rows_by_folder(batch, self._columns):
            split = self._splits.get(folder) or self._splits.setdefault(folder, self._open_split(folder))
            before = split.pending_bytes
            split.write(rows)
            self._held += split.pending_bytes - before
            self._bound_files(folder)
            while self._held > self._max_bytes:
                fullest = max(self._splits, key=lambda one: self._splits[one].pending_bytes)
                self._held -= self._splits[fullest].pending_bytes
                self._splits[fullest].flush(batch.schema)
                self._bound_files(fullest)

    def close(self, schema: pa.Schema, *, at_least_one: bool) -> None:
        """Write what is left and end all files. No rows make one empty file, in no folder, when `at_least_one`."""
        for split in self._splits.values():
            split.close(schema, at_least_one=False)
        if at_least_one and not self._splits:
            self._open_split("").close(schema, at_least_one=True)

    def _bound_files(self, folder: str) -> None:
        """End the files that were written to longest ago, after one of `folder` may have been, when too many are open."""
        self._opened.pop(folder, None)
        if self._splits[folder].is_open:
            self._opened[folder] = None
        while len(self._opened) > _OPEN_FILES:
            oldest, _ = self._opened.popitem(last=False)
            self._splits[oldest].end_file()


def check_columns(columns: Sequence[str], schema: pa.Schema) -> None:
    """Raises OptionError for columns that are not there, or whose values name no folders."""
    for name in columns:
        if name not in schema.names:
            known = ", ".join(map(repr, schema.names))
            raise OptionError(f"option 'partition_columns' names column {name!r}; the DataFrame has {known}")
        kind = schema.field(name).type
        tests = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean, types.is_date)
        if not any(test(kind) for test in (*tests, types.is_decimal)):
            raise OptionError(
                f"option 'partition_columns': column {name!r} is {kind}; expected strings, whole numbers, decimals, booleans or "
                "dates, whose values name folders; cast it"
            )
    if len(set(columns)) < len(columns) or set(columns) == set(schema.names):
        raise OptionError(
            f"option 'partition_columns' must name each column once and leave one out, got {','.join(columns)!r}"
        )


def rows_by_folder(batch: pa.RecordBatch, columns: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of each folder (`a=1/b=x/`), as batches that hold no others alive; folders in the order of their values' rows."""
    if not batch.num_rows:
        return
    folders, codes = [""], pa.repeat(pa.scalar(0, pa.int64()), batch.num_rows)
    for name in columns:
        inner, values = _encoded(batch.column(name))
        # Encoded again after each column: there are no more folders than rows, however many there could be.
        codes, pairs = _encoded(pc.add(pc.multiply(codes, len(values)), inner))
        names = [f"{_escape(name)}={_folder_of(name, value)}/" for value in values.to_pylist()]
        folders = [folders[pair // len(names)] + names[pair % len(names)] for pair in pairs.to_pylist()]
    order = pc.sort_indices(codes)
    at = 0
    for code, count in enumerate(pc.value_counts(codes.take(order)).field(1).to_pylist()):
        rows = order.slice(at, count)
        at += count
        yield folders[code], batch if len(folders) == 1 else batch.take(rows)


def _encoded(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """A number for each value, in the order of their first rows, and the values by number."""
    found = pc.dictionary_encode(column, null_encoding="encode")
    return found.indices.cast(pa.int64()), found.dictionary


def _folder_of(name: str, value: Any) -> str:
    """Raises OptionError for a value that no folder on the Hub can be called."""
    found = _escape(_text(value))
    if len(found.encode()) > _MOST_BYTES or _NEVER.search(_text(value)):
        raise OptionError(
            f"option 'partition_columns': {str(value)[:50]!r} in column {name!r} names no folder; expected up to "
            f"{_MOST_BYTES} bytes without control characters and backslashes; choose another column"
        )
    return found


def _text(value: Any) -> str:
    """A value as Spark casts it to a string; nothing and the empty text are the same folder there."""
    if value is None or value == "":
        return _NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if hasattr(value, "as_tuple") else str(value)


def _escape(text: str) -> str:
    return "".join(f"%{ord(sign):02X}" if sign in _ESCAPED else sign for sign in text)
