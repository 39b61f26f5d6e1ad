"""Figures of building a mix beside what its users do today: `datasets`, Spark by itself, the writer of `pyspark_huggingface`."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mix_builds import IMAGES, TARGET, fresh, recipe, share
from mix_data import BLOCKS, FOREIGN, MEDIUM, TEXT, Source, files_of, sources
from mix_table import Bench, Seen, percent, told
from mix_worlds import World
from read_runs import say

_PEER = "bench/peer"
_HF = str(Path(sys.executable).with_name("hf"))
_BATCH_ROWS = {MEDIUM: 64, TEXT: 4096}

Runs = Sequence[dict[str, Any]]


def against_datasets(bench: Bench) -> Iterator[Seen]:
    """1 GB of images in blocks, end to end, by turns with `datasets`; from the start of the process to its end."""
    world, used = bench.world("images", IMAGES, BLOCKS), sources(MEDIUM)
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for _ in range(bench.repeats):
        ours.append(fresh(world, recipe(used)))
        theirs.append(_push(world, used))
    yield from _beside_datasets(ours, theirs, "sources in blocks layout")
    yield _hashing(world, bench, ours)
    world = bench.world(MEDIUM, [MEDIUM], FOREIGN)
    yield from _beside_datasets([fresh(world, recipe(used))], [_push(world, used)], "sources of pyarrow")


def _beside_datasets(ours: Runs, theirs: Runs, where: str) -> Iterator[Seen]:
    speed, peer_speed = (
        statistics.median(run["size"] / run["seconds"] / 1e6 for run in runs) for runs in (ours, theirs)
    )
    peak, peer_peak = (statistics.median(run["memory"]["total"] for run in runs) for runs in (ours, theirs))
    anonymous = [statistics.median(run["memory"]["anonymous"] for run in runs) / 1e6 for runs in (ours, theirs)]
    cpu = [statistics.median(run["cpu_s"] for run in runs) for runs in (ours, theirs)]
    inside = statistics.median(run["size"] / run["build_s"] / 1e6 for run in ours)
    values = {"ours": ours, "datasets": theirs}
    yield Seen(
        figure=f"block build of 1 GB of images, end to end, {where}, against datasets",
        seen=f"{speed:.0f} MB/s ({inside:.0f} without Python's start), datasets {peer_speed:.0f}: {speed / peer_speed:.1f} x; "
        f"CPU {cpu[0]:.1f} s, datasets {cpu[1]:.1f} s",
        target="2 x its speed",
        met=speed >= 2 * peer_speed,
        values=values,
    )
    yield Seen(
        figure=f"the same, peak memory of all processes, {where}",
        seen=f"{peak / 1e6:.0f} MB (JVM {ours[0]['memory']['java'] / 1e6:.0f}, largest worker "
        f"{ours[0]['memory']['worker'] / 1e6:.0f}), datasets {peer_peak / 1e6:.0f}: {peak / peer_peak:.2f} of it; "
        f"without mapped files {anonymous[0]:.0f} and {anonymous[1]:.0f}",
        target="0.25 of its memory",
        met=peak <= peer_peak / 4,
    )
    yield Seen(
        figure=f"the same, sent to the Hub, {where}",
        seen=f"{share(ours[0]):.2%} new, wire {percent(ours[0]['wire'], ours[0]['size'])}; "
        f"datasets: wire {percent(theirs[0]['wire'], theirs[0]['size'])}",
    )


def _push(world: World, used: Sequence[Source]) -> dict[str, Any]:
    with world.fork() as copy:
        return told(copy.run("datasets", repos=[source.repo for source in used], target=_PEER))


def _hashing(world: World, bench: Bench, ours: Runs) -> Seen:
    """How much of the build's time hf_xet needs for the same bytes alone, on the cores that it finds."""
    files = [str(file) for source in sources(MEDIUM) for file in files_of(bench.folder, source, BLOCKS)]
    with world.fork() as copy:
        alone = told(copy.run("hash", files=files))
    build_s = statistics.median(run["build_s"] for run in ours)
    return Seen(
        figure="the same, share of hashing in hf_xet",
        seen=f"chunks and hashes of the same bytes alone {alone['xet_s']:.1f} s, {alone['xet_s'] / build_s:.0%} of the build's "
        f"{build_s:.1f} s; sha256 alone {alone['sha256_s']:.1f} s",
        values=alone,
    )


def against_spark(bench: Bench) -> Iterator[Seen]:
    """Text in row order, upload included, by turns with Spark's shuffle of local files and `hf upload`."""
    world, used = bench.world(TEXT, [TEXT], FOREIGN), sources(TEXT)
    ours, theirs = [], []
    for _ in range(bench.repeats):
        ours.append(fresh(world, recipe(used, shuffle="rows")))
        theirs.append(_spark(bench, world, TEXT, "spark"))
    with world.fork() as copy, tempfile.TemporaryDirectory(dir=bench.folder) as into:
        download_s = copy.run("download", repos=[source.repo for source in used], into=into).seconds
    seconds, peer = (statistics.median(run["seconds"] for run in runs) for runs in (ours, theirs))
    rows, peer_rows = ours[0]["rows"], theirs[0]["rows"]
    cpu = [statistics.median(run["cpu_s"] for run in runs) for runs in (ours, theirs)]
    exact = max(rows) - min(rows) <= 1
    yield Seen(
        figure="rows build of text (2 GB decoded), upload included, against Spark's shuffle and write, then hf upload",
        seen=f"{seconds:.1f} s, Spark {peer:.1f} s from local files: {seconds / peer:.2f} x; with the download of its sources "
        f"({download_s:.1f} s) {seconds / (peer + download_s):.2f} x; CPU {cpu[0]:.0f} s, "
        f"Spark {cpu[1]:.0f} s; shards of {min(rows)} to {max(rows)} rows, Spark's of "
        f"{min(peer_rows)} to {max(peer_rows)}; {share(ours[0]):.1%} new",
        target="1.0 x its time, exact shards",
        met=seconds <= peer and exact,
        values={"ours": ours, "spark": theirs, "download_s": download_s},
    )


def peers(bench: Bench) -> Iterator[Seen]:
    """What the peers upload of the same mixes; they read local files."""
    for kind, layout in ((MEDIUM, BLOCKS), (MEDIUM, FOREIGN), (TEXT, FOREIGN)):
        world = bench.world("images", IMAGES, BLOCKS) if layout == BLOCKS else bench.world(kind, [kind], layout)
        what = "images of 100 to 300 KB" if kind == MEDIUM else "text"
        for writer, name in (("spark", "plain Spark"), ("peer", "writer settings of pyspark_huggingface")):
            run = _spark(bench, world, kind, writer, layout)
            yield Seen(
                figure=f"{name}, {what}, {layout} sources",
                seen=f"wire {percent(run['wire'], run['size'])}, {run['size'] / run['seconds'] / 1e6:.0f} MB/s, "
                f"peak {run['memory']['total'] / 1e6:.0f} MB",
                values=run,
            )
    world = bench.world(TEXT, [TEXT], FOREIGN)
    run = _push(world, sources(TEXT))
    seen = (
        f"wire {percent(run['wire'], run['size'])}, {run['seconds']:.1f} s, peak {run['memory']['total'] / 1e6:.0f} MB"
    )
    yield Seen(figure="datasets, text, foreign sources", seen=seen, values=run)


def _spark(bench: Bench, world: World, kind: str, writer: str, layout: str = FOREIGN) -> dict[str, Any]:
    """Shuffle and write local files, then upload them; both times together, the larger memory, the upload's traffic."""
    folders = [str(bench.folder / source.name / layout) for source in sources(kind)]
    with world.fork() as copy, tempfile.TemporaryDirectory(dir=bench.folder) as into:
        arguments = {"folders": folders, "into": f"{into}/data", "writer": writer, "batch_rows": _BATCH_ROWS[kind]}
        shuffled = copy.run("spark", **arguments)
        sent = copy.execute([_HF, "upload", TARGET, f"{into}/data", "data", "--repo-type", "dataset"])
    run = told(shuffled)
    say(f"  upload {sent.seconds:.1f} s")
    return run | {
        "seconds": shuffled.seconds + sent.seconds,
        "cpu_s": shuffled.cpu_s + sent.cpu_s,
        "wire": sent.traffic.bytes_received,
        "shuffle_s": shuffled.seconds,
        "upload_s": sent.seconds,
    }
