"""Where a mix's shards end. In row order they are equal to within one row; in block order they end between blocks, as near to
equal as blocks allow.

Their number follows from `shards`, `shard_rows` or `shard_bytes`, rounded up to a multiple of N if one is asked for. What the
recipe does not fix is lowered where shards would have fewer than eight blocks, or they could not be about equal. With splits,
`shards` is meant for the largest one; the others get as many as their share of that.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from pipeline.errors import OptionError

if TYPE_CHECKING:
    from pipeline.mix.recipe import Recipe

_MIN_BLOCKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How large a split is: `blocks` is None in row order, `share` is its size against the largest split's."""

    rows: int
    num_bytes: float
    blocks: int | None = None
    share: float = 1.0


def count_shards(recipe: Recipe, extent: Extent) -> int:
    """How many shards a split has. Raises OptionError when it has fewer blocks or rows than shards are asked for."""
    step = recipe.shards_multiple_of
    if recipe.shards is not None:
        wanted = max(1, round(recipe.shards * extent.share))
    elif recipe.shard_rows is not None:
        wanted = -(-extent.rows // recipe.shard_rows)
    else:
        wanted = max(1, round(extent.num_bytes / recipe.shard_bytes))
    found = -(-wanted // step) * step
    parts, what, fair = extent.rows, "rows", extent.rows
    if extent.blocks is not None:
        parts, what, fair = extent.blocks, "blocks", extent.blocks // _MIN_BLOCKS
    if recipe.shards is None and found > fair:
        found = max(1, fair // step) * step
    if found > parts:
        key = "shards" if recipe.shards is not None else "shards_multiple_of"
        raise OptionError(
            f"{recipe.where_is(key)}: {key} {getattr(recipe, key)} asks for {found} shards where there are {parts} {what}; "
            "lower it" + (", or block_rows" if extent.blocks is not None else "")
        )
    return found


def equal_bounds(rows: int, shards: int) -> tuple[int, ...]:
    """The rows at which shards start, and the end: sizes differ by one row at most."""
    return tuple(-(-rows * shard // shards) for shard in range(shards + 1))


def cut_between(counts: Sequence[int], shards: int) -> list[int]:
    """The numbers of the blocks at which so many shards start, and the end. No shard is empty, and each bound is as near to its
    share of rows as a block's end can be. `counts` are the blocks' rows; there are as many as shards, or more.
    """
    ends = array("q", accumulate(counts, initial=0))
    bounds = [0]
    for shard in range(1, shards):
        share = ends[-1] * shard / shards
        low, high = bounds[-1] + 1, len(counts) - (shards - shard)
        at = bisect_left(ends, share, low, high)
        if at > low and share - ends[at - 1] <= ends[at] - share:
            at -= 1
        bounds.append(at)
    return [*bounds, len(counts)]
