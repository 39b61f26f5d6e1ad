"""Print whether a mix has the rows that its recipe plans, from sources at the commits that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs import console
from jobs.count import count_rows
from jobs.mix_opening import open_sources
from pipeline.audit.inspect import PublishedSplit, find_published
from pipeline.audit.mixes import MixWrite, read_writes
from pipeline.audit.shard_files import Shards, match_shards
from pipeline.audit.verdicts import Difference, SplitVerdict
from pipeline.audit.verify import compare_rows
from pipeline.errors import CorruptFileError, NotFoundError, OptionError
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import Secret, find_token, parse_ref
from pipeline.hub.resolver import Snapshot
from pipeline.mix.plan import MixPlan, Plan, align_mix, plan_mix
from pipeline.mix.recipe import Recipe, Source, parse_recipe
from pipeline.mix.sources import decide_copies, expand_configs, hub_ref
from pipeline.sizes import counted
from pipeline.storage import FileRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found of a mix at a commit."""

    dataset: str
    commit: str
    splits: tuple[SplitVerdict, ...]

    @property
    def equal(self) -> bool:
        """Whether every split is what it should be."""
        return all(one.equal for one in self.splits)

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        splits = [one.values() for one in self.splits]
        return {"dataset": self.dataset, "commit": self.commit, "equal": self.equal, "splits": splits}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The Hub and who asks it; whether code that a recipe names may run; who is told of rows."""

    listing: Listing
    token: Secret | None
    allow_code: bool
    allow_files: bool
    on_rows: Callable[[int], object]
    plans: dict[str, MixPlan]


def verify(
    dataset: str,
    *,
    config: str | None,
    split: str | None,
    revision: str | None,
    allow_code: bool,
    allow_files: bool,
    endpoint: str | None,
) -> Verified:
    """Verify a mix's splits, with a progress bar over their rows.

    What a repo names outside the Hub is not touched unless that is allowed: code (RecipeError), files (OptionError). Raises
    NotFoundError for a dataset that is no mix of ours or a source that is gone, and what opening and reading sources raises.
    """
    ref = parse_ref(dataset, revision=revision, config=config, split=split, endpoint=endpoint)
    token = find_token(ref.endpoint)
    published = find_published(ref, token)
    listing = list_files(published.ref, token)
    found = [(one, read_writes(listing, one.config, one.split, token)) for one in published.splits]
    mixes = [(one, writes) for one, writes in found if writes]
    if not mixes:
        raise NotFoundError(
            f"{listing.ref}: no build of a mix is recorded under .pipeline/writes; verify what 'pipeline build-mix' wrote"
        )
    verdicts: list[SplitVerdict] = []
    rows = sum(int(write.record.get("rows") or 0) for _, writes in mixes for write in writes)
    with console.progress(rows, "verify", " rows") as bar:
        work = _Work(
            listing=listing,
            token=token,
            allow_code=allow_code,
            allow_files=allow_files,
            on_rows=bar.update,
            plans={},
        )
        for one, writes in mixes:
            verdicts += _verify_split(work, one, writes)
    return Verified(dataset=listing.ref.repo_id, commit=listing.commit, splits=tuple(verdicts))


def _verify_split(work: _Work, one: PublishedSplit, writes: Sequence[MixWrite]) -> list[SplitVerdict]:
    """A verdict for each build of a split."""
    matched, extra = match_shards(one.files, [write.record.get("files") or () for write in writes])
    verdicts = [_verify_write(work, one, write, shards) for write, shards in zip(writes, matched, strict=True)]
    return [replace(verdicts[0], problems=(*verdicts[0].problems, *extra)), *verdicts[1:]]


def _verify_write(work: _Work, one: PublishedSplit, write: MixWrite, shards: Shards) -> SplitVerdict:
    text = write.record.get("recipe")
    if not isinstance(text, str):
        raise NotFoundError(
            f"{work.listing.ref}/{write.path}: records no recipe; build the mix again with this version"
        )
    if text not in work.plans:
        # The name stands in errors; what it names is looked for in the folder that the command runs in.
        work.plans[text] = _plan(work, _pinned(parse_recipe(text, "recorded recipe"), write.record))
    mix = work.plans[text]
    plan = next((plan for plan in mix.splits if plan.split == one.split), None)
    if plan is None:
        raise CorruptFileError(
            f"{work.listing.ref}/{write.path}: its recipe makes no split {one.split!r}; build the mix again"
        )
    compared = compare_rows(plan, _refs(work.listing, shards.files), work.token, work.on_rows)
    return SplitVerdict(
        config=one.config,
        split=one.split,
        shards=len(shards.files),
        method=compared.method,
        problems=(*_planned_otherwise(plan, write.record), *shards.problems, *compared.problems),
        notes=_notes(mix, write.record),
        sources=compared.sources,
    )


def _plan(work: _Work, recipe: Recipe) -> MixPlan:
    """The plan that the recorded recipe makes of its sources; what its conditions keep is counted."""
    endpoint, token = work.listing.ref.endpoint, work.token
    if not work.allow_files:
        _check_on_hub(recipe)
    recipe = expand_configs(recipe, token, endpoint)
    opened = open_sources(recipe, token, endpoint, allow_code=work.allow_code)
    schema, features = align_mix(recipe, opened)
    sources = decide_copies(recipe, opened, schema, whole_files=True, features=features)
    sources = count_rows(recipe, sources, schema, token)
    return plan_mix(recipe, sources, features=features)


def _check_on_hub(recipe: Recipe) -> None:
    """A repo does not say which files of this machine or of other stores are read. Raises OptionError."""
    for source in recipe.sources:
        for path in source.parquet_paths:
            if not path.startswith("hf://"):
                raise OptionError(
                    f"source {source.name!r} of the recorded recipe is {path!r}, which is not on the Hub; "
                    "pass --allow-files to read it"
                )


def _pinned(recipe: Recipe, record: Mapping[str, Any]) -> Recipe:
    """The recipe with the commits of its files on the Hub, which only datasets have in its text."""
    known = {source["name"]: source for source in record["sources"]}
    return replace(recipe, sources=tuple(_pin_paths(source, known.get(source.name, {})) for source in recipe.sources))


def _pin_paths(source: Source, known: Mapping[str, Any]) -> Source:
    """Files of one repo have the source's commit; of several repos, its origin tells the commits."""
    told = str(known.get("from")).split(", ")
    pinned = told if len(told) == len(source.parquet_paths) else source.parquet_paths
    paths = [
        _at(path, known.get("commit"), with_commit) if path.startswith("hf://") else path
        for path, with_commit in zip(source.parquet_paths, pinned, strict=True)
    ]
    return replace(source, parquet_paths=tuple(paths))


def _at(path: str, commit: str | None, with_commit: str) -> str:
    if commit is None:
        return with_commit
    ref = hub_ref(path, None)
    return replace(ref, revision=commit).uri(ref.path)


def _refs(listing: Listing, files: Sequence[DataFile | None]) -> list[FileRef | None]:
    there = iter(file_refs(Snapshot(ref=listing.ref, files=tuple(file for file in files if file is not None))))
    return [None if file is None else next(there) for file in files]


def _planned_otherwise(plan: Plan, record: Mapping[str, Any]) -> tuple[str, ...]:
    built, planned = int(record.get("rows") or 0), plan.rows
    if built == planned:
        return ()
    return (f"its recipe plans {planned:,} rows of the recorded commits, but {built:,} were built",)


def _notes(mix: MixPlan, record: Mapping[str, Any]) -> tuple[str, ...]:
    if record.get("plan_id") == mix.id:
        return ()
    return (
        "planning again gives another plan id: the versions of writers, or a function's code, are not those of the build",
    )


def show(verified: Verified, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        console.say_json(verified.values())
        return
    console.say(f"{verified.dataset}@{verified.commit[:8]}")
    for one in verified.splits:
        console.say()
        _split(one)
    console.say()
    rows = sum(one.rows for one in verified.splits)
    console.say(f"equal: {rows:,} rows are those of the sources" if verified.equal else "NOT equal")


def _split(one: SplitVerdict) -> None:
    shards = counted(one.shards, "shard")
    console.say(f"config {one.config}, split {one.split}: {counted(one.rows, 'row')} in {shards} compared {one.method}")
    console.say()
    cells = [(source.source, source.rows, _difference(source.difference)) for source in one.sources]
    console.table(("source", "rows checked", "result"), cells)
    for problem in one.problems:
        console.say(f"* {problem}")
    for note in one.notes:
        console.say(f"note: {note}")


def _difference(found: Difference | None) -> str:
    if found is None:
        return "equal"
    block = f"block {found.block:,}, " if found.block is not None else ""
    row = f", row {found.row:,}" if found.row is not None else ""
    return f"DIFFERS first at {block}shard {found.shard}{row}: {found.what}"
