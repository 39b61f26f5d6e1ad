"""A plan as lines for a terminal of 100 columns: what goes in, what it costs and why, what comes out. Made of `plan_values`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import chain
from typing import Any

from pipeline.mix.told import (
    MEASURES,
    gate,
    is_folder,
    marks,
    number,
    order_of,
    pinned,
    quality_rows,
    repeats,
    shorten,
    spread_of,
)
from pipeline.sizes import counted, format_bytes

_WIDTH = 100
_NAME_WIDTH = 24
_LEAST_WIDTH = 12
_LABEL_WIDTH = 11
_GAP = "  "


def plan_lines(values: dict[str, Any]) -> list[str]:
    """The lines, without ends; `values` are those of `plan_values`."""
    columns = ", ".join(f"{name} {kind}" for name, kind in values["columns"].items())
    return [
        *_labelled("target", f"{values['target']}, config {values['config']}"),
        *_labelled("order", f"{order_of(values)}; seed {values['seed']}"),
        *_labelled("plan", values["plan_id"]),
        *chain.from_iterable(_split_lines(values, split) for split in values["splits"]),
        *_labelled("columns", columns),
        *_note_lines(values["sources"]),
    ]


def _split_lines(values: dict[str, Any], split: dict[str, Any]) -> list[str]:
    sources = [{**one, **drawn} for one, drawn in zip(values["sources"], split["sources"], strict=True)]
    uploads = not is_folder(values["target"])
    return [
        "",
        *([f"split {split['split']}", ""] if len(values["splits"]) > 1 else []),
        *_drawn_lines(sources),
        "",
        *_cost_lines(sources, uploads=uploads),
        "",
        *_labelled("rows", _shards_line(split)),
        *_labelled("to read", format_bytes(split["bytes_to_read"]) + _exchanged(split)),
        *(_upload_lines(split["predicted"]) if uploads else []),
        *_quality_lines(split["quality"]),
        *(
            _alternative_lines(split["alternative"], (split["predicted"] or {}).get("bytes_new", float("inf")))
            if uploads
            else []
        ),
    ]


def _drawn_lines(sources: Sequence[dict[str, Any]]) -> list[str]:
    """What is drawn of each source, in columns; those that would say nothing are left out, texts are cut to fit."""
    numbers = {
        "available": [f"{'' if one['exact'] else '<= '}{one['available']:,}" for one in sources],
        "wanted": [f"{one['wanted']:,}" for one in sources],
        "drawn": [f"{one['drawn']:,}" for one in sources],
        "times": [repeats(one) for one in sources],
        "share": [f"{one['share']:.1%}" for one in sources],
    }
    if numbers["wanted"] == numbers["drawn"]:
        del numbers["wanted"]
    if set(numbers["times"]) == {"1"}:
        del numbers["times"]
    texts = {
        "source": [one["name"] for one in sources],
        "from": [pinned(one) for one in sources],
        "licence": [marks(one) for one in sources],
    }
    if not any(texts["licence"]):
        del texts["licence"]
    taken = sum(len(_GAP) + max(map(len, [name, *column])) for name, column in numbers.items())
    columns = _fitted(texts, _WIDTH - taken) | numbers
    return _table(tuple(columns), list(zip(*columns.values(), strict=True)), left=len(texts))


def _fitted(texts: dict[str, list[str]], room: int) -> dict[str, list[str]]:
    """Columns of text that together have so much room: the widest is cut, until they fit."""
    widths = {name: max(map(len, [name, *column])) for name, column in texts.items()}
    while sum(widths.values()) + len(_GAP) * (len(widths) - 1) > room and max(widths.values()) > _LEAST_WIDTH:
        widths[max(widths, key=lambda name: widths[name])] -= 1
    return {name: [shorten(text, widths[name]) for text in column] for name, column in texts.items()}


def _cost_lines(sources: Sequence[dict[str, Any]], *, uploads: bool) -> list[str]:
    """What each source costs, and why."""
    keys = {"to read": "bytes_to_read", "written": "bytes_written", "uploaded": "bytes_new"}
    if not uploads:
        del keys["uploaded"]
    rows = [
        (
            shorten(one["name"], _NAME_WIDTH),
            *(_size(one[key]) for key in keys.values()),
            how(one, uploads=uploads),
        )
        for one in sources
    ]
    lines = _table(("source", *keys, "why"), rows, left=1, last_left=True)
    room = lines[0].index("why")
    return [part for line in lines for part in _wrap(line, room)]


def how(source: dict[str, Any], *, uploads: bool) -> str:
    """What happens to a source's rows, and what follows for the upload, if there is one."""
    if uploads and source["reason"] is not None:
        return str(source["reason"])
    if not source["blocks"]:
        return "written anew, row by row"
    copied = source["blocks_copied"] / source["blocks"]
    return (
        "copied raw" if copied == 1 else f"{copied:.0%} copied raw, the rest written anew" if copied else "written anew"
    )


def _shards_line(split: dict[str, Any]) -> str:
    blocks = (
        f", {counted(split['blocks'], 'block')} of about {split['block_rows']:,.0f} rows" if split["blocks"] else ""
    )
    return f"{split['rows']:,} in {counted(len(split['shards']), 'shard')} of {spread_of(split['shards'])} rows{blocks}"


def _exchanged(split: dict[str, Any]) -> str:
    if not split["exchange"]:
        return ""
    copied = any(one["blocks_copied"] for one in split["sources"])
    return "; what is not copied is read once, then exchanged" if copied else ", once, then exchanged"


def _upload_lines(predicted: dict[str, Any] | None) -> list[str]:
    if predicted is None:
        return []
    new, written = predicted["bytes_new"], predicted["bytes_written"]
    return _labelled("to upload", f"about {format_bytes(new)} of {format_bytes(written)} ({new / max(1, written):.1%})")


def _quality_lines(quality: dict[str, Any] | None) -> list[str]:
    if quality is None:
        return _labelled("shuffle", "uniformly random rows")
    table = _table(("chi2/dof (1 is random)", *MEASURES), quality_rows(quality), left=1)
    return [*_labelled("shuffle", "\n".join(table)), *_labelled("gate", gate(quality))]


def _alternative_lines(alternative: dict[str, Any] | None, most: float) -> list[str]:
    """What blocks would be, where they upload less than so many bytes and it can be judged."""
    if alternative is None or alternative["bytes_new"] >= most or alternative["chi2_64_stored"] is None:
        return []
    new, written, buffer = alternative["bytes_new"], alternative["bytes_written"], alternative["buffer_rows"]
    told = (
        f"shuffle: blocks would upload about {format_bytes(new)} ({new / max(1, written):.1%}), in blocks of about "
        f"{counted(alternative['block_rows'], 'row')}: chi2/dof at 64 rows {number(alternative['chi2_64_stored'])} as stored, "
        f"{number(alternative['chi2_64_buffered'])} behind a buffer of 1,000 rows; "
    )
    repaired = (
        f"one of {buffer:,} rows meets the gate"
        if buffer is not None
        else "no larger one that was tried meets the gate"
    )
    return _labelled("instead", told + repaired)


def _note_lines(sources: Sequence[dict[str, Any]]) -> list[str]:
    notes = []
    if any(not one["exact"] for one in sources):
        notes.append(
            "<= is an upper bound: rows behind where, map or dedup_by are not counted yet; --count counts them"
        )
    if closed := [one["name"] for one in sources if one["gated"] or one["private"]]:
        notes.append(f"gated or private: {', '.join(closed)}; a new repo becomes private unless 'public' names them")
    return [line for note in notes for line in _labelled("note", note)]


def _labelled(label: str, text: str) -> list[str]:
    """Text beside a label, wrapped; lines that are there stay."""
    lines = []
    for line in text.split("\n"):
        first, *more = textwrap.wrap(line, _WIDTH - _LABEL_WIDTH, drop_whitespace=False) or [""]
        lines += [first, *(part.lstrip() for part in more)]
    return [f"{label if not n else '':<{_LABEL_WIDTH}}{line}".rstrip() for n, line in enumerate(lines)]


def _wrap(line: str, room: int) -> list[str]:
    """A line of a table whose last column begins at `room`, that column wrapped."""
    parts = textwrap.wrap(line[room:], max(20, _WIDTH - room)) or [""]
    return [f"{line[:room] if not n else ' ' * room}{part}".rstrip() for n, part in enumerate(parts)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int, last_left: bool = False) -> list[str]:
    """Columns under a header; all but the first `left` ones, and the last if that is said, stand to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    to_left = [column < left or (last_left and column == len(header) - 1) for column in range(len(header))]
    return [
        _GAP.join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, to_left, strict=True)
        ).rstrip()
        for row in [header, ["-" * width for width in widths], *rows]
    ]


def _size(value: int | None) -> str:
    return "" if value is None else format_bytes(value)
