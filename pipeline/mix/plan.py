"""A recipe and its opened sources -> a plan: which rows, in which order, in which shards. Pure, and exact to the row.

Rows are drawn per source: all of them, `take` of them, `repeat` times over, or by `weight`. In block order whole blocks are
drawn by hash, and at most one is cut; in row order single rows are drawn by a permutation. The order is a function of plan
and seed alone, so that any number of tasks builds the same bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

import pyarrow as pa

from pipeline.errors import NotFoundError, OptionError
from pipeline.mix.blocks import Block, cut_blocks, footer_id, row_bytes, rows_per_block
from pipeline.mix.order import apportion, spread_blocks
from pipeline.mix.recipe import Recipe
from pipeline.mix.schema import align
from pipeline.mix.sources import OpenSource
from pipeline.parquet.features import Features
from pipeline.permutation import Permutation, hash_order

_ROW_GROUP_BYTES = 8 << 20
_MAX_AMPLIFICATION = 2.0
_MIN_SHARD_BLOCKS = 8  # or shards of whole blocks cannot be about equal


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """How many rows of a source go into the mix: `base` distinct ones, repeated until there are `rows`."""

    available: int
    wanted: int
    base: int
    rows: int

    @property
    def whole(self) -> int:
        """How often all of the distinct rows are there."""
        return self.rows // self.base if self.base else 0

    @property
    def rest(self) -> int:
        """How many of them are there once more."""
        return self.rows % self.base if self.base else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be built. `bounds` are the first rows of the shards and the end; `blocks` are in the mix's order.

    Without blocks, the order is `Permutation(rows, seed)` over the drawn rows, and row groups have `group_rows` rows.
    """

    recipe: Recipe
    sources: tuple[OpenSource, ...]
    draws: tuple[Draw, ...]
    schema: pa.Schema
    features: Features | None
    blocks: tuple[Block, ...]
    bounds: tuple[int, ...]
    group_rows: int
    bytes_to_read: int
    exchange: bool

    @property
    def rows(self) -> int:
        """Rows in the mix."""
        return self.bounds[-1]

    @property
    def shards(self) -> int:
        """Files in the mix."""
        return len(self.bounds) - 1

    def offsets(self) -> list[int]:
        """In row order: where each source's drawn rows begin, before they are permuted."""
        return [0, *accumulate(draw.rows for draw in self.draws)]


def plan_mix(recipe: Recipe, sources: Sequence[OpenSource]) -> Plan:
    """Plan the mix of sources whose counts are known.

    Raises SchemaError for columns that do not align, NotFoundError for a source without rows.
    """
    schema, features = align_mix(recipe, sources)
    draws = _draw(recipe, sources)
    sizes = [mean_row_bytes(source) for source in sources]
    total_bytes = sum(draw.rows * size for draw, size in zip(draws, sizes, strict=True))
    rows = sum(draw.rows for draw in draws)
    shards = max(1, min(rows, round(total_bytes / recipe.shard_bytes)))
    blocks: tuple[Block, ...] = ()
    if recipe.shuffle == "rows":
        bounds = [-(-rows * i // shards) for i in range(shards + 1)]
    else:
        blocks = tuple(_order_blocks(recipe, sources, draws))
        bounds = _cut_shards(blocks, max(1, min(shards, len(blocks) // _MIN_SHARD_BLOCKS)))
    once = sum(_used_bytes(source, None) for source in sources)
    direct = _bytes_by_block(sources, blocks)
    exchange = recipe.shuffle == "rows" or direct > _MAX_AMPLIFICATION * once
    return Plan(
        recipe=recipe,
        sources=tuple(sources),
        draws=tuple(draws),
        schema=schema,
        features=features,
        blocks=blocks,
        bounds=tuple(bounds),
        group_rows=max(1, round(_ROW_GROUP_BYTES / max(1.0, total_bytes / max(1, rows)))),
        bytes_to_read=once if exchange else direct,
        exchange=exchange,
    )


def align_mix(recipe: Recipe, sources: Sequence[OpenSource]) -> tuple[pa.Schema, Features | None]:
    """The mix's schema and features. Raises SchemaError naming source, column and both types."""
    return align([source.offered() for source in sources], recipe.source_column)


def mean_row_bytes(source: OpenSource) -> float:
    """What a row of the columns that are read takes in the source's files, on average."""
    size = sum(row_bytes(footer, source.read_columns) * footer.rows for footer in source.footers)
    rows = sum(footer.rows for footer in source.footers)
    return size / rows if rows else 0.0


def _draw(recipe: Recipe, sources: Sequence[OpenSource]) -> list[Draw]:
    for index, source in enumerate(sources):
        if not source.rows:
            why = f" for which {source.predicate.sql}" if source.predicate else ""
            raise NotFoundError(f"{recipe.where_is(f'sources[{index}]')}: source {source.name!r} has no rows{why}")
    if any(source.weight is not None for source in recipe.sources):
        return _draw_by_weight(recipe, sources)
    return [_draw_one(recipe, index, opened.rows) for index, opened in enumerate(sources)]


def _draw_one(recipe: Recipe, index: int, available: int) -> Draw:
    source = recipe.sources[index]
    take = available if source.take is None else source.take
    wanted = round(Fraction(take) * available) if isinstance(take, float) else take
    base = min(wanted, available)
    times = Fraction(source.repeat)
    rows = round(base * times)
    if not rows:
        what = f"take {take}, repeat {source.repeat}"
        place = recipe.where_is(f"sources[{index}]")
        raise OptionError(f"{place}: source {source.name!r} would get no row of {available} ({what}); raise them")
    return Draw(available=available, wanted=round(wanted * times), base=base, rows=rows)


def _draw_by_weight(recipe: Recipe, sources: Sequence[OpenSource]) -> list[Draw]:
    weights = [Fraction(source.weight or 0) for source in recipe.sources]
    scarcest = min(Fraction(opened.rows) / weight for opened, weight in zip(sources, weights, strict=True))
    total = recipe.total_rows or int(scarcest * sum(weights))
    counts = apportion(weights, total)
    for index, rows in enumerate(counts):
        if not rows:
            place = recipe.where_is(f"sources[{index}].weight")
            raise OptionError(f"{place}: source {sources[index].name!r} would get no row of {total}; raise its weight")
    return [
        Draw(available=opened.rows, wanted=rows, base=min(rows, opened.rows), rows=rows)
        for opened, rows in zip(sources, counts, strict=True)
    ]


def _order_blocks(recipe: Recipe, sources: Sequence[OpenSource], draws: Sequence[Draw]) -> list[Block]:
    drawn: list[list[Block]] = []
    ids: list[list[str]] = []
    for index, (source, draw) in enumerate(zip(sources, draws, strict=True)):
        named = _name_blocks(recipe, index, source)
        order = hash_order(named, lambda item: item[0], recipe.seed)
        base = _first_rows(order, draw.base)
        chosen = base * draw.whole + _first_rows(base, draw.rest)
        if recipe.shuffle == "none":
            chosen.sort(key=lambda item: (item[1].file, item[1].start))
        ids.append([name for name, _ in chosen])
        drawn.append([block for _, block in chosen])
    if recipe.shuffle == "none":
        return [block for blocks in drawn for block in blocks]
    names = [source.name for source in sources]
    return [drawn[source][i] for source, i in spread_blocks(ids, recipe.seed, names)]


def _name_blocks(recipe: Recipe, index: int, source: OpenSource) -> list[tuple[str, Block]]:
    """A source's blocks, each with a name that depends on nothing but its file's content."""
    named = []
    for file, (footer, counts) in enumerate(zip(source.footers, source.counts, strict=True)):
        per_block = rows_per_block(footer, source.read_columns, recipe.block_bytes)
        name = footer_id(footer)
        for start, rows in cut_blocks(counts, per_block):
            named.append((f"{name}:{start}", Block(source=index, file=file, start=start, rows=rows)))
    return named


def _first_rows(named: Sequence[tuple[str, Block]], rows: int) -> list[tuple[str, Block]]:
    """The first blocks that hold this many rows; the last of them cut."""
    found: list[tuple[str, Block]] = []
    for name, block in named:
        if rows <= 0:
            break
        taken = min(rows, block.rows)
        cut = (
            block if taken == block.rows else Block(source=block.source, file=block.file, start=block.start, rows=taken)
        )
        found.append((name, cut))
        rows -= taken
    return found


def _cut_shards(blocks: Sequence[Block], shards: int) -> list[int]:
    """Bounds in rows that fall between blocks, as near to equal shares as blocks allow."""
    ends = list(accumulate(block.rows for block in blocks))
    bounds = [0]
    for i in range(1, shards):
        share = ends[-1] * i / shards
        at = bisect_left(ends, share)
        nearest = min(ends[max(0, at - 1) : at + 1], key=lambda end: abs(end - share))
        if nearest > bounds[-1]:
            bounds.append(nearest)
    return bounds if bounds[-1] == ends[-1] else [*bounds, ends[-1]]


def _used_bytes(source: OpenSource, groups: set[tuple[int, int]] | None) -> int:
    return sum(
        group.size(source.read_columns)
        for file, footer in enumerate(source.footers)
        for group in footer.row_groups()
        if groups is None or (file, group.index) in groups
    )


def _bytes_by_block(sources: Sequence[OpenSource], blocks: Sequence[Block]) -> int:
    """What reading every block by itself costs: its row groups, whole."""
    sizes = [[[g.size(s.read_columns) for g in footer.row_groups()] for footer in s.footers] for s in sources]
    ends = [group_ends(source) for source in sources]
    total = 0
    for block in blocks:
        first, last = groups_of(ends[block.source][block.file], block)
        total += sum(sizes[block.source][block.file][first:last])
    return total


def group_ends(source: OpenSource) -> list[list[int]]:
    """For each file of a source, the row after the last of each of its row groups, counted over kept rows."""
    return [list(accumulate(counts)) for counts in source.counts]


def groups_of(ends: Sequence[int], block: Block) -> tuple[int, int]:
    """The row groups [first, last) that hold a block's rows, in a file whose row groups end there."""
    return bisect_right(ends, block.start), bisect_left(ends, block.end) + 1


def permutation_of(plan: Plan) -> Permutation:
    """The order of the mix's rows in row order."""
    return Permutation(plan.rows, plan.recipe.seed, "mix")


def choice_of(plan: Plan, source: int) -> Permutation:
    """Which of a source's rows are drawn in row order: those that it maps below the number drawn."""
    opened = plan.sources[source]
    return Permutation(opened.rows, plan.recipe.seed, f"take {opened.name}")
