"""Measured processes: started together, let go at once, each run in a home of its own unless it is to be warm."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from read_data import Dataset
from read_hub import HubProcess, Traffic
from read_jobs import Job, Result

_JOBS = Path(__file__).with_name("read_jobs.py")
_MOST_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the processes of one run took, and what they asked the Hub for."""

    results: tuple[Result, ...]
    traffic: Traffic

    @property
    def first_s(self) -> float:
        return max(result.first_s for result in self.results)

    @property
    def cpu_s(self) -> float:
        return sum(result.cpu_s for result in self.results)

    @property
    def peak_bytes(self) -> int:
        return max(result.peak_bytes for result in self.results)

    @property
    def rows_s(self) -> float:
        """Rows per second of all, until the last row of the last one came."""
        return sum(result.rows for result in self.results) / max(result.last_s for result in self.results)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where everything is, and how often a timing is repeated."""

    folder: Path
    hub: HubProcess
    datasets: Mapping[str, Dataset]
    latency_s: float
    repeats: int = 3

    def run(self, jobs: Sequence[Job], home: Path | None = None) -> Run:
        """Start a process per job, and let them go at once; cold, unless a `home` is given that has been used before."""
        with tempfile.TemporaryDirectory(dir=self.folder) as fresh:
            environment = child_environment(home or Path(fresh), self.hub.endpoint)
            stderr = (Path(fresh) / "stderr").open("w+")
            command = [sys.executable, str(_JOBS)]
            processes = [
                subprocess.Popen(
                    [*command, json.dumps(asdict(job))],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                )
                for job in jobs
            ]
            try:
                return Run(results=self._let_go(processes), traffic=self.hub.traffic())
            except Exception as err:
                stderr.seek(0)
                said = stderr.read()
                say(f"{jobs[0]}: {err}\n{said[-4000:]}")
                raise RuntimeError(f"{jobs[0].do} of {jobs[0].repo}: {(said.splitlines() or [err])[-1]}") from err
            finally:
                for process in processes:
                    process.kill()
                    process.wait()

    def alternate(self, jobs: Mapping[str, Sequence[Job]], value: Callable[[Run], float]) -> dict[str, list[Run]]:
        """The runs of each, by turns; `value` of each is printed as it comes."""
        runs: dict[str, list[Run]] = {name: [] for name in jobs}
        for _ in range(self.repeats):
            for name, one in jobs.items():
                runs[name].append(self.run(one))
                say(f"  {name}: {value(runs[name][-1]):,.3f}")
        return runs

    def _let_go(self, processes: Sequence[subprocess.Popen[str]]) -> tuple[Result, ...]:
        for process in processes:
            assert process.stdout
            while (line := process.stdout.readline()).strip() != "ready":
                if not line:
                    raise RuntimeError("it ended before it was ready")
        self.hub.reset()
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=_MOST_S)[0] for process in processes]
        return tuple(Result(**json.loads(output.splitlines()[-1])) for output in outputs)


def child_environment(home: Path, endpoint: str) -> dict[str, str]:
    """An environment without what this user has: no token, caches in `home`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "HUGGING", "XET_", "RANK", "WORLD_", "PYTHON"))
    }
    return kept | {
        "HF_HOME": str(home / "hf"),
        "HF_XET_CACHE": str(home / "xet"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_XET_TELEMETRY_ENABLED": "false",
        "PYTHONPATH": str(_JOBS.parent.parent),
    }


def median(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    """The median of a value over runs."""
    return statistics.median(value(run) for run in runs)


def say(text: str) -> None:
    """Progress, apart from the table."""
    print(text, file=sys.stderr, flush=True)
