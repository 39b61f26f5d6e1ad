"""Arrow types and Spark types: what Spark can hold, and how to get there without losing anything.

Spark's reader takes exactly the Arrow types of its own schema (no unsigned, large, view, dictionary or fixed-size
types). A type that Spark lacks becomes the next wider one. Hugging Face features travel in a column's metadata, which Spark
keeps through select and where, so that what is read as an Image is written as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import types
from pyspark.sql.pandas.types import from_arrow_type, to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    CharType,
    DataType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimeType,
    UserDefinedType,
    VarcharType,
)

from pipeline.errors import SchemaError
from pipeline.parquet.casts import is_list
from pipeline.parquet.conform import plain_type
from pipeline.parquet.features import Features

FEATURE_KEY = "huggingface"
_MOST_DIGITS = 38  # of a decimal
MICROS = 6  # digits of a second

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
    (types.is_decimal, lambda kind: _decimal(kind)),
)


def spark_arrow_type(kind: pa.DataType) -> pa.DataType:
    """The Arrow type in which Spark takes values of `kind`, all nullable. Raises SchemaError for a type that it cannot hold."""
    kind = _held(kind)
    if types.is_struct(kind):
        return pa.struct([pa.field(child.name, spark_arrow_type(child.type)) for child in kind])
    if types.is_map(kind):
        return pa.map_(spark_arrow_type(kind.key_type), spark_arrow_type(kind.item_type))
    if is_list(kind):
        return pa.list_(pa.field("element", spark_arrow_type(kind.value_type)))
    if types.is_interval(kind) or types.is_nested(kind):
        raise SchemaError(f"Spark cannot hold {kind}; leave the column out with the option 'columns'")
    return next((widen(kind) for test, widen in _WIDER if test(kind)), kind)


def _held(kind: pa.DataType) -> pa.DataType:
    """What extensions, dictionaries and runs hold."""
    if isinstance(kind, pa.Bool8Type):
        return pa.bool_()
    if isinstance(kind, pa.BaseExtensionType):
        return _held(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _held(kind.value_type)
    return kind


def _decimal(kind: pa.DataType) -> pa.DataType:
    """Spark's scales are not negative and not above the precision."""
    scale = max(kind.scale, 0)
    precision = max(kind.precision + scale - kind.scale, scale)
    if precision > _MOST_DIGITS:
        raise SchemaError(
            f"Spark cannot hold {kind}; its decimals have {_MOST_DIGITS} digits at most: read it as a string or as another "
            "decimal with .schema(...), or leave the column out with the option 'columns'"
        )
    return pa.decimal128(precision, scale)


def _spark_type(kind: pa.DataType) -> DataType:
    """Spark's type for an Arrow type; its times have 6 digits, or 9 where they come in ns."""
    kind = _held(kind)
    if types.is_struct(kind):
        return StructType([StructField(child.name, _spark_type(child.type)) for child in kind])
    if types.is_map(kind):
        return MapType(_spark_type(kind.key_type), _spark_type(kind.item_type))
    if is_list(kind):
        return ArrayType(_spark_type(kind.value_type))
    if types.is_time(kind):
        return TimeType(9 if kind.unit == "ns" else MICROS)
    return from_arrow_type(spark_arrow_type(kind))


def spark_schema(schema: pa.Schema, features: Features | None) -> StructType:
    """The Spark schema of a dataset, its features in the columns' metadata.

    Raises SchemaError naming the column whose type Spark cannot hold.
    """
    fields = []
    for column in schema:
        try:
            kind = _spark_type(column.type)
        except Exception as err:
            raise SchemaError(f"column {column.name!r}: {err}".replace("\n", " ")) from err
        feature = (features or {}).get(column.name)
        metadata = {FEATURE_KEY: json.dumps(feature)} if feature is not None else {}
        fields.append(StructField(column.name, kind, nullable=True, metadata=metadata))
    return StructType(fields)


def arrow_schema(schema: StructType) -> pa.Schema:
    """The Arrow schema that Spark expects of a reader: UTC, all nullable.

    Spark itself marks children `not null` that then hold nulls (those of every Image that is null).
    """
    found = to_arrow_schema(_plain(schema), timezone="UTC")
    return pa.schema([pa.field(column.name, plain_type(column.type)) for column in found])


def declared_schema(schema: StructType) -> pa.Schema:
    """The Arrow schema that Spark compares batches with: that of `arrow_schema`, but for what the user's own says is not null."""
    return to_arrow_schema(schema, timezone="UTC")


def as_declared(batch: pa.RecordBatch, declared: pa.Schema, about: str) -> pa.RecordBatch:
    """A batch, in which everything may be null, as a schema in which some may not.

    Raises SchemaError naming the column that has a null where the schema says it has none.
    """
    if batch.schema.equals(declared):
        return batch
    columns = []
    for column, field in zip(batch.columns, declared, strict=True):
        if _has_undeclared_null(column, field):
            raise SchemaError(
                f"{about}: column {field.name!r} has nulls, and .schema(...) says that it has none; let it be nullable"
            )
        columns.append(column.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=declared)


def _has_undeclared_null(array: Any, field: pa.Field) -> bool:
    if not field.nullable and array.null_count:
        return True
    kind = field.type
    if types.is_struct(kind):
        there = array.filter(array.is_valid())
        return any(_has_undeclared_null(there.field(i), kind.field(i)) for i in range(kind.num_fields))
    if types.is_map(kind):
        return _has_undeclared_null(array.items, kind.item_field)
    return is_list(kind) and _has_undeclared_null(array.flatten(), kind.value_field)


def _plain(kind: Any) -> Any:
    """A Spark type as Arrow takes it: everything nullable (an empty array has elements of `not null` void), text as text."""
    if isinstance(kind, StructType):
        return StructType([StructField(one.name, _plain(one.dataType), metadata=one.metadata) for one in kind])
    if isinstance(kind, ArrayType):
        return ArrayType(_plain(kind.elementType))
    if isinstance(kind, MapType):
        return MapType(_plain(kind.keyType), _plain(kind.valueType))
    if isinstance(kind, (CharType, VarcharType)):
        return StringType()
    return _plain(kind.sqlType()) if isinstance(kind, UserDefinedType) else kind
