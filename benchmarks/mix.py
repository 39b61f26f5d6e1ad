"""Mixes, measured: what publishing one uploads, how fast and in how much memory, how it streams and is shuffled.

    python benchmarks/mix.py [--scale 1.0] [--only block_mix,row_mix,...] [--latency-ms 20] [--repeats 3] [--folder DIR]

The sources are made once (mix_data.py), and uploaded to embedded Hubs, one for each layout; every mix is built against a copy
of a Hub on which nothing was mixed, in a process of its own. The Hub runs on this machine too, in another. The table has all
figures that were measured in the folder at this scale; the numbers behind them are in its figures.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mix_builds
import mix_memory
import mix_peers
import mix_quality
import mix_streams
from figures import parse
from mix_table import Bench, Kept, Seen, header
from read_runs import say

FIGURES: dict[str, Callable[[Bench], Iterator[Seen]]] = {
    "quality": mix_quality.quality,
    "block_mix": mix_builds.block_mix,
    "row_mix": mix_builds.row_mix,
    "foreign": mix_builds.foreign,
    "life": mix_builds.life,
    "text_blocks": mix_builds.text_blocks,
    "layout_cost": mix_builds.layout_cost,
    "against_datasets": mix_peers.against_datasets,
    "against_spark": mix_peers.against_spark,
    "peers": mix_peers.peers,
    "memory": mix_memory.memory,
    "streaming": mix_streams.streaming,
    "fragmentation": mix_streams.fragmentation,
}


def main() -> None:
    arguments = parse(__doc__, FIGURES, prefix="mix", repeats=3)
    bench = Bench(
        folder=arguments.folder, scale=arguments.scale, latency_s=arguments.latency_s, repeats=arguments.repeats
    )
    kept = Kept(arguments.folder / "figures.json")
    for name in arguments.names:
        say(f"{name}:")
        seen: list[Seen] = []
        try:
            for one in FIGURES[name](bench):
                seen.append(one)
                say(one.line())
        except Exception as err:
            seen.append(
                Seen(figure=f"{name}: failed", seen=" ".join(f"{type(err).__name__}: {err}".split())[:300], met=False)
            )
            say(seen[-1].line())
        kept.save(name, seen)
    print(header())
    known = kept.load()
    for name in FIGURES:
        for values in known.get(name, ()):
            print(Seen(**values).line())


if __name__ == "__main__":
    main()
