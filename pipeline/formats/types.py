"""Features as Arrow types: what `datasets` stores a feature in (`Features.arrow_schema`).

One thing differs: Json is a plain string here, for nothing outside of `datasets` reads Arrow's JSON extension type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.errors import SchemaError
from pipeline.parquet.features import Features, with_features

_MEDIA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_DECIMAL = re.compile(r"decimal(128|256)\((\d+), ?(-?\d+)\)")
_TIME = re.compile(r"(timestamp|time32|time64|duration)\[(\w+)(?:, ?tz=([^\]]+))?\]")
_ALIASES = {"float": "float32", "double": "float64", "bool": "bool_", "int": "int64", "str": "string"}


def schema_of(features: Features, about: str) -> pa.Schema:
    """The Arrow schema of features, with them in its metadata. Raises SchemaError for one that is not known."""
    fields = []
    for name, feature in features.items():
        kind = _type_of(feature)
        if kind is None:
            raise SchemaError(
                f"{about}: column {name!r} has the feature {feature!r:.80} in README.md, which is not known"
            )
        fields.append(pa.field(name, kind))
    return with_features(pa.schema(fields), features)


def _type_of(feature: Any) -> pa.DataType | None:
    if isinstance(feature, list):
        inner = _type_of(feature[0]) if feature else None
        return None if inner is None else pa.list_(inner)
    if not isinstance(feature, Mapping):
        return None
    kind = feature.get("_type")
    if not isinstance(kind, str):
        return _struct({name: _type_of(one) for name, one in feature.items()})
    if kind in ("List", "LargeList", "Sequence"):
        inner = _type_of(feature.get("feature"))
        length = feature.get("length", -1)
        make = pa.large_list if kind == "LargeList" else pa.list_
        return None if inner is None else pa.list_(inner, length) if length > -1 else make(inner)
    if kind == "Translation":
        return pa.struct([(language, pa.string()) for language in sorted(feature["languages"])])
    fixed = {"ClassLabel": pa.int64(), "Json": pa.string(), **dict.fromkeys(("Image", "Audio", "Video", "Pdf"), _MEDIA)}
    return _value_type(str(feature.get("dtype"))) if kind == "Value" else fixed.get(kind)


def _struct(children: Mapping[str, pa.DataType | None]) -> pa.DataType | None:
    return None if None in children.values() else pa.struct(list(children.items()))


def _value_type(dtype: str) -> pa.DataType | None:
    """A Value's type, as `string_to_arrow` of `datasets` has it."""
    if decimal := _DECIMAL.fullmatch(dtype):
        make = pa.decimal128 if decimal[1] == "128" else pa.decimal256
        return make(int(decimal[2]), int(decimal[3]))
    if time := _TIME.fullmatch(dtype):
        return pa.timestamp(time[2], time[3]) if time[1] == "timestamp" else getattr(pa, time[1])(time[2])
    made = getattr(pa, _ALIASES.get(dtype, dtype), None)
    try:
        found = made() if callable(made) else None
    except TypeError:
        return None
    return found if isinstance(found, pa.DataType) else None
