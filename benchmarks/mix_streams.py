"""Figures of reading a mix: against the same rows in large row groups, and what uploading less costs the reader."""

from __future__ import annotations

from collections.abc import Iterator

from mix_builds import IMAGES, TARGET, built, recipe, share
from mix_data import BLOCKS, MEDIUM, SINGLE, SMALL, TEXT, sources
from mix_table import Bench, Seen, percent
from mix_worlds import World
from read_jobs import Job
from read_runs import Bench as Reads
from read_runs import Run, median

_WIDE = "bench/wide"
_LIMITS = (None, 8, 1)
_TAKEN = "2%"  # each block is three requests: all would take an hour


def streaming(bench: Bench) -> Iterator[Seen]:
    """One process reads all rows; each repeat cold, by turns."""
    for kind in (MEDIUM, TEXT):
        world = bench.world("images", IMAGES, BLOCKS) if kind == MEDIUM else bench.world(kind, [kind], BLOCKS)
        keys = {} if kind == MEDIUM else {"block_rows": 1024}
        with world.fork() as copy:
            run = built(copy, recipe(sources(kind), **keys))
            copy.run("widen", repo=TARGET, target=_WIDE)
            rates = _rates(bench, copy, {"mix": TARGET, "wide": _WIDE})
        ratio = rates["mix"] / rates["wide"]
        what = "images of 100 to 300 KB" if kind == MEDIUM else "text in blocks of 1,024 rows"
        yield Seen(
            figure=f"streaming rows/s of the mix against 100 MB row groups, {bench.latency_s * 1000:.0f} ms latency, {what}",
            seen=f"{rates['mix']:,.0f} / {rates['wide']:,.0f} rows/s: {ratio:.2f}",
            target="0.95",
            met=ratio >= 0.95,
            values={"build": run, "rates": rates},
        )


def fragmentation(bench: Bench) -> Iterator[Seen]:
    """The client's limit of fragmentation, where it refuses most: small images in blocks of few rows."""
    world = bench.world("images", (SMALL, MEDIUM), SINGLE)
    for block_rows in (1, 4):
        for limit in _LIMITS:
            with world.fork() as copy:
                run = built(copy, recipe(sources(SMALL), block_rows=block_rows, take=_TAKEN), min_chunks=limit)
                rates = _rates(bench, copy, {"mix": TARGET})
            yield Seen(
                figure=f"min_n_chunks_per_range {limit or 'as it is'}, images of 20 to 60 KB in blocks of {block_rows} rows",
                seen=f"{share(run):.1%} new, {percent(run['prevented'], run['size'])} prevented; "
                f"{rates['mix']:,.0f} rows/s, {rates['mix requests']:,.0f} requests to storage",
                values={"build": run, "rates": rates},
            )


def _rates(bench: Bench, world: World, repos: dict[str, str]) -> dict[str, float]:
    """Rows per second of a full read of each, medians, and the requests to storage that it took."""
    with world.serve() as hub:
        hub.set_latency(bench.latency_s)
        reads = Reads(folder=world.folder, hub=hub, datasets={}, latency_s=bench.latency_s, repeats=bench.repeats)
        runs = reads.alternate({name: [Job(do="ours", repo=repo)] for name, repo in repos.items()}, _rows_s)
        found = {name: median(some, _rows_s) for name, some in runs.items()}
        return found | {f"{name} requests": median(some, _requests) for name, some in runs.items()}


def _rows_s(run: Run) -> float:
    return run.rows_s


def _requests(run: Run) -> float:
    counts = run.traffic.counts
    return counts["cas_reconstruction"] + counts["cas_xorb_get"]
