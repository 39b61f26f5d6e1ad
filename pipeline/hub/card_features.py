"""The one list of features that a card has for a config, when one of its splits is written. All in the card's YAML form.

What the config's other rows are must not change by it: a column that they have keeps what it is there, where that is more than a
plain type, and labels of other names are refused. Writers look for this before they begin; here it is made sure of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.errors import SchemaError

_MEDIA = ("image", "audio", "video", "pdf", "nifti", "mesh", "bio_sequence", "bio_structure", "json")


def merge_features(old: Sequence[Any], written: Sequence[Any] | None, *, config: str) -> list[Any]:
    """The config's features when its other rows have `old` ones: theirs first, then new columns.

    Raises SchemaError for a column whose labels have other names.
    """
    found = {one["name"]: one for one in old}
    for one in written or ():
        known = found.get(one["name"])
        mine, theirs = list(_labels(one)), list(_labels(known))
        if mine and theirs and mine != theirs:
            raise SchemaError(
                f"column {one['name']!r} has the labels {_listed(mine)}, and in the other rows of config {config!r} "
                f"{_listed(theirs)}; give them the same names, or write to another 'config'"
            )
        if known is None or not _has_meaning(known):
            found[one["name"]] = one
    return list(found.values())


def _labels(feature: Any) -> Iterator[list[str]]:
    """The names of each ClassLabel in a feature, outside in."""
    if isinstance(feature, Mapping):
        label = feature.get("class_label")
        names = label.get("names") if isinstance(label, Mapping) else None
        if isinstance(names, Mapping):
            names = [names[key] for key in sorted(names, key=int)]
        if isinstance(names, list):
            yield [str(name) for name in names]
    for inner in _inside(feature):
        yield from _labels(inner)


def _has_meaning(feature: Any) -> bool:
    """Whether anything in a feature is more than a plain type."""
    if isinstance(feature, Mapping) and isinstance(feature.get("dtype"), (str, Mapping)):
        return not isinstance(feature["dtype"], str) or feature["dtype"] in _MEDIA
    return feature in _MEDIA or any(map(_has_meaning, _inside(feature)))


def _inside(feature: Any) -> list[Any]:
    """What a column has inside: those of a struct, that of a list."""
    if isinstance(feature, Mapping):
        return [value for key, value in feature.items() if key not in ("name", "names")]
    return list(feature) if isinstance(feature, list) else []


def _listed(labels: Sequence[Sequence[str]]) -> str:
    return ", ".join("/".join(names[:10]) for names in labels)
