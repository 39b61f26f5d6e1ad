"""The embedded Hub in a process of its own, told over stdin what to do: it shares no interpreter with what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TOKEN = "xet_read_token"
_STORAGE = ("cas_", "cdn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests, bytes of answers and of requests' bodies by route, and CPU seconds of the Hub, since the last reset."""

    counts: Counter[str]
    sent: Counter[str]
    received: Counter[str]
    cpu_s: float

    @property
    def api_requests(self) -> int:
        """Requests to the Hub itself, Xet tokens left out."""
        return sum(count for route, count in self.counts.items() if not route.startswith((*_STORAGE, _TOKEN)))

    @property
    def tokens(self) -> int:
        return self.counts[_TOKEN]

    @property
    def ranges(self) -> int:
        """Ranges that were asked of Xet storage."""
        return self.counts["cas_reconstruction"]

    @property
    def bytes_sent(self) -> int:
        return sum(self.sent.values())

    @property
    def bytes_received(self) -> int:
        return sum(self.received.values())

    def __str__(self) -> str:
        return ", ".join(f"{route} {count}" for route, count in sorted(self.counts.items()))


class HubProcess:
    """The Hub that serves a folder, at a port if one is given; a context manager."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        command = [sys.executable, __file__, str(folder), str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = str(self._answer())

    def set_latency(self, seconds: float) -> None:
        """Seconds that every request waits."""
        self._ask("latency", seconds)

    def reset(self) -> None:
        """Count from zero."""
        self._ask("reset")

    def traffic(self) -> Traffic:
        """What was asked since the last reset."""
        counts, sent, received, cpu_s = self._ask("traffic")
        return Traffic(counts=Counter(counts), sent=Counter(sent), received=Counter(received), cpu_s=cpu_s)

    def __enter__(self) -> HubProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def _ask(self, what: str, value: Any = None) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps([what, value]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def main(folder: Path, port: int) -> None:
    """Serve until stdin ends."""
    from pipeline.localhub import LocalHub

    since = 0.0
    with LocalHub(folder, port=port) as hub:
        print(json.dumps(hub.endpoint), flush=True)
        for line in sys.stdin:
            what, value = json.loads(line)
            answer = None
            if what == "latency":
                hub.latency_s = value
            elif what == "reset":
                hub.reset_counts()
                since = time.process_time()
            else:
                answer = [hub.counts(), hub.bytes_sent(), hub.bytes_received(), time.process_time() - since]
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
