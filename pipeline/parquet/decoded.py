"""How large rows get when they are decoded: a dictionary of few long texts makes a small file and large batches.

Writers of today count the bytes of texts before encoding, as SizeStatistics in the footer
(https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift). Of those who do not, the encoded size is
all that is known.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pipeline.parquet.footer import Footer, RowGroup
from pipeline.parquet.subset import column_chunks
from pipeline.parquet.thrift import Field, fields, integer

_META_DATA, _SIZE_STATISTICS, _TEXT_BYTES = 3, 16, 1  # of ColumnChunk, ColumnMetaData, SizeStatistics


def decoded_bytes(footer: Footer, group: RowGroup, places: Collection[int]) -> int:
    """About the bytes that these columns of a row group (places in its list of chunks) have in memory, at least as encoded.

    Raises CorruptFileError for a footer that is none.
    """
    encoded = footer.metadata().row_group(group.position)
    columns = {place: encoded.column(place) for place in places}
    growing = [place for place, column in columns.items() if _may_grow(column)]
    chunks = column_chunks(footer.raw, group.position) if growing else []
    texts = {place: _text_bytes(footer.raw, chunks[place]) for place in growing}
    return sum(max(column.total_uncompressed_size, texts.get(place, 0)) for place, column in columns.items())


def _may_grow(chunk: Any) -> bool:
    shared = chunk.has_dictionary_page or "DELTA_BYTE_ARRAY" in chunk.encodings
    return bool(shared and chunk.physical_type == "BYTE_ARRAY")


def _text_bytes(raw: bytes, chunk: Field) -> int:
    """The bytes of a chunk's texts before encoding, 0 where its writer did not say."""
    at = chunk
    for number in (_META_DATA, _SIZE_STATISTICS, _TEXT_BYTES):
        found, _ = fields(raw, at.start)
        if number not in found:
            return 0
        at = found[number]
    return integer(raw, at)
