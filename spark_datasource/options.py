"""Options, parsed once: names match whatever their case and underscores; an unknown one is an error with a suggestion.

`READ_OPTIONS` and `WRITE_OPTIONS` are the one list of what there is: parsing and the README's table both come from it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import OptionError
from pipeline.hub.repo import DatasetRef, Secret, find_token, parse_ref
from pipeline.parquet.features import Features
from pipeline.sizes import parse_bytes

# What Spark itself adds to a data source's options, in tables and INSERTs.
_SPARKS_OWN = ("path", "paths", "owner", "provider", "location")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option as the README shows it."""

    name: str
    default: str
    meaning: str


_TARGET = (
    Option(name="token", default="that of the environment or login", meaning="Hub token"),
    Option(name="endpoint", default="`HF_ENDPOINT`, or the public Hub", meaning="address of the Hub"),
)
READ_OPTIONS = (
    Option(name="split", default="`train`", meaning="split to read"),
    Option(name="config", default="the card's default", meaning="config (subset) to read"),
    Option(name="revision", default="`main`", meaning="branch, tag or commit sha"),
    *_TARGET,
    Option(name="columns", default="all", meaning="columns to read: `a,b` or a JSON list; no others are fetched"),
)
WRITE_OPTIONS = (
    Option(name="split", default="`train`", meaning="split to write"),
    Option(name="config", default="`default`", meaning="config (subset) to write"),
    Option(name="revision", default="`main`", meaning="branch that is there"),
    *_TARGET,
    Option(name="maxRecordsPerFile", default="no limit", meaning="rows per file, at most"),
    Option(name="max_bytes_per_file", default="`500MB`", meaning="size at which a file is ended and the next begun"),
    Option(
        name="features",
        default="from the columns",
        meaning='Hugging Face features as JSON: `{"image": {"_type": "Image"}}`',
    ),
    Option(name="mergeSchema", default="`false`", meaning="let an append add columns, or leave some out"),
    Option(
        name="allowEmptyOverwrite",
        default="`false`",
        meaning="let an overwrite by no rows delete the rows that are there",
    ),
    Option(name="private", default="the Hub's", meaning="make the repo private if it is created"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What to read."""

    ref: DatasetRef
    token: Secret | None
    columns: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """What to write, and how. `max_bytes_per_file` in bytes."""

    ref: DatasetRef
    token: Secret | None
    config: str
    split: str
    max_records_per_file: int | None
    max_bytes_per_file: int
    features: Features | None
    merge_schema: bool
    allow_empty_overwrite: bool
    private: bool | None


def parse_read(options: Mapping[str, str]) -> ReadOptions:
    """Read options as Spark gives them. Raises OptionError."""
    given = _known(options, READ_OPTIONS, "reading")
    ref = _ref(options, given, split=given.get("split"))
    return ReadOptions(
        ref=ref, token=find_token(ref.endpoint, given.get("token")), columns=_columns(given.get("columns"))
    )


def parse_write(options: Mapping[str, str]) -> WriteOptions:
    """Write options as Spark gives them. Raises OptionError."""
    given = _known(options, WRITE_OPTIONS, "writing")
    split = given.get("split", "train")
    ref = _ref(options, given, split=split)
    return WriteOptions(
        ref=ref,
        token=find_token(ref.endpoint, given.get("token")),
        config=given.get("config", "default"),
        split=split,
        max_records_per_file=_parse(given, "maxRecordsPerFile", _positive_int),
        max_bytes_per_file=_parse(given, "max_bytes_per_file", parse_bytes) or 500_000_000,
        features=_parse(given, "features", _json_object),
        merge_schema=_parse(given, "mergeSchema", _boolean) or False,
        allow_empty_overwrite=_parse(given, "allowEmptyOverwrite", _boolean) or False,
        private=_parse(given, "private", _boolean),
    )


def _known(options: Mapping[str, str], known: tuple[Option, ...], doing: str) -> dict[str, str]:
    """The options under their documented names."""
    names = {_plain(option.name): option.name for option in known}
    found: dict[str, str] = {}
    for key, value in options.items():
        if key.lower() in _SPARKS_OWN or key.lower().startswith("option."):
            continue
        name = names.get(_plain(key))
        if name is None:
            close = difflib.get_close_matches(_plain(key), names, n=1)
            hint = f"did you mean {names[close[0]]!r}?" if close else f"known are {', '.join(names.values())}"
            raise OptionError(f"unknown option {key!r} for {doing}; {hint}")
        found[name] = value
    return found


def _ref(options: Mapping[str, str], given: Mapping[str, str], *, split: str | None) -> DatasetRef:
    path = {key.lower(): value for key, value in options.items()}.get("path")
    if not path:
        raise OptionError("no dataset given; expected load('ns/name') or save('ns/name'), or the option 'path'")
    return parse_ref(
        path,
        revision=given.get("revision"),
        config=given.get("config"),
        split=split,
        endpoint=given.get("endpoint"),
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _parse(given: Mapping[str, str], name: str, parse: Callable[[str], Any]) -> Any:
    if name not in given:
        return None
    try:
        return parse(given[name])
    except ValueError as err:
        raise OptionError(f"option {name!r} must be {err}, got {given[name]!r}") from None


def _columns(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    if text.lstrip().startswith("["):
        try:
            names = json.loads(text)
        except ValueError:
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise OptionError(f"option 'columns' must be 'a,b' or a JSON list of names, got {text!r}")
        return tuple(names)
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _positive_int(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        raise ValueError("an integer") from None
    if number < 0:
        raise ValueError("at least 0 (0 for no limit)")
    return number or None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def _json_object(text: str) -> Features:
    expected = 'a JSON object such as {"image": {"_type": "Image"}}'
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError(expected) from None
    if not isinstance(found, dict):
        raise ValueError(expected)  # noqa: TRY004 - its caller turns it into an OptionError
    return found
