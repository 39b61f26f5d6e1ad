"""Reading from the Hub, measured against `datasets` streaming and against what bounds it: a Markdown table of ratios.

    python benchmarks/read.py [--scale 1.0] [--only cold_start,full_read,...] [--latency-ms 20] [--folder DIR]

The data is made and uploaded once, to an embedded Hub that serves `--folder`. Everything runs on this machine, the Hub too, in a
process of its own, and every measured read in another. Timings are medians of runs that take turns; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import read_data
import read_rates
import read_start
from read_hub import HubProcess
from read_runs import Bench, child_environment, say
from read_table import Figure, header, line

FIGURES: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "cold_start": read_start.cold_start,
    "warm_start": read_start.warm_start,
    "first_row": read_start.first_row,
    "one_column": read_start.one_column,
    "full_read": read_rates.full_read,
    "four_workers": read_rates.four_workers,
    "shuffled": read_rates.shuffled,
    "resume": read_start.resume,
    "memory": read_start.memory,
}


def prepare(folder: Path, scale: float, hub: HubProcess) -> dict[str, read_data.Dataset]:
    """Make and upload what is not there yet."""
    read_data.make(folder, scale)
    if not (folder / "uploaded.json").exists():
        with tempfile.TemporaryDirectory() as home:
            environment = child_environment(Path(home), hub.endpoint)
            subprocess.run([sys.executable, read_data.__file__, str(folder)], env=environment, check=True)
    return read_data.load(folder)


def measure(bench: Bench, names: list[str]) -> None:
    """Print the figures; one that fails says why, and the others go on."""
    print(header(), flush=True)
    for name in names:
        say(f"{name}:")
        try:
            for figure in FIGURES[name](bench):
                print(line(figure), flush=True)
        except Exception as err:
            said = " ".join(f"{type(err).__name__}: {err}".split())
            print(line(Figure(name=name, target="", cells={}, ratio=said[:1000], met="failed")), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows, to try it")
    parser.add_argument("--only", default=",".join(FIGURES), help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pipeline-benchmarks")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(FIGURES):
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    folder = arguments.folder.absolute() / f"scale-{arguments.scale:g}"
    folder.mkdir(parents=True, exist_ok=True)
    with HubProcess(folder / "hub") as hub:
        datasets = prepare(folder, arguments.scale, hub)
        latency_s = arguments.latency_ms / 1000
        hub.set_latency(latency_s)
        bench = Bench(folder=folder, hub=hub, datasets=datasets, latency_s=latency_s, repeats=arguments.repeats)
        measure(bench, names)


if __name__ == "__main__":
    main()
