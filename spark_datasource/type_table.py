"""Which Arrow type and Hugging Face feature becomes which Spark type: the README's table, and what the tests walk."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

LOSSLESS = "the same values"
WIDER = "wider; the same values"
REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRow:
    """One row of the table, in Markdown; `kinds` are Arrow types that it speaks of.

    `spark` is `None` where the column is refused with its name.
    """

    arrow: str
    huggingface: str
    spark: str | None
    note: str
    kinds: tuple[pa.DataType, ...]


def _value(name: str, spark: str | None, note: str, *kinds: pa.DataType, feature: str = "") -> TypeRow:
    shown = feature or f'`Value("{name}")`'
    return TypeRow(arrow=f"`{name}`", huggingface=shown, spark=spark and f"`{spark}`", note=note, kinds=kinds)


def _feature(name: str, arrow: str, spark: str, note: str, *kinds: pa.DataType) -> TypeRow:
    return TypeRow(arrow=arrow, huggingface=f"`{name}`", spark=f"`{spark}`", note=note, kinds=kinds)


_MEDIA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_NS = (
    "values that are whole us; others are an error, or cut off with the option `timestampNs`=`truncate`: "
    "Spark's have 6 digits"
)
_NONE = "none"

TYPE_TABLE: tuple[TypeRow, ...] = (
    _value("null", "void", LOSSLESS, pa.null()),
    _value("bool", "boolean", LOSSLESS, pa.bool_()),
    _value("int8", "tinyint", LOSSLESS, pa.int8()),
    _value("int16", "smallint", LOSSLESS, pa.int16()),
    _value("int32", "int", LOSSLESS, pa.int32()),
    _value("int64", "bigint", LOSSLESS, pa.int64()),
    _value("uint8", "smallint", WIDER, pa.uint8()),
    _value("uint16", "int", WIDER, pa.uint16()),
    _value("uint32", "bigint", WIDER, pa.uint32()),
    _value("uint64", "decimal(20,0)", WIDER, pa.uint64()),
    _value("float16", "float", WIDER, pa.float16()),
    _value("float32", "float", LOSSLESS, pa.float32()),
    _value("float64", "double", LOSSLESS, pa.float64()),
    _value("decimal32(p, s)", "decimal(p,s)", LOSSLESS, pa.decimal32(7, 2), feature=_NONE),
    _value("decimal64(p, s)", "decimal(p,s)", LOSSLESS, pa.decimal64(15, 3), feature=_NONE),
    _value("decimal128(p, s)", "decimal(p,s)", LOSSLESS, pa.decimal128(38, 10), pa.decimal128(5, 5)),
    _value("decimal256(p, s)", "decimal(p,s)", "up to 38 digits", pa.decimal256(38, 2)),
    _value(
        "decimal256(p > 38, s)",
        None,
        f"{REFUSED}: read it as `string`, or as another decimal, with `.schema(...)`",
        pa.decimal256(40, 2),
    ),
    _value("string", "string", LOSSLESS, pa.string()),
    _value("large_string", "string", f"{LOSSLESS}; a value is under 2 GB", pa.large_string()),
    _value("string_view", "string", LOSSLESS, pa.string_view()),
    _value("binary", "binary", LOSSLESS, pa.binary()),
    _value("large_binary", "binary", f"{LOSSLESS}; a value is under 2 GB", pa.large_binary()),
    _value("binary_view", "binary", LOSSLESS, pa.binary_view()),
    _value("fixed_size_binary[n]", "binary", LOSSLESS, pa.binary(3)),
    _value("date32", "date", LOSSLESS, pa.date32()),
    _value("date64", "date", LOSSLESS, pa.date64()),
    _value("time32[s|ms]", "time(6)", LOSSLESS, pa.time32("s"), pa.time32("ms")),
    _value("time64[us]", "time(6)", LOSSLESS, pa.time64("us")),
    _value("time64[ns]", "time(9)", f"{LOSSLESS}; Python shows 6 digits", pa.time64("ns")),
    _value("timestamp[s|ms|us]", "timestamp_ntz", LOSSLESS, *(pa.timestamp(unit) for unit in ("s", "ms", "us"))),
    _value("timestamp[ns]", "timestamp_ntz", _NS, pa.timestamp("ns")),
    _value(
        "timestamp[s|ms|us, tz=...]",
        "timestamp",
        "the same instants; the zone's name is not kept",
        pa.timestamp("s", "Asia/Tokyo"),
        pa.timestamp("ms", "+05:30"),
        pa.timestamp("us", "UTC"),
    ),
    _value("timestamp[ns, tz=...]", "timestamp", _NS, pa.timestamp("ns", "Europe/Paris")),
    _value(
        "duration[s|ms|us]",
        "interval day to second",
        LOSSLESS,
        *(pa.duration(unit) for unit in ("s", "ms", "us")),
    ),
    _value("duration[ns]", "interval day to second", _NS, pa.duration("ns")),
    _value("month_day_nano_interval", None, REFUSED, pa.month_day_nano_interval(), feature=_NONE),
    _value(
        "dictionary",
        "type of the values",
        LOSSLESS,
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.int64()),
        feature="that of the values",
    ),
    _value(
        "run_end_encoded",
        "type of the values",
        f"{LOSSLESS}; Parquet has none",
        pa.run_end_encoded(pa.int32(), pa.string()),
        feature=_NONE,
    ),
    _value("list", "array", LOSSLESS, pa.list_(pa.int32()), feature="`List`, `Sequence`"),
    _value("large_list", "array", LOSSLESS, pa.large_list(pa.uint8()), feature="`LargeList`"),
    _value(
        "fixed_size_list[n]",
        "array",
        f"{LOSSLESS}; appending checks the length",
        pa.list_(pa.float32(), 2),
        feature="`List(length=n)`",
    ),
    _value(
        "list_view, large_list_view",
        "array",
        f"{LOSSLESS}, rebuilt",
        pa.list_view(pa.int32()),
        pa.large_list_view(pa.string()),
        feature=_NONE,
    ),
    _value(
        "struct",
        "struct",
        LOSSLESS,
        pa.struct([("a", pa.uint32()), ("b", pa.list_(pa.struct([("c", pa.large_string())])))]),
        feature="a dict of features",
    ),
    _value(
        "map", "map", f"{LOSSLESS}; `datasets` cannot load it", pa.map_(pa.string(), pa.list_(pa.int8())), feature=_NONE
    ),
    _value("union", None, REFUSED, pa.dense_union([pa.field("a", pa.int8())]), feature=_NONE),
    _value("arrow.json", "string", "the JSON text", pa.json_(pa.string()), feature="`Json`"),
    _value("arrow.uuid", "binary", "its 16 bytes", pa.uuid(), feature=_NONE),
    _value("arrow.bool8", "boolean", LOSSLESS, pa.bool8(), feature=_NONE),
    _value(
        "arrow.fixed_shape_tensor",
        "array",
        "the values as stored, flat; the shape is not kept",
        pa.fixed_shape_tensor(pa.float32(), (2, 2)),
        feature=_NONE,
    ),
    _value(
        "arrow.opaque, other extensions",
        "type of the storage",
        "the values as stored",
        pa.opaque(pa.binary(), "kind", "vendor"),
        feature=_NONE,
    ),
    _feature("ClassLabel", "`int64`", "bigint", "the number; the names travel in the column's metadata", pa.int64()),
    _feature(
        "Image, Audio, Video, Pdf, Nifti",
        "`struct<bytes: binary, path: string>`",
        "struct<bytes:binary,path:string>",
        "encoded bytes; the feature travels in the column's metadata",
        _MEDIA,
    ),
    _feature(
        "Translation",
        "`struct<language: string, ...>`",
        "struct<language:string,...>",
        "the feature travels in the column's metadata",
        pa.struct([("en", pa.string()), ("fr", pa.string())]),
    ),
    _feature(
        "TranslationVariableLanguages",
        "`struct<language: list<string>, translation: list<string>>`",
        "struct<language:array<string>,translation:array<string>>",
        "the feature travels in the column's metadata",
        pa.struct([("language", pa.list_(pa.string())), ("translation", pa.list_(pa.string()))]),
    ),
    _feature(
        "Array2D, Array3D, Array4D, Array5D",
        "nested `list`",
        "nested array",
        "the feature, with its shape, travels in the column's metadata",
        pa.list_(pa.list_(pa.float32())),
    ),
)
