"""Sizes as people write them, and back: `100MB` is 10^8 bytes, `64MiB` is 2^26."""

from __future__ import annotations

import re

_UNITS = {"": 1, "b": 1} | {
    f"{prefix}{infix}b": base ** (power + 1)
    for power, prefix in enumerate("kmgt")
    for infix, base in (("", 1000), ("i", 1024))
}
_MAX_DIGITS = 20
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """A size in bytes. Raises ValueError that says what was expected."""
    found = _SIZE.fullmatch(text)
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or len(found[1]) > _MAX_DIGITS or not (size := int(float(found[1]) * unit)):
        raise ValueError("a size such as 500MB, 64MiB or 1000000")
    return size


def format_bytes(size: float) -> str:
    """A size for people: three digits and a decimal unit."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def counted(number: int, what: str) -> str:
    """A number of things: `1 file`, `1,200 files`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
