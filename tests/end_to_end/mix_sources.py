"""Rows that look like images, and files of them in the layout that mixes copy from."""

import io
import random

import pyarrow as pa

from pipeline.parquet.layout import Kind, Layout
from pipeline.parquet.writer import FileWriter


def image_rows(first, count, row_bytes):
    """Rows with an id and so many random bytes."""
    dice = random.Random(first)
    ids = range(first, first + count)
    return pa.table({"id": pa.array(ids, pa.int64()), "image": [dice.randbytes(row_bytes) for _ in ids]})


def in_blocks(table, block_rows):
    """A file in the layout `blocks`."""
    sink = io.BytesIO()
    identity = f"{table['id'][0]}"
    writer = FileWriter(sink, table.schema, layout=Layout(kind=Kind.BLOCKS), features=None, identity=identity)
    for start in range(0, table.num_rows, block_rows):
        writer.write_row_group(table.slice(start, block_rows))
    writer.close()
    return sink.getvalue()
