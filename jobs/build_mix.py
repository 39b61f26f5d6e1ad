"""Build a mix with Spark: open the sources, count, plan, build the shards in tasks, publish in one commit.

Also a program for `spark-submit`: `spark-submit jobs/build_mix.py mix.yaml --output hf://datasets/ns/name`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from jobs import console
from jobs.exchange import carrier_schema, exchange_rows
from jobs.session import apart, check_java, spark_session
from jobs.target import Target, check_append, check_sources, not_empty, open_target, private_source, publish_mix
from jobs.tasks import run_tasks
from pipeline.hub import client
from pipeline.hub.repo import Secret
from pipeline.hub.split import Mode
from pipeline.hub.upload import ShardReceipt
from pipeline.mix import build, report
from pipeline.mix.plan import Plan, align_mix, plan_mix
from pipeline.mix.quality import Quality
from pipeline.mix.recipe import Recipe
from pipeline.mix.sources import OpenSource, count_kept, open_source
from pipeline.parquet.features import Features
from pipeline.sizes import counted, format_bytes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A recipe with its target and sources looked up: all that can be said without reading data, and without Spark.

    `features` are those that the rows get; `private_source` is a source that makes the mix private.
    """

    recipe: Recipe
    target: Target
    sources: tuple[OpenSource, ...]
    features: Features | None
    private_source: str | None

    def plan(self, count: Callable[[Sequence[OpenSource]], list[OpenSource]]) -> Plan:
        """The plan, once `count` has told how many rows each `where` keeps."""
        return replace(plan_mix(self.recipe, count(self.sources)), features=self.features)


def build_mix(
    recipe: Recipe, *, endpoint: str | None = None, mode: Mode | None = None, master: str | None = None
) -> report.Built:
    """Build the recipe's mix and publish it. `mode` says what to do with rows that the target has; `None` refuses.

    What is wrong with recipe, sources or target is said before Spark starts. Raises any DatasetError; then nothing is published.
    """
    check_java()
    started = time.monotonic()
    opened = open_all(recipe, endpoint, mode)
    with opened.target.staging(), spark_session(f"mix {recipe.target}", master=master) as spark:
        return _build(spark, opened, started)


def build_with(
    spark: SparkSession, recipe: Recipe, *, endpoint: str | None = None, mode: Mode | None = None
) -> report.Built:
    """As `build_mix`, in a session that is there."""
    started = time.monotonic()
    opened = open_all(recipe, endpoint, mode)
    with opened.target.staging():
        return _build(spark, opened, started)


def plan_only(recipe: Recipe, *, endpoint: str | None = None, mode: Mode | None = None) -> Plan:
    """The plan of a recipe, without Spark. What a `where` keeps is counted on this machine.

    Of a target that has rows, and no `mode` for them, it says on the way what building will need.
    """
    opened = open_all(recipe, endpoint, mode or Mode.OVERWRITE)
    if mode is None and opened.target.planned:
        console.note(f"note: {not_empty(recipe, opened.target.planned)}")
    return opened.plan(lambda sources: _count_here(sources, opened.target.token))


def open_all(recipe: Recipe, endpoint: str | None, mode: Mode | None) -> Opened:
    """Look target and sources up, and check that their columns align. Raises any DatasetError but TransferErrors of data."""
    target = open_target(recipe, endpoint, mode)
    sources = [open_source(recipe, index, target.token, endpoint) for index in range(len(recipe.sources))]
    schema, features = align_mix(recipe, sources)
    features = check_append(target, schema, features)
    check_sources(target, sources)
    if recipe.shuffle == "rows":
        carrier_schema(schema)
    private = private_source(recipe, target, endpoint)
    recipe = replace(recipe, private=True) if private is not None else recipe
    return Opened(recipe=recipe, target=target, sources=tuple(sources), features=features, private_source=private)


def _build(spark: SparkSession, opened: Opened, started: float) -> report.Built:
    plan = apart(lambda: opened.plan(lambda sources: _count(spark, sources, opened.target.token)))
    receipts = apart(lambda: build_plan(spark, plan, opened.target))
    try:
        commit = publish_mix(plan, opened.target, receipts)
    except KeyboardInterrupt as err:
        raise KeyboardInterrupt("interrupted while publishing; look at the target before you run again") from err
    return report.Built(
        plan=plan,
        receipts=tuple(receipts),
        seconds=time.monotonic() - started,
        commit=commit,
        private_source=opened.private_source,
    )


def build_plan(spark: SparkSession, plan: Plan, target: Target) -> list[ShardReceipt]:
    """Build the plan's shards and store them; nothing is visible yet."""
    if target.ref is not None and target.new:
        client.create_repo(target.ref, target.token, private=plan.recipe.private)
    return exchange_rows(spark, plan, target) if plan.exchange else _build_shards(spark, plan, target)


def _count(spark: SparkSession, sources: Sequence[OpenSource], token: Secret | None) -> list[OpenSource]:
    todo = _to_count(sources)
    if not todo:
        return list(sources)
    shared = spark.sparkContext.broadcast(list(sources))

    def count(item: tuple[int, int, int]) -> int:
        source, file, group = item
        return count_kept(shared.value[source], file, group, token)

    return _with_counts(sources, todo, run_tasks(spark, count, todo, "count rows"))


def _count_here(sources: Sequence[OpenSource], token: Secret | None) -> list[OpenSource]:
    todo = _to_count(sources)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda item: count_kept(sources[item[0]], item[1], item[2], token), todo)
        return _with_counts(sources, todo, list(found))


def _to_count(sources: Sequence[OpenSource]) -> list[tuple[int, int, int]]:
    """(source, file, row group) of all row groups behind a predicate."""
    return [
        (number, file, group)
        for number, source in enumerate(sources)
        if source.predicate is not None
        for file, counts in enumerate(source.counts)
        for group in range(len(counts))
    ]


def _with_counts(
    sources: Sequence[OpenSource], todo: Sequence[tuple[int, int, int]], found: Sequence[int]
) -> list[OpenSource]:
    counts = [[list(file) for file in source.counts] for source in sources]
    for (source, file, group), rows in zip(todo, found, strict=True):
        counts[source][file][group] = rows
    return [replace(source, counts=tuple(map(tuple, files))) for source, files in zip(sources, counts, strict=True)]


def _build_shards(spark: SparkSession, plan: Plan, target: Target) -> list[ShardReceipt]:
    shared = spark.sparkContext.broadcast(plan)

    def build_one(shard: int) -> ShardReceipt:
        store = target.store()
        try:
            return build.build_shard(shared.value, shard, target.token, store)
        finally:
            store.abort()

    return run_tasks(spark, build_one, range(plan.shards), "build shards")


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Print a plan."""
    if as_json:
        console.say_json(report.plan_values(plan))
        return
    console.table(("source", "from", "available", "wanted", "drawn"), report.source_rows(plan))
    console.say()
    for line in _plan_lines(plan):
        console.say(line)


def _plan_lines(plan: Plan) -> list[str]:
    rows = [end - start for start, end in pairwise(plan.bounds)]
    sizes = f"{min(rows):,} to {max(rows):,} rows each" if min(rows) < max(rows) else f"{rows[0]:,} rows each"
    blocks = f", {len(plan.blocks):,} blocks" if plan.blocks else ""
    return [
        f"{plan.rows:,} rows in {counted(plan.shards, 'shard')}, {sizes}",
        f"shuffle: {plan.recipe.shuffle}{blocks}, seed {plan.recipe.seed}",
        f"to read: {format_bytes(plan.bytes_to_read)}",
        f"columns: {', '.join(f'{column.name} {column.type}' for column in plan.schema)}",
        f"target: {plan.recipe.target}, config {plan.recipe.config}, split {plan.recipe.split}",
    ]


def show_report(built: report.Built, *, as_json: bool) -> None:
    """Print what was built."""
    quality = report.quality_of(built.plan)
    if as_json:
        console.say_json(report.built_values(built, quality))
        return
    plan, totals = built.plan, report.totals(built)
    rows = [(name, origin, wanted, drawn) for name, origin, _, wanted, drawn in report.source_rows(plan)]
    console.table(("source", "from", "wanted", "got"), rows)
    console.say()
    console.say(f"rows         {plan.rows:,} in {counted(plan.shards, 'shard')}")
    console.say(f"read         {format_bytes(totals['bytes_read'])}")
    console.say(f"written      {format_bytes(totals['bytes_written'])}")
    if built.commit is not None:
        share = totals["bytes_uploaded"] / max(1, totals["bytes_written"])
        console.say(f"uploaded     {format_bytes(totals['bytes_uploaded'])} ({share:.1%} of what was written)")
        console.say(f"deduplicated {format_bytes(totals['bytes_deduplicated'])}")
    console.say(f"time         {built.seconds:.1f} s")
    if built.private_source is not None:
        why = f"source {built.private_source!r} is a private repo"
        console.say(f"private      {plan.recipe.target}, because {why}; 'private: false' in the recipe makes it public")
    if quality is not None:
        console.say(f"shuffle      {_quality_line(quality)}")
    console.say()
    where = f"--config {plan.recipe.config} " if plan.recipe.config != "default" else ""
    split = f"--split {plan.recipe.split} " if plan.recipe.split != "train" else ""
    if built.commit is not None:
        console.say(f"committed {built.commit[:8]} to {plan.recipe.target}; stream it with:")
        console.say(f"  pipeline stream {plan.recipe.target} {where}{split}--rows 5")
    else:
        console.say(f"written to {plan.recipe.target}; read it with:")
        console.say(f"  python -c \"import datasets; print(datasets.load_dataset('{plan.recipe.target}'))\"")


def _quality_line(quality: Quality) -> str:
    stored, buffered = quality.stored.chi2_64, quality.buffered.chi2_64
    if stored is None or buffered is None or quality.stored.chi2_4096 is None:
        return "too few rows or sources to judge"
    advice = (
        "good" if quality.meets_gate else "for a better one: shuffle: rows, a smaller block_bytes, or a larger buffer"
    )
    return (
        f"chi2/dof {stored:.2f} as stored, {buffered:.2f} behind a buffer of {quality.buffer_rows:,} rows "
        f"(1 is random; {advice})"
    )


if __name__ == "__main__":
    from jobs.cli import main

    main(["build-mix", *sys.argv[1:]])
