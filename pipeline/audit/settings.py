"""What a build was told, as flat pairs of key and value: of two of them, what differs can be listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_TOLD_ELSEWHERE = frozenset({"name", "revision", "sources", "target"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A key that differs; a value is `None` where there is none."""

    key: str
    before: Any
    after: Any


def changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Setting, ...]:
    """The keys whose values differ, those of the one before first."""
    keys = dict.fromkeys([*before, *after])
    return tuple(
        Setting(key=key, before=before.get(key), after=after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    )


def settings_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a split's builds were told: `seed`, `sources.a.weight`, and with what: `sources.a.commit`, `writers.pyarrow`.

    Those of a build that was appended have its number in front.
    """
    every: dict[str, Any] = {}
    for number, record in enumerate(records):
        first = f"append {number}: " if number else ""
        every |= {f"{first}{key}": value for key, value in _of_record(record)}
    return every


def _of_record(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    recipe = yaml.safe_load(record.get("recipe") or "{}")
    told = {"seed": record.get("seed"), "shuffle": record.get("shuffle")} | (recipe if isinstance(recipe, dict) else {})
    yield from _flat("", _without(told))
    pinned = {source["name"]: source for source in record.get("sources") or ()}
    said = _by_name(told.get("sources") or ())
    for name in dict.fromkeys([*said, *pinned]):
        yield from _flat(
            f"sources.{name}", _without(said.get(name, {})) | {"commit": pinned.get(name, {}).get("commit")}
        )
    yield from _flat("writers", record.get("writers") or {})


def _without(told: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key not in _TOLD_ELSEWHERE}


def _by_name(sources: Iterable[Any]) -> dict[str, Mapping[str, Any]]:
    return {str(source.get("name")): source for source in sources if isinstance(source, Mapping)}


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _flat(f"{key}.{name}" if key else str(name), one)
    elif value is not None:
        yield key, value
