"""The texts that Spark hands over as options -> values. Each reader raises ValueError saying what was expected."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from pipeline.parquet.features import Features
from pipeline.sizes import parse_bytes

_SPARK_SIZE = re.compile(r"(\d+)([bkmgt])", re.IGNORECASE)
_FEATURES = 'a JSON object such as {"image": {"_type": "Image"}}, or the path of a .json file that holds one'


def whole(text: str) -> int:
    """A number of things, at least one."""
    return _at_least(text, 1, "")


def whole_or_none(text: str) -> int | None:
    """A limit, none for 0."""
    return _at_least(text, 0, " (0 for no limit)") or None


def boolean(text: str) -> bool:
    """`true` or `false`, in any case."""
    if text.strip().lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.strip().lower() == "true"


def size(text: str) -> int:
    """Bytes as people write them, or as Spark's configuration does (`128m` is 2^27)."""
    if found := _SPARK_SIZE.fullmatch(text.strip()):
        power = "bkmgt".index(found[2].lower())
        if value := int(found[1]) << 10 * power:
            return value
    return parse_bytes(text)


def size_or_zero(text: str) -> int:
    """Bytes, or none."""
    return 0 if text.strip() == "0" else size(text)


def names(text: str) -> tuple[str, ...]:
    """`a,b`, or a list of texts in JSON or Python."""
    if not text.lstrip().startswith(("[", "(")):
        return tuple(name.strip() for name in text.split(",") if name.strip())
    found = literal(text, "'a,b' or a JSON list of names")
    if not isinstance(found, (list, tuple)) or not all(isinstance(name, str) for name in found):
        raise ValueError("'a,b' or a JSON list of names")
    return tuple(found)


def folder(text: str) -> str:
    """A folder of the repo, without slashes around it; empty for the repo itself."""
    parts = [part for part in text.strip("/").split("/") if part]
    if any(part.startswith((".", "__")) or re.search(r"[\\*?\[\]:\x00-\x1f]", part) for part in parts):
        raise ValueError("a folder of the repo such as data/fr, of names that are not hidden, without wildcards")
    return "/".join(parts)


def data_files(text: str) -> Any:
    """A pattern, or a list or mapping of patterns in JSON or Python; the resolver checks what is in it."""
    expected = 'a pattern, a JSON list of patterns, or {"split": pattern}'
    if not text.strip():
        raise ValueError(expected)
    # A pattern may begin with a bracket: [ab]*.csv is no list.
    if text.lstrip().startswith("{") or re.match(r"\s*[\[(]\s*[\"'{]", text):
        return literal(text, expected)
    return text


def literal(text: str, expected: str) -> Any:
    """A value as JSON, or as Python writes it. Nothing is run."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(expected) from None


def features(text: str) -> Features:
    """Hugging Face features: JSON, or a path of a file on the driver that holds it."""
    if not text.lstrip().startswith("{"):
        path = Path(text)
        if path.suffix != ".json" or not path.is_file():
            raise ValueError(_FEATURES)
        text = path.read_text()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(_FEATURES) from None
    if not isinstance(found, dict):
        raise ValueError(_FEATURES)  # noqa: TRY004 - its caller turns it into an OptionError
    return found


def _at_least(text: str, least: int, more: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError("an integer") from None
    if number < least:
        raise ValueError(f"at least {least}{more}")
    return number
