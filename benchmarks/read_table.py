"""A figure as a row of the Markdown table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

COLUMNS = {"xet": "ours over Xet", "http": "ours over HTTP", "theirs": "datasets", "recipe": "datasets, blog's recipe"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: `cells` by the keys of the table's columns."""

    name: str
    target: str
    cells: Mapping[str, str]
    met: str
    ratio: str = ""


def verdict(met: Iterable[bool]) -> str:
    """What the last column says when all of these must hold."""
    met = list(met)
    return "yes" if all(met) else "no" if not any(met) else f"in part ({sum(met)} of {len(met)})"


def header(columns: Mapping[str, str]) -> str:
    """The table's first two lines."""
    names = ["figure", "target", *columns.values(), "ratios", "met?"]
    return f"{_line(names)}\n{_line(['---'] * len(names))}"


def line(figure: Figure, columns: Mapping[str, str]) -> str:
    """A figure's line."""
    cells = [figure.cells.get(key, "") for key in columns]
    return _line([figure.name, figure.target, *cells, figure.ratio, figure.met])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
