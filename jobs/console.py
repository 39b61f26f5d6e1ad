"""The only place that prints: tables, progress bars, errors. Results go to stdout; progress and errors go to stderr."""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from tqdm import tqdm


class Bar(Protocol):
    """A progress bar; `total` may grow while it goes."""

    total: float | None

    def update(self, n: float) -> Any:
        """Say that `n` more are done."""
        ...

    def set_postfix_str(self, s: str) -> Any:
        """Say something after the bar."""
        ...


def say(text: str = "") -> None:
    """A line for the user."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line about how it goes: to stderr, so that it is in no pipe."""
    print(text, file=sys.stderr, flush=True)


def say_json(value: Any) -> None:
    """A value for programs."""
    print(json.dumps(value, indent=2, default=str), flush=True)


def row(values: dict[str, Any], *, as_json: bool) -> None:
    """A row of a dataset: JSON for programs, or a short line per column for people."""
    if as_json:
        print(json.dumps(_finite(values), default=_as_json, ensure_ascii=False), flush=True)
        return
    for name, value in values.items():
        print(f"{name}: {_short(value)}")
    print(flush=True)


def _short(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value):,} bytes>"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_short(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_short(one) for one in value[:5]) + (", ..." if len(value) > 5 else "") + "]"
    if hasattr(value, "mode") and hasattr(value, "size"):
        return f"<image, {' x '.join(map(str, value.size))} pixels>"
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for: NaN and the infinities."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_json(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, (bytes, bytearray)) else str(value)


def error(err: Exception) -> None:
    """What went wrong, in one line."""
    note(f"error: {' '.join(str(err).split())}")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns under a header; numbers stand to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [all(isinstance(row[i], (int, float)) for row in rows) and bool(rows) for i in range(len(header))]
    for row in [list(header), ["-" * width for width in widths], *cells]:
        line = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        say("  ".join(line).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@contextmanager
def progress(total: int | None, what: str, unit: str) -> Iterator[Bar]:
    """A bar on stderr while it is a terminal; otherwise nothing."""
    with tqdm(total=total, desc=what, unit=unit, disable=None, leave=False, file=sys.stderr) as bar:
        yield bar
