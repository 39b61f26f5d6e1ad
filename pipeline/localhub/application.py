"""The ASGI application: a request is matched by its raw path, passes `Traffic` under its route's name, and is answered.

The one idea: whatever a handler raises as HubError becomes the answer, after the rest of the request's body was read, so
that a client that is still sending gets to see why.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pipeline.localhub.answers import HubError
from pipeline.localhub.call import LOOPBACK, Call, Core
from pipeline.localhub.protocol import drop
from pipeline.localhub.routes import ROUTER
from pipeline.localhub.routing import Route
from pipeline.localhub.traffic import ConnectionDroppedError, Receive, Send, Traffic

UNKNOWN: Final = "unknown"
CDN_WITH_TOKEN: Final = "cdn_with_token"  # noqa: S105 - a counter's name
_DRAIN_BYTES: Final = 80 * 1024 * 1024
_SIGNED: Final = ("cas_", "cdn", "lfs_put")
"""How the names of routes begin that ask for what this server signed (a URL, a Xet token) in place of a user's token."""


class Application:
    """The Hub as uvicorn calls it."""

    def __init__(self, core: Core, traffic: Traffic) -> None:
        self._core = core
        self._traffic = traffic

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or drop its connection if a fault says so or the client is gone."""
        try:
            found = ROUTER.match(scope["method"], scope["raw_path"])
        except HubError as err:
            await err.answer()(scope, receive, send)
            return

        async def work(receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            answer = await self._answer(request, found)
            await answer(scope, receive, send)

        if scope["raw_path"].startswith(b"/cdn/") and any(name == b"authorization" for name, _ in scope["headers"]):
            self._traffic.note(CDN_WITH_TOKEN)
        try:
            await self._traffic.answer(found[0].name if found else UNKNOWN, receive, send, work)
        except (ConnectionDroppedError, ClientDisconnect, CancelledError):  # the last from a server that stops
            await drop(scope)

    async def _answer(self, request: Request, found: tuple[Route, dict[str, str]] | None) -> Response:
        try:
            if self._core.accounts.open:
                _refuse_strangers(request, self._core.cdn_host)
            call = Call(self._core, request, found[1] if found else {})
            if not self._core.accounts.anonymous and not (found and found[0].name.startswith(_SIGNED)):
                call.user()
            if found is not None:
                return await found[0].handler(call)
            answer = HubError(404, f"no such page: {request.method} {request.url.path}").answer()
        except HubError as err:
            answer = err.answer()
        await _drain(request)
        return answer


def _refuse_strangers(request: Request, cdn_host: str | None) -> None:
    """HubError 403 for what a page in the user's browser sends to a Hub that asks for no token."""
    origin = request.headers.get("origin")
    names = [request.url.hostname] if origin is None else [request.url.hostname, urlsplit(origin).hostname]
    for name in names:
        if name is None or (name not in LOOPBACK and name != cdn_host):
            raise HubError(
                403, f"{name!r} is not this machine; a Hub without accounts answers only to 127.0.0.1 and localhost"
            )


async def _drain(request: Request) -> None:
    """Read what is left of the body."""
    size = 0
    try:
        async for block in request.stream():
            size += len(block)
            if size > _DRAIN_BYTES:
                return
    except RuntimeError:
        return  # the handler read all of it
