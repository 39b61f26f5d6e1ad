"""Rows as batches that are small enough for a worker: so many rows, or so many bytes, whichever is less."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

MOST_ROWS = 10_000
MOST_BYTES = 16 << 20


def bounded(rows: pa.Table | pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Rows in batches of at most 10,000 rows, and about 16 MB where rows are of about the same size."""
    if not rows.num_rows:
        return
    most = max(1, min(MOST_ROWS, rows.num_rows * MOST_BYTES // max(rows.nbytes, 1)))
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows.combine_chunks()
    yield from table.to_batches(max_chunksize=most)
