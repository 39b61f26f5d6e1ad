"""Arrow types and Spark types: what Spark can hold, and how to get there without losing anything.

Spark's reader takes exactly the Arrow types of its own schema (no unsigned, large, view, dictionary or fixed-size
types). A type that Spark lacks becomes the next wider one. Hugging Face features travel in a column's metadata, which Spark
keeps through select and where, so that what is read as an Image is written as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import types
from pyspark.errors import PySparkException
from pyspark.sql.pandas.types import from_arrow_type, to_arrow_schema
from pyspark.sql.types import StructField, StructType

from pipeline.errors import SchemaError
from pipeline.parquet.conform import plain_type
from pipeline.parquet.features import Features, feature_of_type
from pipeline.parquet.writer import check_writable

FEATURE_KEY = "huggingface"

_WIDER: tuple[tuple[Callable[[Any], bool], Callable[[Any], pa.DataType]], ...] = (
    (types.is_uint8, lambda _: pa.int16()),
    (types.is_uint16, lambda _: pa.int32()),
    (types.is_uint32, lambda _: pa.int64()),
    (types.is_uint64, lambda _: pa.decimal128(20, 0)),
    (types.is_float16, lambda _: pa.float32()),
    (types.is_large_string, lambda _: pa.string()),
    (types.is_string_view, lambda _: pa.string()),
    (types.is_large_binary, lambda _: pa.binary()),
    (types.is_binary_view, lambda _: pa.binary()),
    (types.is_fixed_size_binary, lambda _: pa.binary()),
    (types.is_date64, lambda _: pa.date32()),
    (types.is_time, lambda _: pa.time64("ns")),
    (types.is_timestamp, lambda kind: pa.timestamp("us", "UTC" if kind.tz else None)),
    (types.is_duration, lambda _: pa.duration("us")),
    (types.is_dictionary, lambda kind: spark_arrow_type(kind.value_type)),
    (types.is_decimal, lambda kind: pa.decimal128(kind.precision, kind.scale)),
)


def spark_arrow_type(kind: pa.DataType) -> pa.DataType:
    """The Arrow type in which Spark takes values of `kind`, all nullable. Raises SchemaError for a type that it cannot hold."""
    if isinstance(kind, pa.BaseExtensionType):
        return spark_arrow_type(kind.storage_type)
    if types.is_struct(kind):
        return pa.struct([pa.field(child.name, spark_arrow_type(child.type)) for child in kind])
    if types.is_map(kind):
        return pa.map_(spark_arrow_type(kind.key_type), spark_arrow_type(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", spark_arrow_type(kind.value_type)))
    if types.is_decimal(kind) and kind.precision > 38:
        raise SchemaError(f"Spark cannot hold {kind}; its decimals have 38 digits at most")
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        return spark_arrow_type(pa.list_(kind.value_type))
    if types.is_interval(kind) or types.is_nested(kind) or types.is_run_end_encoded(kind):
        raise SchemaError(f"Spark cannot hold {kind}; leave the column out with the option 'columns'")
    return next((widen(kind) for test, widen in _WIDER if test(kind)), kind)


def spark_schema(schema: pa.Schema, features: Features | None) -> StructType:
    """The Spark schema of a dataset, its features in the columns' metadata.

    Raises SchemaError naming the column whose type Spark cannot hold.
    """
    fields = []
    for column in schema:
        try:
            kind = from_arrow_type(spark_arrow_type(column.type))
        except Exception as err:
            raise SchemaError(f"column {column.name!r}: {err}".replace("\n", " ")) from err
        feature = (features or {}).get(column.name)
        metadata = {FEATURE_KEY: json.dumps(feature)} if feature is not None else {}
        fields.append(StructField(column.name, kind, nullable=True, metadata=metadata))
    return StructType(fields)


def arrow_schema(schema: StructType) -> pa.Schema:
    """The Arrow schema that Spark expects of a reader, and that a writer's batches are cast to: UTC, all nullable.

    Spark itself marks children `not null` that then hold nulls (those of every Image that is null).
    """
    found = to_arrow_schema(schema, timezone="UTC")
    return pa.schema([pa.field(column.name, plain_type(column.type)) for column in found])


def written_schema(schema: StructType) -> pa.Schema:
    """The Arrow schema that a DataFrame is written with. Raises SchemaError naming the column that cannot be written."""
    if not schema.fields:
        raise SchemaError("the DataFrame has no columns; a dataset needs one at least")
    if twice := _twice(schema.names):
        raise SchemaError(f"the DataFrame has several columns named {twice!r}; rename or drop all but one")
    for column in schema.fields:
        try:
            arrow = arrow_schema(StructType([column]))
            check_writable(arrow)
        except (PySparkException, pa.ArrowException) as err:
            raise SchemaError(
                f"column {column.name!r} is {column.dataType.simpleString()}, which cannot be written to Parquet; "
                "cast it, or leave it out"
            ) from err
        if twice := _twice_within(arrow.field(0).type):
            raise SchemaError(f"column {column.name!r} has several fields named {twice!r}; rename or drop all but one")
    return arrow_schema(schema)


def holds_map(kind: pa.DataType) -> bool:
    """Whether a type is a map or has one inside."""
    return types.is_map(kind) or any(holds_map(kind.field(i).type) for i in range(kind.num_fields))


def _twice_within(kind: pa.DataType) -> str | None:
    """A name that several children of one struct have, at any depth."""
    children = [kind.field(i) for i in range(kind.num_fields)]
    own = _twice([child.name for child in children]) if types.is_struct(kind) else None
    return own or next((found for child in children if (found := _twice_within(child.type))), None)


def _twice(names: Sequence[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)


def written_features(schema: StructType, arrow: pa.Schema, given: Features | None) -> Features | None:
    """The features of a written schema: the given ones first, then those that came along, then what the types say.

    Raises SchemaError for a feature of a column that is not there.
    """
    for name in given or {}:
        if name not in arrow.names:
            raise SchemaError(
                f"option 'features' names column {name!r}; the DataFrame has {', '.join(map(repr, arrow.names))}"
            )
    found: Features = {}
    for spark_field, column in zip(schema.fields, arrow, strict=True):
        carried = (spark_field.metadata or {}).get(FEATURE_KEY)
        feature = (given or {}).get(column.name) or (json.loads(carried) if carried else feature_of_type(column.type))
        if feature is None:
            return None
        found[column.name] = feature
    return found
