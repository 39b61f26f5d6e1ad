"""The YAML at the top of a README.md.

The one idea: a card is the text of a stranger, and goes out as JSON. So it is read with nothing but what JSON has (a date
stays the text that it is), without aliases, by which a kilobyte can stand for a gigabyte, and once per blob.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, Final

import yaml

from pipeline.localhub.byte_store import ByteStore
from pipeline.localhub.commits import read_blob
from pipeline.localhub.database import Database

_FRONT_MATTER: Final = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_INTEGER_BITS_MAX: Final = 1024
_UNREADABLE: Final = (
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What PyYAML raises over a text, the last six for scalars that are not what their tag says, and for deep nesting."""


class _CardLoader(yaml.SafeLoader):
    """YAML without dates and without aliases."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML has it
        first: [pair for pair in pairs if pair[0] != _TIMESTAMP]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("YAML aliases (*name) are not supported in a card")
        return super().compose_node(parent, index)


class Cards:
    """The cards of a Hub's repos, by the id of the README's blob; None for one that has or is no card."""

    def __init__(self, database: Database, store: ByteStore) -> None:
        self._database = database
        self._store = store
        self.read = lru_cache(maxsize=64)(self._read)

    def _read(self, oid: str) -> dict[str, Any] | None:
        with self._database.read() as conn:
            readme = read_blob(conn, self._store, oid).decode("utf-8", "replace")
        try:
            return front_matter(readme) or None
        except ValueError:
            return None


def front_matter(readme: str) -> dict[str, Any]:
    """The card data of a README, {} if it has none; ValueError, in one line, if it is not a YAML mapping."""
    match = _FRONT_MATTER.match(readme)
    if match is None:
        return {}
    try:
        data = _plain(yaml.load(match.group(1), _CardLoader))  # noqa: S506 - a SafeLoader
    except _UNREADABLE as err:
        reason = " ".join(str(err).split()) or type(err).__name__
        raise ValueError(f"YAML of the README cannot be read: {reason}") from err
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ValueError(f"YAML of the README must be a mapping, got {type(data).__name__}")  # noqa: TRY004 - one error for all
    return data


def _plain(value: Any) -> Any:
    """As JSON holds it: null for a number that is infinite or none; ValueError for what JSON has not."""
    if isinstance(value, dict):
        return {_plain(key) if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        value.encode()  # raises for half a character
    elif isinstance(value, float):
        return value if math.isfinite(value) else None
    elif not isinstance(value, int | None) or (value or 0).bit_length() > _INTEGER_BITS_MAX:
        raise ValueError(f"JSON has no {type(value).__name__} like this")
    return value
