"""Peak memory and CPU time of a process and of all below it, watched from outside and read from /proc (Linux only)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LOOK_S = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes. `total` and `anonymous` are the most that all processes had at one time, with mapped files and without;
    `worker` is the peak of one of Spark's Python workers, `driver` that of the process itself, `java` that of the JVM.
    """

    total: int = 0
    anonymous: int = 0
    driver: int = 0
    java: int = 0
    worker: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    kind: str
    resident: int
    peak: int
    anonymous: int
    cpu_s: float


class Watch:
    """Watches in the background while it is a context. `cpu_s` is what all took, those that ended too."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._memory = Memory()
        self.cpu_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def memory(self) -> Memory:
        """The peaks so far."""
        return self._memory

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_S):
            seen = list(_processes(self._process))
            self._memory = _larger(self._memory, seen)
            self.cpu_s = max(self.cpu_s, sum(one.cpu_s for one in seen))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _larger(before: Memory, now: list[_Seen]) -> Memory:
    def most(kind: str) -> int:
        return max((one.peak for one in now if one.kind == kind), default=0)

    return Memory(
        total=max(before.total, sum(one.resident for one in now)),
        anonymous=max(before.anonymous, sum(one.anonymous for one in now)),
        driver=max(before.driver, most("driver")),
        java=max(before.java, most("java")),
        worker=max(before.worker, most("worker")),
    )


def _processes(root: int) -> Iterator[_Seen]:
    """The process and those below it; each says itself which its children are."""
    asked = [root]
    while asked:
        process = asked.pop()
        with suppress(OSError):
            tasks = Path(f"/proc/{process}/task").glob("*/children")
            asked += [int(child) for path in tasks for child in path.read_text().split()]
            yield _look(process, root)


def _look(process: int, root: int) -> _Seen:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    said = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    kind = "driver" if process == root else "java" if said["Name"] == ["java"] else "other"
    if kind == "other" and b"pyspark.daemon" in Path(f"/proc/{process}/cmdline").read_bytes():
        kind = "worker"

    def size(name: str) -> int:
        return int(said[name][0]) * 1024 if name in said else 0

    return _Seen(
        kind=kind,
        resident=size("VmRSS"),
        peak=size("VmHWM"),
        anonymous=size("RssAnon"),
        cpu_s=sum(map(int, times[11:15])) / _TICKS,  # its own, and of children that ended
    )
