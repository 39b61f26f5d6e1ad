"""Figures of what a mix uploads: new bytes of all, by what hf_xet says, and by what the Hub received."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mix_data
import mix_jobs
from mix_data import BLOCKS, FOREIGN, GROWTH, LARGE, MEDIUM, SINGLE, SMALL, TEXT, Source, files_of, sources
from mix_table import Bench, Seen, percent, told
from mix_worlds import Ran, World, add

TARGET = "bench/mix"
IMAGES = (SMALL, MEDIUM, LARGE)
_SIZES = {SMALL: "20 to 60 KB", MEDIUM: "100 to 300 KB", LARGE: "0.5 to 1.5 MB"}


def recipe(
    used: Sequence[Source],
    *,
    seed: int = 1,
    shuffle: str = "blocks",
    repeat: dict[str, float] | None = None,
    take: str = "",
    **keys: Any,
) -> str:
    """A recipe that mixes these sources; FineVision has a column `source` of its own, so the mix adds none unless asked to."""
    given = {"target": TARGET, "seed": seed, "shuffle": shuffle, "source_column": "false"} | keys
    lines = [f"{key}: {value}" for key, value in given.items()]
    lines.append("sources:")
    for source in used:
        lines.append(f"  - dataset: {source.repo}")
        if repeat and source.name in repeat:
            lines.append(f"    repeat: {repeat[source.name]}")
        if take:
            lines.append(f"    take: {take}")
    return "\n".join(lines) + "\n"


def built(world: World, text: str, *, cold: bool = False, **arguments: Any) -> dict[str, Any]:
    """Build the recipe's mix in this world; what is known of it."""
    ran: Ran = world.run("build", cold=cold, recipe=text, **arguments)
    return told(ran)


def fresh(world: World, text: str, *, cold: bool = False, **arguments: Any) -> dict[str, Any]:
    """The same in a copy of the world."""
    with world.fork() as copy:
        return built(copy, text, cold=cold, **arguments)


def share(run: dict[str, Any]) -> float:
    return float(run["new"] / run["size"])


def shown(run: dict[str, Any]) -> str:
    """New bytes as hf_xet counts them, what the Hub received, what was foreseen, what the fragmentation limit prevented."""
    prevented = f", {percent(run['prevented'], run['size'])} prevented" if run["prevented"] else ""
    foreseen = f", predicted {percent(run['predicted'], run['size'])}" if run["predicted"] is not None else ""
    return f"{share(run):.2%} (wire {percent(run['wire'], run['size'])}{foreseen}{prevented})"


def _warm_and_cold(world: World, text: str, figure: str, limits: tuple[float, float]) -> Iterator[Seen]:
    for name, limit in zip(("warm", "cold caches"), limits, strict=True):
        run = fresh(world, text, cold=name != "warm")
        yield Seen(
            figure=f"{figure}, {name}", seen=shown(run), target=f"{limit:.1%}", met=share(run) <= limit, values=run
        )


def block_mix(bench: Bench) -> Iterator[Seen]:
    """Images in the default blocks, of sources in the same layout."""
    world = bench.world("images", IMAGES, BLOCKS)
    for kind in (MEDIUM, SMALL, LARGE):
        figure = f"new bytes, block mix of images of {_SIZES[kind]}, sources in blocks layout"
        yield from _warm_and_cold(world, recipe(sources(kind)), figure, (0.01, 0.02))
    everything = [source for kind in IMAGES for source in sources(kind)]
    yield from _warm_and_cold(world, recipe(everything), "the same, all sizes in one mix (3 GB)", (0.01, 0.02))
    run = fresh(world, recipe(sources(MEDIUM), source_column="origin"))
    figure = f"the same, {_SIZES[MEDIUM]}, with a column that names the source, warm"
    yield Seen(figure=figure, seen=shown(run), target="1.0%", met=share(run) <= 0.01, values=run)


def row_mix(bench: Bench) -> Iterator[Seen]:
    """Images in blocks of one row: a full shuffle."""
    world = bench.world("images", (SMALL, MEDIUM), SINGLE)
    text = recipe(sources(MEDIUM), block_rows=1)
    figure = f"new bytes, full row shuffle of {_SIZES[MEDIUM]} (blocks of one row)"
    yield from _warm_and_cold(world, text, figure, (0.02, 0.02))


def foreign(bench: Bench) -> Iterator[Seen]:
    """Files of others, by the size of their row groups."""
    for kind, limit in ((MEDIUM, 0.01), (TEXT, 0.1)):
        world = bench.world(kind, [kind], FOREIGN)
        what = "images" if kind == MEDIUM else "text"
        for number, size in enumerate((1, 5, 20)):
            used = [source for source in sources(kind) if source.number % 3 == number]
            run = fresh(world, recipe(used, block_bytes=f"{size}MB"))
            figure = f"raw copy of foreign files, {what}, row groups of {size} MB, asked for by block_bytes, warm"
            yield Seen(figure=figure, seen=shown(run), target=f"{limit:.0%}", met=share(run) <= limit, values=run)
        figure = f"raw copy of foreign files, {what}, row groups of 1, 5 and 20 MB together, default blocks"
        yield from _warm_and_cold(world, recipe(sources(kind)), figure, (limit, limit))


def life(bench: Bench) -> Iterator[Seen]:
    """What changing a mix costs after it was published once, each change by itself."""
    used = sources(MEDIUM)
    with bench.world("images", IMAGES, BLOCKS).fork() as first:
        built(first, recipe(used))
        changes = {"new seed": recipe(used, seed=2), "one source repeated 3 x": recipe(used, repeat={used[0].name: 3})}
        for figure, text in changes.items():
            run = fresh(first, text, overwrite=True)
            yield Seen(figure=f"mix again: {figure}", seen=shown(run), target="1%", met=share(run) <= 0.01, values=run)
        with first.fork() as grown:
            add(grown, bench.folder, BLOCKS, [used[0]], place="/grown")
            run = built(grown, recipe(used), overwrite=True)
    limit = 0.01 + GROWTH / len(used)
    figure = "mix again: one source grown by 5 % (its new rows are in the Hub's storage)"
    yield Seen(
        figure=figure, seen=shown(run), target=f"1% + {GROWTH / len(used):.2%}", met=share(run) <= limit, values=run
    )


def text_blocks(bench: Bench) -> Iterator[Seen]:
    """Text in blocks of 1,024 rows."""
    world = bench.world(TEXT, [TEXT], BLOCKS)
    text = recipe(sources(TEXT), block_rows=1024)
    yield from _warm_and_cold(world, text, "new bytes, text in blocks of 1,024 rows", (0.015, 0.015))


def layout_cost(bench: Bench) -> Iterator[Seen]:
    """The sources' own files in the layout, against the same rows in snappy with row groups of 100 MB."""
    wide = bench.folder / "wide.parquet"
    cases = [(kind, BLOCKS, "snappy") for kind in (*IMAGES, TEXT)]
    for kind, layout, compression in (*cases, (TEXT, BLOCKS, "zstd"), (MEDIUM, SINGLE, "snappy")):
        mix_data.make(bench.folder, bench.scale, kind)
        files: list[Path] = [file for source in sources(kind) for file in files_of(bench.folder, source, layout)]
        plain = sum(mix_jobs.rewrite(file, wide, compression) for file in files)
        wide.unlink()
        size = sum(file.stat().st_size for file in files)
        cost = size / plain - 1
        what = "text" if kind == TEXT else f"images of {_SIZES[kind]}"
        how = "default blocks" if layout == BLOCKS else "blocks of one row"
        # The target is of what a mix has by default, and of snappy; blocks of one row are what a full shuffle costs.
        judged = layout == BLOCKS and compression == "snappy"
        yield Seen(
            figure=f"size of the layout against {compression} with 100 MB row groups, {what}, {how}",
            seen=f"{cost:+.2%}",
            target="+3%" if judged else "",
            met=cost <= 0.03 if judged else None,
            values={"size": size, "plain": plain},
        )
