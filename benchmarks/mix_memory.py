"""Figures of memory: the peak of one of Spark's Python workers while mixes of growing input are built."""

from __future__ import annotations

from collections.abc import Iterator

from mix_builds import IMAGES, fresh, recipe
from mix_data import BLOCKS, FOREIGN, MEDIUM, TEXT, sources
from mix_table import Bench, Seen

_LIMIT_BYTES = 1e9
_FLAT = 1.25
_CASES = ((MEDIUM, "blocks", (1, 4)), (MEDIUM, "rows", (1, 4)), (TEXT, "rows", (1, 2)))
"""What is mixed, the order, and how often the sources are repeated."""


def memory(bench: Bench) -> Iterator[Seen]:
    """The input grows by repeating the sources, each of which is read anew every time."""
    for kind, shuffle, many in _CASES:
        world = bench.world("images", IMAGES, BLOCKS) if kind == MEDIUM else bench.world(kind, [kind], FOREIGN)
        used = sources(kind)
        runs = {
            times: fresh(world, recipe(used, shuffle=shuffle, repeat={source.name: times for source in used}))
            for times in many
        }
        peaks = [run["memory"]["worker"] for run in runs.values()]
        flat = max(peaks) / peaks[0]
        unit = "GB of images" if kind == MEDIUM else "x 2 GB of decoded text"
        told = ", ".join(f"{times} {unit}: {peak / 1e6:.0f} MB" for times, peak in zip(runs, peaks, strict=True))
        java = max(run["memory"]["java"] for run in runs.values())
        yield Seen(
            figure=f"peak memory of a task, {shuffle} order",
            seen=f"{told} ({flat:.2f} x); the JVM {java / 1e6:.0f} MB",
            target=f"1 GB; flat (here: {_FLAT} x)",
            met=max(peaks) < _LIMIT_BYTES and flat <= _FLAT,
            values={str(times): run for times, run in runs.items()},
        )
