"""A recipe with its target and sources looked up: all that can be said without reading data, and without Spark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa

from jobs.exchange import carrier_schema
from jobs.target import Target, check_append, check_sources, open_target
from pipeline.errors import AccessError
from pipeline.hub import facts
from pipeline.hub.repo import Secret
from pipeline.hub.split import Mode
from pipeline.hub.upload import MIXED_CHUNKS_PER_RANGE
from pipeline.mix.plan import MixPlan, align_mix, plan_mix
from pipeline.mix.predict import Prediction, predict
from pipeline.mix.recipe import Recipe
from pipeline.mix.sources import OpenSource, decide_copies, expand_configs, open_source, repos_of
from pipeline.parquet.features import Features

_THREADS = 8

Count = Callable[[Recipe, Sequence[OpenSource], pa.Schema, Secret | None], list[OpenSource]]
"""Tells how many rows each source's conditions keep, as far as it knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A recipe (a source for each config, private if it must be), its target, its sources.

    `schema` is what the mix has, `features` what its rows get. `restricted` are the repos that are private or gated.
    """

    recipe: Recipe
    target: Target
    sources: tuple[OpenSource, ...]
    schema: pa.Schema
    features: Features | None
    restricted: tuple[str, ...]

    def plan(self, count: Count) -> MixPlan:
        """The plan, once `count` has told how many rows are kept."""
        sources = count(self.recipe, self.sources, self.schema, self.target.token)
        return plan_mix(self.recipe, sources, features=self.features)

    def predict(self, plan: MixPlan) -> tuple[tuple[Prediction, ...], ...]:
        """What building the plan would upload of each source, split by split."""
        known = self.target.known_blocks()
        return tuple(predict(one, known) for one in plan.splits)


def open_all(
    recipe: Recipe,
    endpoint: str | None,
    mode: Mode | None,
    *,
    allow_code: bool = False,
    min_chunks: int | None = None,
) -> Opened:
    """Look target and sources up, and check that their columns align.

    Raises any DatasetError but TransferErrors of data; AccessError for a mix that would publish private or gated sources.
    """
    target = replace(open_target(recipe, endpoint, mode), min_chunks=min_chunks or MIXED_CHUNKS_PER_RANGE)
    recipe = expand_configs(recipe, target.token, endpoint)
    opened = open_sources(recipe, target.token, endpoint, allow_code=allow_code)
    schema, features = align_mix(recipe, opened)
    features = check_append(target, schema, features)
    whole_files = target.ref is not None
    decided = decide_copies(recipe, opened, schema, whole_files=whole_files, features=features)
    sources, restricted = _governed(recipe, decided, target.token, endpoint)
    check_sources(target, sources)
    if recipe.shuffle == "rows":
        carrier_schema(schema)
    recipe = _kept_private(recipe, target, restricted)
    return Opened(
        recipe=recipe,
        target=target,
        sources=tuple(sources),
        schema=schema,
        features=features,
        restricted=restricted,
    )


def open_sources(recipe: Recipe, token: Secret | None, endpoint: str | None, *, allow_code: bool) -> list[OpenSource]:
    """Look up all sources of a recipe that has one for each config, several at a time. Raises what `open_source` raises."""

    def open_one(index: int) -> OpenSource:
        return open_source(recipe, index, token, endpoint, allow_code=allow_code)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(open_one, range(len(recipe.sources))))


def _governed(
    recipe: Recipe, sources: Sequence[OpenSource], token: Secret | None, endpoint: str | None
) -> tuple[list[OpenSource], tuple[str, ...]]:
    """The sources with what their repos say of licence, privacy and gating; the repos that are private or gated."""
    found = []
    restricted: list[str] = []
    for written, source in zip(recipe.sources, sources, strict=True):
        refs = repos_of(written, endpoint)
        told = [facts.repo_facts(ref, token) for ref in refs]
        restricted += [ref.repo_id for ref, one in zip(refs, told, strict=True) if one.private or one.gated]
        licences = dict.fromkeys(one.license for one in told if one.license)
        found.append(
            replace(
                source,
                license=", ".join(licences) or None,
                private=any(one.private for one in told),
                gated=any(one.gated for one in told),
            )
        )
    return found, tuple(dict.fromkeys(restricted))


def _kept_private(recipe: Recipe, target: Target, restricted: Sequence[str]) -> Recipe:
    """The recipe, private when a source is and it does not say otherwise. Raises AccessError for one that would be open."""
    unnamed = [repo for repo in restricted if repo not in recipe.public]
    if target.ref is None or not unnamed or (target.new and recipe.private):
        return recipe
    if target.new and recipe.private is None:
        return replace(recipe, private=True)
    if not target.new and facts.repo_facts(target.ref, target.token).private:
        return recipe
    names, are = ", ".join(unnamed), "are" if len(unnamed) > 1 else "is"
    raise AccessError(
        f"{recipe.where_is('target')}: target {recipe.target!r} is public, and {names} {are} private or gated; "
        f"choose a private target, or write 'public: [{names}]' to publish them openly"
    )
