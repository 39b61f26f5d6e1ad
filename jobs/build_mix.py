"""Build a mix: open the sources, count, plan, build the shards in Spark's tasks or in processes, publish in one commit.

Also a program for `spark-submit`: `spark-submit jobs/build_mix.py mix.yaml --output hf://datasets/ns/name`.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from jobs import console
from jobs.count import count_rows, count_unknown, recall_counts
from jobs.mix_opening import Opened, open_all
from jobs.plan_file import PlanFile, check_applies
from jobs.publish_mix import Built, publish_mix
from jobs.session import apart, spark_session
from jobs.shards import build_shards
from jobs.target import check_mode, not_empty
from pipeline.errors import DatasetError
from pipeline.hub import client
from pipeline.hub.bucket import create_bucket
from pipeline.hub.split import Mode
from pipeline.mix.plan import MixPlan
from pipeline.mix.recipe import Recipe

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def build_mix(
    recipe: Recipe,
    *,
    endpoint: str | None = None,
    mode: Mode | None = None,
    master: str | None = None,
    allow_code: bool = False,
    apply: PlanFile | None = None,
    min_chunks: int | None = None,
) -> Built:
    """Build the recipe's mix and publish it. `mode` says what to do with rows that the target has; `None` refuses.

    With `apply` it is this plan and nothing else. `min_chunks` is the least length of a range that hf_xet deduplicates.
    Where no row has to be counted or exchanged, processes of this machine build it, unless there is a `master`. What is wrong
    with recipe, sources or target is said before Spark starts. Raises any DatasetError; then nothing is published.
    """
    started = time.monotonic()
    opened = open_all(recipe, endpoint, mode, allow_code=allow_code, min_chunks=min_chunks)
    known = _recalled(opened)
    if (done := _already(opened, known, mode, apply, started)) is not None:
        return done
    if known and master is None and not _is_submitted() and not any(plan.exchange for plan in known.splits):
        return build_planned(None, opened, known, started)
    with spark_session(f"mix {recipe.target}", master=master) as spark:
        return _build(spark, opened, known, apply, started)


def build_with(
    spark: SparkSession,
    recipe: Recipe,
    *,
    endpoint: str | None = None,
    mode: Mode | None = None,
    allow_code: bool = False,
) -> Built:
    """As `build_mix`, in a session that is there."""
    started = time.monotonic()
    opened = open_all(recipe, endpoint, mode, allow_code=allow_code)
    known = _recalled(opened)
    return _already(opened, known, mode, None, started) or _build(spark, opened, known, None, started)


def plan_only(
    recipe: Recipe,
    *,
    endpoint: str | None = None,
    mode: Mode | None = None,
    allow_code: bool = False,
    count: bool = False,
) -> tuple[Opened, MixPlan]:
    """The plan of a recipe, without Spark: with `count` the rows behind conditions are counted on this machine.

    Of a target that has rows, and no `mode` for them, it says on the way what building will need.
    """
    opened = open_all(recipe, endpoint, mode, allow_code=allow_code)
    plan = opened.plan(count_rows if count else count_unknown)
    if mode is None and opened.target.has_rows and not opened.target.holds(plan.id):
        console.note(f"note: {not_empty(opened.recipe, opened.target)}")
    return opened, plan


def _already(
    opened: Opened, known: MixPlan | None, mode: Mode | None, apply: PlanFile | None, started: float
) -> Built | None:
    """What is there, if the target has this very mix; said before Spark starts, where all counts are known."""
    if apply is not None:
        check_applies(apply, opened)
        if known is not None:
            apply.check_plan(known)
    if known is not None and opened.target.holds(known.id):
        return _repeated(opened, known, started)
    check_mode(opened.recipe, opened.target, mode)
    return None


def _is_submitted() -> bool:
    """Whether spark-submit runs this program, and has said which master."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _recalled(opened: Opened) -> MixPlan | None:
    """The plan, if this machine knows all counts."""
    sources = recall_counts(opened.recipe, opened.sources, opened.schema, opened.target.token)
    return opened.plan(lambda *_: sources) if all(source.exact for source in sources) else None


def _build(spark: SparkSession, opened: Opened, known: MixPlan | None, apply: PlanFile | None, started: float) -> Built:
    if known is not None:
        return build_planned(spark, opened, known, started)
    plan = apart(lambda: opened.plan(partial(count_rows, spark=spark)))
    if apply is not None:
        apply.check_plan(plan)
    return (
        _repeated(opened, plan, started)
        if opened.target.holds(plan.id)
        else build_planned(spark, opened, plan, started)
    )


def build_planned(spark: SparkSession | None, opened: Opened, plan: MixPlan, started: float) -> Built:
    """Build the shards of a plan that is exact, and publish them; without Spark, where no row is exchanged."""
    target = opened.target
    if target.ref is not None and target.new:
        create = create_bucket if target.ref.kind == "buckets" else client.create_repo
        create(target.ref, target.token, private=opened.recipe.private)
    foreseen = opened.predict(plan)
    try:
        shards = apart(lambda: build_shards(spark, plan, target)) if spark else build_shards(None, plan, target)
    except BaseException:
        if target.folder is not None and not target.ledger(plan.id).load():
            target.ledger(plan.id).drop()  # nothing to go on with
        raise
    try:
        built = publish_mix(plan, opened, shards, foreseen, seconds=time.monotonic() - started)
    except KeyboardInterrupt as err:
        raise KeyboardInterrupt("interrupted while publishing; look at the target before you run again") from err
    with suppress(DatasetError):  # it is published; what is left of the ledger, the next build clears away
        target.ledger(plan.id).drop()
    return built


def _repeated(opened: Opened, plan: MixPlan, started: float) -> Built:
    seconds = time.monotonic() - started
    return Built(plan=plan, seconds=seconds, commit=opened.target.head, repeated=True)


if __name__ == "__main__":
    from jobs.cli import main

    main(["build-mix", *sys.argv[1:]])
