"""Figures of rows per second: a full read, by one process and by four, and shuffled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from read_data import IMAGES, TEXT, Dataset
from read_jobs import Job
from read_runs import Bench, Run, median, say
from read_start import reads
from read_table import Figure, verdict

_WORKERS = 4
_SHUFFLED_ROWS = 50_000  # datasets shuffles row by row: more would only take longer
_IMAGE_BATCH_ROWS = 80  # 16 MB, as our batches are

Runs = Mapping[str, Sequence[Run]]


def _all_jobs(dataset: Dataset, workers: int) -> dict[str, list[Job]]:
    """The four readers, and what bounds them: the same ranges undecoded, and the same files from the local disk."""
    batch_rows = _IMAGE_BATCH_ROWS if dataset.name == IMAGES else 10_000
    bare = Job(do="bare", repo=dataset.repo)
    jobs = reads(dataset, batch_rows=batch_rows) | {"bare xet": bare, "bare http": replace(bare, transport="http")}
    files = [str(path) for path in dataset.files]
    decode = [Job(do="decode", files=files[rank::workers]) for rank in range(workers)]
    many = {key: [replace(job, rank=rank, world_size=workers) for rank in range(workers)] for key, job in jobs.items()}
    return many | {"decode": decode}


def full_read(bench: Bench) -> Iterator[Figure]:
    """One process."""
    for name in (*TEXT, IMAGES):
        dataset = bench.datasets[name]
        runs = bench.alternate(_all_jobs(dataset, 1), _rows_s)
        rates = {key: median(found, _rows_s) for key, found in runs.items()}
        decode = rates["decode"]
        bound = {"xet": min(rates["bare xet"], decode), "http": min(rates["bare http"], decode)}
        yield _figure(
            f"rows/s, full read, one process ({name}, {dataset.file_bytes / 1e9:.2f} GB)",
            "0.9 of the slower of (local decode, bare client); 2 x datasets",
            dataset,
            runs,
            bound,
        )


def four_workers(bench: Bench) -> Iterator[Figure]:
    """Four processes, a rank each."""
    for name in (*TEXT, IMAGES):
        dataset = bench.datasets[name]
        runs = bench.alternate(_all_jobs(dataset, _WORKERS), _rows_s)
        bound = {key: median(runs[f"bare {key}"], _rows_s) for key in ("xet", "http")}
        target = f"0.9 of {_WORKERS} bare clients; 2 x datasets"
        yield _figure(f"rows/s, {_WORKERS} worker processes ({name})", target, dataset, runs, bound)


def _figure(name: str, target: str, dataset: Dataset, runs: Runs, bound: Mapping[str, float]) -> Figure:
    rates = {key: median(found, _rows_s) for key, found in runs.items()}
    gigabytes = dataset.file_bytes / 1e9
    cells = {}
    for key in ("xet", "http", "theirs", "recipe"):
        cpu_s = median(runs[key], _cpu_s) / gigabytes
        speed = rates[key] * dataset.file_bytes / dataset.rows / 1e6
        cells[key] = f"{rates[key]:,.0f} ({speed:,.0f} MB/s), {cpu_s:.1f} CPU s/GB"
    told, met = [], []
    for key, label in (("xet", "Xet"), ("http", "HTTP")):
        of_bound = rates[key] / bound[key]
        times = [rates[key] / rates[peer] for peer in ("theirs", "recipe")]
        told.append(f"{label} {of_bound:.2f} of bound, {times[0]:.1f} x datasets, {times[1]:.1f} x recipe")
        met += [of_bound >= 0.9, min(times) >= 2]
    bounds = []
    for key in ("decode", "bare xet", "bare http"):
        # The Hub shares the machine: what it takes is part of what bounds every reader.
        cpu_s, hub_s = (median(runs[key], value) / gigabytes for value in (_cpu_s, _hub_cpu_s))
        bounds.append(f"{key} {rates[key]:,.0f} with {cpu_s:.1f} + {hub_s:.1f} (Hub) CPU s/GB")
    return Figure(
        name=name, target=target, cells=cells, ratio=f"{'; '.join(told)} ({', '.join(bounds)})", met=verdict(met)
    )


def shuffled(bench: Bench) -> Iterator[Figure]:
    """Shuffled against unshuffled, one process."""
    for name in (*TEXT, IMAGES):
        dataset = bench.datasets[name]
        batch_rows = _IMAGE_BATCH_ROWS if name == IMAGES else 10_000
        jobs: dict[str, list[Job]] = {}
        for key, job in reads(dataset, batch_rows=batch_rows).items():
            if key == "theirs":
                job = replace(job, rows=min(_SHUFFLED_ROWS, dataset.rows // 4))
            if key != "recipe":
                jobs |= {key: [job], f"{key} shuffled": [replace(job, shuffle=True)]}
        runs = bench.alternate(jobs, _rows_s)
        rates = {key: median(found, _rows_s) for key, found in runs.items()}
        ratios = {key: rates[f"{key} shuffled"] / rates[key] for key in ("xet", "http", "theirs")}
        say(f"  {rates}")
        yield Figure(
            name=f"shuffled rows/s against unshuffled ({name})",
            target="0.8",
            cells={key: f"{rates[f'{key} shuffled']:,.0f} / {rates[key]:,.0f}" for key in ratios},
            ratio=", ".join(f"{key} {ratio:.2f}" for key, ratio in ratios.items()),
            met=verdict([ratios["xet"] >= 0.8, ratios["http"] >= 0.8]),
        )


def _rows_s(run: Run) -> float:
    return run.rows_s


def _cpu_s(run: Run) -> float:
    return run.cpu_s


def _hub_cpu_s(run: Run) -> float:
    return run.traffic.cpu_s
