"""The schema of a mix: declared, or its sources' columns by name, each with the narrowest type that holds all of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import RecipeError, SchemaError
from pipeline.mix.recipe import Recipe
from pipeline.parquet.conform import common_type, plain_type, shared_type
from pipeline.parquet.features import Features, feature_of_type, from_yaml, to_yaml
from pipeline.predicate.type_names import parse_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What a source brings: its name, its columns as the mix will see them, and their features."""

    name: str
    schema: pa.Schema
    features: Features


def mix_schema(recipe: Recipe, sources: Sequence[Offered]) -> tuple[pa.Schema, Features | None]:
    """The columns of a recipe's mix and their features, those that the mix adds last.

    Raises RecipeError or SchemaError naming source, column and both types for what cannot be aligned, SchemaError for a name that
    two columns would have.
    """
    declared = {name: parse_type(written) for name, written in recipe.columns or ()}
    for name, kind in declared.items():
        if wrong := _misfit(name, kind, sources):
            raise RecipeError(f"{recipe.where_is(f'columns.{name}')}: {wrong}")
    return align(sources, recipe.source_column, recipe.source_row_column, declared or None)


def align(
    sources: Sequence[Offered],
    source_column: str | None,
    source_row_column: str | None = None,
    declared: Mapping[str, pa.DataType] | None = None,
) -> tuple[pa.Schema, Features | None]:
    """The columns `declared`, which all sources fit, else all in order of first appearance; then the source's name and its row.

    A column is not nullable where no source can have a null in it. Raises SchemaError as `mix_schema`.
    """
    names = list(declared or dict.fromkeys(name for source in sources for name in source.schema.names))
    if not names:
        raise SchemaError("the sources have no columns; choose some with 'columns'")
    columns = []
    for name in names:
        kind = declared[name] if declared else _common(name, sources)
        columns.append(pa.field(name, kind, any(_may_be_null(name, source) for source in sources)))
    features = {column.name: _feature(column, sources) for column in columns}
    for added, kind in ((source_column, pa.string()), (source_row_column, pa.int64())):
        if added is not None:
            _check_free(added, names, sources)
            columns.append(pa.field(added, kind))
            features[added] = feature_of_type(kind)
    known = all(feature is not None for feature in features.values())
    return pa.schema(columns), features if known else None


def _may_be_null(name: str, source: Offered) -> bool:
    return name not in source.schema.names or source.schema.field(name).nullable


def _misfit(name: str, kind: pa.DataType, sources: Sequence[Offered]) -> str | None:
    """Which source's column does not fit a declared type, or that none has such a column."""
    having = [source for source in sources if name in source.schema.names]
    if not having:
        return f"column {name!r} is declared, but no source has it; give it to one with 'columns', or remove it"
    for source in having:
        own = source.schema.field(name).type
        if not _fits(own, kind):
            return (
                f"source {source.name!r}: column {name!r} is {own}, which does not fit the declared {kind}; "
                f"add 'cast: {{{name}: ...}}' to the source, or declare a type that holds it"
            )
    return None


def _fits(own: pa.DataType, kind: pa.DataType) -> bool:
    """Whether a type holds every value of another; large and small texts, bytes and lists are the same in files."""
    if pa.types.is_decimal(own) and pa.types.is_decimal(kind):
        return bool(kind.scale >= own.scale and kind.precision - kind.scale >= own.precision - own.scale)
    small = _small(kind)
    merged = common_type([small, _small(own)])
    return merged is not None and bool(merged.equals(small))


def _small(kind: pa.DataType) -> pa.DataType:
    plain = plain_type(kind)
    if pa.types.is_struct(plain):
        return pa.struct([(child.name, _small(child.type)) for child in plain])
    if pa.types.is_large_list(plain) or pa.types.is_list(plain):
        return pa.list_(pa.field("element", _small(plain.value_type)))
    return {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}.get(plain, plain)


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
        differ = theirs is not None and not same_feature(mine, theirs) and not same_feature(theirs, plain)
        if differ and (mine != plain or _holds_labels(theirs)):
            raise SchemaError(
                f"column {column.name!r} is {mine!r:.80}, but {theirs!r:.80} in the split that it is appended to; "
                "give its sources the same features, leave it out with 'columns', or pass --overwrite"
            )
        kept[column.name] = mine if theirs is None else theirs
    return kept if None not in kept.values() else features


def same_feature(one: Any, other: Any) -> bool:
    """Whether two features are the same, however they are written."""
    return bool(one == other) or (
        None not in (one, other) and from_yaml(to_yaml({"": one})) == from_yaml(to_yaml({"": other}))
    )


def _common(name: str, sources: Sequence[Offered]) -> pa.DataType:
    """The type that holds every source's column. Raises SchemaError naming the first two that have none."""
    found: list[pa.DataType] = []
    first = ""
    for source in sources:
        if name not in source.schema.names:
            continue
        kind = source.schema.field(name).type
        merged = common_type([*found, kind])
        if merged is None:
            raise SchemaError(
                f"source {source.name!r}: column {name!r} is {kind}, but it is {common_type(found)} in source {first!r}; "
                "cast one of them with 'cast', or rename it in 'columns'"
            )
        found.append(kind)
        first = first or source.name
    return shared_type(found)


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


def _check_free(name: str, columns: Sequence[str], sources: Sequence[Offered]) -> None:
    for source in sources:
        if name in columns and name in source.schema.names:
            raise SchemaError(
                f"source {source.name!r}: column {name!r} is also one that the mix adds (its sources' names, or their rows); "
                "rename it in 'columns', or set 'source_column' or 'source_row_column' to another name or to false"
            )
