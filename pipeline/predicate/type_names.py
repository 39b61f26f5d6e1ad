"""Types by name, as SQL (`bigint`, `array<string>`) or Arrow (`int64`, `list<string>`, `timestamp[us, tz=UTC]`) has them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa

_PLAIN: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "bool": pa.bool_(),
    "tinyint": pa.int8(),
    "int8": pa.int8(),
    "smallint": pa.int16(),
    "int16": pa.int16(),
    "int": pa.int32(),
    "integer": pa.int32(),
    "int32": pa.int32(),
    "bigint": pa.int64(),
    "long": pa.int64(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float16": pa.float16(),
    "halffloat": pa.float16(),
    "float": pa.float32(),
    "real": pa.float32(),
    "float32": pa.float32(),
    "double": pa.float64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "text": pa.string(),
    "varchar": pa.string(),
    "large_string": pa.large_string(),
    "binary": pa.binary(),
    "varbinary": pa.binary(),
    "large_binary": pa.large_binary(),
    "date": pa.date32(),
    "date32": pa.date32(),
    "date32[day]": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "null": pa.null(),
}
_UNIT = r"s|ms|us|ns"
_SIZED: list[tuple[re.Pattern[str], Callable[..., pa.DataType]]] = [
    (
        re.compile(r"(?:decimal|numeric|decimal128)\((\d{1,2})(?:, ?(\d{1,2}))?\)"),
        lambda p, s: pa.decimal128(int(p), int(s or 0)),
    ),
    (re.compile(r"decimal256\((\d{1,2}), ?(\d{1,2})\)"), lambda p, s: pa.decimal256(int(p), int(s))),
    (re.compile(rf"timestamp\[({_UNIT})(?:, ?tz=([\w/+:-]+))?\]"), pa.timestamp),
    (re.compile(rf"duration\[({_UNIT})\]"), pa.duration),
    (re.compile(r"time32\[(s|ms)\]"), pa.time32),
    (re.compile(r"time64\[(us|ns)\]"), pa.time64),
    (re.compile(r"fixed_size_binary\[(\d{1,9})\]"), lambda n: pa.binary(int(n))),
]
_INNER = re.compile(r"(list|large_list|array|fixed_size_list|map|struct|row)<(.*)>(?:\[(\d{1,9})\])?", re.DOTALL)
_FIELD = re.compile(r"(?:(\w+|`[^`]+`|\"[^\"]+\")\s*:\s*)?(.+)", re.DOTALL)
_KNOWN = (
    "bigint, double, string, binary, boolean, date, timestamp, decimal(9, 2), array<string>, struct<a: int, b: string>"
)


def parse_type(text: str) -> pa.DataType:
    """The type of that name; `timestamp` is an instant in us, as in Spark. Raises ValueError, in one line, for other text."""
    written = text.strip()
    plain = _PLAIN.get(written.lower())
    if plain is not None:
        return plain
    if nested := _INNER.fullmatch(written):
        return _nested(nested[1], nested[2], nested[3], text)
    for pattern, make in _SIZED:
        if sized := pattern.fullmatch(written.lower() if "tz=" not in written else written):
            return _made(make, sized.groups(), text)
    close = difflib.get_close_matches(written.lower(), _PLAIN, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"{text[:60]!r} is not a type; {hint}write one such as {_KNOWN}")


def _made(make: Callable[..., pa.DataType], parts: tuple[Any, ...], text: str) -> pa.DataType:
    try:
        return make(*parts)
    except (pa.ArrowException, ValueError) as err:
        raise ValueError(f"{text[:60]!r} is not a type: {err}") from err


def _nested(kind: str, inside: str, size: str | None, text: str) -> pa.DataType:
    fields = [_FIELD.fullmatch(part.strip()) for part in _split(inside)]
    if None in fields or (size is not None) != (kind == "fixed_size_list"):
        raise ValueError(f"{text[:60]!r} is not a type; write array<string>, map<string, int> or struct<a: int>")
    parts = [(found[1], parse_type(found[2])) for found in fields if found]
    if kind in ("struct", "row") and all(name for name, _ in parts):
        names = [name.strip('`"') for name, _ in parts]
        if len(set(names)) == len(names):
            return pa.struct([(name, one) for name, (_, one) in zip(names, parts, strict=True)])
    if kind == "map" and len(parts) == 2:
        return pa.map_(parts[0][1], parts[1][1])
    if kind not in ("struct", "row", "map") and len(parts) == 1:
        element = pa.field("element", parts[0][1])
        if kind == "fixed_size_list":
            return pa.list_(element, int(size or 0))
        return pa.large_list(element) if kind == "large_list" else pa.list_(element)
    raise ValueError(f"{text[:60]!r} is not a type; write array<string>, map<string, int> or struct<a: int>")


def _split(inside: str) -> list[str]:
    """At the commas that are in no brackets."""
    parts, depth = [""], 0
    for character in inside:
        depth += (character in "<([") - (character in ">)]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
