"""A dataset's rows written anew in the layout `blocks`, so that every later mix of them is copied for about 1 % of its size.

A conversion is a mix of one source in its own order, for each split of each config.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs import console
from jobs.build_mix import build_mix
from jobs.publish_mix import Built
from pipeline.errors import NotFoundError
from pipeline.hub.listing import list_files
from pipeline.hub.repo import find_token, normalise_endpoint, parse_ref
from pipeline.hub.resolver import pick_config, splits_of
from pipeline.hub.split import Mode
from pipeline.mix.recipe import Recipe, Source, parse_target
from pipeline.sizes import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What is converted, where to, and how large blocks get: rows, or bytes, or as a mix would cut them."""

    source: str
    target: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    block_rows: int | None = None
    block_bytes: int | None = None


def convert(
    wanted: Conversion, *, endpoint: str | None = None, overwrite: bool = False, master: str | None = None
) -> list[Built]:
    """Convert the dataset, one commit for each split. Raises what building a mix raises, NotFoundError for no such split."""
    mode = Mode.OVERWRITE if overwrite else None
    return [build_mix(recipe, endpoint=endpoint, mode=mode, master=master) for recipe in _recipes(wanted, endpoint)]


def _recipes(wanted: Conversion, endpoint: str | None) -> list[Recipe]:
    ref = parse_ref(wanted.source, revision=wanted.revision, endpoint=endpoint)
    listing = list_files(ref, find_token(normalise_endpoint(endpoint)))
    known: list[str | None] = [one.name for one in listing.card.configs]
    names = [wanted.config] if wanted.config else known or [None]
    found = []
    for config in (pick_config(listing, name) for name in names):
        for split in splits_of(listing, config):
            if wanted.split in (None, split):
                source = Source(
                    name="rows",
                    dataset=ref.repo_id,
                    revision=listing.commit,
                    config=config.name,
                    split=split,
                    copy="never",
                )
                found.append(_recipe(wanted, source))
    if not found:
        raise NotFoundError(f"{wanted.source}: no split {wanted.split or 'with Parquet files'!r} to convert")
    return found


def _recipe(wanted: Conversion, source: Source) -> Recipe:
    return Recipe(
        target=parse_target(wanted.target, Path()),
        sources=(source,),
        shuffle="none",
        source_column=None,
        config=source.config or "default",
        split=source.split,
        block_rows=wanted.block_rows,
        block_bytes=wanted.block_bytes,
        file=wanted.source,
    )


def show(done: list[Built], wanted: Conversion) -> None:
    """Print what was converted."""
    for built in done:
        plan = built.plan.splits[0]
        if built.repeated:
            console.say(f"{plan.recipe.config}/{plan.split}: is there already")
            continue
        size = built.reports[plan.split]["bytes"]["published"]
        console.say(
            f"{plan.recipe.config}/{plan.split}: {plan.rows:,} rows in {len(plan.blocks):,} blocks, {format_bytes(size)}"
        )
    console.say(f"written to {wanted.target}; a mix of it copies its blocks")
