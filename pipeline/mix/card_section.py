"""What the dataset card says of a mix: its sources, seed, quality and figures in short, and where the rest is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pipeline.mix.provenance import FILE_NAME
from pipeline.mix.report import REPORT
from pipeline.mix.told import (
    cell,
    changed_by,
    code,
    linked,
    markdown_table,
    marks,
    order_of,
    quality_line,
    repeats,
    spread_of,
    top_sources,
    whole_of,
)
from pipeline.sizes import counted, format_bytes

_TOP = 20
_FIGURES = (("shares.png", "Shares of rows, wanted and got"), ("order.png", "Share of each source along the mix"))


def card_section(values: dict[str, Any], folder: str, files: Sequence[str]) -> str:
    """The section of one split: of its `report_values`, and the folder in the repo that has these files of its report."""
    path = quote(folder)
    lines = [
        f"## How {whole_of(values)} was mixed",
        "",
        f"{values['rows']:,} rows of {counted(len(values['sources']), 'source')} in {counted(len(values['shards']), 'file')} of "
        f"{spread_of(values['shards'])} rows, {format_bytes(values['bytes']['published'])}. Order: {order_of(values)}. "
        f"Seed: {values['seed']}.",
        "",
        *_sources(values),
        "",
        *_notes(values),
        "",
        *(f"![{what}]({path}{name})" for name, what in _FIGURES if name in files),
        "",
        _links(path, files),
    ]
    return "\n".join(lines)


def _sources(values: dict[str, Any]) -> list[str]:
    names = set(top_sources(values, _TOP))
    shown = [one for one in values["sources"] if one["name"] in names]
    columns: dict[str, list[str]] = {
        "source": [cell(one["name"]) for one in shown],
        "from": [linked(one) for one in shown],
        "licence": [cell(marks(one)) for one in shown],
        "filter": [changed_by(one) for one in shown],
        "rows": [f"{one['drawn']:,}" for one in shown],
        "times": [repeats(one) for one in shown],
        "share": [f"{one['share']:.1%}" for one in shown],
    }
    empty = [name for name in ("licence", "filter") if not any(columns[name])]
    columns = {name: column for name, column in columns.items() if name not in empty}
    rows = list(zip(*columns.values(), strict=True))
    if rest := [one for one in values["sources"] if one["name"] not in names]:
        told = {
            "source": f"{len(rest)} others",
            "rows": f"{sum(one['drawn'] for one in rest):,}",
            "share": f"{sum(one['share'] for one in rest):.1%}",
        }
        rows.append(tuple(told.get(name, "") for name in columns))
    return markdown_table(tuple(columns), rows, left=4 - len(empty))


def _notes(values: dict[str, Any]) -> list[str]:
    notes = []
    if values["source_column"]:
        notes.append(f"The column {code(values['source_column'])} names each row's source.")
    if values["quality"]:
        notes.append(f"Shuffle quality: {quality_line(values['quality'])}")
    size = values["bytes"]
    if size["uploaded"] is not None and size["uploaded"] < size["published"]:
        notes.append(
            f"Of {format_bytes(size['published'])}, {format_bytes(size['uploaded'])} had to be uploaded; "
            "the rest was stored before."
        )
    return [" ".join(notes)]


def _links(path: str, files: Sequence[str]) -> str:
    links = f"[Full report]({path}{REPORT}), with recipe, pinned commits, and how to build or verify it again"
    return links + (f"; [origin of every row]({path}{FILE_NAME})." if FILE_NAME in files else ".")
