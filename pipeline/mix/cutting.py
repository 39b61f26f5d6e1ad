"""Row groups -> blocks. Pure: a file's blocks follow from its own footer and the block size that the recipe asks for, so that
growing a source, or a mix, moves no block of it.

A block whose row groups can be copied raw is made of whole ones, and small neighbours are joined up to the block size. Of other
row groups, large ones are cut into equal runs and small neighbours are joined. The size, if the recipe does not ask for one:

* rows of 16 KiB or more (images, say): 1 MiB, but at most 16 rows. So a consumer with a buffer of 1,000 rows sees chi2/dof(64) of
  0.99 for 8 sources and 1.30 for 185 (Zipf, balanced), adjacency excess of 0.003: the gate is met (`quality.py`). Smaller blocks
  would fall below the 250 KB under which deduplication fragments (`predict.py`).
* smaller rows: 1 MiB, at most 4,096 rows, so that a pad of 8 KiB costs 1 %.
* a small file makes 16 blocks, if they get 16 KiB each, or there is little to shuffle.

Files in the layout `blocks` are always copied as they were cut. Of others, row groups of at most 20 MiB are copied when the
source has 8 of them or more, or there is nothing to shuffle. A size in the recipe is a wish: what is larger is not copied, but
cut.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, repeat
from operator import itemgetter
from typing import TYPE_CHECKING

from pipeline.mix.blocks import Blocks, of_columns

if TYPE_CHECKING:
    from pipeline.mix.files import SourceFile
    from pipeline.mix.recipe import Recipe
    from pipeline.mix.sources import OpenSource

BLOCK_BYTES = 1 << 20
LARGE_ROW_BYTES = 16 << 10
MAX_LARGE_ROWS = 16
MAX_BLOCK_ROWS = 4_096
MAX_COPIED_BYTES = 20 << 20
_MIN_COPIED = 8
_MIN_BLOCKS = 16
_MIN_BLOCK_BYTES = 16 << 10
_WISHED_BYTES_FACTOR = 2
Cut = tuple[int, int, bool]
"""First row, rows, and whether the block is copied."""


def row_bytes(file: SourceFile) -> float:
    """What a row of the columns that are read takes in the file, on average."""
    rows = sum(file.rows)
    return sum(file.sizes) / rows if rows else 0.0


def mean_row_bytes(source: OpenSource) -> float:
    """What a row of the columns that are read takes in the source's files, on average."""
    rows = sum(sum(file.rows) for file in source.files)
    return sum(sum(file.sizes) for file in source.files) / rows if rows else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSize:
    """What the recipe asks for: `rows`, or `num_bytes`, or neither."""

    rows: int | None = None
    num_bytes: int | None = None

    def rows_in(self, file: SourceFile) -> int:
        """The most rows of a block of this file."""
        row = max(1.0, row_bytes(file))
        if self.rows is not None:
            return self.rows
        if self.num_bytes is not None:
            return max(1, round(self.num_bytes / row))
        most = MAX_LARGE_ROWS if row >= LARGE_ROW_BYTES else MAX_BLOCK_ROWS
        return max(1, min(round(BLOCK_BYTES / row), most))

    def rows_cut_of(self, file: SourceFile) -> int:
        """The same, of blocks that are written anew."""
        if self.rows is not None or self.num_bytes is not None:
            return self.rows_in(file)
        small = max(sum(file.rows) // _MIN_BLOCKS, round(_MIN_BLOCK_BYTES / max(1.0, row_bytes(file))))
        return max(1, min(self.rows_in(file), small))

    def copies(self, file: SourceFile, *, many: bool) -> Iterator[bool]:
        """For each row group of a file that can be copied, whether it is; `many` says that its source has some to shuffle."""
        for rows, kept, size in zip(file.rows, file.kept, file.sizes, strict=True):
            if self.rows is not None:
                fits = rows <= self.rows
            elif self.num_bytes is not None:
                fits = size <= _WISHED_BYTES_FACTOR * self.num_bytes
            else:
                fits = file.padded or (many and size <= MAX_COPIED_BYTES)
            yield fits and kept == rows


def cut_source(recipe: Recipe, index: int, source: OpenSource) -> Blocks:
    """The blocks of a source, in the order of its files and their rows. Rows that are not counted yet are not copied."""
    size = BlockSize(rows=recipe.block_rows, num_bytes=recipe.block_bytes)
    transform = source.transform
    whole = source.exact and transform.kept is not None and not transform.function
    many = sum(rows > 0 for file in source.files for rows in file.rows) >= _MIN_COPIED
    files, starts, counts, copies = array("i"), array("q"), array("q"), array("b")
    for number, file in enumerate(source.files):
        copied: Sequence[bool] = (False,) * len(file.rows)
        if whole and source.copies[file.shape] is None:
            copied = tuple(size.copies(file, many=many))
        for start, rows, is_copied in cut_file(file.kept, copied, size.rows_in(file), size.rows_cut_of(file)):
            files.append(number)
            starts.append(start)
            counts.append(rows)
            copies.append(is_copied)
    return of_columns((array("i", repeat(index, len(counts))), files, starts, counts, copies))


def cut_file(kept: Sequence[int], copied: Sequence[bool], copied_rows: int, cut_rows: int) -> Iterator[Cut]:
    """The blocks of a file whose row groups keep these counts of rows.

    Row groups are joined to at most `copied_rows` rows where they are copied, and cut or joined to at most `cut_rows` elsewhere.
    """
    at = 0
    # A row group of which nothing is kept ends a run that is copied: its rows would be copied too.
    groups = ((is_copied, rows) for is_copied, rows in zip(copied, kept, strict=True) if rows or not is_copied)
    for is_copied, run in groupby(groups, key=itemgetter(0)):
        counts = [rows for _, rows in run if rows]
        for start, rows in _joined(counts, copied_rows) if is_copied else _cut(counts, cut_rows):
            yield at + start, rows, is_copied
        at += sum(counts)


def _joined(counts: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Runs of whole row groups: as many as fit, at least one."""
    start = rows = 0
    for count in counts:
        if rows and rows + count > most:
            yield start, rows
            start, rows = start + rows, 0
        rows += count
    if rows:
        yield start, rows


def _cut(counts: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """The same, but those that are too large are cut into equal runs."""
    for start, rows in _joined(counts, most):
        pieces = -(-rows // most)
        cuts = (start + rows * piece // pieces for piece in range(pieces + 1))
        yield from ((begin, end - begin) for begin, end in pairwise(cuts))
