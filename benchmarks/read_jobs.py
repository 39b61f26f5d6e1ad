"""What one measured process does: it imports, says `ready`, waits for `go`, reads, and prints what that took as JSON.

python read_jobs.py JOB    (a `Job` as JSON; read.py starts it)
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

Counted = Iterator[tuple[int, int]]
"""Rows and bytes, as they come."""

_BATCH_BYTES = 16 << 20
_SEED = 1
# httpx2 imports httpcore2 when the first client is made, of every reader.
_OURS = ("pipeline.streaming", "hf_xet", "httpcore2")
_IMPORTS = {
    "datasets": ("datasets", "datasets.packaged_modules.parquet.parquet", "pyarrow.dataset", "httpcore2"),
    "decode": ("pyarrow.parquet",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One process. `rows` ends it early; with `state` it goes on there; `files` are read from the local disk."""

    do: Literal["ours", "datasets", "bare", "decode", "import"]
    repo: str = ""
    revision: str | None = None
    transport: Literal["xet", "http"] = "xet"
    recipe: bool = False
    format: Literal["python", "arrow"] = "arrow"
    columns: list[str] | None = None
    shuffle: bool = False
    rank: int = 0
    world_size: int = 1
    rows: int | None = None
    batch_rows: int = 10_000
    state: dict[str, Any] | None = None
    gives_state: bool = False
    files: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a job took from `go` on; `peak_bytes` is the largest resident set since the process began."""

    rows: int = 0
    bytes: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    state: dict[str, Any] | None = None


class Reader:
    """Rows of a job, and where it stands."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.state: Callable[[], dict[str, Any]] = dict
        self.read: Callable[[], Counted] = {
            "ours": self.ours,
            "datasets": self.datasets,
            "bare": self.bare,
            "decode": self.decode,
            "import": self.nothing,
        }[job.do]

    def prepare(self) -> None:
        """Import all that the job needs."""
        for name in _IMPORTS.get(self.job.do, _OURS):
            import_module(name)

    def nothing(self) -> Counted:
        return iter(())

    def ours(self) -> Counted:
        import pipeline

        job = self.job
        stream = pipeline.stream(
            job.repo,
            revision=job.revision,
            transport=job.transport,
            columns=job.columns,
            shuffle=job.shuffle,
            seed=_SEED,
            rank=job.rank,
            world_size=job.world_size,
            format=job.format,
        )
        if job.state:
            stream.load_state_dict(job.state)
        if job.gives_state:
            self.state = lambda: stream.state_dict(rows_consumed=job.rows)
            return
        for item in stream:
            yield (item.num_rows, item.nbytes) if job.format == "arrow" else (1, 0)

    def datasets(self) -> Counted:
        import pyarrow as pa
        import pyarrow.dataset as pads
        from datasets import load_dataset
        from datasets.distributed import split_dataset_by_node

        job = self.job
        options: dict[str, Any] = {"columns": job.columns} if job.columns else {}
        if job.recipe:
            cache = pa.CacheOptions(prefetch_limit=1, range_size_limit=128 << 20)
            options["fragment_scan_options"] = pads.ParquetFragmentScanOptions(cache_options=cache)
        found = load_dataset(job.repo, split="train", streaming=True, revision=job.revision, **options)
        if job.shuffle:
            found = found.shuffle(seed=_SEED, buffer_size=10_000)
        if job.world_size > 1:
            found = split_dataset_by_node(found, job.rank, job.world_size)
        if job.format == "arrow":
            found = found.with_format("arrow")
        if job.state:
            found.load_state_dict(job.state)
        self.state = found.state_dict
        if job.format == "arrow":
            yield from ((table.num_rows, table.nbytes) for table in found.iter(batch_size=job.batch_rows))
        else:
            yield from ((1, 0) for _ in found)

    def bare(self) -> Counted:
        """The same ranges by the same client, not decoded, and thrown away."""
        from pipeline.hub.ranges import file_refs, open_file
        from pipeline.hub.repo import find_token, parse_ref
        from pipeline.hub.resolver import resolve
        from pipeline.parquet.blocks import merge_ranges
        from pipeline.parquet.footer import read_footers
        from pipeline.parquet.scan import ScanOptions

        job, options = self.job, ScanOptions()
        ref = parse_ref(job.repo, revision=job.revision)
        token = find_token(ref.endpoint)
        files = file_refs(resolve(ref, token), job.transport)
        footers = read_footers(files, token)
        wanted = []
        for file, footer in zip(files, footers, strict=True):
            ranges = [one for group in footer.row_groups() for one in group.ranges(job.columns)]
            reader = open_file(file, token)
            wanted += [(reader, *one) for one in merge_ranges(ranges, options.hole_bytes, options.block_bytes)]
        share = slice(len(wanted) * job.rank // job.world_size, len(wanted) * (job.rank + 1) // job.world_size)
        most = options.prefetch_bytes // options.block_bytes
        waiting: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(options.prefetch_requests) as pool:
            for reader, start, end in wanted[share]:
                waiting.append(pool.submit(reader.read, start, end))
                if len(waiting) >= most:
                    yield 0, len(waiting.popleft().result())
            for future in waiting:
                yield 0, len(future.result())
        yield sum(footer.rows for footer in footers) // job.world_size, 0

    def decode(self) -> Counted:
        """The files on the local disk, by pyarrow with its defaults and batches of our size."""
        from pyarrow import parquet as pq

        for path in self.job.files or ():
            file = pq.ParquetFile(path)
            group = file.metadata.row_group(0)
            rows = min(self.job.batch_rows, max(1, _BATCH_BYTES * group.num_rows // group.total_byte_size))
            yield from ((batch.num_rows, batch.nbytes) for batch in file.iter_batches(rows))


def run(reader: Reader) -> Result:
    """Read, and count."""
    rows = size = 0
    first_s = last_s = 0.0
    cpu_s, started = _cpu_s(), perf_counter()
    for num_rows, num_bytes in reader.read():
        last_s = perf_counter() - started
        first_s = first_s or last_s
        rows, size = rows + num_rows, size + num_bytes
        if reader.job.rows is not None and rows >= reader.job.rows:
            break
    return Result(
        rows=rows,
        bytes=size,
        first_s=first_s,
        last_s=last_s,
        cpu_s=_cpu_s() - cpu_s,
        peak_bytes=_peak_bytes(),
        state=reader.state() if reader.job.gives_state else None,
    )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_bytes() -> int:
    """VmHWM: ru_maxrss would begin at what the parent had when it forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    reader = Reader(Job(**json.loads(sys.argv[1])))
    reader.prepare()
    print("ready", flush=True)
    sys.stdin.readline()
    result = run(reader)
    print(json.dumps(asdict(result)), flush=True)
    os._exit(0)  # datasets sleeps for 5 s when it ends early


if __name__ == "__main__":
    main()
