"""A plan in block order: which blocks are drawn of each source, in what order they stand, and where shards end. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

from pipeline.mix.blocks import Blocks, joined
from pipeline.mix.cutting import row_bytes
from pipeline.mix.draws import Draw
from pipeline.mix.order import by_hash, in_file_order, spread_balanced, spread_random
from pipeline.mix.shards import Extent, count_shards, cut_between

if TYPE_CHECKING:
    from pipeline.mix.recipe import Recipe
    from pipeline.mix.sources import OpenSource


def choose_blocks(recipe: Recipe, source: OpenSource, blocks: Blocks, draw: Draw) -> list[Blocks]:
    """The blocks drawn of a source: a set for each time that its rows come, the last of them for what is left of a repeat.

    Only the last block of the first set is cut, where `take` or a weight asks for it. The rest cuts the same one, unless that
    has too few rows left to make up the number.
    """
    if draw.base == draw.available and not draw.rest:
        return [blocks] * draw.whole
    order = blocks.take(by_hash(source, blocks, recipe.seed, "choose"))
    base = _first_rows(order, draw.base)
    rest = []
    if draw.rest:
        rest = [_rest_of(base, draw.rest, is_cut=len(base) > 0 and base.rows[-1] < order.rows[len(base) - 1])]
    return [base] * draw.whole + rest


def _first_rows(order: Blocks, rows: int) -> Blocks:
    """The first blocks that hold this many rows; the last of them cut."""
    ends = array("q", accumulate(order.rows))
    last = bisect_left(ends, rows)
    return order[: last + 1].cut(rows - (ends[last - 1] if last else 0)) if rows else order[:0]


def _rest_of(base: Blocks, rows: int, *, is_cut: bool) -> Blocks:
    """So many rows of the base: whole blocks, and a part of the last one if that is cut already and has enough."""
    if not is_cut:
        return _first_rows(base, rows)
    whole, last = base[:-1], base[-1:]
    ends = array("q", accumulate(whole.rows, initial=0))
    fitting = bisect_right(ends, rows) - 1
    missing = rows - ends[fitting]
    if not missing:
        return whole[:fitting]
    return whole[:fitting] + last.cut(missing) if missing <= last.rows[0] else _first_rows(base, rows)


def arrange(recipe: Recipe, sources: Sequence[OpenSource], chosen: Sequence[Sequence[Blocks]]) -> Blocks:
    """All drawn blocks in the order of the mix."""
    if recipe.shuffle == "none":
        return joined(in_file_order(copy) for copies in chosen for copy in copies)
    spread = spread_random if recipe.spread == "random" else spread_balanced
    return spread(sources, [joined(copies) for copies in chosen], recipe.seed)


Verbatim = dict[int, tuple[int, int]]


def split_shards(
    recipe: Recipe, sources: Sequence[OpenSource], draws: Sequence[Draw], order: Blocks, extent: Extent
) -> tuple[list[int], Verbatim]:
    """The blocks at which shards start, and the end; and which shards are whole files of sources, as they are.

    These are shards of their own if nothing is shuffled, nothing added, and the recipe does not say how many shards there are.
    """
    whole = _whole_files(recipe, sources, draws)
    if not whole:
        return cut_between(order.rows, count_shards(recipe, extent)), {}
    bounds, verbatim = [0], {}
    for first, end, place in _sections(order, whole):
        counts = order.rows[first:end]
        if place is not None:
            verbatim[len(bounds) - 1] = place
            bounds.append(end)
        else:
            part = sum(counts) / extent.rows
            own = replace(extent, rows=sum(counts), num_bytes=extent.num_bytes * part, blocks=len(counts))
            bounds += [first + bound for bound in cut_between(counts, count_shards(recipe, own))[1:]]
    return bounds, verbatim


def _whole_files(recipe: Recipe, sources: Sequence[OpenSource], draws: Sequence[Draw]) -> set[tuple[int, int]]:
    """The files that go into the mix as they are."""
    asked = recipe.shards is not None or recipe.shard_rows is not None or recipe.shards_multiple_of != 1
    added = recipe.source_column is not None or recipe.source_row_column is not None
    if recipe.shuffle != "none" or recipe.splits or asked or added:
        return set()
    found = set()
    for number, (source, draw) in enumerate(zip(sources, draws, strict=True)):
        plain = source.unchanged and source.exact and draw.base == draw.available and not draw.rest
        if plain and all(file.kept == file.rows for file in source.files):
            found |= {(number, index) for index, file in enumerate(source.files) if sum(file.rows)}
    return found


def _sections(order: Blocks, whole: set[tuple[int, int]]) -> Iterator[tuple[int, int, tuple[int, int] | None]]:
    """Runs of blocks: each that is a whole file, with that file, and what lies between them."""
    at = 0
    places = zip(order.source, order.file, strict=True)
    for place, run in groupby(places, key=lambda place: place if place in whole else None):
        end = at + sum(1 for _ in run)
        if place is None:
            yield at, end, None
        else:  # a source of one file that is repeated has several copies of it in a row
            copies = [n for n in range(at, end) if not order.start[n]]
            yield from ((first, after, place) for first, after in zip(copies, [*copies[1:], end], strict=True))
        at = end


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Bytes to read for blocks: what is copied; and of the others, their own rows, the row groups that they are in each time that
    they are needed, and the files that they are in once.
    """

    copied: int
    own: float
    direct: int
    once: int


def bytes_to_read(sources: Sequence[OpenSource], order: Blocks) -> Reading:
    """What reading blocks takes. Those that follow each other in a file are read together."""
    copied = direct = 0
    own = 0.0
    known: dict[tuple[int, int], tuple[list[int], list[int], float]] = {}
    encoded: set[tuple[int, int]] = set()
    last = (-1, -1, -1, 0)  # source, file, end, and the row group after the last one that was read
    for source, number, start, rows, is_copied in zip(*order.columns(), strict=True):
        place = source, number
        if place not in known:
            file = sources[source].files[number]
            known[place] = [*accumulate(file.kept)], [*accumulate(file.sizes, initial=0)], row_bytes(file)
        ends, sizes, row = known[place]
        first, end = bisect_right(ends, start), bisect_left(ends, start + rows) + 1
        if is_copied:
            copied += sizes[end] - sizes[first]
            continue
        first = max(first, last[3]) if last[:3] == (source, number, start) else first
        direct += sizes[end] - sizes[first]
        own += rows * row
        encoded.add(place)
        last = (source, number, start + rows, end)
    return Reading(copied=copied, own=own, direct=direct, once=sum(known[place][1][-1] for place in encoded))
