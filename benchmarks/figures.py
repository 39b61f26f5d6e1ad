"""What the programs that print a table of figures share: their arguments, the Hub that they measure, the table line by line."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from read_hub import HubProcess
from read_runs import child_environment, say
from read_table import Figure, header, line

Bench = TypeVar("Bench")
Figures = Mapping[str, Callable[[Bench], Iterator[Figure]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the user asked for; `folder` is that of the data at this scale."""

    names: list[str]
    folder: Path
    scale: float
    latency_s: float
    repeats: int


def parse(description: str | None, figures: Figures[Bench], *, prefix: str, repeats: int) -> Arguments:
    """The command line; data of a scale is kept under `prefix`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the data, to try it")
    parser.add_argument("--only", default=",".join(figures), help=f"of {', '.join(figures)}")
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pipeline-benchmarks")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := set(names) - set(figures):
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(figures)}")
    folder = given.folder.absolute() / f"{prefix}-{given.scale:g}"
    folder.mkdir(parents=True, exist_ok=True)
    latency_s = given.latency_ms / 1000
    return Arguments(names=names, folder=folder, scale=given.scale, latency_s=latency_s, repeats=given.repeats)


@contextmanager
def hub_of(arguments: Arguments, program: str | None, done: str) -> Iterator[HubProcess]:
    """The Hub with the data, which `program` uploads unless the file `done` says that it did; then as slow as was asked for."""
    with HubProcess(arguments.folder / "hub") as hub:
        if not (arguments.folder / done).exists():
            with tempfile.TemporaryDirectory() as home:
                environment = child_environment(Path(home), hub.endpoint)
                subprocess.run([sys.executable, str(program), str(arguments.folder)], env=environment, check=True)
        hub.set_latency(arguments.latency_s)
        yield hub


def measure(figures: Figures[Bench], bench: Bench, names: list[str], columns: Mapping[str, str]) -> None:
    """Print the figures; one that fails says why, and the others go on."""
    print(header(columns), flush=True)
    for name in names:
        say(f"{name}:")
        try:
            for figure in figures[name](bench):
                print(line(figure, columns), flush=True)
        except Exception as err:
            said = " ".join(f"{type(err).__name__}: {err}".split())
            print(line(Figure(name=name, target="", cells={}, ratio=said[:1000], met="failed"), columns), flush=True)
