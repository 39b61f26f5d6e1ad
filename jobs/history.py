"""Print what a dataset's commits did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from jobs import console
from pipeline.hub.history import HistoryEntry, read_history
from pipeline.hub.repo import find_token, parse_ref
from pipeline.sizes import format_bytes

_TITLE = 48
_UNKNOWN = "-"
_HEADER = ("commit", "time", "title", "split", "rows", "files", "size", "new", "writer")
_TO_THE_RIGHT = range(4, 8)


def history(dataset: str, *, revision: str | None, limit: int, endpoint: str | None) -> list[HistoryEntry]:
    """The last `limit` commits, newest first. Raises what `read_history` raises."""
    ref = parse_ref(dataset, revision=revision, endpoint=endpoint)
    with console.progress(limit, "commits", "commit") as bar:
        found = []
        for entry in islice(read_history(ref, find_token(ref.endpoint), limit), limit):
            found.append(entry)
            bar.update(1)
        return found


def show(entries: Sequence[HistoryEntry], *, as_json: bool) -> None:
    """Print them."""
    if as_json:
        console.say_json([entry.values() for entry in entries])
        return
    columns = list(zip(*map(_row, entries), strict=True))
    for number in _TO_THE_RIGHT if entries else ():
        columns[number] = tuple(cell.rjust(max(map(len, columns[number]))) for cell in columns[number])
    console.table(_HEADER, list(zip(*columns, strict=True)))


def _row(entry: HistoryEntry) -> tuple[str, ...]:
    one = entry.record
    split = _UNKNOWN if one.split is None else one.split
    return (
        entry.commit.sha[:8],
        entry.commit.date.strftime("%Y-%m-%d %H:%M:%S"),
        _shorten(entry.commit.title),
        split if one.config in (None, "default") else f"{one.config}/{split}",
        _number(one.rows),
        _number(one.files),
        _size(one.bytes),
        _size(one.new_bytes),
        one.writer or _UNKNOWN,
    )


def _shorten(title: str) -> str:
    line = " ".join(title.split())
    return line if len(line) <= _TITLE else f"{line[: _TITLE - 3]}..."


def _number(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _size(value: int | None) -> str:
    return _UNKNOWN if value is None else format_bytes(value)
