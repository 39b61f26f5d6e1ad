"""Hubs that hold sources and nothing else, and processes that work against a copy of one, so that no figure helps the next.

A copy costs little: what the Hub stores never changes, so that it is linked. With the Hub goes the cache of the client that
filled it: who has it is `warm`, and knows the sources' chunks; who has an empty one is `cold`. hf_xet keeps its cache by
endpoint, so all copies of a Hub are served at its first port, one at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mix_data
from mix_data import Source
from mix_watch import Memory, Watch
from read_hub import HubProcess, Traffic
from read_runs import child_environment, say

_JOBS = Path(__file__).with_name("mix_jobs.py")
_ROOT = _JOBS.parent.parent
_STORED = ("xorbs", "lfs", "packs")
_MOST_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a process took from its start to its end, in seconds, what it said, and what it moved over the wire.

    `cpu_s` is of all its processes, without the Hub.
    """

    seconds: float
    said: dict[str, Any]
    memory: Memory
    traffic: Traffic
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A Hub's folder, and the cache of the client that filled it."""

    folder: Path

    @property
    def cache(self) -> Path:
        return self.folder / "xet"

    @contextmanager
    def serve(self) -> Iterator[HubProcess]:
        """Its Hub, while the block runs."""
        with HubProcess(self.folder / "hub", int((self.folder / "port").read_text())) as hub:
            yield hub

    @contextmanager
    def fork(self) -> Iterator[World]:
        """A copy that is gone after the block."""
        with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix="fork-") as place:
            copy = World(folder=Path(place))
            shutil.copytree(self.folder / "hub", copy.folder / "hub", copy_function=_link_or_copy)
            shutil.copytree(self.cache, copy.cache)
            shutil.copy(self.folder / "port", copy.folder / "port")
            yield copy

    def run(self, what: str, *, cold: bool = False, **arguments: Any) -> Ran:
        """A job of mix_jobs.py in a process of its own, while the Hub is served. Raises RuntimeError with its last words."""
        return self.execute([sys.executable, str(_JOBS), what, json.dumps(arguments)], cold=cold)

    def execute(self, command: Sequence[str], *, cold: bool = False) -> Ran:
        """A command, the same way."""
        with self.serve() as hub, tempfile.TemporaryDirectory(dir=self.folder) as home:
            answer = Path(home) / "answer.json"
            environment = child_environment(Path(home), hub.endpoint)
            environment |= {"MIX_ANSWER": str(answer), "TMPDIR": home, "SPARK_LOCAL_DIRS": home}
            if not cold:
                environment["HF_XET_CACHE"] = str(self.cache)
            hub.reset()
            with (Path(home) / "log").open("w+") as log:
                begun = time.perf_counter()
                # Spark's workers look for modules where they are started first.
                process = subprocess.Popen(command, env=environment, cwd=_ROOT, stdout=log, stderr=log)
                with Watch(process.pid) as watch:
                    try:
                        code = process.wait(timeout=_MOST_S)
                    finally:
                        process.kill()
                seconds = time.perf_counter() - begun
                log.seek(0)
                words = log.read()
            if code:
                say(words[-6000:])
                raise RuntimeError(f"{' '.join(command)[:200]} ended with {code}: {words.strip()[-300:]}")
            said = json.loads(answer.read_text()) if answer.exists() else {}
            return Ran(seconds=seconds, said=said, memory=watch.memory, traffic=hub.traffic(), cpu_s=watch.cpu_s)


def world_of(folder: Path, scale: float, name: str, kinds: Sequence[str], layout: str) -> World:
    """The Hub that has all sources of these kinds in a layout; made and filled when it is not there yet."""
    world = World(folder=folder / f"hub-{name}-{layout}")
    if not (world.folder / "filled").exists():
        shutil.rmtree(world.folder, ignore_errors=True)
        world.cache.mkdir(parents=True)
        (world.folder / "port").write_text(str(_free_port()))
        for kind in kinds:
            mix_data.make(folder, scale, kind)
        add(world, folder, layout, [source for kind in kinds for source in mix_data.sources(kind)])
        (world.folder / "filled").touch()
    return world


def add(world: World, folder: Path, layout: str, sources: Sequence[Source], place: str = "") -> None:
    """Upload sources, or the files that lie in a `place` below them."""
    pairs = [f"{source.repo}={source.name}{place}" for source in sources]
    world.execute([sys.executable, mix_data.__file__, str(folder), layout, *pairs])


def _link_or_copy(source: str, target: str) -> None:
    if Path(source).parent.parent.name in _STORED:
        os.link(source, target)
    else:
        shutil.copy(source, target)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
