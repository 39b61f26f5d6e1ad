"""The readers of single recipe values: each takes a `Value` and returns a plain one, or raises at its position."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from pipeline.errors import OptionError
from pipeline.hub.split import check_names
from pipeline.mix.recipe_yaml import Value
from pipeline.sizes import parse_bytes

LEAST_BYTES = 64_000
MOST_REPEATS = 1_000_000
MOST_SHARDS = 100_000
SHUFFLES = ("blocks", "rows", "none")
SPREADS = ("balanced", "random")
LAYOUTS = ("blocks",)
COPIES = ("auto", "never")
ALL_CONFIGS = "*"

_SPLIT = re.compile(r"\w+(?:\.\w+)*")
_CONFIG = re.compile(r"[^<>:/\\|?*\x00-\x1f]+")
_PERCENT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*%")


def choice(value: Value, known: Sequence[str]) -> str:
    what = f"be one of {', '.join(known)}" if len(known) > 1 else f"be {known[0]}"
    written = value.text(what)
    if written not in known:
        raise value.must(what)
    return written


def size(value: Value) -> int:
    """A number of bytes that is large enough for a file or a row group."""
    what = "be a size such as 100MB or 64MiB"
    try:
        count = value.integer(0, what=what) if value.kind == "int" else parse_bytes(value.text(what))
    except (ValueError, OverflowError) as err:
        raise value.must(what) from err
    if not LEAST_BYTES <= count < 2**63:
        raise value.must("be at least 64KB" if count < LEAST_BYTES else what)
    return count


def config(value: Value) -> str:
    """A config's name, or `ALL_CONFIGS`."""
    written = value.text("be a config's name")
    if written != ALL_CONFIGS and (not _CONFIG.fullmatch(written) or written in {".", ".."}):
        raise value.must(r"be a config's name without any of < > : / \ | ? *, or * alone for all configs")
    return written


def target_config(value: Value) -> str:
    """The mix's own config, checked as the write will check it."""
    written = value.text("be a config's name")
    try:
        check_names(written, "train")
    except OptionError as err:
        raise value.error(str(err).removeprefix("option 'config' ")) from err
    return written


def name(value: Value) -> str:
    """A source's name: one line of text."""
    written = value.text()
    if not written.isprintable():
        raise value.must("be text on one line, without control characters")
    return written


def split(value: Value) -> str:
    written = value.text("be a split's name")
    _check_split(value, written)
    return written


def splits(value: Value) -> tuple[tuple[str, float], ...]:
    """Names and shares, which make up 1."""
    what = "be a mapping of splits to shares such as {train: 0.99, validation: 1%}"
    if value.kind != "map" or not value.node.value:
        raise value.must(what)
    found = []
    for key, member in value.items():
        _check_split(key, str(key.node.value))
        found.append((str(key.node.value), share(member, "be a share such as 0.01 or 1%")))
    whole = math.fsum(one for _, one in found)
    if not math.isclose(whole, 1, rel_tol=0, abs_tol=1e-9):
        raise value.error(f"must have shares that make up 1, got {whole:.9g} in all")
    return tuple(found)


def _check_split(value: Value, written: str) -> None:
    if not _SPLIT.fullmatch(written):
        raise value.must("be a split's name of letters, digits, _ and dots, such as train")


def take(value: Value) -> int | float:
    """Rows (int) or a share of them (float)."""
    what = "be a number of rows, or a share such as 0.1 or 10%"
    if value.kind == "int":
        return value.number(what)
    if value.kind == "float" and value.number(what) > 1:
        raise value.must("be a whole number of rows, or a share of at most 1.0")
    return share(value, what)


def share(value: Value, what: str) -> float:
    """A part above 0 and at most 1, also as percent."""
    if value.kind == "str":
        match = _PERCENT.fullmatch(str(value.node.value).strip())
        if match is None or not 0 < Fraction(match[1]) <= 100:
            raise value.must(f"{what} (above 0, at most 100%)" if match else what)
        return float(Fraction(match[1]) / 100)
    found = float(value.number(what))
    if found > 1:
        raise value.must(f"{what} (above 0, at most 1)")
    return found


def repeat(value: Value) -> int | float:
    """How often each drawn row occurs."""
    count = value.number("be a number of times greater than 0")
    if count > MOST_REPEATS:
        raise value.must(f"be at most {MOST_REPEATS}")
    return count


def max_repeat(value: Value) -> int | float:
    """How often a row may occur at most."""
    count = value.number("be a number of times, 1 or more")
    if not 1 <= count <= MOST_REPEATS:
        raise value.must(f"be at least 1 and at most {MOST_REPEATS}")
    return count


def temperature(value: Value) -> float:
    found = float(value.number("be a number greater than 0, such as 2"))
    if not 0.01 <= found <= 1000:
        raise value.must("be between 0.01 and 1000 (1 keeps the sources' sizes, larger makes them more equal)")
    return found
