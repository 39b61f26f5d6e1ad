"""From a request to the function that answers it.

The one idea: the raw path is split at its slashes *before* percent-decoding and each segment is decoded once, as
huggingface_hub encodes it (`refs%2Fpr%2F1` is one segment). A route has a short name, by which
requests are counted and faults are set.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from starlette.responses import Response

from pipeline.localhub.answers import HubError
from pipeline.localhub.names import BUCKET, KINDS

if TYPE_CHECKING:
    from pipeline.localhub.call import Call

Handler = Callable[["Call"], Awaitable[Response]]
_KINDS_IN: Final = {"{kind}": KINDS, "{buckets}": {"buckets": BUCKET}}
"""The parts of a pattern that name a kind of repo, and the kinds that each stands for; both are the value `kind`."""
_STORAGE: Final = re.compile(r"cas-[0-9a-f]{12}")
"""The storage under the name that one user has for it: hf_xet remembers, by the address, what it has uploaded."""


@dataclass(frozen=True, slots=True)
class Route:
    """`pattern` is made of literals, `{name}` for one segment and, last, `{name*}` for the rest, which may be empty."""

    name: str
    methods: tuple[str, ...]
    pattern: str
    handler: Handler


def route(name: str, methods: str, pattern: str, handler: Handler) -> Route:
    """A Route; `methods` are separated by blanks."""
    return Route(name, tuple(methods.split()), pattern, handler)


class Router:
    """Finds the route of a request; the first that fits wins."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.names = tuple(dict.fromkeys(route.name for route in routes))
        self.routes = tuple(routes)
        self._patterns = [(route, route.pattern.strip("/").split("/")) for route in routes]

    def match(self, method: str, raw_path: bytes) -> tuple[Route, dict[str, str]] | None:
        """The route and the decoded values of its pattern; None if there is none, HubError 400 if the path is not UTF-8."""
        parts = raw_path.partition(b"?")[0].lstrip(b"/").split(b"/")
        try:
            segments = [unquote_to_bytes(part).decode() for part in parts]
        except UnicodeDecodeError as err:
            raise HubError(400, "the path is not UTF-8") from err
        if _STORAGE.fullmatch(segments[0]):
            segments[0] = "cas"
        for found, pattern in self._patterns:
            if method in found.methods and (values := _fit(pattern, segments)) is not None:
                return found, values
        return None


def _fit(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    rest = pattern[-1].endswith("*}")
    if len(segments) < len(pattern) - rest or (not rest and len(segments) > len(pattern)):
        return None
    values = {}
    for index, part in enumerate(pattern):
        if part.endswith("*}"):
            values[part[1:-2]] = "/".join(segments[index:])
        elif part in _KINDS_IN:
            if segments[index] not in _KINDS_IN[part]:
                return None
            values["kind"] = _KINDS_IN[part][segments[index]]
        elif part.startswith("{"):
            name, _, suffix = part[1:].partition("}")
            if not segments[index].endswith(suffix) or segments[index] == suffix:
                return None
            values[name] = segments[index].removesuffix(suffix)
        elif part != segments[index]:
            return None
    return values
