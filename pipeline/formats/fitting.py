"""Rows as a schema has them, cast as `datasets` casts: names of labels become their numbers, and numbers text where due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import types

from pipeline.errors import SchemaError
from pipeline.parquet.conform import conform
from pipeline.parquet.features import features_of

Labels = Mapping[str, list[str]]


def labels_of(schema: pa.Schema) -> dict[str, list[str]]:
    """The names of a schema's labels, by column."""
    return {
        name: feature["names"]
        for name, feature in (features_of(schema) or {}).items()
        if isinstance(feature, Mapping)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }


def check_names(names: Sequence[str], schema: pa.Schema, about: str) -> None:
    """Raises SchemaError for a column that the schema does not have: its values would be lost."""
    unknown = [name for name in names if schema.get_field_index(name) < 0]
    if unknown:
        known = ", ".join(map(repr, schema.names))
        raise SchemaError(
            f"{about}: column {unknown[0]!r} is not in the dataset's schema, which has {known}; name all columns in README.md "
            "('dataset_info')"
        )


def fit(batch: pa.RecordBatch, schema: pa.Schema, wanted: pa.Schema, about: str) -> pa.RecordBatch:
    """The wanted columns of a batch. Raises SchemaError for one that does not fit, or that the schema does not have."""
    check_names(batch.schema.names, schema, about)
    labels = labels_of(schema)
    arrays, names = [], []
    for field in wanted:
        index = batch.schema.get_field_index(field.name)
        if index >= 0:
            names.append(field.name)
            arrays.append(_loosen(batch.column(index), field, labels.get(field.name), about))
    if not arrays:
        return conform(batch, wanted, about)
    return conform(pa.RecordBatch.from_arrays(arrays, names=names), wanted, about)


def _loosen(array: pa.Array, field: pa.Field, labels: list[str] | None, about: str) -> pa.Array:
    kind = array.type
    if labels is not None and types.is_string(kind):
        numbers = pc.index_in(array, pa.array(labels, pa.string()))
        unknown = pc.and_(pc.is_null(numbers), pc.is_valid(array))
        if pc.any(unknown).as_py():
            value = array[pc.index(unknown, pa.scalar(True)).as_py()].as_py()
            raise SchemaError(
                f"{about}: column {field.name!r} has {value!r:.80}, expected one of the labels {labels!r:.200}"
            )
        return numbers
    if types.is_string(field.type) and (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        return array.cast(pa.string())
    return array
