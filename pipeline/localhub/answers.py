"""What the Hub answers: errors with the headers that clients read, JSON, and byte ranges.

The one idea: a handler raises `HubError` anywhere, and the client gets the status, `X-Error-Code` and
`X-Error-Message` that huggingface_hub turns into its own exceptions (`utils/_http.py` there).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from starlette.responses import JSONResponse, Response

_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.IGNORECASE)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_DIGITS_MAX: Final = 18


class HubError(Exception):
    """An answer that is not a success: status, one line, and the Hub's error code if it has one."""

    def __init__(
        self, status: int, message: str, code: str | None = None, body: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.body: Mapping[str, Any] = body or {}
        self.headers: Mapping[str, str] = {}

    def answer(self) -> Response:
        """The HTTP answer of this error; the message is kept to one line of printable Latin-1 in its header."""
        line = " ".join(self.message.split()).encode("latin-1", "replace").decode("latin-1")
        headers = {**self.headers, "X-Error-Message": line}
        if self.code:
            headers["X-Error-Code"] = self.code
        return JSONResponse({**self.body, "error": self.message}, self.status, headers)


def repo_not_found(name: str) -> HubError:
    """The answer for a repo that does not exist and, word for word, for one that the user may not see."""
    return HubError(404, f"Repository not found: {name}", "RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    """The answer for a branch, tag or commit that the repo does not have."""
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(path: str) -> HubError:
    """The answer for a path that the commit does not have; clients look for these words after a delete."""
    return HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")


@contextmanager
def well_formed(what: str) -> Iterator[None]:
    """Around code that picks a request apart: what it stumbles over is the client's mistake, HubError 400."""
    try:
        yield
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as err:
        raise HubError(400, f"malformed {what} in the request: {type(err).__name__} {err}") from err


def parse_json(data: bytes) -> Any:
    """Read JSON; HubError 400 if it is none, is nested too deep, or has half a character (a lone surrogate) in it."""
    try:
        value = json.loads(data)
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except (RecursionError, ValueError) as err:
        raise HubError(400, f"not JSON: {type(err).__name__} {err}") from err
    return value


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, end) of something that is `total` bytes long."""

    start: int
    end: int
    total: int

    @property
    def header(self) -> str:
        """The value of Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{self.total}"


def parse_range(header: str | None, total: int) -> Span | None:
    """Read a Range header with one range; None without one. HubError 416 if nothing of it is there.

    As RFC 9110 (14.2) has it, a header that is malformed, or is about something else than bytes, counts as none.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if header is None or match is None or not any(match.groups()):
        return None
    first, last = (_number(digits) for digits in match.groups())
    if first is not None and last is not None and last < first:
        return None
    if first is None:
        start, end = max(0, total - (last or 0)), total
    else:
        start, end = first, total if last is None else min(total, last + 1)
    if start >= end:
        unsatisfiable(header, total)
    return Span(start, end, total)


def parse_ranges(header: str | None, total: int) -> list[Span]:
    """Read a Range header with any number of ranges; none without one. HubError 416 if one of them is not there."""
    if header is None or not header.lower().startswith("bytes="):
        return []
    spans = [parse_range(f"bytes={part}", total) for part in header[len("bytes=") :].split(",")]
    whole = [span for span in spans if span is not None]
    return whole if len(whole) == len(spans) else []


def unsatisfiable(header: str, total: int) -> NoReturn:
    """Raise the 416 for a range that cannot be answered."""
    raise HubError(416, f"range {header[:100]!r} is not satisfiable, the size is {total}")


def _number(digits: str) -> int | None:
    """The number, or one that is larger than any file if it is longer than Python likes to read; None for nothing."""
    return int(digits.lstrip("0")[:_DIGITS_MAX] or "0") if digits else None
