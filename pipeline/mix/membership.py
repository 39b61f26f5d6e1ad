"""Which split of a mix a block or a row belongs to: a pure function of its file's content and its place there.

Neither the seed nor any other source or file plays a part, so membership never changes while a mix grows, and the same file under
two sources is split alike. A split is an interval of [0, 1), a part of it all that is hashed into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.mix.blocks import Blocks
from pipeline.permutation import hash_int, uniform_words

if TYPE_CHECKING:
    from pipeline.mix.files import SourceFile

Part = tuple[float, float]
WHOLE: Part = (0.0, 1.0)
_WORDS = 2**64
_AT_A_TIME = 1 << 20


def parts_of(shares: Sequence[float]) -> list[Part]:
    """The intervals of splits with these shares, which make up 1."""
    ends = [*map(float, accumulate(map(Fraction, shares), initial=Fraction(0)))]
    return list(pairwise([*ends[:-1], 1.0]))


def blocks_in(files: Sequence[SourceFile], blocks: Blocks, part: Part) -> Blocks:
    """Of a source's blocks, those of a part: by the hash of file, first row and rows."""
    if part == WHOLE:
        return blocks
    low, high = _words(part)
    fields = enumerate(zip(blocks.file, blocks.start, blocks.rows, strict=True))
    words = ((place, hash_int("split", files[file].name, start, rows)) for place, (file, start, rows) in fields)
    return blocks.take([place for place, word in words if low <= word < high])


def rows_in(name: str, start: int, stop: int, part: Part) -> pa.BooleanArray:
    """Of the rows start, ..., stop - 1 that a file of this name keeps, which ones are in a part."""
    low, high = _words(part)
    words = uniform_words(hash_int("split rows", name), start, stop)
    inside = pc.greater_equal(words, pa.scalar(low, pa.uint64()))
    return inside if high == _WORDS else pc.and_(inside, pc.less(words, pa.scalar(high, pa.uint64())))


def count_rows(name: str, start: int, stop: int, part: Part) -> int:
    """How many of these rows are in a part, exactly."""
    if part == WHOLE:
        return stop - start
    steps = range(start, stop, _AT_A_TIME)
    return sum(rows_in(name, at, min(stop, at + _AT_A_TIME), part).true_count for at in steps)


def count_kept(files: Sequence[SourceFile], part: Part) -> int:
    """How many of the rows that all files keep are in a part."""
    return sum(count_rows(file.name, 0, sum(file.kept), part) for file in files)


def _words(part: Part) -> tuple[int, int]:
    low, high = (int(Fraction(bound) * _WORDS) for bound in part)
    return low, high
