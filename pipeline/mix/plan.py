"""A recipe and its opened sources -> a plan: which rows, in which order, in which shards. Pure, and exact to the row.

In block order whole blocks are drawn by hash, and cut only where a number of rows asks for it; in row order single rows are drawn
by a permutation. The order is a function of plan and seed alone, so that any number of tasks builds the same bytes.

`shuffle` is by blocks where the mix's mean row has 16 KiB or more, else by rows, whatever layout the sources have: blocks of
small rows have many rows, and 1,024 of one source after each other are no good order. What blocks would cost instead is in
`alternative`. A mix near 16 KiB that is going to grow should say which one it wants.
"""

from __future__ import annotations

import dataclasses
import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.errors import NotFoundError, OptionError
from pipeline.mix.alternative import Alternative, offer_blocks
from pipeline.mix.arrange import arrange, bytes_to_read, choose_blocks, split_shards
from pipeline.mix.blocks import Block, Blocks, joined
from pipeline.mix.cutting import LARGE_ROW_BYTES, cut_source, mean_row_bytes
from pipeline.mix.draws import Draw, Drawn, draw_rows
from pipeline.mix.membership import WHOLE, Part, blocks_in, count_kept, parts_of
from pipeline.mix.schema import mix_schema
from pipeline.mix.shards import Extent, count_shards, equal_bounds
from pipeline.parquet.features import Features
from pipeline.parquet.layout import MARKER
from pipeline.permutation import Permutation, digest

if TYPE_CHECKING:
    from pipeline.mix.recipe import Recipe
    from pipeline.mix.sources import OpenSource

__all__ = [
    "Draw",
    "MixPlan",
    "Plan",
    "align_mix",
    "choice_of",
    "groups_of",
    "mean_row_bytes",
    "permutation_of",
    "plan_mix",
]

_ROW_GROUP_BYTES = 8 << 20
_MAX_AMPLIFICATION = 2.0
_WRITERS = ("xet-pipeline", "pyarrow")
# Where bytes go and who may see them decides nothing about them.
_NOT_IN_ID = ("target", "private", "public", "file", "positions", "sources")
_NOT_IN_SOURCE_ID = ("dataset", "parquet", "parquet_paths", "config", "split", "revision", "position")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be built of one split. `bounds` are the first rows of the shards and the end, `block_bounds` their first blocks;
    `blocks` are in the mix's order. `recipe` says what was decided for it: its `shuffle` is never None.

    Without blocks, the order is `permutation_of` over the drawn rows, row groups have `group_rows` rows, and the rows to draw
    from are those of `part`. `exchange` says that reading block by block would read row groups many times; blocks that are
    copied raw are not exchanged. The shards in `verbatim` are files of sources as they are: (source, file). `marker` ends chunks
    in storage (parquet/marker.py).
    """

    recipe: Recipe
    sources: tuple[OpenSource, ...]
    draws: tuple[Draw, ...]
    schema: pa.Schema
    features: Features | None
    blocks: Blocks
    bounds: tuple[int, ...]
    block_bounds: tuple[int, ...]
    group_rows: int
    bytes_to_read: int
    exchange: bool
    split: str
    part: Part = WHOLE
    verbatim: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    alternative: Alternative | None = None
    marker: bytes = MARKER

    @property
    def rows(self) -> int:
        """Rows in the split."""
        return self.bounds[-1]

    @property
    def shards(self) -> int:
        """Files in the split."""
        return len(self.bounds) - 1

    def offsets(self) -> list[int]:
        """In row order: where each source's drawn rows begin, before they are permuted."""
        return [0, *accumulate(draw.rows for draw in self.draws)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixPlan:
    """What will be built, split by split. `id` names all that decides its bytes: two plans of one id build the same files."""

    recipe: Recipe
    splits: tuple[Plan, ...]
    id: str

    @property
    def rows(self) -> int:
        """Rows in all splits."""
        return sum(plan.rows for plan in self.splits)

    @property
    def exact(self) -> bool:
        """Whether all counts are exact: a plan that is not is an estimate, and cannot be built."""
        return all(draw.exact for plan in self.splits for draw in plan.draws)


def plan_mix(recipe: Recipe, sources: Sequence[OpenSource], *, features: Features | None = None) -> MixPlan:
    """Plan the mix. `features` are to be used instead of the sources'.

    Raises SchemaError for columns that do not align, NotFoundError for a source or a split without rows, OptionError for numbers
    that cannot be had.
    """
    whole = draw_rows(recipe, sources, Drawn(available=[source.rows for source in sources]))
    rows = sum(draw.rows for draw in whole)
    size = sum(draw.rows * mean_row_bytes(source) for draw, source in zip(whole, sources, strict=True))
    decided = recipe
    if recipe.shuffle is None:
        decided = replace(recipe, shuffle="blocks" if size >= LARGE_ROW_BYTES * rows else "rows")
    plans = _plan_splits(decided, sources, features)
    if decided.shuffle == "rows":
        offers = _offer(replace(recipe, shuffle="blocks"), sources)
        plans = [replace(plan, alternative=offer) for plan, offer in zip(plans, offers, strict=True)]
    return MixPlan(recipe=recipe, splits=tuple(plans), id=_identify(plans))


def align_mix(recipe: Recipe, sources: Sequence[OpenSource]) -> tuple[pa.Schema, Features | None]:
    """The mix's schema and features. Raises SchemaError naming source, column and both types."""
    return mix_schema(recipe, [source.offered() for source in sources])


def _offer(recipe: Recipe, sources: Sequence[OpenSource]) -> list[Alternative | None]:
    """What each split would be in blocks; nothing where these numbers of rows or shards cannot be had so."""
    try:
        return [offer_blocks(plan) for plan in _plan_splits(recipe, sources, None)]
    except (NotFoundError, OptionError):
        return [None] * max(1, len(recipe.splits))


def _plan_splits(recipe: Recipe, sources: Sequence[OpenSource], features: Features | None) -> list[Plan]:
    schema, own = align_mix(recipe, sources)
    names = [name for name, _ in recipe.splits] or [recipe.split]
    shares = [share for _, share in recipe.splits] or [1.0]
    cut = None if recipe.shuffle == "rows" else [cut_source(recipe, n, source) for n, source in enumerate(sources)]
    plans = []
    for place, (name, part) in enumerate(zip(names, parts_of(shares), strict=True)):
        blocks = None
        if cut is None:
            available = [count_kept(source.files, part) for source in sources]
        else:
            blocks = [blocks_in(source.files, own, part) for source, own in zip(sources, cut, strict=True)]
            available = [sum(one.rows) for one in blocks]
        draws = tuple(draw_rows(recipe, sources, Drawn(available=available, share=(place, shares))))
        if not any(draw.rows for draw in draws):
            raise NotFoundError(
                f"{recipe.where_is('splits')}: nothing falls into split {name!r} of {sum(available):,} rows to draw from; "
                "raise its share, or lower block_rows"
            )
        share = shares[place] / max(shares)
        made = (
            _by_rows(recipe, sources, draws, share)
            if blocks is None
            else _by_blocks(recipe, sources, draws, blocks, share)
        )
        plans.append(
            replace(made, schema=schema, features=features if features is not None else own, split=name, part=part)
        )
    return plans


def _by_rows(recipe: Recipe, sources: Sequence[OpenSource], draws: tuple[Draw, ...], share: float) -> Plan:
    rows, num_bytes = _totals(sources, draws)
    bounds = equal_bounds(rows, count_shards(recipe, Extent(rows=rows, num_bytes=num_bytes, share=share)))
    return Plan(
        recipe=recipe,
        sources=tuple(sources),
        draws=draws,
        schema=pa.schema([]),
        features=None,
        blocks=Blocks(),
        bounds=bounds,
        block_bounds=(),
        group_rows=_group_rows(rows, num_bytes),
        bytes_to_read=_bytes_once(sources),
        exchange=True,
        split=recipe.split,
    )


def _by_blocks(
    recipe: Recipe, sources: Sequence[OpenSource], draws: tuple[Draw, ...], blocks: Sequence[Blocks], share: float
) -> Plan:
    triples = zip(sources, blocks, draws, strict=True)
    chosen = [choose_blocks(recipe, source, own, draw) for source, own, draw in triples]
    order = arrange(recipe, sources, chosen)
    rows, num_bytes = _totals(sources, draws)
    extent = Extent(rows=rows, num_bytes=num_bytes, blocks=len(order), share=share)
    block_bounds, verbatim = split_shards(recipe, sources, draws, order, extent)
    ends = [0, *accumulate(order.rows)]
    written = [order[a:b] for shard, (a, b) in enumerate(pairwise(block_bounds)) if shard not in verbatim]
    reading = bytes_to_read(sources, joined(written))
    exchange = reading.direct > _MAX_AMPLIFICATION * max(reading.once, reading.own)
    return Plan(
        recipe=recipe,
        sources=tuple(sources),
        draws=draws,
        schema=pa.schema([]),
        features=None,
        blocks=order,
        bounds=tuple(ends[bound] for bound in block_bounds),
        block_bounds=tuple(block_bounds),
        group_rows=_group_rows(rows, num_bytes),
        bytes_to_read=reading.copied + (reading.once if exchange else reading.direct),
        exchange=exchange,
        split=recipe.split,
        verbatim=verbatim,
    )


def _totals(sources: Sequence[OpenSource], draws: Sequence[Draw]) -> tuple[int, float]:
    num_bytes = sum(draw.rows * mean_row_bytes(source) for source, draw in zip(sources, draws, strict=True))
    return sum(draw.rows for draw in draws), num_bytes


def _group_rows(rows: int, num_bytes: float) -> int:
    return max(1, round(_ROW_GROUP_BYTES * rows / num_bytes)) if num_bytes else 1


def _bytes_once(sources: Sequence[OpenSource]) -> int:
    return sum(sum(file.sizes) for source in sources for file in source.files)


def _identify(plans: Sequence[Plan]) -> str:
    """Recipe, contents, counts, selections, order and writers, hashed."""
    recipe, sources = plans[0].recipe, plans[0].sources
    said = {name: value for name, value in recipe.to_dict().items() if name not in _NOT_IN_ID}
    state = hashlib.blake2b(digest((repr(sorted(said.items())), *map(version, _WRITERS)), 32), digest_size=16)
    for written, source in zip(recipe.sources, sources, strict=True):
        own = {name: value for name, value in dataclasses.asdict(written).items() if name not in _NOT_IN_SOURCE_ID}
        known = repr(source.selection), source.transform.fingerprint
        # The content too: other values of the same sizes and bounds have the same footer.
        files = (text for file in source.files for text in (file.name, file.file.content, repr(file.kept)))
        state.update(digest((source.name, repr(sorted(own.items())), *known, *files), 32))
    for plan in plans:
        schema = plan.schema.serialize().to_pybytes()
        values = plan.split, plan.part, repr(plan.features), plan.bounds, sorted(plan.verbatim.items()), plan.exchange
        state.update(digest((schema.hex(), *map(repr, values)), 32))
        for column in plan.blocks.columns():
            state.update(column.tobytes())
    return state.hexdigest()


def groups_of(ends: Sequence[int], block: Block) -> tuple[int, int]:
    """The row groups [first, last) that hold a block's rows, in a file whose row groups end there, counted over kept rows."""
    return bisect_right(ends, block.start), bisect_left(ends, block.end) + 1


def permutation_of(plan: Plan) -> Permutation:
    """The order of the mix's rows in row order."""
    return Permutation(plan.rows, plan.recipe.seed, "mix" if plan.part == WHOLE else f"mix {plan.split}")


def choice_of(plan: Plan, source: int) -> Permutation:
    """Which of a source's rows of the plan's part are drawn in row order: those that it maps below the number drawn."""
    name = plan.sources[source].name
    purpose = f"take {name}" if plan.part == WHOLE else f"take {name} {plan.split}"
    return Permutation(plan.draws[source].available, plan.recipe.seed, purpose)
