"""A plan's shards, built by Spark's tasks or by processes of this machine: those that are not stored yet, each remembered as it
comes.

Receipts come to the driver through an accumulator as tasks end, not when all have ended. A thread shows how far it is, and keeps
them in the ledger every few seconds, so that a run that is killed, and begun again anywhere, does the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from pyspark.accumulators import Accumulator, AccumulatorParam

from jobs import console
from jobs.exchange import exchange_rows
from jobs.here import Collected, build_here
from jobs.tasks import job_description
from pipeline.errors import DatasetError
from pipeline.hub.copies import copied_shard
from pipeline.hub.listing import list_files
from pipeline.hub.local_store import local_store
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.upload import ShardReceipt
from pipeline.mix import build
from pipeline.mix.blocks import Blocks
from pipeline.mix.plan import MixPlan, Plan
from pipeline.parquet.marker import working_marker
from pipeline.sizes import format_bytes
from pipeline.writing import ShardStore

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.target import Target

_LOOK_S = 0.5
# The Hub counts commits per hour, and an early kill should lose little: the first soon, then ever fewer.
_REMEMBER_S, _MOST_REMEMBER_S = 5.0, 60.0
Receipts = dict[str, ShardReceipt]
Stored = tuple[int, ShardReceipt]
"""A shard's number, and what it became."""


def shard_key(split: str, shard: int) -> str:
    """What a shard is called in the ledger."""
    return f"{split}/{shard:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """All stored shards of a plan, by key, and how many of each split a run before had stored."""

    receipts: Receipts
    kept: Mapping[str, int]


def build_shards(spark: SparkSession | None, mix: MixPlan, target: Target) -> Shards:
    """Build and store all shards that are not stored; nothing is visible yet. Without Spark, by processes of this machine."""
    known = target.ledger(mix.id).load()
    with local_store() as measure:
        marker = working_marker(measure)
    receipts: Receipts = {}
    kept = {}
    for plan in (replace(one, marker=marker) for one in mix.splits):
        keys = {shard_key(plan.split, shard): shard for shard in range(plan.shards)}
        there = {key: known[key] for key in keys if key in known and _fits(plan, keys[key], known[key])}
        kept[plan.split] = len(there)
        there |= {shard_key(plan.split, shard): one for shard, one in _copies(plan, target).items()}
        pending = [shard for key, shard in keys.items() if key not in there]
        if kept[plan.split]:
            console.note(f"{plan.split}: {kept[plan.split]} of {plan.shards} shards are stored already")
        receipts |= there
        if pending:
            receipts |= _build_split(spark, plan, pending, target, mix.id)
    return Shards(receipts=receipts, kept=kept)


def _copies(plan: Plan, target: Target) -> dict[int, ShardReceipt]:
    """The shards that are whole files of sources: the Hub copies them."""
    found = {}
    for shard, (number, index) in plan.verbatim.items():
        file = plan.sources[number].files[index]
        ref = parse_ref(file.file.uri, endpoint=file.file.endpoint)
        listing = list_files(replace(ref, path=""), target.token)
        data = next(one for one in listing.files if one.path == ref.path)
        found[shard] = copied_shard(ref.repo_id, data, rows=sum(file.rows), num_bytes=sum(file.sizes))
    return found


def _fits(plan: Plan, shard: int, receipt: ShardReceipt) -> bool:
    return receipt.rows == plan.bounds[shard + 1] - plan.bounds[shard]


def _build_split(
    spark: SparkSession | None, plan: Plan, pending: Sequence[int], target: Target, plan_id: str
) -> Receipts:
    open_store, token, save = partial(target.store, plan_id), target.token, target.ledger(plan_id).save
    if spark is None:
        collected = Collected()
        with _watched(plan, pending, collected, save) as receipts:
            build_here(plan, pending, open_store, token, collected)
        return receipts()
    stored = spark.sparkContext.accumulator([], _Joined())
    what = f"mix {plan.recipe.target}: {'shuffle rows' if plan.exchange else 'build shards'} ({plan.split})"
    with job_description(spark, what), _watched(plan, pending, stored, save) as receipts:
        if plan.exchange:
            exchange_rows(spark, plan, open_store, token, pending, stored)
        else:
            _build_blocks(spark, plan, pending, open_store, token, stored)
    return receipts()


def _build_blocks(
    spark: SparkSession,
    plan: Plan,
    pending: Sequence[int],
    open_store: Callable[[], ShardStore],
    token: Secret | None,
    stored: Accumulator[list[Stored]],
) -> None:
    shared = spark.sparkContext.broadcast(replace(plan, blocks=Blocks()))

    def build_one(item: tuple[int, Blocks]) -> None:
        shard, blocks = item
        store = open_store()
        try:
            receipt = build.build_shard(shared.value, shard, blocks, token, store)
        finally:
            store.abort()
        stored.add([(shard, receipt)])

    bounds = plan.block_bounds
    items = [(shard, plan.blocks[bounds[shard] : bounds[shard + 1]]) for shard in pending]
    spark.sparkContext.parallelize(items, len(items)).foreach(build_one)


class _Joined(AccumulatorParam[list[Stored]]):
    """What tasks add, in the order in which they end."""

    def zero(self, value: list[Stored]) -> list[Stored]:  # noqa: ARG002  (Spark's interface)
        return []

    def addInPlace(self, value1: list[Stored], value2: list[Stored]) -> list[Stored]:  # noqa: N802
        value1 += value2
        return value1


@dataclass(slots=True)
class _Progress:
    """How far a split is: of `total` shards to build, the receipts of those that are stored."""

    plan: Plan
    total: int
    started: float
    receipts: dict[int, ShardReceipt] = field(default_factory=dict)

    def line(self) -> str:
        """Rows and bytes per second, the share that deduplicated."""
        done = self.receipts.values()
        seconds = max(1e-3, time.monotonic() - self.started)
        written = sum(one.file.size for one in done)
        uploaded = sum(one.file.new_bytes for one in done)
        read = self.plan.bytes_to_read * sum(one.rows for one in done) / max(1, self.plan.rows)
        share = 1 - uploaded / written if written else 0.0
        return (
            f"{sum(one.rows for one in done) / seconds:,.0f} rows/s, {format_bytes(round(read / seconds))}/s read, "
            f"{format_bytes(round(uploaded / seconds))}/s uploaded, {share:.1%} deduplicated"
        )


@contextmanager
def _watched(
    plan: Plan, pending: Sequence[int], stored: Accumulator[list[Stored]] | Collected, save: Callable[[Receipts], None]
) -> Iterator[Callable[[], Receipts]]:
    """Show and remember what is stored while the block runs; it gives all receipts in the end."""
    progress = _Progress(plan=plan, total=len(pending), started=time.monotonic())
    finished = threading.Event()

    def taken() -> Receipts:
        progress.receipts |= dict(stored.value)
        return {shard_key(plan.split, shard): receipt for shard, receipt in progress.receipts.items()}

    thread = threading.Thread(target=_follow, args=(progress, taken, save, finished), name="ledger", daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        finished.set()
        thread.join()


def _follow(
    progress: _Progress, taken: Callable[[], Receipts], save: Callable[[Receipts], None], finished: threading.Event
) -> None:
    """Until it is finished. What a short build stored is committed at once, and needs no ledger."""
    remembered: set[str] = set()
    last, every_s = time.monotonic(), _REMEMBER_S
    with console.progress(progress.total, f"shards of {progress.plan.split}", " shards") as bar:
        shown = 0
        ended = False
        while not ended:
            ended = finished.wait(_LOOK_S)
            receipts = taken()
            bar.update(len(receipts) - shown)
            bar.set_postfix_str(progress.line())
            shown = len(receipts)
            is_due = time.monotonic() - last >= every_s or (ended and shown < progress.total)
            new = {key: one for key, one in receipts.items() if key not in remembered}
            if new and (is_due or (ended and remembered)):
                _remember(new, save)
                remembered |= new.keys()
                last, every_s = time.monotonic(), min(2 * every_s, _MOST_REMEMBER_S)


def _remember(receipts: Receipts, save: Callable[[Receipts], None]) -> None:
    """The ledger is a help, not a need: a build that cannot keep it goes on."""
    try:
        save(receipts)
    except DatasetError as err:
        console.note(f"note: cannot keep track of stored shards, a build that is killed now starts over ({err})")
