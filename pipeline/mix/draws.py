"""How many rows each source gives to a mix, or to one split of it: exact to the row.

`take` rows or a share of them, `repeat` times; or by `weight`, or by the mix's `temperature` (in proportion to size^(1/T)), out
of `total_rows` or of what the scarcest source allows. No row comes again before all have come.

A split draws from its own rows, as if they were all there are; what is given in rows is shared out by the splits' shares. A
source of which nothing falls into a split gives it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from pipeline.errors import NotFoundError, OptionError
from pipeline.mix.order import apportion

if TYPE_CHECKING:
    from pipeline.mix.recipe import Recipe, Source
    from pipeline.mix.sources import OpenSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """How many rows of a source go into the mix: `base` distinct ones of those `available`, repeated until there are `rows`.

    `wanted` is what was asked for. The counts are upper bounds if not `exact`.
    """

    available: int
    wanted: int
    base: int
    rows: int
    exact: bool = True

    @property
    def whole(self) -> int:
        """How often all of the distinct rows are there."""
        return self.rows // self.base if self.base else 0

    @property
    def rest(self) -> int:
        """How many of them are there once more."""
        return self.rows % self.base if self.base else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a split may draw from: `available` rows of each source. `share` are (its place, the shares of all splits)."""

    available: Sequence[int]
    share: tuple[int, Sequence[float]] = (0, (1.0,))

    def of(self, rows: int) -> int:
        """Of a number of rows that is meant for all splits, those for this one."""
        place, shares = self.share
        return apportion(shares, rows)[place]


def draw_rows(recipe: Recipe, sources: Sequence[OpenSource], split: Drawn) -> list[Draw]:
    """What each source gives. Raises NotFoundError for a source without rows, OptionError for one that would give none."""
    for source, opened in zip(recipe.sources, sources, strict=True):
        if not opened.rows:
            why = f" for which {source.where}" if source.where else ""
            raise NotFoundError(f"{recipe.place_of(source)}: source {opened.name!r} has no rows{why}")
    weights = _weights(recipe, split.available)
    if weights is None:
        pairs = zip(recipe.sources, sources, split.available, strict=True)
        return [_draw_one(recipe, source, opened, split, rows) for source, opened, rows in pairs]
    return _draw_by_weight(recipe, sources, split, weights)


def _draw_one(recipe: Recipe, source: Source, opened: OpenSource, split: Drawn, available: int) -> Draw:
    wanted = available
    if source.take is not None:
        is_share = isinstance(source.take, float)
        wanted = round(Fraction(source.take) * available) if is_share else split.of(int(source.take))
    base = min(wanted, available)
    times = Fraction(source.repeat)
    rows = round(base * times)
    if not rows and not recipe.splits:
        what = f"take {source.take}, " if source.take is not None else ""
        raise OptionError(
            f"{recipe.place_of(source)}: source {source.name!r} would get no row of {available} "
            f"({what}repeat {source.repeat}); raise them"
        )
    return Draw(available=available, wanted=round(wanted * times), base=base, rows=rows, exact=opened.exact)


def _weights(recipe: Recipe, available: Sequence[int]) -> list[Fraction] | None:
    """What the sources' rows are in proportion to; a source without rows weighs nothing."""
    if recipe.temperature is not None:
        power = 1 / recipe.temperature
        # Twelve digits: the last ones of a power differ between machines.
        return [Fraction(f"{rows**power:.12e}") if rows else Fraction(0) for rows in available]
    if all(source.weight is None for source in recipe.sources):
        return None
    pairs = zip(recipe.sources, available, strict=True)
    return [Fraction(source.weight or 0) if rows else Fraction(0) for source, rows in pairs]


def _draw_by_weight(
    recipe: Recipe, sources: Sequence[OpenSource], split: Drawn, weights: Sequence[Fraction]
) -> list[Draw]:
    limits = [
        None if source.max_repeat is None else int(Fraction(source.max_repeat) * rows)
        for source, rows in zip(recipe.sources, split.available, strict=True)
    ]
    if recipe.total_rows is not None:
        total = split.of(recipe.total_rows)
    else:
        most = [rows if limit is None else limit for rows, limit in zip(split.available, limits, strict=True)]
        total = int(
            min((Fraction(m) / w for m, w in zip(most, weights, strict=True) if w), default=Fraction(0)) * sum(weights)
        )
    wanted = apportion(weights, total) if any(weights) else [0] * len(weights)
    counts = share_within(weights, total, limits)
    for source, rows in zip(recipe.sources, counts, strict=True):
        if not rows and not recipe.splits:
            place, more = recipe.place_of(source, "weight"), "its weight"
            if recipe.temperature is not None:
                place, more = recipe.where_is("temperature"), "total_rows or the temperature"
            raise OptionError(f"{place}: source {source.name!r} would get no row of {total}; raise {more}")
    return [
        Draw(available=available, wanted=asked, base=min(rows, available), rows=rows, exact=opened.exact)
        for opened, available, asked, rows in zip(sources, split.available, wanted, counts, strict=True)
    ]


def share_within(weights: Sequence[Fraction], total: int, limits: Sequence[int | None]) -> list[int]:
    """`total` in proportion to the weights, none above its limit: what a limit takes away goes to the others in proportion.

    Less than `total` when all limits together are.
    """
    counts = [0] * len(weights)
    free = {place: weight for place, weight in enumerate(weights) if weight}
    left = total
    while free:
        shares = dict(zip(free, apportion(list(free.values()), left), strict=True))
        full = {place: limit for place in free if (limit := limits[place]) is not None and shares[place] > limit}
        for place, rows in (full or shares).items():
            counts[place] = rows
        if not full:
            break
        left -= sum(full.values())
        free = {place: weight for place, weight in free.items() if place not in full}
    return counts
