"""Options -> a pinned dataset with its schema: what `load` learns, and all later steps of Spark share.

Spark pickles it into every task, so it is small whatever the dataset: files are looked up again, in the listing that this
machine keeps of the pinned commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql.types import StringType, StructField, StructType

from pipeline.errors import OptionError, RecipeError, SchemaError
from pipeline.formats.rows import RowSource, open_rows
from pipeline.hub.any_format import Resolved, is_several, resolve_any
from pipeline.hub.formats import PARQUET
from pipeline.hub.listing import list_files, pin_at
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef
from pipeline.hub.resolver import Snapshot
from pipeline.parquet.dataset import choose, stored_schema
from pipeline.parquet.features import Features, features_of, from_yaml, narrow_feature
from pipeline.predicate import Predicate
from spark_datasource.filters import compile_filters
from spark_datasource.read_options import ReadOptions
from spark_datasource.schemas import spark_schema

SPLIT = "split"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Splits at a commit, which `options.ref` is pinned to: the schema that their files have, the condition on their rows.

    `source` reads files that are not Parquet. Where `several` splits are read, a column tells each row's.
    """

    options: ReadOptions
    about: str
    arrow: pa.Schema
    features: Features | None
    predicate: Predicate | None
    source: RowSource | None
    several: bool

    def schema(self) -> StructType:
        """The Spark schema of the chosen columns. Raises SchemaError for a column that is not there."""
        columns = self.options.columns
        if columns is None:
            own = spark_schema(self.arrow, self.features)
            return own.add(_split_field()) if self.several else own
        known = self.features or {}
        chosen = choose(self.arrow, [name for name in columns if not self._is_split(name)], self.about)
        narrowed = {one.name: narrow_feature(known[one.name], one.type) for one in chosen if one.name in known}
        found = spark_schema(chosen, narrowed)
        return StructType([*found.fields, *(_split_field() for name in columns if self._is_split(name))])

    def splits(self) -> list[Snapshot]:
        """The splits that are read, with their files."""
        return list(_resolve(self.options).wanted.values())

    def _is_split(self, name: str) -> bool:
        return self.several and name == SPLIT


def open_dataset(options: ReadOptions) -> Dataset:
    """Pin the commit and learn the schema. Raises NotFoundError, AccessError, CorruptFileError, SchemaError."""
    options = replace(options, ref=_at_time(options), timestamp=None)
    resolved = _resolve(options)
    snapshots = list(resolved.wanted.values())
    several = is_several(options.ref.split)
    pinned = replace(options.ref, revision=snapshots[0].ref.revision)
    source = None if resolved.format == PARQUET else open_rows(resolved, options.token, options.transport)
    arrow, features = (source.schema, source.features) if source else _stored(snapshots, options)
    if several and SPLIT in arrow.names:
        raise SchemaError(
            f"{snapshots[0].rows_url}: it has a column 'split' of its own; read its splits one by one and union them"
        )
    return Dataset(
        options=replace(options, ref=pinned),
        about=snapshots[0].rows_url,
        arrow=arrow,
        features=features,
        predicate=_condition(options, arrow, several),
        source=source,
        several=several,
    )


def _condition(options: ReadOptions, arrow: pa.Schema, several: bool) -> Predicate | None:
    try:
        return compile_filters(options.filters, options.where, arrow)
    except (OptionError, RecipeError) as err:
        if several and f"{SPLIT!r}" in str(err):
            raise OptionError(
                f"{err}; splits are chosen by the option 'split' ('a+b', 'train*'), or by a filter of the DataFrame"
            ) from err
        raise


def _stored(snapshots: list[Snapshot], options: ReadOptions) -> tuple[pa.Schema, Features | None]:
    """The schema of the Parquet files; a condition may name any column, so all that the card knows are looked for."""
    card = from_yaml(snapshots[0].features) if snapshots[0].features else None
    files = [file for one in snapshots for file in file_refs(one, options.transport)]
    arrow = stored_schema(files, list(card or {}), options.token)
    return arrow, card or features_of(arrow)


def _resolve(options: ReadOptions) -> Resolved:
    listing = list_files(options.ref, options.token)
    found = resolve_any(listing, options.ref, data_files=options.data_files, data_dir=options.data_dir)
    reading: Mapping[str, object] = {**found.reading, **options.settings}
    return replace(found, reading=reading)


def _at_time(options: ReadOptions) -> DatasetRef:
    if options.timestamp is None:
        return options.ref
    return replace(options.ref, revision=pin_at(options.ref, options.token, options.timestamp).revision)


def _split_field() -> StructField:
    return StructField(SPLIT, StringType())
