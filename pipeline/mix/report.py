"""What is told of a mix: to the terminal as rows of a table, to programs as plain values, on the card as Markdown. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.hub.upload import ShardReceipt
from pipeline.mix.plan import Plan, permutation_of
from pipeline.mix.quality import Quality, Run, measure_quality
from pipeline.sizes import format_bytes

_MEASURED_ROWS = 2_000_000
_WRITERS = ("xet-pipeline", "pyarrow", "hf-xet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What building a plan came to. `commit` is `None` for a folder; `private_source` is why a new repo became private."""

    plan: Plan
    receipts: tuple[ShardReceipt, ...]
    seconds: float
    commit: str | None
    private_source: str | None = None


def source_rows(plan: Plan) -> list[tuple[str, str, int, int, int]]:
    """(name, where from, rows available, wanted, drawn) per source."""
    return [
        (source.name, _pinned(source.origin, source.commit), draw.available, draw.wanted, draw.rows)
        for source, draw in zip(plan.sources, plan.draws, strict=True)
    ]


def totals(built: Built) -> dict[str, int]:
    """Bytes read, written, uploaded, and deduplicated."""
    written = sum(receipt.file.size for receipt in built.receipts)
    uploaded = sum(receipt.file.new_bytes for receipt in built.receipts)
    return {
        "bytes_read": built.plan.bytes_to_read,
        "bytes_written": written,
        "bytes_uploaded": uploaded,
        "bytes_deduplicated": written - uploaded,
    }


def quality_of(plan: Plan) -> Quality | None:
    """How well the mix is shuffled; `None` for an order of rows too long to measure (it is uniform by construction)."""
    if plan.blocks:
        runs: Sequence[Run] = [(block.source, block.rows) for block in plan.blocks]
    elif plan.rows <= _MEASURED_ROWS:
        runs = _row_runs(plan)
    else:
        return None
    return measure_quality(runs, len(plan.sources), seed=plan.recipe.seed)


def plan_values(plan: Plan) -> dict[str, Any]:
    """The plan for programs, without its blocks."""
    return {
        "target": plan.recipe.target,
        "config": plan.recipe.config,
        "split": plan.recipe.split,
        "shuffle": plan.recipe.shuffle,
        "seed": plan.recipe.seed,
        "rows": plan.rows,
        "shards": [end - start for start, end in zip(plan.bounds, plan.bounds[1:], strict=False)],
        "blocks": len(plan.blocks) or None,
        "bytes_to_read": plan.bytes_to_read,
        "columns": {column.name: str(column.type) for column in plan.schema},
        "sources": [
            {
                "name": source.name,
                "from": source.origin,
                "commit": source.commit,
                "where": source.predicate.sql if source.predicate else None,
                "columns": {name: one.source_column or one.sql for name, one in source.expressions.items()},
                "rows_available": draw.available,
                "rows_wanted": draw.wanted,
                "rows": draw.rows,
            }
            for source, draw in zip(plan.sources, plan.draws, strict=True)
        ],
        "writers": {name: version(name) for name in _WRITERS},
    }


def built_values(built: Built, quality: Quality | None) -> dict[str, Any]:
    """The report for programs."""
    return {
        **plan_values(built.plan),
        "commit": built.commit,
        "seconds": round(built.seconds, 2),
        **totals(built),
        "quality": asdict(quality) | {"meets_gate": quality.meets_gate} if quality else None,
    }


def state(plan: Plan, receipts: Sequence[ShardReceipt]) -> dict[str, Any]:
    """What stays in the repo, for whoever builds or checks the mix again."""
    shards = [{"rows": one.rows, "size": one.file.size, "sha256": one.file.sha256} for one in receipts]
    return {**plan_values(plan), "files": shards}


def card_section(plan: Plan, receipts: Sequence[ShardReceipt]) -> str:
    """Where every row comes from, at which commit, with which seed."""
    order = {
        "blocks": "blocks of consecutive rows, interleaved so that every stretch holds each source's share",
        "rows": "single rows, in a uniform random permutation",
        "none": "not shuffled",
    }[plan.recipe.shuffle]
    lines = [
        f"## How {_whole(plan)} was mixed",
        "",
        f"{plan.rows:,} rows in {plan.shards} files of equal size, {format_bytes(sum(r.file.size for r in receipts))}. "
        f"Order: {order}. Seed: {plan.recipe.seed}.",
        "",
        "| source | from | commit | rows available | rows here | share | filter |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for source, draw in zip(plan.sources, plan.draws, strict=True):
        where = f"<code>{_cell(source.predicate.sql)}</code>" if source.predicate else ""
        commit = f"`{source.commit}`" if source.commit else ""
        lines.append(
            f"| {_cell(source.name)} | {_cell(source.origin)} | {commit} | {draw.available:,} | {draw.rows:,} "
            f"| {draw.rows / plan.rows:.1%} | {where} |"
        )
    if plan.recipe.source_column:
        lines += ["", f"The column <code>{_cell(plan.recipe.source_column)}</code> names each row's source."]
    folder = f".pipeline/writes/{plan.recipe.config}/{plan.recipe.split}"
    lines += ["", f"Recipe, pinned commits and checksums of the files: `{folder}`."]
    return "\n".join(lines)


def _whole(plan: Plan) -> str:
    if (plan.recipe.config, plan.recipe.split) == ("default", "train"):
        return "this dataset"
    return f"split `{plan.recipe.split}` of config `{plan.recipe.config}`"


def _row_runs(plan: Plan) -> list[Run]:
    positions = permutation_of(plan).of_range(0, plan.rows)
    drawn_at = pc.sort_indices(positions)
    sources = pa.concat_arrays(
        [pa.repeat(pa.scalar(number, pa.int32()), draw.rows) for number, draw in enumerate(plan.draws)]
    )
    encoded = pc.run_end_encode(sources.take(drawn_at))
    ends = encoded.run_ends.to_pylist()
    return [
        (source, end - start)
        for source, start, end in zip(encoded.values.to_pylist(), [0, *ends[:-1]], ends, strict=True)
    ]


def _pinned(origin: str, commit: str | None) -> str:
    return f"{origin}@{commit[:8]}" if commit else origin


def _cell(text: str) -> str:
    """Text that means nothing to Markdown or HTML, on one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|]", r"\\\g<0>", plain)
