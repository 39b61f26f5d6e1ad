"""A built mix -> one commit: its splits, its reports, its card."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.mix_opening import Opened
from jobs.shards import Shards, shard_key
from pipeline.folder import publish_splits_to_folder
from pipeline.hub.split import Mode, SplitWrite
from pipeline.hub.splits import Beside, SplitFiles
from pipeline.hub.upload import ShardReceipt
from pipeline.mix.card_section import card_section
from pipeline.mix.plan import MixPlan, Plan
from pipeline.mix.predict import Prediction
from pipeline.mix.report import report_files, report_folder
from pipeline.mix.report_values import Measured, record_values, report_values
from pipeline.parquet.features import to_yaml
from pipeline.permutation import digest
from pipeline.publishing import publish_splits, publish_splits_to_bucket

_TEXTS = (".md", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What building a plan came to. `commit` is `None` for a folder and a bucket; `reports` are the report's values by split.

    `restricted` are the sources for which a new repo became private. `repeated`: it was there already, and nothing was done.
    """

    plan: MixPlan
    seconds: float
    commit: str | None
    reports: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    restricted: tuple[str, ...] = ()
    repeated: bool = False


def publish_mix(
    mix: MixPlan, opened: Opened, shards: Shards, predictions: tuple[tuple[Prediction, ...], ...], *, seconds: float
) -> Built:
    """Make the stored shards splits of the target, with report and card. Raises what publishing raises."""
    target, transaction = opened.target, _transaction(mix, opened)
    splits: list[SplitFiles] = []
    texts: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    reports = {}
    for plan, foreseen in zip(mix.splits, predictions, strict=True):
        receipts = [shards.receipts[shard_key(plan.split, shard)] for shard in range(plan.shards)]
        measured = Measured(
            seconds=seconds,
            shards_kept=shards.kept.get(plan.split, 0),
            predictions=foreseen,
            duplicates=_duplicates(plan),
        )
        values = reports[plan.split] = report_values(mix, plan, receipts, measured)
        adds = target.mode is Mode.APPEND and bool(target.planned.get(plan.split))
        folder = report_folder(plan.recipe.config, plan.split, transaction if adds else None)
        files = report_files(plan, values)
        texts |= {f"{folder}{name}": data.decode() for name, data in files.items() if name.endswith(_TEXTS)}
        contents |= {f"{folder}{name}": data for name, data in files.items() if not name.endswith(_TEXTS)}
        splits.append(
            (_write(mix, plan, receipts, target.mode, transaction, card_section(values, folder, list(files))), receipts)
        )
    commit = _publish(opened, mix, splits, Beside(texts=texts, contents=contents))
    return Built(plan=mix, seconds=seconds, commit=commit, reports=reports, restricted=_made_private(opened))


def _transaction(mix: MixPlan, opened: Opened) -> str:
    """In a repo the same one for all who build a plan on the same head, so that of two at once only one commits."""
    target = opened.target
    if target.ref is None or target.ref.kind != "datasets":
        return uuid.uuid4().hex
    return digest((mix.id, target.mode.value, target.head or ""), 16).hex()


def _write(
    mix: MixPlan, plan: Plan, receipts: list[ShardReceipt], mode: Mode, transaction: str, section: str
) -> SplitWrite:
    return SplitWrite(
        config=plan.recipe.config,
        split=plan.split,
        mode=mode,
        transaction=transaction,
        features=to_yaml(plan.features) if plan.features is not None else None,
        section=section,
        record=json.dumps(record_values(mix, plan, receipts), indent=2) + "\n",
        writer="pipeline build-mix",
    )


def _publish(opened: Opened, mix: MixPlan, splits: list[SplitFiles], beside: Beside) -> str | None:
    target = opened.target
    planned = [target.planned.get(write.split, ()) for write, _ in splits]
    if target.folder is not None:
        publish_splits_to_folder(target.folder, splits, beside)
        return None
    assert target.ref is not None
    if target.ref.kind == "buckets":
        publish_splits_to_bucket(target.ref, target.token, splits, planned=planned, beside=beside)
        return None
    rows = sum(plan.rows for plan in mix.splits)
    message = f"Mix {rows} rows of {len(opened.sources)} sources, seed {mix.recipe.seed}"
    return publish_splits(target.ref, target.token, splits, planned=planned, message=message, beside=beside).sha


def _duplicates(plan: Plan) -> dict[str, tuple[int, int]] | None:
    found = {
        source.name: (source.selection.within, source.selection.across)
        for source in plan.sources
        if source.selection is not None
    }
    return found or None


def _made_private(opened: Opened) -> tuple[str, ...]:
    return opened.restricted if opened.target.new and opened.recipe.private else ()
