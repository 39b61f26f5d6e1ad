"""What a stream counts while it is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class StreamStats:
    """Counted in this process: `rows` yielded, `wait_s` spent until the next rows were there."""

    rows: int = 0
    wait_s: float = 0.0
