"""What a split of a mix came to, as plain values: `report.json`, of which report, card section and figures are made.

The values are those of the plan (`plan_values.py`: of the mix, and of this split; a source has those of both places), and
{measured, bytes, per_shard, along, lengths}:

* measured: {seconds, shards_kept, duplicates}; `shards_kept` were stored by a run before, `duplicates` are the rows that dedup_by
  dropped, {source: [within it, after a source before it]}.
* bytes: {published, uploaded, deduplicated, prevented, predicted, arrow}; `prevented` was stored before, but in pieces too small
  to refer to, `predicted` is what the plan said of `uploaded`, `arrow` the rows' size in memory.
  These four are null for a folder.
* per_shard: {rows, size, new, sha256, by_source}, lists of one entry per shard; `by_source` {source: rows}, null where that would
  be more than a million numbers.
* along: {rows, by_source}: the same for up to 100 equal stretches of the mix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pipeline.mix.counts import count_sources, stretches
from pipeline.mix.plan_values import drawn_values, mix_values, source_values, split_values
from pipeline.mix.told import is_folder

if TYPE_CHECKING:
    from pipeline.hub.upload import ShardReceipt
    from pipeline.mix.plan import MixPlan, Plan
    from pipeline.mix.predict import Prediction

_MOST_NUMBERS = 1_000_000
_OF_UPLOADS = ("uploaded", "deduplicated", "prevented", "predicted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of a build besides its files: how long it took, how many shards a run before had stored, what was foreseen
    of each source, and the rows that dedup_by dropped: source -> (equal to one of its own, equal to one of a source before it).
    """

    seconds: float
    shards_kept: int = 0
    predictions: tuple[Prediction, ...] | None = None
    duplicates: Mapping[str, tuple[int, int]] | None = None


def report_values(mix: MixPlan, plan: Plan, receipts: Sequence[ShardReceipt], measured: Measured) -> dict[str, Any]:
    """The report of one of the mix's splits; `receipts` are those of its shards, in order."""
    split = split_values(plan, measured.predictions)
    known = [source_values(source) for source in plan.sources]
    sources = [{**one, **drawn} for one, drawn in zip(known, split.pop("sources"), strict=True)]
    predicted = split.pop("predicted")
    bounds = stretches(plan)
    return {
        **mix_values(mix),
        **split,
        "sources": sources,
        "bytes": _bytes(mix, receipts, predicted["bytes_new"] if predicted else None),
        "measured": {
            "seconds": round(measured.seconds, 1),
            "shards_kept": measured.shards_kept,
            "duplicates": {name: list(rows) for name, rows in (measured.duplicates or {}).items()} or None,
        },
        "per_shard": {
            "rows": [receipt.rows for receipt in receipts],
            "size": [receipt.file.size for receipt in receipts],
            "new": [receipt.file.new_bytes for receipt in receipts],
            "sha256": [receipt.file.sha256 for receipt in receipts],
            "by_source": _by_source(plan, plan.bounds),
        },
        "along": {"rows": [end - start for start, end in pairwise(bounds)], "by_source": _by_source(plan, bounds)},
    }


def record_values(mix: MixPlan, plan: Plan, receipts: Sequence[ShardReceipt]) -> dict[str, Any]:
    """What stays in the repo for whoever builds, compares or checks the mix again: all that decides its bytes, and their sums."""
    drawn = drawn_values(plan, None)
    return {
        **mix_values(mix),
        "split": plan.split,
        "rows": plan.rows,
        "sources": [{**source_values(one), **values} for one, values in zip(plan.sources, drawn, strict=True)],
        "files": [{"rows": one.rows, "size": one.file.size, "sha256": one.file.sha256} for one in receipts],
    }


def _bytes(mix: MixPlan, receipts: Sequence[ShardReceipt], predicted: int | None) -> dict[str, int | None]:
    published = sum(receipt.file.size for receipt in receipts)
    if is_folder(mix.recipe.target):
        return {"published": published, **dict.fromkeys(_OF_UPLOADS), "arrow": sum(one.num_bytes for one in receipts)}
    uploaded = sum(receipt.file.new_bytes for receipt in receipts)
    return {
        "published": published,
        "uploaded": uploaded,
        "deduplicated": published - uploaded,
        "prevented": sum(receipt.file.prevented_bytes for receipt in receipts),
        "predicted": predicted,
        "arrow": sum(receipt.num_bytes for receipt in receipts),
    }


def _by_source(plan: Plan, bounds: Sequence[int]) -> dict[str, list[int]] | None:
    if len(plan.sources) * len(bounds) > _MOST_NUMBERS:
        return None
    counts = count_sources(plan, bounds)
    return None if counts is None else {source.name: rows for source, rows in zip(plan.sources, counts, strict=True)}
