"""Build a mix with Spark: open the sources, count, plan, build the shards in tasks, publish in one commit.

Also a program for `spark-submit`: `spark-submit jobs/build_mix.py mix.yaml --output hf://datasets/ns/name`.
"""

from __future__ import annotations

import json
import pickle
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs import console
from jobs.session import spark_session
from jobs.tasks import run_tasks, watch
from pipeline.errors import ConflictError, NotFoundError
from pipeline.folder import FolderStore, list_folder, publish_folder
from pipeline.hub import client
from pipeline.hub.repo import DatasetRef, Secret, find_token, normalise_endpoint, parse_ref
from pipeline.hub.resolver import DataFile, list_files
from pipeline.hub.split import Mode, SplitWrite, existing_files
from pipeline.hub.upload import ShardReceipt
from pipeline.mix import build, report
from pipeline.mix.plan import Plan, align_mix, plan_mix
from pipeline.mix.quality import Quality
from pipeline.mix.recipe import Recipe
from pipeline.mix.sources import OpenSource, count_kept, open_source
from pipeline.parquet.conform import conform
from pipeline.parquet.features import to_yaml
from pipeline.sizes import format_bytes
from pipeline.writing import HubStore, ShardStore, publish

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PIECE_BYTES = 64 << 20
_THREADS = 8

Counter = Callable[[Sequence[OpenSource]], list[OpenSource]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a mix goes: a repo or a folder, and what stands there now."""

    ref: DatasetRef | None
    folder: Path | None
    token: Secret | None
    mode: Mode
    planned: tuple[DataFile, ...]

    def store(self) -> ShardStore:
        """A place for a task's files."""
        if self.folder is not None:
            return FolderStore(self.folder)
        assert self.ref is not None
        return HubStore(self.ref, self.token)


def build_mix(
    recipe: Recipe, *, endpoint: str | None = None, mode: Mode | None = None, master: str | None = None
) -> report.Built:
    """Build the recipe's mix and publish it. `mode` says what to do with rows that the target has; `None` refuses.

    Raises any DatasetError; then nothing is published.
    """
    started = time.monotonic()
    with spark_session(f"mix {recipe.target}", master=master) as spark:
        target = open_target(recipe, endpoint, mode)
        token = target.token
        plan = make_plan(recipe, token, endpoint, lambda sources: _count(spark, sources, token))
        if target.ref is not None:
            client.create_repo(target.ref, token, private=recipe.private)
        receipts = _exchange(spark, plan, target) if plan.exchange else _build_shards(spark, plan, target)
    commit = _publish(plan, target, receipts)
    return report.Built(plan=plan, receipts=tuple(receipts), seconds=time.monotonic() - started, commit=commit)


def plan_only(recipe: Recipe, *, endpoint: str | None = None, mode: Mode | None = None) -> Plan:
    """The plan of a recipe, without Spark. What a `where` keeps is counted on this machine."""
    target = open_target(recipe, endpoint, mode)
    return make_plan(recipe, target.token, endpoint, lambda sources: _count_here(sources, target.token))


def make_plan(recipe: Recipe, token: Secret | None, endpoint: str | None, count: Counter) -> Plan:
    """Open the sources, check that their columns align, then count, then plan."""
    sources = [open_source(recipe, index, token, endpoint) for index in range(len(recipe.sources))]
    align_mix(recipe, sources)
    return plan_mix(recipe, count(sources))


def open_target(recipe: Recipe, endpoint: str | None, mode: Mode | None) -> Target:
    """Look at the target. Raises ConflictError when its split has rows and `mode` does not say what to do with them."""
    token = find_token(normalise_endpoint(endpoint))
    if recipe.target.startswith(("/", ".")):
        folder = Path(recipe.target)
        ref, listing = None, list_folder(folder)
    else:
        folder, ref = None, parse_ref(recipe.target, endpoint=endpoint)
        try:
            listing = list_files(ref, token)
        except NotFoundError:
            listing = None
    planned = existing_files(listing, recipe.config, recipe.split) if listing else ()
    if planned and mode is None:
        raise ConflictError(
            f"target {recipe.target!r} has {len(planned)} files in split {recipe.split!r} of config {recipe.config!r}; "
            "pass --overwrite to replace them, or --append to add to them"
        )
    return Target(ref=ref, folder=folder, token=token, mode=mode or Mode.OVERWRITE, planned=planned)


def _count(spark: SparkSession, sources: Sequence[OpenSource], token: Secret | None) -> list[OpenSource]:
    todo = _to_count(sources)
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


def _exchange(spark: SparkSession, plan: Plan, target: Target) -> list[ShardReceipt]:
    """Bring the rows of each shard together in order of position, and write them."""
    from pyspark.sql.functions import col
    from pyspark.sql.types import StructType

    from spark_datasource.schemas import spark_arrow_type, spark_schema

    schema = build.exchange_schema(plan)
    travel = pa.schema([pa.field(column.name, spark_arrow_type(column.type)) for column in schema])
    pieces = build.pieces_of(plan, _PIECE_BYTES)
    shared = spark.sparkContext.broadcast((plan, pieces))

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        the_plan, the_pieces = shared.value
        for batch in batches:
            for piece in batch.column(0).to_pylist():
                for rows in build.read_drawn(the_plan, the_pieces[piece], target.token):
                    yield conform(rows, travel, "exchange")

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next((batch for batch in batches if batch.num_rows), None)
        if first is None:
            return
        shard = first.column(1)[0].as_py()
        rows = (conform(batch, shared.value[0].schema, "exchange") for batch in _chain(first, batches))
        store = target.store()
        try:
            receipt = build.write_rows(shared.value[0], shard, rows, store)
        finally:
            store.abort()
        yield pa.record_batch([pa.array([shard]), pa.array([pickle.dumps(receipt)])], names=["shard", "receipt"])

    as_spark: StructType = spark_schema(travel, None)
    written = (
        spark.range(0, len(pieces), 1, len(pieces))
        .mapInArrow(read, as_spark)
        .repartitionById(plan.shards, col(build.SHARD))
        .sortWithinPartitions(build.POSITION)
        .mapInArrow(write, "shard long, receipt binary")
    )
    with watch(spark, "shuffle rows"):
        rows = written.collect()
    return [pickle.loads(row.receipt) for row in sorted(rows, key=lambda row: row.shard)]  # noqa: S301 - our own


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _publish(plan: Plan, target: Target, receipts: Sequence[ShardReceipt]) -> str | None:
    recipe = plan.recipe
    state = json.dumps(report.state(plan, receipts), indent=2) + "\n"
    write = SplitWrite(
        config=recipe.config,
        split=recipe.split,
        mode=target.mode,
        transaction=uuid.uuid4().hex,
        features=to_yaml(plan.features) if plan.features is not None else None,
        section=report.card_section(plan, receipts),
        texts={".pipeline/mix.json": state},
    )
    if target.folder is not None:
        publish_folder(target.folder, write, receipts)
        return None
    assert target.ref is not None
    message = f"Mix {plan.rows} rows of {len(plan.sources)} sources, seed {recipe.seed}"
    return publish(target.ref, target.token, write, receipts, planned=target.planned, message=message).sha


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
    blocks = f" of {len(plan.blocks):,} blocks" if plan.blocks else ""
    return [
        f"{plan.rows:,} rows in {plan.shards} shards, {sizes}",
        f"order: {plan.recipe.shuffle}{blocks}, seed {plan.recipe.seed}",
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
    share = totals["bytes_uploaded"] / max(1, totals["bytes_written"])
    console.say(f"rows         {plan.rows:,} in {plan.shards} shards")
    console.say(f"read         {format_bytes(totals['bytes_read'])}")
    console.say(f"written      {format_bytes(totals['bytes_written'])}")
    console.say(f"uploaded     {format_bytes(totals['bytes_uploaded'])} ({share:.1%} of what was written)")
    console.say(f"deduplicated {format_bytes(totals['bytes_deduplicated'])}")
    console.say(f"time         {built.seconds:.1f} s")
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
    if stored is None or buffered is None:
        return "too few rows or sources to measure"
    return (
        f"chi2/dof in windows of 64 rows {stored:.2f} as stored, {buffered:.2f} behind a buffer of "
        f"{quality.buffer_rows:,} (1 is random; {'meets' if quality.meets_gate else 'misses'} the gate of 2)"
    )
