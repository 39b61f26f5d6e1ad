"""What a card says of how files are read (`sep`, `field`, `drop_labels`, ...), parsed once.

The keys are those of the builder configs of `datasets`. What it ignores is ignored; what would change rows there and cannot be
honoured here is refused by name, never ignored.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import OptionError

Check = Callable[[Any], bool]


def chosen(reading: Mapping[str, Any], checks: Mapping[str, Check], refused: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the keys that are honoured. `refused` are keys that may only have the value that they have by default.

    Raises OptionError for a value that is none, and for a key that is refused.
    """
    for key, usual in refused.items():
        if key in reading and reading[key] != usual:
            raise OptionError(
                f"{key!r} in README.md is {reading[key]!r:.80}, which cannot be honoured; leave it out, or publish the "
                "dataset as Parquet"
            )
    found = {key: reading[key] for key in checks if key in reading}
    for key, value in found.items():
        if not checks[key](value):
            raise OptionError(f"{key!r} in README.md is {value!r:.80}, which is no value for it that can be honoured")
    return found


def a_bool(value: Any) -> bool:
    """true or false."""
    return isinstance(value, bool)


def a_char(value: Any) -> bool:
    """One character, but no end of a line."""
    return isinstance(value, str) and len(value) == 1 and value not in "\r\n"


def a_string(value: Any) -> bool:
    """A string."""
    return isinstance(value, str)


def strings(value: Any) -> bool:
    """A list of strings."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def an_encoding(value: Any) -> bool:
    """The name of an encoding."""
    try:
        return isinstance(value, str) and bool(codecs.lookup(value))
    except LookupError:
        return False


def handler(value: Any) -> bool:
    """What is done about bytes that are no text: the name of a handler of Python."""
    return value in ("strict", "ignore", "replace", "backslashreplace", "surrogateescape")


def or_none(check: Check) -> Check:
    """Null too."""
    return lambda value: value is None or check(value)


def is_utf8(encoding: str) -> bool:
    """Whether this is UTF-8 by another name."""
    return codecs.lookup(encoding).name == "utf-8"
