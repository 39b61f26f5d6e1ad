"""Footers as pyarrow parses them: those that were used last, and what many have in common.

Parsed, a footer takes seven times its bytes, so few stay. Most files of a dataset have the same columns; what is made of these is
kept from one footer for the next.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import pyarrow as pa
from pyarrow import parquet as pq

from pipeline.parquet.layout import leaves
from pipeline.parquet.thrift import fields

MAGIC = b"PAR1"
_PARSED_BYTES = 8 << 20  # of footers, which take 55 MB then
_LEAST_BYTES = 64 << 10  # what a small value counts as, so that there are few
_SCHEMA, _NUM_ROWS = 2, 3  # of FileMetaData
Key = TypeVar("Key")
Value = TypeVar("Value")
# Timestamps as INT96, Spark's own form: as nanoseconds those before 1677 or after 2262 would turn into others.
DECODING: Mapping[str, Any] = MappingProxyType({"coerce_int96_timestamp_unit": "us"})


class Recent(Generic[Key, Value]):
    """What was used last, up to so many bytes in all, and the very last whatever it has.

    Without a lock: a process that forks while another thread holds one would never get it. Each step is one that Python makes
    whole, and a value that two threads make at once is made twice.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[Key, tuple[int, Value]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """The value, if it is still there."""
        found = self._held.get(key)
        if found is None:
            return None
        with suppress(KeyError):
            self._held.move_to_end(key)
        return found[1]

    def put(self, key: Key, value: Value, num_bytes: int) -> None:
        """Keep a value for a while."""
        self._held[key] = max(num_bytes, _LEAST_BYTES), value
        while len(self._held) > 1 and sum(size for size, _ in list(self._held.values())) > self._max_bytes:
            self._held.popitem(last=False)


class Parsed:
    """What pyarrow makes of a footer's bytes."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.metadata: Any = pq.read_metadata(_as_file(raw))

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema that rows are decoded with."""
        return self._shape.schema

    @property
    def begin(self) -> bytes:
        """The footer's bytes up to the end of its Parquet schema."""
        return self._shape.begin

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Each Parquet column's path and its top-level column."""
        return self._shape.columns

    @cached_property
    def _shape(self) -> _Shape:
        global _last_shape
        found, texts = _last_shape, self.metadata.metadata
        if found is None or not self._raw.startswith(found.begin) or found.texts != texts:
            schema = pq.ParquetFile(_as_file(self._raw), metadata=self.metadata, **DECODING).schema_arrow
            before, _ = fields(self._raw, 0, until=_NUM_ROWS)
            end = before[_SCHEMA].end if _SCHEMA in before else len(self._raw)
            columns = [(plain_path(path), column) for path, column, _ in leaves(schema)]
            found = _last_shape = _Shape(begin=self._raw[:end], texts=texts, schema=schema, columns=columns)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What files of the same columns share: the bytes that describe these (a footer begins with them), and what is made of
    them and of the file's own texts."""

    begin: bytes
    texts: Mapping[bytes, bytes] | None
    schema: pa.Schema
    columns: list[tuple[str, str]]


_last_shape: _Shape | None = None
_parsed: Recent[bytes, Parsed] = Recent(_PARSED_BYTES)


def parse(raw: bytes) -> Parsed:
    """A footer's bytes, parsed, or found among those that were."""
    found = _parsed.get(raw)
    if found is None:
        found = Parsed(raw)
        _parsed.put(raw, found, len(raw))
    return found


def _as_file(raw: bytes) -> pa.BufferReader:
    """A file that has this footer and no rows."""
    return pa.BufferReader(MAGIC + raw + struct.pack("<I", len(raw)) + MAGIC)


def plain_path(path: str) -> str:
    """A path as people write it: `messages.role`, also where `messages` is a list."""
    return path.replace(".list.element", "").replace(".key_value", "")
