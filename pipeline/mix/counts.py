"""How many rows of each source stand where in a mix: per shard, and per stretch of its order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.mix.plan import Plan, permutation_of
from pipeline.mix.quality import Quality, Run, measure_quality

_COUNTED_ROWS = 50_000_000
_MEASURED_ROWS = 2_000_000
_AT_A_TIME = 1 << 20
_STRETCHES = 100
_ROWS_PER_STRETCH = 64
_BLOCKS_PER_STRETCH = 4


def count_sources(plan: Plan, bounds: Sequence[int]) -> list[list[int]] | None:
    """For each source, its rows between one bound and the next; the bounds are rows of the mix, from 0 to all.

    None for an order of rows that is too long to walk through; there a source has its share everywhere, but for chance.
    """
    if plan.blocks:
        return _count_blocks(plan, bounds)
    return _count_rows(plan, bounds) if plan.rows <= _COUNTED_ROWS else None


def stretches(plan: Plan) -> list[int]:
    """Bounds that cut the mix into at most 100 equal stretches, each with some blocks or rows."""
    most = len(plan.blocks) // _BLOCKS_PER_STRETCH if plan.blocks else plan.rows // _ROWS_PER_STRETCH
    count = max(1, min(_STRETCHES, most))
    return [plan.rows * n // count for n in range(count + 1)]


def quality_of(plan: Plan) -> Quality | None:
    """How well the mix is shuffled; `None` for an order of rows too long to measure (it is uniform by construction)."""
    if plan.blocks:
        runs: Sequence[Run] = list(plan.blocks.runs())
    elif plan.rows <= _MEASURED_ROWS:
        runs = _row_runs(plan)
    else:
        return None
    return measure_quality(runs, len(plan.sources), seed=plan.recipe.seed)


def _count_blocks(plan: Plan, bounds: Sequence[int]) -> list[list[int]]:
    counts = [[0] * (len(bounds) - 1) for _ in plan.sources]
    at, stretch = 0, 0
    for source, left in plan.blocks.runs():
        of_source = counts[source]
        while left:
            while bounds[stretch + 1] <= at:
                stretch += 1
            took = min(left, bounds[stretch + 1] - at)
            of_source[stretch] += took
            at, left = at + took, left - took
    return counts


def _count_rows(plan: Plan, bounds: Sequence[int]) -> list[list[int]]:
    ends = pa.array(bounds[1:], pa.int64())
    counts = [[0] * (len(bounds) - 1) for _ in plan.sources]
    for source, positions in _positions(plan):
        found = pc.value_counts(pc.search_sorted(ends, positions, side="right"))
        for stretch, rows in zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True):
            counts[source][stretch] += rows
    return counts


def _positions(plan: Plan) -> Iterator[tuple[int, pa.Array]]:
    """In row order: each source's rows, some at a time, as their places in the mix."""
    order = permutation_of(plan)
    for source, (first, end) in enumerate(pairwise(plan.offsets())):
        for start in range(first, end, _AT_A_TIME):
            yield source, order.of_range(start, min(end, start + _AT_A_TIME))


def _row_runs(plan: Plan) -> list[Run]:
    parts = [(pa.repeat(pa.scalar(source, pa.int32()), len(at)), at) for source, at in _positions(plan)]
    sources = pa.concat_arrays([source for source, _ in parts])
    places = pa.concat_arrays([at for _, at in parts])
    encoded = pc.run_end_encode(sources.take(pc.sort_indices(places)))
    ends = encoded.run_ends.to_pylist()
    return [
        (source, end - start)
        for source, start, end in zip(encoded.values.to_pylist(), [0, *ends[:-1]], ends, strict=True)
    ]
