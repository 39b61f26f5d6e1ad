"""A figure of mixes as a row of the table, and all that was seen so far, kept so that single figures can be measured anew."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mix_worlds import Ran, World, world_of
from read_runs import say

_COLUMNS = ("figure", "seen", "target", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One figure; `met` is None where there is no target. `values` are the numbers behind it, for the JSON."""

    figure: str
    seen: str
    target: str = ""
    met: bool | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Its row of the Markdown table."""
        met = {True: "yes", False: "no", None: ""}[self.met]
        return line(self.figure, self.seen, self.target, met)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where everything is, at which scale, how slow the Hub is where that matters, and how often a timing is repeated."""

    folder: Path
    scale: float
    latency_s: float
    repeats: int

    def world(self, name: str, kinds: Iterable[str], layout: str) -> World:
        """The Hub with these sources and no mix."""
        return world_of(self.folder, self.scale, name, list(kinds), layout)


class Kept:
    """The figures that were measured in a folder, in a file beside the data."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, list[dict[str, Any]]]:
        """By the name of what measured them."""
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def save(self, name: str, seen: Iterable[Seen]) -> None:
        """In place of what was there under this name."""
        known = self.load() | {name: [asdict(one) for one in seen]}
        self._path.write_text(json.dumps(known, indent=1))


def line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def header() -> str:
    """The table's first two lines."""
    return f"{line(*_COLUMNS)}\n{line(*['---'] * len(_COLUMNS))}"


def percent(part: float, whole: float) -> str:
    return f"{part / whole:.2%}"


def told(ran: Ran) -> dict[str, Any]:
    """What is kept of a run, for the JSON; said on stderr too."""
    found = {
        **ran.said,
        "seconds": round(ran.seconds, 2),
        "cpu_s": round(ran.cpu_s, 2),
        "load": round(os.getloadavg()[0], 1),
        "wire": ran.traffic.bytes_received,
        "memory": asdict(ran.memory),
        "hub_cpu_s": round(ran.traffic.cpu_s, 2),
        "requests": dict(sorted(ran.traffic.counts.items())),
    }
    say(f"  {found}")
    return found
