"""What tests need from a server: to count what was asked, and to make it slow or faulty on purpose.

The one idea: every request passes `Traffic.answer` under its route's name, around the handler, so that no handler knows
of counters or faults.
"""

from __future__ import annotations

import random
import threading
from asyncio import sleep
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Literal

from starlette.responses import JSONResponse

from pipeline.errors import OptionError

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Kind = Literal["status", "reset", "truncate", "delay", "lost"]
KINDS: Final = ("status", "reset", "truncate", "delay", "lost")
_PIECE_BYTES: Final = 64 * 1024


class ConnectionDroppedError(Exception):
    """Raised through the server to end a connection in the middle of an answer."""


@dataclass(slots=True)
class Fault:
    """A fault as `Faults.add` describes it; `times` counts down."""

    route: str
    kind: Kind
    status: int
    retry_after: float | None
    delay_s: float
    times: int | None
    probability: float
    dice: random.Random


class Faults:
    """The faults that are set; safe to change while the server runs."""

    def __init__(self, routes: Collection[str]) -> None:
        self._routes = routes
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(
        self,
        route: str,
        kind: Kind | None = None,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        delay_s: float = 0.0,
        times: int | None = 1,
        probability: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Set a fault for the next `times` requests (None: for all) of a route, "*" for any.

        Kinds: "status" answers with a status at once; "reset" drops the connection at once; "truncate" drops it in the
        middle of the body; "delay" waits `delay_s` and goes on; "lost" does the work, then drops the connection.
        Without a kind: "delay" if only `delay_s` is given, "status" otherwise.
        """
        if route != "*" and route not in self._routes:
            raise OptionError(f"there is no route {route!r}; there are {', '.join(self._routes)}")
        kind = kind or ("delay" if delay_s and status is None else "status")
        if kind not in KINDS:
            raise OptionError(f"fault kind must be one of {', '.join(KINDS)}, got {kind!r}")
        dice = random.Random(seed)  # noqa: S311 - not a secret
        fault = Fault(route, kind, status or 500, retry_after, delay_s, times, probability, dice)
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Set no faults any more."""
        with self._lock:
            self._faults.clear()

    def take(self, route: str) -> Fault | None:
        """The fault that happens to this request, if any."""
        with self._lock:
            for fault in self._faults:
                if fault.route in {route, "*"} and fault.times != 0 and fault.dice.random() < fault.probability:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


class Traffic:
    """Counts requests and bytes by route name, and slows or breaks them as it is told."""

    def __init__(self, routes: Collection[str]) -> None:
        self.faults = Faults(routes)
        self.latency_s = 0.0
        self.bandwidth_bytes_s: float | None = None
        self._lock = threading.Lock()
        self._free_at = 0.0
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        with self._lock:
            self._requests: Counter[str] = Counter()
            self._received: Counter[str] = Counter()
            self._sent: Counter[str] = Counter()

    def snapshot(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        """(requests, body bytes received, body bytes sent) by route name."""
        with self._lock:
            return Counter(self._requests), Counter(self._received), Counter(self._sent)

    def note(self, route: str) -> None:
        """Count one request."""
        with self._lock:
            self._requests[route] += 1

    async def answer(
        self, route: str, receive: Receive, send: Send, work: Callable[[Receive, Send], Awaitable[None]]
    ) -> None:
        """Let `work` answer a request, under the faults and limits that are set."""
        self.note(route)
        if self.latency_s:
            await sleep(self.latency_s)
        fault = self.faults.take(route)
        if fault and fault.delay_s:
            await sleep(fault.delay_s)
        if fault and fault.kind == "reset":
            raise ConnectionDroppedError
        if fault and fault.kind == "status":
            work = _refuse(fault)
        if fault and fault.kind == "lost":
            await work(self._counted_receive(route, receive), _swallow)
            raise ConnectionDroppedError
        counted = self._counted_send(route, _truncating(send) if fault and fault.kind == "truncate" else send)
        await work(self._counted_receive(route, receive), counted)

    def _counted_receive(self, route: str, receive: Receive) -> Receive:
        async def counted() -> Message:
            message: Message = await receive()
            size = len(message.get("body", b""))
            if size:
                with self._lock:
                    self._received[route] += size
                await self._pace(size)
            return message

        return counted

    def _counted_send(self, route: str, send: Send) -> Send:
        async def counted(message: Message) -> None:
            body = message.get("body", b"")
            with self._lock:
                self._sent[route] += len(body)
            if self.bandwidth_bytes_s is None or not body:
                await send(message)
                return
            for start in range(0, len(body), _PIECE_BYTES):
                piece = body[start : start + _PIECE_BYTES]
                await self._pace(len(piece))
                more = message.get("more_body", False) or start + _PIECE_BYTES < len(body)
                await send({**message, "body": piece, "more_body": more})

        return counted

    async def _pace(self, size: int) -> None:
        if self.bandwidth_bytes_s is None:
            return
        with self._lock:
            now = monotonic()
            self._free_at = max(now, self._free_at) + size / self.bandwidth_bytes_s
            wait = self._free_at - now
        await sleep(wait)


def _refuse(fault: Fault) -> Callable[[Receive, Send], Awaitable[None]]:
    headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
    answer = JSONResponse({"error": f"fault {fault.status}"}, fault.status, headers)

    async def work(receive: Receive, send: Send) -> None:
        await answer({"type": "http"}, receive, send)

    return work


async def _swallow(message: Message) -> None:
    del message


def _truncating(send: Send) -> Send:
    async def cut(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            return
        body = message.get("body", b"")
        await send({**message, "body": body[: len(body) // 2], "more_body": True})
        raise ConnectionDroppedError

    return cut
