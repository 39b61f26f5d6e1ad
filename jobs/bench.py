"""Read a stream as fast as it comes, and say how fast that was and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from jobs import console
from pipeline.sizes import counted, format_bytes

if TYPE_CHECKING:
    from pipeline.streaming import Stream

_SHOWN_EVERY_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a reading took: times in seconds, `num_bytes` as Arrow holds the rows."""

    rows: int
    num_bytes: int
    seconds: float
    first_row_s: float
    wait_s: float
    bytes_fetched: int
    bytes_used: int
    requests: dict[str, int]


def measure(open_stream: Callable[[], Stream], rows: int | None) -> Measured:
    """Open a stream of record batches and read so many rows (all for `None`), with a bar that says how fast it goes."""
    begun = monotonic()
    stream = open_stream()
    stats = stream.stats
    read = num_bytes = 0
    first_row_s = shown_at = 0.0
    with console.progress(_expected(stream, rows), "stream", "row") as bar:
        for batch in stream:
            first_row_s = first_row_s or monotonic() - begun
            read += batch.num_rows
            num_bytes += batch.nbytes
            bar.update(batch.num_rows)
            if monotonic() - shown_at > _SHOWN_EVERY_S:
                shown_at = monotonic()
                rate = _rate(stats.bytes_fetched, shown_at - begun)
                bar.set_postfix_str(f"{rate} fetched, {stats.wait_s:.1f} s waiting")
            if rows is not None and read >= rows:
                break
    return Measured(
        rows=read,
        num_bytes=num_bytes,
        seconds=monotonic() - begun,
        first_row_s=first_row_s,
        wait_s=stats.wait_s,
        bytes_fetched=stats.bytes_fetched,
        bytes_used=stats.bytes_used,
        requests=dict(sorted(stats.requests.items())),
    )


def show(measured: Measured, *, as_json: bool) -> None:
    """Print what was measured."""
    if as_json:
        console.say_json({name: getattr(measured, name) for name in Measured.__dataclass_fields__})
        return
    used = measured.bytes_used / measured.bytes_fetched if measured.bytes_fetched else 1.0
    requests = ", ".join(f"{count:,} {kind}" for kind, count in measured.requests.items()) or "none"
    lines: list[tuple[str, Any]] = [
        ("read", f"{counted(measured.rows, 'row')}, {format_bytes(measured.num_bytes)} in memory"),
        ("time", f"{measured.seconds:.2f} s, the first row after {measured.first_row_s:.2f} s"),
        ("rate", f"{_per_second(measured.rows, measured.seconds):,.0f} rows/s"),
        ("fetched", f"{format_bytes(measured.bytes_fetched)}, {_rate(measured.bytes_fetched, measured.seconds)}"),
        ("used", f"{format_bytes(measured.bytes_used)} of it, {used:.1%}"),
        ("requests", requests),
        ("waiting", f"{measured.wait_s:.2f} s for data"),
    ]
    for name, value in lines:
        console.say(f"{name:<9} {value}")


def _expected(stream: Stream, rows: int | None) -> int | None:
    """How many rows will come, where that is known beforehand."""
    if rows is not None or stream.filtered:
        return rows
    return len(stream)


def _rate(num_bytes: int, seconds: float) -> str:
    return f"{_per_second(num_bytes, seconds) / 1e6:,.0f} MB/s"


def _per_second(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
