"""Row groups copied without decoding: which can be, what to fetch for it, and their chunks as the mix's columns.

Only a copy shares its bytes with what is stored already: the same rows encoded anew by another writer are 91 to 98 % new.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from pipeline.errors import CorruptFileError, SchemaError
from pipeline.parquet.footer import Footer
from pipeline.parquet.parsed import parse
from pipeline.parquet.raw_chunk import RawChunk, raw_chunks
from pipeline.parquet.shape import schema_footer, schema_leaves, shapes_of
from pipeline.parquet.subset import column_orders, row_group_rows

# Writers whose files readers decode in ways of their own, which they tell by a name that a copy has no longer: PARQUET-246 and
# PARQUET-251 (parquet-mr), PARQUET-816 (its sizes of chunks), ARROW-10353 (compressed pages of parquet-cpp).
_ODD_WRITER = re.compile(
    r"parquet-mr version 1\.([0-7]\.|8\.0)|parquet-mr( \(|$)|parquet-cpp version|parquet-cpp-arrow version [0-2]\."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawGroup:
    """A row group to copy: its place in a footer, and who reads bytes [start, end) of its file."""

    footer: Footer
    position: int
    read: Callable[[int, int], bytes | memoryview]

    @property
    def rows(self) -> int:
        """Its rows."""
        return row_group_rows(self.footer.raw, self.position)


class Part(NamedTuple):
    """A column chunk that becomes a column of another file: which of its Parquet columns, and who reads its bytes.

    `ordered` says that its bounds are of the order that the other file has.
    """

    leaf: int
    chunk: RawChunk
    read: Callable[[int, int], bytes | memoryview]
    ordered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedGroup:
    """What is copied of a row group, in file order; all of it is [start, end) of its file."""

    rows: int
    parts: list[Part]
    start: int
    end: int


class Target:
    """The Parquet columns of a file that row groups are copied into: in order, by top-level column, and how they compare."""

    def __init__(self, raw: bytes) -> None:
        self.leaves = schema_leaves(raw)
        self.orders = column_orders(raw)
        self.by_column: dict[str, list[int]] = {}
        for place, leaf in enumerate(self.leaves):
            self.by_column.setdefault(leaf.column, []).append(place)


def copy_ranges(footer: Footer, position: int, columns: Iterable[str]) -> list[tuple[int, int]]:
    """What to fetch of a file to copy these top-level columns of a row group: column chunks and page indexes, in file order.

    Raises CorruptFileError as `raw_chunks`.
    """
    wanted = set(columns)
    names = [column for _, column in parse(footer.raw).columns]
    chunks = raw_chunks(footer.raw, position)
    found: list[tuple[int, int]] = []
    for column, chunk in zip(names, chunks, strict=True):
        if column in wanted:
            found.append((chunk.start, chunk.end))
            found += [extent for extent in (chunk.column_index, chunk.offset_index) if extent]
    return sorted(found)


def why_not_copied(footer: Footer, schema: pa.Schema, columns: Mapping[str, str]) -> str | None:
    """Why row groups of such a file cannot be copied raw as these columns (of the mix to those of the file), or `None`.

    The footer may have no row groups; of those that it has, the first is looked at.
    """
    metadata = footer.metadata()
    if _ODD_WRITER.match(metadata.created_by or ""):
        return f"its writer is {metadata.created_by.split(' (')[0]}, whose files readers treat in a way of their own"
    if not columns:
        return "no column is kept"
    found, wanted = shapes_of(footer), shapes_of(schema_footer(schema))
    for name, source in columns.items():
        if source not in found:
            return f"it has no column {source!r}"
        one, other = found[source], wanted[name]
        if any(leaf[0] == "INT96" for leaf in one.leaves):
            return f"column {source!r} has timestamps as INT96"
        if one.values != other.values:
            return f"column {source!r} is {one.values} and {other.values} in the mix"
        if one.leaves != other.leaves:
            physical, here = ("/".join(_described(leaf) for leaf in leaves) for leaves in (one.leaves, other.leaves))
            return f"column {source!r} is stored as {physical} and as {here} in the mix"
    if metadata.num_row_groups:
        try:
            raw_chunks(footer.raw, 0)
        except CorruptFileError as err:
            return str(err)
    return None


def _described(leaf: tuple[str, int, int, int]) -> str:
    kind, length, definition, repetition = leaf
    return f"{kind}({length}) levels {definition}, {repetition}"


def parts_of(group: RawGroup, columns: Mapping[str, str], target: Target) -> CopiedGroup:
    """A row group as columns of another file (its top-level columns to those of the group's file).

    Raises SchemaError where `why_not_copied` would have said no and it shows, CorruptFileError as `raw_chunks`.
    """
    raw = group.footer.raw
    sources: dict[str, list[int]] = {}
    for place, (_, column) in enumerate(parse(raw).columns):
        sources.setdefault(column, []).append(place)
    chunks, orders = raw_chunks(raw, group.position), column_orders(raw)
    found: list[Part] = []
    for name, source in columns.items():
        leaves, places = target.by_column[name], sources.get(source, [])
        if [target.leaves[leaf].kind for leaf in leaves] != [chunks[place].kind for place in places]:
            raise SchemaError(f"column {source!r} is stored in another way than {name!r}, which it was to be copied as")
        for leaf, place in zip(leaves, places, strict=True):
            ordered = orders[place : place + 1] == target.orders[leaf : leaf + 1]
            found.append(Part(leaf, chunks[place], group.read, ordered))
    return CopiedGroup(
        rows=group.rows,
        parts=sorted(found, key=lambda part: part.chunk.start),
        start=min(chunk.start for chunk in chunks),
        end=max(chunk.end for chunk in chunks),
    )
