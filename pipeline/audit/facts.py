"""The files and footers of a split -> what they say: sizes, layout, compression, columns. Pure.

A footer does not name its layout. `blocks` shows in the byte ranges: exactly a pad stands before every row group. Content-defined
chunking shows where the writer recorded it, in the key that `datasets` and pyspark_huggingface write; pyarrow alone leaves no
trace of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any

import pyarrow as pa

from pipeline.hub.listing import DataFile
from pipeline.parquet.features import KEY, Features, features_of
from pipeline.parquet.footer import Footer, RowGroup
from pipeline.parquet.layout import Kind, is_padded, leaves

PLAIN = "plain"
EMPTY = "empty"
_CDC_KEY = b"content_defined_chunking"
# Encodings of definition and repetition levels: they say nothing of the values.
_LEVELS = frozenset(("RLE", "BIT_PACKED"))
_CONTAINERS = ("Value", "List", "LargeList", "Sequence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The smallest, the middle and the largest of some numbers; zeros for none."""

    min: int
    median: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    """One Parquet column: `name` is its dotted path, `feature` the Hugging Face type that its Arrow type does not tell.

    `size` is in bytes of the files, `share` of all columns' size; `num_bytes` is before compression.
    """

    name: str
    type: str
    feature: str | None
    size: int
    share: float
    num_bytes: int
    codecs: tuple[str, ...]
    encodings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """One split. `size` is in bytes of the files; `layouts` counts files, `codecs` the bytes behind each codec.

    A file's layout is `blocks`, `editable` (content-defined chunking), `plain` (neither is recorded) or `empty` (no rows).
    `varying` are the columns that not all files have, or not with one type.
    """

    config: str
    split: str
    files: int
    rows: int
    size: int
    row_groups: int
    file_size: Spread
    row_group_size: Spread
    row_group_rows: Spread
    large_row_groups: int
    layouts: Mapping[str, int]
    codecs: Mapping[str, int]
    files_with_page_index: int
    files_with_statistics: int
    files_with_features: int
    files_on_xet: int
    features_on_card: bool
    rows_on_card: int | None
    largest_file: str | None
    largest_file_rows: int
    varying: tuple[str, ...]
    columns: tuple[ColumnFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What the card says of a split: features (`None` when it lists none) and rows."""

    features: Features | None = None
    rows: int | None = None


@dataclass(slots=True)
class _Column:
    """A column while it is added up."""

    feature: str | None
    types: dict[str, None] = field(default_factory=dict)
    size: int = 0
    num_bytes: int = 0
    codecs: set[str] = field(default_factory=set)
    encodings: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Sums:
    """A split while its files are added up, one footer after the other: a large one's footers do not fit into memory."""

    sizes: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    group_sizes: list[int] = field(default_factory=list)
    group_rows: list[int] = field(default_factory=list)
    layouts: Counter[str] = field(default_factory=Counter)
    codecs: Counter[str] = field(default_factory=Counter)
    typed: Counter[tuple[str, str]] = field(default_factory=Counter)
    page_index: int = 0
    statistics: int = 0
    features: int = 0
    columns: dict[str, _Column] = field(default_factory=dict)


def split_facts(
    config: str,
    split: str,
    files: Sequence[DataFile],
    footers: Iterable[Footer],
    *,
    card: CardFacts,
    large_bytes: int,
) -> SplitFacts:
    """What files and footers say, the footers in the files' order. Row groups over `large_bytes` are counted as large."""
    sums = _Sums()
    for file, footer in zip(files, footers, strict=True):
        _add_file(sums, file, footer, card.features or {})
    largest = max(range(len(files)), key=lambda i: sums.rows[i], default=None)
    typed = Counter(name for name, _ in sums.typed)
    return SplitFacts(
        config=config,
        split=split,
        files=len(files),
        rows=sum(sums.rows),
        size=sum(sums.sizes),
        row_groups=len(sums.group_sizes),
        file_size=_spread(sums.sizes),
        row_group_size=_spread(sums.group_sizes),
        row_group_rows=_spread(sums.group_rows),
        large_row_groups=sum(size > large_bytes for size in sums.group_sizes),
        layouts=dict(sums.layouts.most_common()),
        codecs=dict(sums.codecs.most_common()),
        files_with_page_index=sums.page_index,
        files_with_statistics=sums.statistics,
        files_with_features=sums.features,
        files_on_xet=sum(file.xet_hash is not None for file in files),
        features_on_card=card.features is not None,
        rows_on_card=card.rows,
        largest_file=None if largest is None else files[largest].path,
        largest_file_rows=0 if largest is None else sums.rows[largest],
        varying=tuple(
            sorted({name for (name, _), count in sums.typed.items() if count < len(files) or typed[name] > 1})
        ),
        columns=_columns(sums.columns),
    )


def _add_file(sums: _Sums, file: DataFile, footer: Footer, card: Features) -> None:
    metadata, schema, groups = (
        footer.metadata(),
        footer.schema(),
        [group for group in footer.row_groups() if group.rows],
    )
    sums.sizes.append(file.size)
    sums.rows.append(footer.rows)
    sums.group_sizes += [group.size() for group in groups]
    sums.group_rows += [group.rows for group in groups]
    sums.layouts[_layout(metadata.metadata or {}, groups)] += 1
    sums.typed.update((column.name, str(column.type)) for column in schema)
    sums.features += KEY in (schema.metadata or {})
    page_index, statistics = _add_columns(sums, metadata, _known_columns(sums, schema, card))
    # A file without rows lacks neither.
    sums.page_index += page_index or not groups
    sums.statistics += statistics or not groups


def _known_columns(sums: _Sums, schema: pa.Schema, card: Features) -> list[_Column]:
    """The sums of a file's Parquet columns, in its order."""
    features: Features = {}
    found = []
    for path, top, kind in leaves(schema):
        if path not in sums.columns:
            features = features or card or features_of(schema) or {}
            sums.columns[path] = _Column(_feature(features.get(top)))
        sums.columns[path].types[str(kind)] = None
        found.append(sums.columns[path])
    return found


def _add_columns(sums: _Sums, metadata: Any, columns: Sequence[_Column]) -> tuple[bool, bool]:
    """Add a file's column chunks; whether any has a page index, and any has statistics."""
    page_index = statistics = False
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for i, column in enumerate(columns):
            chunk = group.column(i)
            codec = chunk.compression.lower().replace("uncompressed", "none")
            column.size += chunk.total_compressed_size
            column.num_bytes += chunk.total_uncompressed_size
            column.codecs.add(codec)
            column.encodings.update(_encodings(chunk))
            sums.codecs[codec] += chunk.total_compressed_size
            page_index = page_index or chunk.has_offset_index
            statistics = statistics or (chunk.is_stats_set and chunk.statistics.has_min_max)
    return page_index, statistics


def _encodings(chunk: Any) -> set[str]:
    if chunk.has_dictionary_page:
        return {"dictionary"}
    return {one.lower() for one in set(chunk.encodings) - _LEVELS or {"RLE"}}


def _layout(written: Mapping[bytes, bytes], groups: Sequence[RowGroup]) -> str:
    if not groups:
        return EMPTY
    # Before the key: a mix of files that have it may carry it along.
    if is_padded(groups):
        return Kind.BLOCKS.value
    return PLAIN if written.get(_CDC_KEY, b"false") in (b"false", b"null") else Kind.EDITABLE.value


def _columns(columns: Mapping[str, _Column]) -> tuple[ColumnFacts, ...]:
    total = max(1, sum(column.size for column in columns.values()))
    return tuple(
        ColumnFacts(
            name=name,
            type=" / ".join(column.types),
            feature=column.feature,
            size=column.size,
            share=column.size / total,
            num_bytes=column.num_bytes,
            codecs=tuple(sorted(column.codecs)),
            encodings=tuple(sorted(column.encodings)),
        )
        for name, column in columns.items()
    )


def _feature(feature: Any) -> str | None:
    """The name of a feature that is more than a value or a list of values."""
    while isinstance(feature, Mapping) and feature.get("_type") in _CONTAINERS and "feature" in feature:
        feature = feature["feature"]
    kind = feature.get("_type") if isinstance(feature, Mapping) else None
    return kind if isinstance(kind, str) and kind not in _CONTAINERS else None


def _spread(values: Sequence[int]) -> Spread:
    return (
        Spread(min=min(values), median=median_low(values), max=max(values))
        if values
        else Spread(min=0, median=0, max=0)
    )
