"""A plan as plain values: what `pipeline plan --json` prints, what the report and the record of a build begin with. Pure.

A plan is {plan_id, target, config, seed, shuffle, spread, columns, writers, recipe, sources, splits}. `recipe` is YAML with
every revision pinned. A source is {name, from, commit, url, config, split, files, license, gated, private, where, map,
rows_available, exact, bytes_per_row}; `rows_available` is an upper bound where `exact` is false; `bytes_per_row` is of the
columns that are read, as its files have them. A split is {split, rows, shards, blocks, block_rows, bytes_to_read, exchange,
permutation, sources, predicted, quality, alternative}; `shards` are the rows of each, `blocks` is null in row order,
`block_rows` the mean, `permutation` the purpose of the one that row order has, `alternative` what blocks would be instead
(`alternative.py`). A source in a split is {name, available, exact, wanted, base, drawn, repeats, wanted_share, share, blocks,
blocks_copied, bytes_to_read, bytes_written, bytes_new, reason}: `base` distinct rows make `drawn`, `bytes_new` is what is
expected to be uploaded. Sizes are in bytes, shares are parts of 1; what is not known is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.mix.counts import quality_of
from pipeline.mix.cutting import mean_row_bytes
from pipeline.mix.order import apportion
from pipeline.mix.plan import permutation_of
from pipeline.mix.recipe_text import recipe_text

if TYPE_CHECKING:
    from pipeline.mix.draws import Draw
    from pipeline.mix.plan import MixPlan, Plan
    from pipeline.mix.predict import Prediction
    from pipeline.mix.quality import Quality
    from pipeline.mix.sources import OpenSource

_WRITERS = ("xet-pipeline", "pyarrow", "hf-xet")


def plan_values(mix: MixPlan, predictions: Sequence[Sequence[Prediction]] | None = None) -> dict[str, Any]:
    """A plan for programs, without its blocks; `predictions` are those of each split's sources."""
    foreseen: Sequence[Sequence[Prediction] | None] = predictions or [None] * len(mix.splits)
    splits = [split_values(plan, of_split) for plan, of_split in zip(mix.splits, foreseen, strict=True)]
    return {**mix_values(mix), "sources": [source_values(one) for one in mix.splits[0].sources], "splits": splits}


def mix_values(mix: MixPlan) -> dict[str, Any]:
    """What all splits share."""
    plan = mix.splits[0]
    recipe = plan.recipe
    commits = {source.name: source.commit for source in plan.sources if source.commit is not None}
    return {
        "plan_id": mix.id,
        "target": mix.recipe.target,
        "config": recipe.config,
        "seed": recipe.seed,
        "shuffle": recipe.shuffle,
        "spread": recipe.spread if recipe.shuffle == "blocks" else None,
        "source_column": recipe.source_column,
        "source_row_column": recipe.source_row_column,
        "columns": {column.name: str(column.type) for column in plan.schema},
        "writers": {name: version(name) for name in _WRITERS},
        "recipe": recipe_text(mix.recipe, commits),
    }


def source_values(source: OpenSource) -> dict[str, Any]:
    """What is known of a source, whatever is drawn from it."""
    transform = source.transform
    return {
        "name": source.name,
        "from": source.origin,
        "commit": source.commit,
        "url": _url(source),
        "config": source.config,
        "split": source.split,
        "files": len(source.files),
        "license": source.license,
        "gated": source.gated,
        "private": source.private,
        "where": transform.predicate.sql if transform.predicate is not None else None,
        "map": transform.function.name if transform.function is not None else None,
        "rows_available": source.rows,
        "exact": source.exact,
        "bytes_per_row": round(mean_row_bytes(source), 1),
    }


def split_values(plan: Plan, predictions: Sequence[Prediction] | None) -> dict[str, Any]:
    """What is drawn for a split, what it takes, and how well it will be shuffled."""
    blocks, quality, alternative = plan.blocks, quality_of(plan), plan.alternative
    sources = drawn_values(plan, predictions)
    return {
        "split": plan.split,
        "rows": plan.rows,
        "shards": [end - start for start, end in pairwise(plan.bounds)],
        "blocks": len(blocks) or None,
        "block_rows": round(plan.rows / len(blocks), 1) if blocks else None,
        "bytes_to_read": plan.bytes_to_read,
        "exchange": plan.exchange,
        "permutation": None if blocks else permutation_of(plan).purpose,
        "sources": sources,
        "predicted": _sums(sources) if predictions is not None else None,
        "quality": quality_values(quality) if quality is not None else None,
        "alternative": asdict(alternative) if alternative is not None else None,
    }


def quality_values(quality: Quality) -> dict[str, Any]:
    """Both views of a mix, and whether the gate is met."""
    return asdict(quality) | {"meets_gate": quality.meets_gate}


def drawn_values(plan: Plan, predictions: Sequence[Prediction] | None) -> list[dict[str, Any]]:
    """What is drawn of each source, and what that costs."""
    wanted = sum(draw.wanted for draw in plan.draws) or 1
    blocks = Counter(plan.blocks.source)
    copied = Counter(
        source for source, is_copied in zip(plan.blocks.source, plan.blocks.copied, strict=True) if is_copied
    )
    read = _bytes_to_read(plan, [0 < blocks[n] == copied[n] for n in range(len(plan.sources))])
    foreseen: Sequence[Prediction | None] = predictions or [None] * len(plan.sources)
    return [
        {
            "name": source.name,
            "available": draw.available,
            "exact": draw.exact,
            "wanted": draw.wanted,
            "base": draw.base,
            "drawn": draw.rows,
            "repeats": round(draw.rows / draw.base, 3) if draw.base else 0.0,
            "wanted_share": round(draw.wanted / wanted, 6),
            "share": round(draw.rows / plan.rows, 6),
            "blocks": blocks[number] if plan.blocks else None,
            "blocks_copied": copied[number] if plan.blocks else None,
            "bytes_to_read": read[number],
            "bytes_written": one.bytes_written if one is not None else None,
            "bytes_new": one.bytes_new if one is not None else None,
            "reason": one.reason if one is not None else None,
        }
        for number, (source, draw, one) in enumerate(zip(plan.sources, plan.draws, foreseen, strict=True))
    ]


def _bytes_to_read(plan: Plan, copied: Sequence[bool]) -> list[int]:
    """The plan's bytes by source: in proportion to what is drawn, or to all that there is when rows are exchanged, which those
    that are `copied` raw are not.
    """

    def weight(source: OpenSource, draw: Draw, is_copied: bool) -> Fraction:
        whole = sum(sum(file.sizes) for file in source.files)
        exchanged = plan.exchange and not is_copied
        return Fraction(whole) if exchanged else Fraction(mean_row_bytes(source)) * draw.rows

    weights = list(map(weight, plan.sources, plan.draws, copied))
    return apportion(weights, plan.bytes_to_read) if any(weights) else [0] * len(weights)


def _sums(sources: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {key: sum(source[key] for source in sources) for key in ("bytes_written", "bytes_new")}


def _url(source: OpenSource) -> str | None:
    """The page of a source at its commit."""
    endpoint = next((file.file.endpoint for file in source.files if file.file.endpoint is not None), None)
    if source.commit is None or endpoint is None:
        return None
    return f"{endpoint}/datasets/{quote(source.origin)}/tree/{source.commit}"
