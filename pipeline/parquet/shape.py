"""The physical shape of a Parquet file's columns: what their bytes mean to a decoder, whatever they are called.

Two columns of one shape can change places: a chunk of one decodes as a chunk of the other. Names matter in structs alone, where
fields are told by them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet as pq
from pyarrow import types

from pipeline.errors import CorruptFileError
from pipeline.parquet.footer import Footer
from pipeline.parquet.layout import is_list_like
from pipeline.parquet.parsed import parse
from pipeline.parquet.thrift import BINARY, STRUCT, binary, fields, integer, items, write_binary, write_list_header

_SCHEMA, _NUM_ROWS = 2, 3  # of FileMetaData
_TYPE, _NAME, _NUM_CHILDREN = 1, 4, 5  # of SchemaElement


class SchemaLeaf(NamedTuple):
    """A Parquet column: its top-level column, its path (a Thrift list of names), its physical type."""

    column: str
    path: bytes
    kind: int


def schema_leaves(raw: bytes) -> list[SchemaLeaf]:
    """The Parquet columns of a FileMetaData, in order. Raises CorruptFileError for bytes that are none."""
    before, _ = fields(raw, 0, until=_NUM_ROWS)
    elements = iter([fields(raw, item.start)[0] for item in items(raw, before[_SCHEMA], STRUCT)])
    found: list[SchemaLeaf] = []

    def walk(names: tuple[bytes, ...]) -> None:
        element = next(elements)
        names = (*names, binary(raw, element[_NAME]))
        if _NUM_CHILDREN in element:
            for _ in range(integer(raw, element[_NUM_CHILDREN])):
                walk(names)
        else:
            path = write_list_header(BINARY, len(names) - 1) + b"".join(map(write_binary, names[1:]))
            found.append(SchemaLeaf(names[1].decode(), path, integer(raw, element[_TYPE])))

    try:
        walk(())
    except (StopIteration, KeyError, IndexError) as err:
        raise CorruptFileError("a Parquet schema is not a tree of columns") from err
    return found


@lru_cache(maxsize=16)
def schema_footer(schema: pa.Schema) -> Footer:
    """The footer that pyarrow writes for a schema. Raises what pyarrow raises for a type that Parquet cannot hold."""
    sink = pa.BufferOutputStream()
    pq.ParquetWriter(sink, schema, store_schema=True).close()
    return Footer(raw=footer_bytes(sink.getvalue()))


def footer_bytes(file: pa.Buffer) -> bytes:
    """The FileMetaData of a file in memory."""
    length = int.from_bytes(file[file.size - 8 : file.size - 4].to_pybytes(), "little")
    return bytes(file[file.size - 8 - length : file.size - 8].to_pybytes())


class Shape(NamedTuple):
    """A top-level column: what a decoder makes of it, and of each of its Parquet columns physical type, length and levels."""

    values: str
    leaves: tuple[tuple[str, int, int, int], ...]


def shapes_of(footer: Footer) -> dict[str, Shape]:
    """The shape of each top-level column."""
    leaves: dict[str, list[tuple[str, int, int, int]]] = {}
    parquet = footer.metadata().schema
    for place, (_, column) in enumerate(parse(footer.raw).columns):
        leaf = parquet.column(place)
        levels = leaf.max_definition_level, leaf.max_repetition_level
        leaves.setdefault(column, []).append((leaf.physical_type, leaf.length, *levels))
    return {field.name: Shape(_values(field), tuple(leaves.get(field.name, ()))) for field in footer.schema()}


def _values(field: pa.Field) -> str:
    """A type without what does not show in a file's bytes: dictionaries, the width of offsets, the name of a time zone."""
    kind: Any = field.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        text = "struct<" + ", ".join(f"{child.name!r}: {_values(child)}" for child in kind) + ">"
    elif types.is_map(kind):
        text = f"map<{_values(kind.key_field)}, {_values(kind.item_field)}>"
    elif is_list_like(kind):
        length = kind.list_size if types.is_fixed_size_list(kind) else ""
        text = f"list<{_values(kind.value_field)}>{length}"
    elif types.is_timestamp(kind):
        text = f"timestamp[{kind.unit}{', UTC' if kind.tz else ''}]"
    elif types.is_decimal(kind):
        text = f"decimal({kind.precision}, {kind.scale})"
    else:
        text = str(kind).removeprefix("large_").removesuffix("_view")
    return text if field.nullable else f"{text} not null"
