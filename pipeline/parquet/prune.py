"""Which row groups, and which rows of them, a filter could be true for: decided from the footer and the page index alone.

Whatever is missing, truncated or of a type without a certain order keeps its rows; the filter itself runs over what is left. The
page index (a ColumnIndex with bounds per page, an OffsetIndex with each page's first row, per column chunk) lies before the
footer and costs reads of its own, so it is looked at only for row groups that the statistics do not exclude. Row groups are
named by their positions in the footer at hand, which may be that of one row group alone.

https://github.com/apache/parquet-format/blob/master/PageIndex.md
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import CorruptFileError
from pipeline.parquet.blocks import merge_ranges
from pipeline.parquet.bounds import Bounds, Leaf, chunk_bounds, filter_leaves, possible
from pipeline.parquet.footer import Footer
from pipeline.parquet.subset import column_chunks
from pipeline.parquet.thrift import STRUCT, binaries, booleans, fields, integer, integers, items
from pipeline.predicate import Predicate

_OFFSET_INDEX, _COLUMN_INDEX = 4, 6  # of ColumnChunk: where each begins; its length is the field after
_NULL_PAGES, _MIN_VALUES, _MAX_VALUES, _NULL_COUNTS = 1, 2, 3, 5  # of ColumnIndex
_PAGE_LOCATIONS, _FIRST_ROW = 1, 3  # of OffsetIndex, of PageLocation
_ANY_BYTES = 1 << 62
_PLAIN = {"BOOLEAN": "<?", "INT32": "<i", "INT64": "<q", "FLOAT": "<f", "DOUBLE": "<d"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFilter:
    """A filter over one file's footer; `schema` is that of the rows that the filter was compiled for."""

    footer: Footer
    schema: pa.Schema
    predicate: Predicate

    def leaves(self) -> tuple[Leaf, ...]:
        """The file's columns that can tell something."""
        return filter_leaves(self.footer, self.schema, self.predicate)

    def possible(self, stretches: Sequence[Sequence[Bounds]]) -> list[bool]:
        """Per stretch of rows, with the bounds of each of `leaves` in it, whether the filter could be true in it."""
        return possible(self.predicate, self.schema, self.leaves(), stretches)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageIndex:
    """Ranges of a file that hold page indexes: where each starts, and its bytes."""

    pieces: Sequence[tuple[int, bytes]]

    def read(self, extent: tuple[int, int]) -> bytes:
        """The bytes that stand there in the file."""
        start, end = extent
        for first, data in self.pieces:
            if first <= start < end <= first + len(data):
                return data[start - first : end - first]
        raise CorruptFileError(f"a page index of bytes {start} to {end} is not where the others are")


def kept_row_groups(file: FileFilter, row_groups: Iterable[int]) -> list[int]:
    """Those of the row groups that may hold a row for which the filter is true, in their order. Reads nothing."""
    groups = list(row_groups)
    leaves = file.leaves()
    stretches = [[chunk_bounds(leaf, file.footer, group) for leaf in leaves] for group in groups]
    return [group for group, kept in zip(groups, file.possible(stretches), strict=True) if kept]


def page_index_ranges(file: FileFilter, row_group: int, hole_bytes: int) -> list[tuple[int, int]]:
    """The ranges (first, end) that hold the page indexes of the filter's columns in a row group; none without any.

    All ColumnIndexes of a file usually stand together, and all OffsetIndexes behind them, so that there are one or two, with
    what lies between columns read along where it is less than `hole_bytes`.
    """
    pairs = _index_extents(file.footer.raw, row_group, file.leaves())
    return merge_ranges(sorted(extent for pair in pairs for extent in pair or ()), hole_bytes, _ANY_BYTES)


def possible_rows(file: FileFilter, row_group: int, index: PageIndex) -> list[tuple[int, int]]:
    """The rows (first, end; from the row group's first) that the pages' bounds leave to the filter; none excludes it."""
    leaves = file.leaves()
    rows = file.footer.metadata().row_group(row_group).num_rows
    extents = _index_extents(file.footer.raw, row_group, leaves)
    columns = []
    for leaf, pair in zip(leaves, extents, strict=True):
        whole = chunk_bounds(leaf, file.footer, row_group)
        columns.append((pair and _pages(index, pair, leaf, whole, rows)) or ([0], [whole]))
    starts = sorted({start for firsts, _ in columns for start in firsts} | {0})
    stretches = [[bounds[bisect_right(firsts, start) - 1] for firsts, bounds in columns] for start in starts]
    found: list[tuple[int, int]] = []
    for start, end, kept in zip(starts, [*starts[1:], rows], file.possible(stretches), strict=True):
        if kept:
            found.append((found.pop()[0] if found and found[-1][1] == start else start, end))
    return found


_Extents = tuple[tuple[int, int], tuple[int, int]]


def _index_extents(raw: bytes, row_group: int, leaves: Sequence[Leaf]) -> list[_Extents | None]:
    """Per column, the bytes of its ColumnIndex and its OffsetIndex in the file, if it has both."""
    chunks = column_chunks(raw, row_group)
    found: list[_Extents | None] = []
    for leaf in leaves:
        chunk, _ = fields(raw, chunks[leaf.index].start)
        first, second = (_extent(raw, chunk, number) for number in (_COLUMN_INDEX, _OFFSET_INDEX))
        found.append((first, second) if first and second else None)
    return found


def _extent(raw: bytes, chunk: Any, number: int) -> tuple[int, int] | None:
    if not {number, number + 1} <= chunk.keys():
        return None
    start, length = integer(raw, chunk[number]), integer(raw, chunk[number + 1])
    return (start, start + length) if start > 0 and length > 0 else None


def _pages(
    index: PageIndex, extents: _Extents, leaf: Leaf, whole: Bounds, rows: int
) -> tuple[list[int], list[Bounds]] | None:
    """Each page's first row and bounds; `None` when the index is not that of such a chunk."""
    try:
        firsts = _first_rows(index.read(extents[1]))
        bounds = _page_bounds(index.read(extents[0]), leaf, whole)
    except (CorruptFileError, KeyError):  # rows are read without an index: a bad one only excludes nothing
        return None
    rising = all(one < two for one, two in zip(firsts, [*firsts[1:], rows], strict=True))
    return (firsts, bounds) if firsts[:1] == [0] and rising and len(firsts) == len(bounds) else None


def _first_rows(data: bytes) -> list[int]:
    places = items(data, fields(data, 0)[0][_PAGE_LOCATIONS], STRUCT)
    return [integer(data, fields(data, place.start)[0][_FIRST_ROW]) for place in places]


def _page_bounds(data: bytes, leaf: Leaf, whole: Bounds) -> list[Bounds]:
    """A page's bounds count only where the chunk's do: pyarrow has checked the order that its writer used."""
    index, _ = fields(data, 0)
    empty = booleans(data, index[_NULL_PAGES])
    lows, highs = binaries(data, index[_MIN_VALUES]), binaries(data, index[_MAX_VALUES])
    counts: list[int] | list[None] = [None] * len(empty)
    if _NULL_COUNTS in index:
        counts = integers(data, index[_NULL_COUNTS])
    if not len(empty) == len(lows) == len(highs) == len(counts):
        raise CorruptFileError(f"a page index has {len(empty)} pages, {len(lows)} and {len(highs)} bounds")
    known = whole.low is not None and whole.high is not None
    return [
        Bounds(
            low=_physical(low, leaf.physical) if known else None,
            high=_physical(high, leaf.physical) if known else None,
            values=not null,
            nulls=null or nulls != 0,
        )
        for null, low, high, nulls in zip(empty, lows, highs, counts, strict=True)
    ]


def _physical(value: bytes, kind: str) -> Any:
    """A plainly encoded value; `None` when it is none."""
    if kind not in _PLAIN:
        return value
    try:
        return struct.unpack(_PLAIN[kind], value)[0]
    except struct.error:
        return None
