"""The words and tables that a plan, a report and a card share: for a terminal, and for Markdown. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipeline.mix.quality import MAX_ADJACENCY, MAX_CHI2_64, MIN_ADJACENCY_ROWS

MEASURES = ("64 rows", "512 rows", "4,096 rows", "adjacency excess")
_ORDERS = {
    "blocks": "blocks of consecutive rows, interleaved so that every stretch holds each source's share",
    "rows": "single rows, in a uniform random permutation",
    "none": "not shuffled: one source after the other",
}
_RANDOM_BLOCKS = "blocks of consecutive rows, in random order"


def is_folder(target: str) -> bool:
    """Whether a mix goes to a folder, where nothing is uploaded."""
    return target.startswith(("/", "."))


def order_of(values: dict[str, Any]) -> str:
    """The order of a mix in words."""
    if values["shuffle"] == "blocks" and values["spread"] == "random":
        return _RANDOM_BLOCKS
    return _ORDERS[values["shuffle"]]


def pinned(source: dict[str, Any]) -> str:
    """Where a source comes from: `ns/name@1a2b3c4d`, and its config and split where they are not the usual ones."""
    place = f"{source['from']}@{source['commit'][:8]}" if source["commit"] else str(source["from"])
    usual = source["config"] in (None, "default") and source["split"] in (None, "train")
    return place if usual else f"{place} {source['config'] or 'default'}/{source['split'] or 'train'}"


def marks(source: dict[str, Any]) -> str:
    """A source's licence, and whether it is gated or private."""
    found = [source["license"], "gated" if source["gated"] else None, "private" if source["private"] else None]
    return ", ".join(one for one in found if one)


def number(value: float | None, digits: int = 2) -> str:
    """A measure; what has none is a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def quality_rows(quality: dict[str, Any]) -> list[tuple[str, ...]]:
    """Both views of a mix: what it is, chi2/dof in windows of 64, 512 and 4,096 rows, adjacency excess."""
    views = (
        ("as stored", quality["stored"]),
        (f"behind a buffer of {quality['buffer_rows']:,} rows", quality["buffered"]),
    )
    return [
        (name, *(number(view[key], 2) for key in ("chi2_64", "chi2_512", "chi2_4096")), number(view["adjacency"], 4))
        for name, view in views
    ]


def gate(quality: dict[str, Any]) -> str:
    """The gate, and whether it is met."""
    if quality["buffered"]["chi2_64"] is None:
        return "too few rows or sources to judge"
    met = "met" if quality["meets_gate"] else "NOT MET"
    adjacency = f"adjacency excess <= {MAX_ADJACENCY:g}{few_rows(quality['rows'])}"
    return f"{met} (behind the buffer, chi2/dof at 64 rows <= {MAX_CHI2_64:g}, {adjacency})"


def few_rows(rows: int) -> str:
    """What to say after the gate's limit of adjacency, of a mix that is too small for it."""
    return f", which {rows:,} rows are too few to tell" if rows < MIN_ADJACENCY_ROWS else ""


def changed_by(source: dict[str, Any]) -> str:
    """What chooses or makes a source's rows: its condition, its function. Markdown."""
    function = f"map: {source['map']}" if source["map"] else None
    return " ".join(code(one) for one in (source["where"], function) if one)


def quality_line(quality: dict[str, Any]) -> str:
    """What a consumer with a buffer sees, and whether that meets the gate, in one sentence."""
    seen = quality["buffered"]
    if seen["chi2_64"] is None:
        return "too few rows or sources to judge."
    met = "met" if quality["meets_gate"] else "not met"
    adjacency, limits = f" and adjacency excess {seen['adjacency']:.4f}", f"{MAX_CHI2_64:g} and {MAX_ADJACENCY:g}"
    if quality["rows"] < MIN_ADJACENCY_ROWS:
        adjacency, limits = "", f"{MAX_CHI2_64:g}"
    return (
        f"behind a buffer of {quality['buffer_rows']:,} rows, chi2/dof is {seen['chi2_64']:.2f} in windows of 64 rows (1 is "
        f"random){adjacency}; the gate ({limits}) is {met}."
    )


def repeats(source: dict[str, Any]) -> str:
    """How often a source's rows are there."""
    return f"{source['repeats']:.4g}"


def spread_of(values: Sequence[int]) -> str:
    """The least and the most of some numbers, or the only one."""
    least, most = min(values), max(values)
    return f"{least:,} to {most:,}" if least < most else f"{least:,}"


def top_sources(values: dict[str, Any], most: int) -> list[str]:
    """The names of the largest sources, by rows; all of them, if that is one more at most."""
    by_rows = sorted(values["sources"], key=lambda one: -one["drawn"])
    return [one["name"] for one in (by_rows if len(by_rows) <= most + 1 else by_rows[:most])]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A Markdown table of cells that are Markdown already; all but the first `left` columns stand to the right."""
    rule = ["---" if column < left else "---:" for column in range(len(header))]
    return [f"| {' | '.join(header)} |", f"|{'|'.join(rule)}|", *(f"| {' | '.join(row)} |" for row in rows)]


def cell(text: str) -> str:
    """Text that means nothing to Markdown or HTML, on one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|]", r"\\\g<0>", plain)


def code(text: str) -> str:
    """The same, as code."""
    return f"<code>{cell(text)}</code>"


def shorten(text: str, width: int) -> str:
    """Text of at most so many characters, its middle left out."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def linked(source: dict[str, Any]) -> str:
    """Where a source comes from as Markdown, a link to its page at its commit if it has one."""
    text = cell(pinned(source))
    return f"[{text}]({source['url']})" if source["url"] else text


def whole_of(values: dict[str, Any]) -> str:
    """What the mix is in its repo."""
    if (values["config"], values["split"]) == ("default", "train"):
        return "this dataset"
    return f"split {code(values['split'])} of config {code(values['config'])}"
