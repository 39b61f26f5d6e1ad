"""Figures of reading with Spark: against its own Parquet reader on the local disk, and against `pyspark_huggingface`."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from read_hub import HubProcess
from read_runs import child_environment, say
from read_table import Figure, verdict
from spark_data import COLUMN, EIGHT, MANY, ONE, TABLE, Data
from spark_jobs import Read, SparkProcess, Took

COLUMNS = {
    "native": "Spark's Parquet reader, local disk",
    "bare": "its Python API alone, local disk",
    "ours": "ours",
    "kept": "ours, ranges kept on disk",
    "peer": "pyspark_huggingface",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where everything is, and how often a timing is repeated."""

    folder: Path
    hub: HubProcess
    data: Mapping[str, Data]
    latency_s: float
    repeats: int

    def alternate(self, reads: Mapping[str, Read]) -> dict[str, Middle]:
        """Medians of queries by turns, warm, in one session; all must have the same number of rows, or sum."""
        with tempfile.TemporaryDirectory(dir=self.folder) as home:
            environment = child_environment(Path(home), self.hub.endpoint)
            with SparkProcess(environment) as process:
                self._check(reads, process)
                for read in reads.values():
                    process.run(read)
                runs: dict[str, list[Run]] = {name: [] for name in reads}
                for _ in range(self.repeats):
                    for name, read in reads.items():
                        self.hub.reset()
                        took = process.run(read)
                        runs[name].append(Run(took=took, hub_s=self.hub.traffic().cpu_s))
                        say(f"  {name}: {runs[name][-1]}")
        return {name: Middle.of(found) for name, found in runs.items()}

    def _check(self, reads: Mapping[str, Read], process: SparkProcess) -> None:
        answers = {
            name: process.run(replace(read, do="count" if read.do == "noop" else read.do)).answer
            for name, read in reads.items()
        }
        if len(set(answers.values())) > 1:
            raise RuntimeError(f"the readers differ: {answers}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One query, and the CPU seconds of the Hub meanwhile."""

    took: Took
    hub_s: float

    def __str__(self) -> str:
        took = self.took
        return (
            f"{took.wall_s:.2f} s ({took.load_s:.2f} s of it to load), CPU: JVM {took.jvm_s:.2f} s, "
            f"Python {took.python_s:.2f} s, Hub {self.hub_s:.2f} s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Middle:
    """Medians of runs, in seconds; `cpu_s` is that of the JVM and of Spark's Python workers."""

    wall_s: float
    cpu_s: float
    hub_s: float

    @classmethod
    def of(cls, runs: list[Run]) -> Middle:
        """The medians of these."""
        return cls(
            wall_s=statistics.median(run.took.wall_s for run in runs),
            cpu_s=statistics.median(run.took.jvm_s + run.took.python_s for run in runs),
            hub_s=statistics.median(run.hub_s for run in runs),
        )

    def __str__(self) -> str:
        hub = f" + {self.hub_s:.1f} s of the Hub" if self.hub_s >= 0.05 else ""
        return f"{self.wall_s:.2f} s, {self.cpu_s:.1f} s CPU{hub}"


def full_scan(bench: Bench) -> Iterator[Figure]:
    """Every row and column to nowhere."""
    table = bench.data[TABLE]
    reads = {
        "native": Read(reader="native", source=str(table.folder)),
        "bare": Read(reader="bare", source=str(table.folder)),
        "ours": Read(reader="ours", source=table.repo),
        "kept": Read(reader="ours", source=table.repo, options={"cache_bytes": "20g"}),
        "peer": Read(reader="peer", source=table.repo),
    }
    yield _against_native(f"full scan, {table.file_bytes / 1e6:.0f} MB in 8 files", 1.5, bench.alternate(reads))


def one_column(bench: Bench) -> Iterator[Figure]:
    """The sum of one column of six; the peer is given the column too, and has to read all for it by default."""
    table = bench.data[TABLE]
    reads = {
        "native": Read(reader="native", source=str(table.folder), do="sum", column=COLUMN),
        "ours": Read(reader="ours", source=table.repo, do="sum", column=COLUMN, options={"columns": COLUMN}),
        "peer": Read(reader="peer", source=table.repo, do="sum", column=COLUMN, options={"columns": f'["{COLUMN}"]'}),
    }
    unpruned = {
        "native": reads["native"],
        "ours": Read(reader="ours", source=table.repo, do="sum", column=COLUMN),
        "peer": Read(reader="peer", source=table.repo, do="sum", column=COLUMN),
    }
    yield _against_native("sum of one column of 6, chosen by option", 2, bench.alternate(reads))
    yield _against_native("the same, nothing chosen", None, bench.alternate(unpruned))


def selective_filter(bench: Bench) -> Iterator[Figure]:
    """2 % of the rows, which lie together."""
    table = bench.data[TABLE]
    low = int(table.rows * 0.4)
    high = low + table.rows // 50
    where = f"id >= {low} and id < {high}"
    reads = {
        "native": Read(reader="native", source=str(table.folder), where=where),
        "ours": Read(reader="ours", source=table.repo, options={"where": where}),
        "peer": Read(
            reader="peer", source=table.repo, options={"filters": f'[("id", ">=", {low}), ("id", "<", {high})]'}
        ),
    }
    yield _against_native("2 % of the rows by a filter, clustered", 2, bench.alternate(reads))


def one_file(bench: Bench) -> Iterator[Figure]:
    """One large file against the same row groups in eight."""
    one, eight = bench.data[ONE], bench.data[EIGHT]
    reads = {"eight": Read(reader="ours", source=eight.repo), "one": Read(reader="ours", source=one.repo)}
    found = bench.alternate(reads)
    ratio = found["one"].wall_s / found["eight"].wall_s
    yield Figure(
        name=f"full scan of one file of {one.file_bytes / 1e9:.1f} GB against 8",
        target="<= 1.1 x",
        cells={"ours": f"one {found['one']}; eight {found['eight']}"},
        ratio=f"{ratio:.2f} (CPU {found['one'].cpu_s / found['eight'].cpu_s:.2f})",
        met=verdict([ratio <= 1.1]),
    )


def many_files(bench: Bench) -> Iterator[Figure]:
    """Time to plan thousands of tiny files: cold, in a new process that finds footers on the disk, and again in that one."""
    many = bench.data[MANY]
    count = len(list(many.folder.glob("*.parquet")))
    plan = Read(reader="ours", source=many.repo, do="plan")
    first = replace(plan, do="first")
    cold, warm, again, rows = [], [], [], []
    for _ in range(bench.repeats):
        with tempfile.TemporaryDirectory(dir=bench.folder) as home:
            environment = child_environment(Path(home), bench.hub.endpoint)
            with SparkProcess(environment, {"session": "none"}) as process:
                cold.append(process.run(plan))
            with SparkProcess(environment, {"session": "none"}) as process:
                warm.append(process.run(plan))
                again.append(process.run(plan))
            say(f"  cold {cold[-1]}\n  warm {warm[-1]}\n  again {again[-1]}")
            if not rows:
                with SparkProcess(environment) as process:
                    rows = [process.run(first) for _ in range(bench.repeats + 1)]
                say(f"  first row in Spark: {rows}")
    seconds = {
        "cold": statistics.median(took.wall_s for took in cold),
        "warm": statistics.median(took.wall_s for took in warm),
        "again": statistics.median(took.wall_s for took in again),
        "row": statistics.median(took.wall_s for took in rows[1:]),
    }
    yield Figure(
        name=f"plan of {count:,} files",
        target="warm under 3 s",
        cells={
            "ours": f"cold {seconds['cold']:.2f} s, warm {seconds['warm']:.2f} s, once more {seconds['again']:.2f} s; "
            f"in Spark to the first row, warm, {seconds['row']:.2f} s"
        },
        met=verdict([seconds["warm"] < 3]),
    )


def _against_native(name: str, most: float | None, found: Mapping[str, Middle]) -> Figure:
    ratios = {key: one.wall_s / found["native"].wall_s for key, one in found.items()}
    cpu = {key: one.cpu_s / found["native"].cpu_s for key, one in found.items()}
    return Figure(
        name=name,
        target=f"<= {most:g} x native" if most else "",
        cells={key: str(one) for key, one in found.items()},
        ratio=", ".join(
            f"{key} {ratios[key]:.2f} (CPU {cpu[key]:.2f})" for key in COLUMNS if key in found and key != "native"
        ),
        met=verdict([ratios["ours"] <= most]) if most else "",
    )
