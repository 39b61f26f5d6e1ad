"""The schema of a mix: its sources' columns by name, each with the narrowest type that holds all of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import SchemaError
from pipeline.parquet.conform import common_type
from pipeline.parquet.features import Features, feature_of_type, from_yaml, to_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What a source brings: its name, its columns as the mix will see them, and their features."""

    name: str
    schema: pa.Schema
    features: Features


def align(sources: Sequence[Offered], source_column: str | None) -> tuple[pa.Schema, Features | None]:
    """The mix's columns in order of first appearance, the source's name last, and their features.

    Raises SchemaError naming source, column and both types for what cannot be aligned.
    """
    names = list(dict.fromkeys(name for source in sources for name in source.schema.names))
    if not names:
        raise SchemaError("the sources have no columns; choose some with 'columns'")
    columns = [pa.field(name, _common(name, sources)) for name in names]
    features = {column.name: _feature(column, sources) for column in columns}
    if source_column is not None:
        _check_free(source_column, sources)
        columns.append(pa.field(source_column, pa.string()))
        features[source_column] = feature_of_type(pa.string())
    known = all(feature is not None for feature in features.values())
    return pa.schema(columns), features if known else None


def keep_features(known: Features | None, features: Features | None, schema: pa.Schema) -> Features | None:
    """The features of a mix that is appended to rows with features of their own (`known`): theirs, for a split has one set.

    Raises SchemaError for a column that is labels there and plain numbers here, or whose sources say something else of it.
    """
    if known is None:
        return features
    kept: Features = {}
    for column in schema:
        plain = feature_of_type(column.type)
        mine, theirs = (features or {}).get(column.name, plain), known.get(column.name)
        differ = theirs is not None and not _same(mine, theirs) and not _same(theirs, plain)
        if differ and (mine != plain or _holds_labels(theirs)):
            raise SchemaError(
                f"column {column.name!r} is {mine!r:.80}, but {theirs!r:.80} in the split that it is appended to; "
                "give its sources the same features, leave it out with 'columns', or pass --overwrite"
            )
        kept[column.name] = mine if theirs is None else theirs
    return kept if None not in kept.values() else features


def _same(one: Any, other: Any) -> bool:
    """Whether two features are the same, however they are written."""
    return bool(one == other) or (
        None not in (one, other) and from_yaml(to_yaml({"": one})) == from_yaml(to_yaml({"": other}))
    )


def _common(name: str, sources: Sequence[Offered]) -> pa.DataType:
    found: pa.DataType | None = None
    first = ""
    for source in sources:
        if name not in source.schema.names:
            continue
        kind = source.schema.field(name).type
        merged = common_type([kind] if found is None else [found, kind])
        if merged is None:
            raise SchemaError(
                f"source {source.name!r}: column {name!r} is {kind}, but it is {found} in source {first!r}; "
                "cast or rename one of them in 'columns'"
            )
        found, first = merged, first or source.name
    return found


def _feature(column: pa.Field, sources: Sequence[Offered]) -> Any:
    """The feature that the sources agree on. A written one wins over one that follows from the type, but labels need all."""
    having = [source for source in sources if column.name in source.schema.names]
    written: dict[str, Any] = {}
    for source in having:
        feature = source.features.get(column.name)
        if feature is not None and feature != feature_of_type(source.schema.field(column.name).type):
            written[source.name] = feature
    values = list(written.values())
    if any(value != values[0] for value in values):
        told = ", ".join(f"{feature!r:.80} in source {name!r}" for name, feature in written.items())
        raise SchemaError(f"column {column.name!r} has different features: {told}; rename one of them in 'columns'")
    if not values or (len(values) < len(having) and _holds_labels(values[0])):
        return feature_of_type(column.type)
    return values[0]


def _holds_labels(feature: Any) -> bool:
    if isinstance(feature, list):
        return any(map(_holds_labels, feature))
    if not isinstance(feature, Mapping):
        return False
    return feature.get("_type") == "ClassLabel" or any(map(_holds_labels, feature.values()))


def _check_free(source_column: str, sources: Sequence[Offered]) -> None:
    for source in sources:
        if source_column in source.schema.names:
            raise SchemaError(
                f"source {source.name!r}: column {source_column!r} is also the mix's column of source names; "
                "rename it in 'columns', or set 'source_column' to another name or to false"
            )
