"""Spark's "huggingface" format against Spark's own Parquet reader and `pyspark_huggingface`: a Markdown table of ratios.

    python benchmarks/spark.py [--scale 1.0] [--only full_scan,one_column,...] [--latency-ms 20] [--folder DIR]

The data is made and uploaded once, to an embedded Hub that serves `--folder`. Everything runs on this machine: the Hub in a
process of its own, and every figure in another with a SparkSession on two cores, where the readers take turns, warm. Timings
are medians, from `load` to the last row; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import spark_data
import spark_reads
import spark_writes
from read_hub import HubProcess
from read_runs import child_environment, say
from read_table import Figure, header, line
from spark_reads import COLUMNS, Bench

FIGURES: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "full_scan": spark_reads.full_scan,
    "one_column": spark_reads.one_column,
    "selective_filter": spark_reads.selective_filter,
    "one_file": spark_reads.one_file,
    "many_files": spark_reads.many_files,
    "write": spark_writes.write,
}


def prepare(folder: Path, scale: float, hub: HubProcess) -> dict[str, spark_data.Data]:
    """Make and upload what is not there yet."""
    data = spark_data.make(folder, scale)
    if not (folder / "uploaded").exists():
        with tempfile.TemporaryDirectory() as home:
            environment = child_environment(Path(home), hub.endpoint)
            subprocess.run([sys.executable, spark_data.__file__, str(folder)], env=environment, check=True)
    return data


def measure(bench: Bench, names: list[str]) -> None:
    """Print the figures; one that fails says why, and the others go on."""
    print(header(COLUMNS), flush=True)
    for name in names:
        say(f"{name}:")
        try:
            for figure in FIGURES[name](bench):
                print(line(figure, COLUMNS), flush=True)
        except Exception as err:
            said = " ".join(f"{type(err).__name__}: {err}".split())
            print(line(Figure(name=name, target="", cells={}, ratio=said[:1000], met="failed"), COLUMNS), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows and of the many files, to try it")
    parser.add_argument("--only", default=",".join(FIGURES), help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pipeline-benchmarks")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(FIGURES):
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    folder = arguments.folder.absolute() / f"spark-{arguments.scale:g}"
    folder.mkdir(parents=True, exist_ok=True)
    with HubProcess(folder / "hub") as hub:
        data = prepare(folder, arguments.scale, hub)
        latency_s = arguments.latency_ms / 1000
        hub.set_latency(latency_s)
        measure(Bench(folder=folder, hub=hub, data=data, latency_s=latency_s, repeats=arguments.repeats), names)


if __name__ == "__main__":
    main()
