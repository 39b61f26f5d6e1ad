"""A function over a list of items, one Spark task each, with a progress bar while they run."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from jobs import console

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Item = TypeVar("Item")
Result = TypeVar("Result")
_POLL_S = 0.2
_JOB = ("spark.jobGroup.id", "spark.job.description")


def run_tasks(
    spark: SparkSession, function: Callable[[Item], Result], items: Sequence[Item], what: str
) -> list[Result]:
    """The function's results, in the order of the items."""
    if not items:
        return []
    tasks = spark.sparkContext.parallelize(list(items), len(items)).map(function)
    with watch(spark, what):
        found: list[Result] = tasks.collect()
    return found


@contextmanager
def watch(spark: SparkSession, what: str) -> Iterator[None]:
    """Say in Spark's UI what the jobs in this block are for, and show how many of their tasks are done."""
    finished = threading.Event()
    with job_description(spark, what) as group:
        watcher = threading.Thread(
            target=_show, args=(spark.sparkContext.statusTracker(), group, what, finished), daemon=True
        )
        watcher.start()
        try:
            yield
        finally:
            finished.set()
            watcher.join()


@contextmanager
def job_description(spark: SparkSession, what: str) -> Iterator[str]:
    """Say in Spark's UI what the jobs in this block are for; gives the name of their group."""
    context = spark.sparkContext
    group = uuid.uuid4().hex
    before = {name: context.getLocalProperty(name) for name in _JOB}
    context.setJobGroup(group, what)
    try:
        yield group
    finally:
        for name, value in before.items():
            context.setLocalProperty(name, value)  # type: ignore[arg-type]  # None clears it


def _show(tracker: object, group: str, what: str, finished: threading.Event) -> None:
    with console.progress(0, what, " tasks") as bar:
        shown = 0
        while not finished.wait(_POLL_S):
            total, done = _tasks_of(tracker, group)
            bar.total = total
            bar.update(done - shown)
            shown = done


def _tasks_of(tracker: object, group: str) -> tuple[int, int]:
    total = done = 0
    for job in tracker.getJobIdsForGroup(group):  # type: ignore[attr-defined]
        info = tracker.getJobInfo(job)  # type: ignore[attr-defined]
        for stage in info.stageIds if info else ():
            if told := tracker.getStageInfo(stage):  # type: ignore[attr-defined]
                total += told.numTasks
                done += told.numCompletedTasks
    return total, done
