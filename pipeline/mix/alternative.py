"""What a mix in row order would be in blocks instead: how little to upload, and how large a buffer repairs its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.mix.predict import predict
from pipeline.mix.quality import MAX_ADJACENCY, MAX_CHI2_64, Quality, measure_quality

if TYPE_CHECKING:
    from pipeline.mix.plan import Plan

_MEASURED_ROWS = 500_000
_TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """The same rows in blocks: what that would upload, how well they would be shuffled as stored and behind a buffer of 1,000
    rows, and the rows of a buffer behind which the gate is met (an estimate; None: none that was tried).
    """

    blocks: int
    block_rows: int
    bytes_written: int
    bytes_new: int
    chi2_64_stored: float | None
    chi2_64_buffered: float | None
    adjacency_buffered: float | None
    buffer_rows: int | None


def offer_blocks(plan: Plan) -> Alternative:
    """The numbers of a plan in block order."""
    predictions = predict(plan)
    quality = _measure(plan, 1_000)
    return Alternative(
        blocks=len(plan.blocks),
        block_rows=round(plan.rows / len(plan.blocks)),
        bytes_written=sum(one.bytes_written for one in predictions),
        bytes_new=sum(one.bytes_new for one in predictions),
        chi2_64_stored=quality.stored.chi2_64,
        chi2_64_buffered=quality.buffered.chi2_64,
        adjacency_buffered=quality.buffered.adjacency,
        buffer_rows=_repairing(plan, quality),
    )


def _repairing(plan: Plan, quality: Quality) -> int | None:
    """The buffer that meets the gate. What is too much falls as the buffer grows, so each try says about how large it must be."""
    rows = 1_000
    for _ in range(_TRIES):
        if quality.meets_gate:
            return rows
        excess = (quality.buffered.chi2_64 or 1.0) - 1.0
        factor = max(1.25, excess / (MAX_CHI2_64 - 1.0), (quality.buffered.adjacency or 0.0) / MAX_ADJACENCY)
        rows = min(plan.rows, _rounded(rows * factor))
        quality = _measure(plan, rows)
    return rows if quality.meets_gate else None


def _rounded(rows: float) -> int:
    step = int(10 ** max(0, len(str(int(rows))) - 2))
    return -(-int(rows) // step) * step


def _measure(plan: Plan, buffer_rows: int) -> Quality:
    runs = list(plan.blocks.runs())
    return measure_quality(runs, len(plan.sources), buffer_rows, plan.recipe.seed, max_rows=_MEASURED_ROWS)
