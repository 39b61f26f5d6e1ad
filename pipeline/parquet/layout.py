"""How rows become Parquet. Two layouts, each for one way that data changes; both measured against Xet's deduplication.

`editable`  content-defined chunking, large row groups: for tables that change by inserts, deletes, appends.
`blocks`    small row groups, each padded so that it starts and ends on a Xet chunk boundary: for mixes. Any permutation of
            blocks deduplicates against any other.

Xet cuts a chunk where a rolling hash over 64 bytes matches, and starts anew at each cut, so a fixed 64-byte string forces a
cut wherever it stands. A pad is [marker][8 KiB filler][marker]; Parquet never reads what lies between row groups. The filler is
derived from the row group before it, so that it travels with it: a constant one would deduplicate elsewhere and split the
ranges (34 % new bytes instead of 1 %).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import types

from pipeline.parquet.features import Features, media_columns

if TYPE_CHECKING:
    from pipeline.parquet.footer import RowGroup

MARKER = b"C3pAKmYfs7ZGJjEZDaAmCt8NBOWNR4hrA622Es6NTFbK0l2VLc6R5nHPEVVqfxXC"
_FILLER_BYTES = 8 << 10
PAD_BYTES = _FILLER_BYTES + 2 * len(MARKER)
_FIRST_BYTE = 4  # after Parquet's magic bytes
FIRST_CHUNK_BYTES = _FIRST_BYTE + PAD_BYTES  # of a file in blocks: the first pad ends it
ROW_GROUP_BYTES = 32_000_000
# Measured on 80 MB of text and numbers: rows inserted (1 %) are 5.4 % of new bytes, appended (5 %) 6.2 %, removed (1 %) 2.2 %.
# With pyarrow's own sizes (256 KiB to 1 MiB): 3.8 to 6.5, 7.0 and 10; with dictionaries for all columns too: 5.7 to 7.7, 7.5
# and 12, in files that are 4 % larger.
_CHUNKING = {"min_chunk_size": 64 << 10, "max_chunk_size": 256 << 10, "norm_level": 0}
_DICTIONARY_BYTES = 128 << 10  # where a later row group has more distinct values, the rest of it goes without


class Kind(StrEnum):
    """The two layouts."""

    EDITABLE = "editable"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A layout and its sizes. `row_group_bytes`, as Arrow counts them, and `row_group_rows` are the most that a row group of
    `editable` has; blocks are cut by who writes them. `marker` is what ends a chunk in Xet storage (marker.py).
    """

    kind: Kind
    row_group_bytes: int = ROW_GROUP_BYTES
    row_group_rows: int | None = None
    dictionary_columns: tuple[str, ...] = ()
    marker: bytes = MARKER


def writer_options(
    layout: Layout, schema: pa.Schema, features: Features | None, repeating: Collection[str] = ()
) -> dict[str, Any]:
    """The arguments of `pyarrow.parquet.ParquetWriter` for a layout.

    `repeating` are the paths of columns that hold few distinct values: `editable` has dictionaries of those that are not media.
    Blocks have not: how one is encoded must not depend on the file that it is in.
    """
    columns = leaves(schema)
    media = media_columns(features)
    plain = {path for path, column, kind in columns if column in media or _is_binary(kind)}
    options: dict[str, Any] = {
        "compression": {path: "none" if path in plain else "zstd" for path, _, _ in columns},
        "write_page_index": True,
        "write_page_checksum": True,  # a flipped bit is an error for who reads it, for 2 % of the time to write
        # Nobody looks for an image between two others, and of a row of 300 MB statistics keep six copies in memory.
        "write_statistics": [
            path for path, _, kind in columns if not _is_binary(kind) or types.is_fixed_size_binary(kind)
        ],
        "store_schema": True,
        "dictionary_pagesize_limit": _DICTIONARY_BYTES,
    }
    if layout.kind is Kind.BLOCKS:
        wanted = [path for path, column, _ in columns if column in layout.dictionary_columns]
        return options | {"use_dictionary": wanted, "use_content_defined_chunking": False}
    wanted = [path for path, _, _ in columns if path in repeating and path not in plain]
    return options | {"use_dictionary": wanted, "use_content_defined_chunking": _CHUNKING}


def leaves(schema: pa.Schema) -> list[tuple[str, str, pa.DataType]]:
    """Each Parquet column of a schema: its dotted path, its top-level column, its type."""
    found: list[tuple[str, str, pa.DataType]] = []

    def walk(path: str, column: str, kind: pa.DataType) -> None:
        if types.is_struct(kind):
            for child in kind:
                walk(f"{path}.{child.name}", column, child.type)
        elif types.is_map(kind):
            walk(f"{path}.key_value.key", column, kind.key_type)
            walk(f"{path}.key_value.value", column, kind.item_type)
        elif is_list_like(kind):
            walk(f"{path}.list.element", column, kind.value_type)
        elif isinstance(kind, pa.BaseExtensionType):
            walk(path, column, kind.storage_type)
        else:
            found.append((path, column, kind))

    for one in schema:
        walk(one.name, one.name, one.type)
    return found


def is_list_like(kind: pa.DataType) -> bool:
    """Whether values are lists, in any of the forms that Arrow has."""
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(test(kind) for test in tests)


def pad(digest: bytes, marker: bytes = MARKER) -> bytes:
    """The bytes between two blocks, for a 16-byte digest of what came before."""
    return marker + digest * (_FILLER_BYTES // len(digest)) + marker


def is_padded(row_groups: Sequence[RowGroup]) -> bool:
    """Whether a file's row groups lie between pads, as those of `blocks` do. Without row groups it is not."""
    ranges = [group.ranges() for group in row_groups]
    starts = [one[0][0] for one in ranges]
    ends = [_FIRST_BYTE, *(max(end for _, end in one) for one in ranges[:-1])]
    return bool(ranges) and all(start - end == PAD_BYTES for start, end in zip(starts, ends, strict=True))


def _is_binary(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        return _is_binary(kind.value_type)
    if types.is_binary_view(kind):
        return True
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))
