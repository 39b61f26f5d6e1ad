"""What two features of one column mean: the same, or values that would be read as something else.

A number that is a label, a struct that is an image: these are meanings. How wide a number is, or whether an image is decoded when
it is read, are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LISTS = ("List", "LargeList", "Sequence")
_NO_MEANING = ("decode", "id")
_SHOWN = 10


def is_plain(feature: Any) -> bool:
    """Whether a feature says no more than an Arrow type does."""
    inner = _element(feature)
    if inner is not None:
        return is_plain(inner)
    if fields := _fields(feature):
        return all(map(is_plain, fields.values()))
    return _kind(feature) in ("Value", None)


def same_meaning(one: Any, other: Any) -> bool:
    """Whether values of one feature are read as the same by another. What only one of them tells is no difference."""
    inner, their_inner = _element(one), _element(other)
    if inner is not None and their_inner is not None:
        return same_meaning(inner, their_inner) and _agree(_lengths(one), _lengths(other))
    fields, their_fields = _fields(one), _fields(other)
    if fields is not None and their_fields is not None:
        return fields.keys() == their_fields.keys() and all(
            same_meaning(field, their_fields[name]) for name, field in fields.items()
        )
    if _kind(one) != _kind(other):
        return False
    return _kind(one) == "Value" or _agree(one, other)


def in_words(feature: Any) -> str:
    """A feature as an error says it: `ClassLabel(neg, pos)`."""
    inner = _element(feature)
    if inner is not None:
        return f"a list of {in_words(inner)}"
    fields = _fields(feature)
    if fields is not None:
        return f"a struct of {', '.join(fields)}"
    kind = _kind(feature)
    if kind is None:
        return repr(feature)
    names = [str(name) for name in feature.get("names") or ()]
    if kind == "ClassLabel":
        return f"ClassLabel({', '.join(names[:_SHOWN])}{', ...' if names[_SHOWN:] else ''})"
    if kind == "Value":
        return str(feature.get("dtype"))
    told = {key: value for key, value in feature.items() if key != "_type" and value is not None}
    return f"{kind}({', '.join(f'{key}={value}' for key, value in told.items())})" if told else kind


def _kind(feature: Any) -> str | None:
    kind = feature.get("_type") if isinstance(feature, Mapping) else None
    return kind if isinstance(kind, str) else None


def _element(feature: Any) -> Any:
    """What a list is of, `None` where it is none."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    return feature.get("feature") if _kind(feature) in _LISTS else None


def _fields(feature: Any) -> Mapping[str, Any] | None:
    return feature if isinstance(feature, Mapping) and _kind(feature) is None else None


def _lengths(feature: Any) -> dict[str, Any]:
    length = feature.get("length") if isinstance(feature, Mapping) else None
    return {"length": length} if length is not None and length >= 0 else {}


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether what both tell is the same."""
    both = [key for key in one.keys() & other.keys() if key not in _NO_MEANING]
    return all(_plain(one[key]) == _plain(other[key]) for key in both if None not in (one[key], other[key]))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
