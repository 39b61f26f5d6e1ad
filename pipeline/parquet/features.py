"""Hugging Face features, in the three forms they have: Arrow types, the JSON in a file's footer, the YAML in a card.

The JSON form is the `huggingface` key of the Arrow schema's metadata, `{"info": {"features": {name: {"_type": ...}}}}`; it
restores Image, Audio and ClassLabel. The YAML form is the same thing, abbreviated. Both follow `datasets` 5.2
(`Features.to_dict`, `Features._to_yaml_list`) and are tested against it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import types

KEY = b"huggingface"
Features = dict[str, Any]
_MEDIA = ("Image", "Audio", "Video", "Pdf", "Nifti")
_STORED_AS_MEDIA = (*_MEDIA, "Mesh", "BioSequence", "BioStructure")  # bytes and a path; these ones are often text
_ARRAYS = ("Array2D", "Array3D", "Array4D", "Array5D")
_KNOWN = (
    "Value",
    "ClassLabel",
    "Translation",
    "TranslationVariableLanguages",
    "List",
    "LargeList",
    "Sequence",
    "Json",
    *_ARRAYS,
    *_STORED_AS_MEDIA,
)


def features_of(schema: pa.Schema) -> Features | None:
    """The features of a schema: those in its metadata, completed by those that follow from its types.

    `None` when a type has no feature (a map, an interval): then nothing is claimed about any column.
    """
    written = _read_metadata(schema)
    found: Features = {}
    for column in schema:
        feature = written.get(column.name) or feature_of_type(column.type)
        if feature is None:
            return None
        found[column.name] = feature
    return found


def with_features(schema: pa.Schema, features: Features | None) -> pa.Schema:
    """The schema with these features in its metadata, for its own columns only."""
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key != KEY}
    if features is not None:
        own = {name: features[name] for name in schema.names if name in features}
        metadata[KEY] = json.dumps({"info": {"features": own}}).encode()
    return schema.with_metadata(metadata or None)


def feature_of_type(kind: pa.DataType) -> Any:
    """The feature that `datasets` gives an Arrow type without further knowledge, `None` where it has none."""
    if types.is_struct(kind):
        children = {field.name: feature_of_type(field.type) for field in kind}
        return None if None in children.values() else children
    if _is_list(kind):
        inner = feature_of_type(kind.value_type)
        if inner is None:
            return None
        listed: Features = {"feature": inner, "_type": "LargeList" if types.is_large_list(kind) else "List"}
        if types.is_fixed_size_list(kind):
            listed["length"] = kind.list_size
        return listed
    dtype = _dtype(kind)
    return {"dtype": dtype, "_type": "Value"} if dtype else None


def _is_list(kind: pa.DataType) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def narrow_feature(feature: Any, kind: pa.DataType) -> Any:
    """The feature of a nested column of which only some parts are read: those that its type still has."""
    if types.is_struct(kind) and isinstance(feature, Mapping) and not isinstance(feature.get("_type"), str):
        return {child.name: narrow_feature(feature[child.name], child.type) for child in kind if child.name in feature}
    if _is_list(kind) and isinstance(feature, list):
        return [narrow_feature(feature[0], kind.value_type)]
    if _is_list(kind) and isinstance(feature, Mapping) and "feature" in feature:
        return {**feature, "feature": narrow_feature(feature["feature"], kind.value_type)}
    return feature


def misfit(feature: Any, kind: pa.DataType) -> str | None:
    """Why values of an Arrow type are not what a feature says, or `None` where `datasets` would take them as that."""
    if isinstance(feature, list) and len(feature) == 1:
        feature = {"_type": "List", "feature": feature[0]}
    if not isinstance(feature, Mapping):
        return f'has the feature {feature!r}; expected an object such as {{"_type": "Image"}}'
    name = feature.get("_type")
    if not isinstance(name, str):
        return _misfit_struct(feature, kind)
    if name not in _KNOWN:
        return f"has the feature {name!r}; known are {', '.join(_KNOWN)}"
    wanted, fits = _storage(name, kind)
    if not fits:
        return f"is {kind}, which cannot be {name}; expected {wanted}"
    if name in ("List", "LargeList", "Sequence") and _is_list(kind):
        return misfit(feature.get("feature"), kind.value_type)
    return None


def _misfit_struct(feature: Mapping[str, Any], kind: pa.DataType) -> str | None:
    names = [child.name for child in kind] if types.is_struct(kind) else []
    if not types.is_struct(kind) or set(names) != set(feature):
        return f"is {kind}, which has not the fields {', '.join(map(repr, feature))} of its feature"
    return next((wrong for child in kind if (wrong := misfit(feature[child.name], child.type))), None)


def _storage(name: str, kind: pa.DataType) -> tuple[str, bool]:
    """What a feature is stored as, in words, and whether a type is that."""
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    names = {child.name for child in kind} if types.is_struct(kind) else set()
    if name in _STORED_AS_MEDIA:
        binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
        wanted = "a struct of bytes (binary) and path (string), bytes alone, or a path"
        return wanted, bool(text or binary or {"bytes", "path"} & names)
    if name == "ClassLabel":
        return "an integer, or a string that is one of its names", bool(text or types.is_integer(kind))
    if name in ("List", "LargeList", "Sequence", *_ARRAYS):
        return "a list", _is_list(kind) or (name == "Sequence" and bool(names))
    if name.startswith("Translation"):
        return "a struct", bool(names)
    return "a plain value", name == "Json" or not types.is_nested(kind)


def to_yaml(features: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Features in the card's form: a list of columns."""
    return [{"name": name, **_to_yaml(feature)} for name, feature in features.items()]


def from_yaml(columns: Sequence[Mapping[str, Any]]) -> Features:
    """Features from the card's form."""
    return {str(column["name"]): _from_yaml({k: v for k, v in column.items() if k != "name"}) for column in columns}


def media_columns(features: Mapping[str, Any] | None) -> set[str]:
    """The columns that hold media, at any depth: their bytes are compressed already."""
    return {name for name, feature in (features or {}).items() if _holds_media(feature)}


def _holds_media(feature: Any) -> bool:
    if isinstance(feature, list):
        return any(map(_holds_media, feature))
    if not isinstance(feature, Mapping):
        return False
    return feature.get("_type") in _MEDIA or any(_holds_media(one) for one in feature.values())


def _read_metadata(schema: pa.Schema) -> Features:
    try:
        found = json.loads((schema.metadata or {}).get(KEY, b"{}"))["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _dtype(kind: pa.DataType) -> str | None:
    if types.is_dictionary(kind):
        return _dtype(kind.value_type)
    special = {pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64"}
    special |= {pa.date32(): "date32", pa.date64(): "date64"}
    if kind in special:
        return special[kind]
    if types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType) or types.is_interval(kind):
        return None
    return str(kind)


def _to_yaml(feature: Any) -> dict[str, Any]:
    if isinstance(feature, list):
        return {"list": _shorten(_to_yaml(feature[0]))}
    kind = feature.get("_type")
    rest = {key: value for key, value in feature.items() if key != "_type"}
    if kind in ("List", "LargeList", "Sequence"):
        inner = _shorten(_to_yaml(rest.pop("feature")))
        return {{"List": "list", "LargeList": "large_list", "Sequence": "sequence"}[kind]: inner, **rest}
    if kind == "Value":
        return rest
    if kind is None or isinstance(kind, (dict, list)):
        return {"struct": to_yaml(feature)}
    if kind == "ClassLabel" and isinstance(rest.get("names"), list):
        rest["names"] = {str(number): label for number, label in enumerate(rest["names"])}
    return {"dtype": {_snake(kind): rest} if rest else _snake(kind)}


def _shorten(inner: dict[str, Any]) -> Any:
    return next(iter(inner.values())) if list(inner) in (["dtype"], ["struct"]) else inner


def _from_yaml(column: Mapping[str, Any]) -> Any:
    for key, kind in (("list", "List"), ("large_list", "LargeList"), ("sequence", "List")):
        if key not in column:
            continue
        rest = {k: v for k, v in column.items() if k != key}
        if key == "sequence" and isinstance(column[key], list):  # a struct of lists, in cards from before `datasets` 4
            return {name: {"feature": one, **rest, "_type": kind} for name, one in from_yaml(column[key]).items()}
        return {"feature": _from_yaml(_lengthen(column[key])), **rest, "_type": kind}
    if "struct" in column:
        return from_yaml(column["struct"])
    dtype = column.get("dtype")
    if isinstance(dtype, Mapping):
        kind, rest = next(iter(dtype.items()))
        rest = dict(rest)
        if isinstance(rest.get("names"), Mapping):
            rest["names"] = [rest["names"][key] for key in sorted(rest["names"], key=int)]
        return {**rest, "_type": _camel(kind)}
    if isinstance(dtype, str) and _camel(dtype) in _KNOWN:
        return {"_type": _camel(dtype)}
    return {**column, "_type": "Value"}


def _lengthen(inner: Any) -> Mapping[str, Any]:
    if isinstance(inner, list):
        return {"struct": inner}
    if isinstance(inner, Mapping) and ({"dtype", "struct", "list", "large_list", "sequence"} & inner.keys()):
        return inner
    return {"dtype": inner}


def _snake(name: str) -> str:
    words = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", words).lower()


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))
