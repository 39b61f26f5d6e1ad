"""Row groups -> blocks. Pure: a block is a run of consecutive rows of one file, and never depends on another file.

Large row groups are cut into runs of the same size, small neighbours are joined, so that blocks have about `block_bytes`
whatever layout the source has. A file's cuts follow from its own footer alone: growing a source moves no block of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.parquet.footer import Footer

BLOCK_BYTES = 1 << 20
MAX_BLOCK_ROWS = 4_096
MIN_BLOCKS = 16
MIN_BLOCK_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows [start, start + rows) of a file, counted over the rows that the source's `where` keeps."""

    source: int
    file: int
    start: int
    rows: int

    @property
    def end(self) -> int:
        """The row after the last."""
        return self.start + self.rows


def footer_id(footer: Footer) -> str:
    """What names a file by its content, wherever it lies: a hash of its footer."""
    return hashlib.blake2b(footer.raw, digest_size=8).hexdigest()


def row_bytes(footer: Footer, columns: Sequence[str]) -> float:
    """What a row of these columns takes in the file, on average."""
    size = sum(group.size(columns) for group in footer.row_groups())
    return size / footer.rows if footer.rows else 0.0


def rows_per_block(footer: Footer, columns: Sequence[str], block_bytes: int | None) -> int:
    """How many rows of a file make a block: `block_bytes` worth of them, at least one.

    By default 1 MiB and at most 4,096 rows; and a small file makes 16 blocks, if they get 16 KiB each, or there is little to
    shuffle. A pad costs 8 KiB per block.
    """
    row = max(1.0, row_bytes(footer, columns))
    if block_bytes is not None:
        return max(1, round(block_bytes / row))
    small = max(footer.rows // MIN_BLOCKS, round(MIN_BLOCK_BYTES / row))
    return max(1, min(round(BLOCK_BYTES / row), MAX_BLOCK_ROWS, small))


def cut_blocks(counts: Sequence[int], block_rows: int) -> list[tuple[int, int]]:
    """(start, rows) of each block of a file whose row groups have these counts of rows.

    A row group of more than `block_rows` rows is cut into equal runs; smaller neighbours are joined up to it.
    """
    blocks: list[tuple[int, int]] = []
    start = joined = at = 0
    for count in counts:
        if joined and joined + count > block_rows:
            blocks.append((start, joined))
            joined = 0
        if count > block_rows:
            runs = -(-count // block_rows)
            cuts = [at + count * i // runs for i in range(runs + 1)]
            blocks += [(begin, end - begin) for begin, end in pairwise(cuts)]
        elif count:
            start = start if joined else at
            joined += count
        at += count
    if joined:
        blocks.append((start, joined))
    return blocks
