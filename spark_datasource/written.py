"""A DataFrame's schema as that of the files it is written to: Parquet types that every reader has, and Hugging Face features.

Times of up to 6 digits are written in us, for few readers take ns. What Parquet, or its readers, would give back as something
else (variants, intervals of months, geometries) is refused with the column and what to make of it instead.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import types
from pyspark.errors import PySparkException
from pyspark.sql.types import (
    ArrayType,
    CalendarIntervalType,
    DataType,
    GeographyType,
    GeometryType,
    MapType,
    StructField,
    StructType,
    TimeType,
    VariantType,
    YearMonthIntervalType,
)

from pipeline.errors import SchemaError
from pipeline.parquet.casts import is_list
from pipeline.parquet.feature_meaning import is_plain
from pipeline.parquet.features import Features, feature_of_type, misfit
from pipeline.parquet.writer import check_writable
from spark_datasource.schemas import FEATURE_KEY, MICROS, arrow_schema

INSTEAD: dict[type[DataType], str] = {
    VariantType: "write to_json(...) of it",
    YearMonthIntervalType: "cast it to int, as months",
    CalendarIntervalType: "cast it to string",
    GeometryType: "write st_asbinary(...) of it",
    GeographyType: "write st_asbinary(...) of it",
}
_CAST = "cast it, or leave it out"


def written_schema(schema: StructType) -> pa.Schema:
    """The Arrow schema that a DataFrame is written with. Raises SchemaError naming the column that cannot be written."""
    if not schema.fields:
        raise SchemaError("the DataFrame has no columns; a dataset needs one at least")
    if twice := _twice(schema.names):
        raise SchemaError(f"the DataFrame has several columns named {twice!r}; rename or drop all but one")
    return pa.schema([_written_field(column) for column in schema.fields])


def _written_field(column: StructField) -> pa.Field:
    parts = list(_parts(column.dataType))
    advice = next((INSTEAD[type(part)] for part in parts if type(part) in INSTEAD), None)
    try:
        if advice:
            raise SchemaError(_refusal(column, advice))
        found = arrow_schema(StructType([column])).field(0)
        check_writable(pa.schema([found]))
    except (PySparkException, pa.ArrowException) as err:
        raise SchemaError(_refusal(column, _CAST)) from err
    if twice := _twice_within(found.type):
        raise SchemaError(f"column {column.name!r} has several fields named {twice!r}; rename or drop all but one")
    fine = any(isinstance(part, TimeType) and part.precision > MICROS for part in parts)
    return found if fine else found.with_type(_times_in_us(found.type))


def _refusal(column: StructField, advice: str) -> str:
    return f"column {column.name!r} is {column.dataType.simpleString()}, which cannot be written to Parquet; {advice}"


def _parts(kind: DataType) -> list[DataType]:
    """A type and all types inside it."""
    inner: list[DataType] = []
    if isinstance(kind, StructType):
        inner = [child.dataType for child in kind]
    elif isinstance(kind, ArrayType):
        inner = [kind.elementType]
    elif isinstance(kind, MapType):
        inner = [kind.keyType, kind.valueType]
    return [kind, *(part for one in inner for part in _parts(one))]


def _times_in_us(kind: pa.DataType) -> pa.DataType:
    if types.is_struct(kind):
        return pa.struct([child.with_type(_times_in_us(child.type)) for child in kind])
    if types.is_map(kind):
        return pa.map_(_times_in_us(kind.key_type), _times_in_us(kind.item_type))
    if is_list(kind):
        return pa.list_(kind.value_field.with_type(_times_in_us(kind.value_type)))
    return pa.time64("us") if types.is_time(kind) else kind


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFeatures:
    """The features of a DataFrame's columns, without those whose type has none.

    `said` are the columns whose feature an option gave, or a read of another dataset where it is more than their type.
    """

    columns: Features
    said: frozenset[str] = frozenset()

    def whole(self, names: Sequence[str]) -> Features | None:
        """The features of these columns, `None` when one has none: then nothing is claimed about any."""
        return {name: self.columns[name] for name in names} if all(name in self.columns for name in names) else None


def own_features(schema: StructType, arrow: pa.Schema, given: Features | None) -> OwnFeatures:
    """The features of a written schema: the given ones first, then those that came along, then what the types say.

    Raises SchemaError for a feature of a column that is not there, or whose values are no such thing.
    """
    for name, feature in (given or {}).items():
        if name not in arrow.names:
            raise SchemaError(
                f"option 'features' names column {name!r}; the DataFrame has {', '.join(map(repr, arrow.names))}"
            )
        if wrong := misfit(feature, arrow.field(name).type):
            raise SchemaError(f"option 'features': column {name!r} {wrong}")
    found: Features = dict(given or {})
    carried = {
        column.name: feature
        for spark_field, column in zip(schema.fields, arrow, strict=True)
        if column.name not in found and (feature := _carried(spark_field, column.type)) is not None
    }
    said = {*found, *(name for name, feature in carried.items() if not is_plain(feature))}
    found |= carried
    types_say = {column.name: feature_of_type(column.type) for column in arrow if column.name not in found}
    found |= {name: feature for name, feature in types_say.items() if feature is not None}
    return OwnFeatures(columns=found, said=frozenset(said))


def _carried(column: StructField, kind: pa.DataType) -> Any:
    """The feature that came along with a column, where its values still are that."""
    carried = (column.metadata or {}).get(FEATURE_KEY)
    feature = json.loads(carried) if carried else None
    return None if feature is None or misfit(feature, kind) else feature
