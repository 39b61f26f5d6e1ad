"""Count, in Spark tasks or in threads, the rows that a recipe's conditions leave, and find those that `dedup_by` drops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs import console
from jobs.tasks import run_tasks
from pipeline.hub.repo import Secret
from pipeline.mix.count_cache import load_found, store_found, trim_found
from pipeline.mix.counting import conclude, survey_run
from pipeline.mix.recipe import Recipe
from pipeline.mix.sources import OpenSource
from pipeline.mix.survey import Found, Run, Survey, plan_survey

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_THREADS = 8
_ROW_BYTES = 64
_WAVE_ROWS = 4 << 20  # their keys are 64 MB: a quarter of them fits in what Spark's driver holds of results at once


def count_rows(
    recipe: Recipe,
    sources: Sequence[OpenSource],
    schema: pa.Schema,
    token: Secret | None,
    *,
    spark: SparkSession | None = None,
) -> list[OpenSource]:
    """The sources of a mix with this schema, all counts exact. Reads what this machine does not know from an earlier count.

    Raises RecipeError for a `dedup_by` that does not fit, CorruptFileError, and what reading files raises.
    """
    survey = plan_survey(recipe, sources, schema)
    return _count(survey, sources, survey.runs(), token, spark)


def count_unknown(
    recipe: Recipe, sources: Sequence[OpenSource], schema: pa.Schema, token: Secret | None
) -> list[OpenSource]:
    """As `recall_counts`, but sources of which nothing tells how many rows they have at most are counted, here.

    Raises as `count_rows`.
    """
    survey = plan_survey(recipe, sources, schema)
    runs = [run for run in survey.runs() if not sources[run.source].counted]
    return _count(survey, sources, runs, token, None)


def recall_counts(
    recipe: Recipe, sources: Sequence[OpenSource], schema: pa.Schema, token: Secret | None
) -> list[OpenSource]:
    """The sources with what earlier counts have left on this machine; nothing is read. Raises RecipeError as `count_rows`."""
    survey = plan_survey(recipe, sources, schema)
    return conclude(survey, sources, load_found(survey, survey.runs(), token))


def _count(
    survey: Survey,
    sources: Sequence[OpenSource],
    runs: Sequence[Run],
    token: Secret | None,
    spark: SparkSession | None,
) -> list[OpenSource]:
    """The sources with what is found in these runs, and with what is known of the others."""
    found = load_found(survey, survey.runs(), token)
    todo = [run for run in runs if run not in found]
    unknown = dict.fromkeys(source.name for run in todo if not (source := sources[run.source]).counted)
    if unknown:
        console.note(
            f"note: the rows of {', '.join(unknown)} are counted, for files that are not Parquet do not tell them"
        )
    read = _in_threads(survey, todo, token) if spark is None else _in_spark(spark, survey, todo, token)
    for run, one in read:
        store_found(survey, run, one, token)
        found[run] = one
    if todo:
        trim_found()
    return conclude(survey, sources, found)


def _in_threads(survey: Survey, runs: Sequence[Run], token: Secret | None) -> Iterator[tuple[Run, Found]]:
    with console.progress(_rows(survey, runs) or None, "count", " rows") as bar, ThreadPoolExecutor(_THREADS) as pool:
        for run, found in zip(runs, pool.map(lambda run: survey_run(survey, run, token), runs), strict=True):
            bar.update(sum(found.rows) or _rows(survey, [run]))
            yield run, found


def _in_spark(
    spark: SparkSession, survey: Survey, runs: Sequence[Run], token: Secret | None
) -> Iterator[tuple[Run, Found]]:
    if not runs:
        return
    shared = spark.sparkContext.broadcast(survey)

    def count(run: Run) -> Found:
        return survey_run(shared.value, run, token)

    for wave in _waves(survey, runs):
        yield from zip(wave, run_tasks(spark, count, wave, "count rows"), strict=True)


def _waves(survey: Survey, runs: Iterable[Run]) -> Iterator[list[Run]]:
    """The runs in portions whose keys may come to the driver together."""
    wave: list[Run] = []
    rows = 0
    for run in runs:
        own = _rows(survey, [run]) or _guessed_rows(survey, run)
        if wave and rows + own > _WAVE_ROWS:
            yield wave
            wave, rows = [], 0
        wave.append(run)
        rows += own
    if wave:
        yield wave


def _guessed_rows(survey: Survey, run: Run) -> int:
    """Of a run whose rows nothing tells, about how many keys there may be."""
    sizes = survey.sources[run.source].files[run.file].sizes[run.start : run.end]
    return sum(sizes) // _ROW_BYTES if survey.keys is not None else 0


def _rows(survey: Survey, runs: Iterable[Run]) -> int:
    return sum(sum(survey.sources[run.source].files[run.file].rows[run.start : run.end]) for run in runs)
