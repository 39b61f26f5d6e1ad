"""Reading from the Hub, measured against `datasets` streaming and against what bounds it: a Markdown table of ratios.

    python benchmarks/read.py [--scale 1.0] [--only cold_start,full_read,...] [--latency-ms 20] [--folder DIR]

The data is made and uploaded once, to an embedded Hub that serves `--folder`. Everything runs on this machine, the Hub too, in a
process of its own, and every measured read in another. Timings are medians of runs that take turns; progress goes to stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import read_data
import read_rates
import read_start
from figures import hub_of, measure, parse
from read_runs import Bench
from read_table import COLUMNS, Figure

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


def main() -> None:
    arguments = parse(__doc__, FIGURES, prefix="scale", repeats=3)
    read_data.make(arguments.folder, arguments.scale)
    with hub_of(arguments, read_data.__file__, "uploaded.json") as hub:
        bench = Bench(
            folder=arguments.folder,
            hub=hub,
            datasets=read_data.load(arguments.folder),
            latency_s=arguments.latency_s,
            repeats=arguments.repeats,
        )
        measure(FIGURES, bench, arguments.names, COLUMNS)


if __name__ == "__main__":
    main()
