"""Figures of how a read begins and what it fetches: requests, the first row, the bytes of one column, resuming, memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from read_data import COLUMN, IMAGES, TEXT, Dataset
from read_jobs import Job
from read_runs import Bench, Run, median, say
from read_table import Figure, verdict

_PROCESSES, _PEERS = 64, 8
_MORE_LATENCY_S = 0.2
_HOPS, _CPU_S = 8, 0.5
_RANGE_BYTES = 200_000
_MEMORY_BYTES = (128 << 20, 256 << 20)  # ScanOptions.prefetch_bytes, hf_xet's cap in pipeline/hub/xet.py
_WINDOW_BYTES, _WINDOW_ROWS = 256 << 20, 10_000  # what a shuffle holds


def reads(dataset: Dataset, **what: object) -> dict[str, Job]:
    """The four readers of a dataset, by the table's columns."""
    plain = Job(do="ours", repo=dataset.repo, **what)  # type: ignore[arg-type]
    theirs = replace(plain, do="datasets")
    return {
        "xet": plain,
        "http": replace(plain, transport="http"),
        "theirs": theirs,
        "recipe": replace(theirs, recipe=True),
    }


def cold_start(bench: Bench) -> Iterator[Figure]:
    """Requests of processes that start together."""
    yield _start(bench, "Hub API requests before the first row, 64 processes at once, cold", None, "4 + 1 token", 4)


def warm_start(bench: Bench) -> Iterator[Figure]:
    """The same on a machine that knows the commit."""
    sha = bench.datasets[TEXT[0]].sha
    yield _start(bench, "the same, warm cache, pinned sha", sha, "1 (the token)", 0)


def _start(bench: Bench, name: str, revision: str | None, target: str, most: int) -> Figure:
    dataset = bench.datasets[TEXT[0]]
    cells, met = {}, []
    for column, job in reads(dataset, rows=1, revision=revision, format="python").items():
        if column == "recipe":
            continue
        count = _PEERS if column == "theirs" else _PROCESSES
        jobs = [replace(job, rank=rank, world_size=count) for rank in range(count)]
        with tempfile.TemporaryDirectory(dir=bench.folder) as home:
            if revision:
                bench.run(jobs[:1], Path(home))
            traffic = bench.run(jobs, Path(home)).traffic
        say(f"  {column}, {count} processes: {traffic}")
        cells[column] = f"{traffic.api_requests} + {traffic.tokens} token"
        if column == "theirs":
            cells[column] = f"{traffic.api_requests / count:.1f} each ({count} processes)"
        if column == "xet":
            met.append(traffic.api_requests <= most and traffic.tokens <= 1)
    return Figure(name=name, target=target, cells=cells, met=verdict(met))


def first_row(bench: Bench) -> Iterator[Figure]:
    """Time to the first row; depth in round trips is how much more it takes when each takes longer."""
    for name in TEXT:
        jobs = {key: [job] for key, job in reads(bench.datasets[name], rows=1, format="python").items()}
        runs = bench.alternate(jobs, _first_s)
        bench.hub.set_latency(bench.latency_s + _MORE_LATENCY_S)
        slow = bench.alternate(jobs, _first_s)
        bench.hub.set_latency(bench.latency_s)
        cells, met = {}, []
        for key, found in runs.items():
            first_s, cpu_s = median(found, _first_s), median(found, _cpu_s)
            depth = (median(slow[key], _first_s) - first_s) / _MORE_LATENCY_S
            requests = sum(found[-1].traffic.counts.values())
            cells[key] = f"{first_s:.2f} s, {depth:.1f} round trips deep, {requests} requests, {cpu_s:.2f} s CPU"
            if key in ("xet", "http"):
                met.append(round(depth) <= _HOPS and cpu_s <= _CPU_S)
        peer = min(median(runs[key], _first_s) for key in ("theirs", "recipe"))
        ratios = {key: median(runs[key], _first_s) / peer for key in ("xet", "http")}
        met += [ratio <= 1 / 3 for ratio in ratios.values()]
        yield Figure(
            name=f"time to the first row, cold ({name})",
            target=f"<= {_HOPS} round trips + set-up + {_CPU_S} s CPU; 1/3 of datasets'",
            cells=cells,
            ratio=f"Xet {ratios['xet']:.2f}, HTTP {ratios['http']:.2f} of datasets' best",
            met=verdict(met),
        )


def one_column(bench: Bench) -> Iterator[Figure]:
    """Bytes that come for a column that is 1 % of the file."""
    for name in TEXT:
        dataset = bench.datasets[name]
        useful = sum(dataset.chunk_sizes(COLUMN))
        runs = {key: bench.run([job]) for key, job in reads(dataset, columns=[COLUMN]).items()}
        for key, run in runs.items():
            say(f"  {key}: {run.traffic.bytes_sent:,} bytes for {useful:,}; {run.traffic}")
        share = {key: run.traffic.bytes_sent / dataset.file_bytes for key, run in runs.items()}
        ranges = runs["xet"].traffic.ranges
        allowed = (useful + _RANGE_BYTES * ranges) / dataset.file_bytes
        most = 0.015 if name == TEXT[1] else max(allowed, 0.015)
        yield Figure(
            name=f"bytes fetched / file bytes, a column of {useful / dataset.file_bytes:.2%} ({name})",
            target=f"HTTP 1.5 %; Xet {most:.2%} ({ranges} ranges)",
            cells={key: f"{one:.2%}" for key, one in share.items()},
            ratio=f"Xet {share['xet'] / share['theirs']:.3f}, HTTP {share['http'] / share['theirs']:.3f} of datasets",
            met=verdict([share["xet"] <= most, share["http"] <= 0.015]),
        )


def resume(bench: Bench) -> Iterator[Figure]:
    """Time to the next row in the middle of an epoch, in a new process with no cache."""
    dataset = bench.datasets[TEXT[0]]
    middle = int(dataset.rows * 0.55)  # inside a file
    for shuffle in (False, True):
        jobs = reads(dataset, rows=1, format="python", shuffle=shuffle)
        if shuffle:  # datasets has no exact resume, and reads as far to get there
            jobs = {key: job for key, job in jobs.items() if key in ("xet", "http")}
        resumed = {}
        for key, job in jobs.items():
            state = bench.run([replace(job, rows=middle, gives_state=True)]).results[0].state
            say(f"  {key}: a state of {len(json.dumps(state))} bytes")
            resumed[f"{key} resumed"] = [replace(job, state=state)]
        runs = bench.alternate({key: [job] for key, job in jobs.items()} | resumed, _first_s)
        ratios = {key: median(runs[f"{key} resumed"], _first_s) / median(runs[key], _first_s) for key in jobs}
        cells = {key: f"{median(runs[f'{key} resumed'], _first_s):.2f} s, {ratios[key]:.2f} x cold" for key in jobs}
        yield Figure(
            name=f"resume in the middle of an epoch, time to next row{' (shuffled)' if shuffle else ''}",
            target="1.5 x a cold first row",
            cells=cells,
            ratio=", ".join(f"{key} {ratio:.2f}" for key, ratio in ratios.items()),
            met=verdict([ratios["xet"] <= 1.5, ratios["http"] <= 1.5]),
        )


def memory(bench: Bench) -> Iterator[Figure]:
    """Peak resident set of a process over that of one that only imports."""
    idle = bench.run([Job(do="import")]).peak_bytes
    for name, shuffle in [(TEXT[0], False), (TEXT[1], False), (IMAGES, False), (TEXT[0], True), (IMAGES, True)]:
        dataset = bench.datasets[name]
        in_hand = float(dataset.largest_group_bytes)
        if shuffle:
            in_hand = max(
                in_hand, min(_WINDOW_BYTES, dataset.row_bytes * _WINDOW_ROWS, dataset.row_bytes * dataset.rows)
            )
        prefetch, cap = _MEMORY_BYTES
        allowed = {"xet": prefetch + in_hand + cap, "http": prefetch + in_hand}
        cells, ratios = {}, {}
        for key, job in reads(dataset, shuffle=shuffle).items():
            if key == "recipe" or (shuffle and key == "theirs"):
                continue
            peak = bench.run([job]).peak_bytes - idle
            cells[key] = f"{peak / 1e6:,.0f} MB"
            if key in allowed:
                ratios[key] = peak / allowed[key]
        yield Figure(
            name=f"peak memory over {idle / 1e6:.0f} MB of our imports ({name}{', shuffled' if shuffle else ''})",
            target=f"1.3 x {allowed['xet'] / 1e6:,.0f} MB; HTTP 1.3 x {allowed['http'] / 1e6:,.0f} MB",
            cells=cells,
            ratio=f"Xet {ratios['xet']:.2f}, HTTP {ratios['http']:.2f}",
            met=verdict([ratio <= 1.3 for ratio in ratios.values()]),
        )


def _first_s(run: Run) -> float:
    return run.first_s


def _cpu_s(run: Run) -> float:
    return run.cpu_s
