"""Options -> a pinned dataset with its schema: what `load` learns, and all later steps of Spark share.

Spark pickles it into every task, so it is small whatever the dataset: files are looked up again, in the listing that this
machine keeps of the pinned commit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql.types import StructType

from pipeline.hub.listing import pin_at
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef
from pipeline.hub.resolver import Snapshot, resolve
from pipeline.parquet.dataset import choose, stored_schema
from pipeline.parquet.features import Features, features_of, from_yaml, narrow_feature
from pipeline.predicate import Predicate
from pipeline.storage import FileRef
from spark_datasource.filters import compile_filters
from spark_datasource.read_options import ReadOptions
from spark_datasource.schemas import spark_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A split at a commit, which `options.ref` is pinned to: the schema that its files have, the condition on its rows."""

    options: ReadOptions
    about: str
    arrow: pa.Schema
    features: Features | None
    predicate: Predicate | None

    def schema(self) -> StructType:
        """The Spark schema of the chosen columns. Raises SchemaError for a column that is not there."""
        if self.options.columns is None:
            return spark_schema(self.arrow, self.features)
        chosen = choose(self.arrow, self.options.columns, self.about)
        known = self.features or {}
        narrowed = {one.name: narrow_feature(known[one.name], one.type) for one in chosen if one.name in known}
        return spark_schema(chosen, narrowed)

    def files(self) -> tuple[FileRef, ...]:
        """The files of the split."""
        return file_refs(_resolve(self.options), self.options.transport)


def open_dataset(options: ReadOptions) -> Dataset:
    """Pin the commit and learn the schema. Raises NotFoundError, AccessError, CorruptFileError, SchemaError."""
    options = replace(options, ref=_at_time(options))
    snapshot = _resolve(options)
    pinned = replace(options.ref, revision=snapshot.ref.revision)
    card = from_yaml(snapshot.features) if snapshot.features else None
    # A condition may name any column, so all that the card knows are looked for.
    arrow = stored_schema(file_refs(snapshot, options.transport), list(card or {}), options.token)
    return Dataset(
        options=replace(options, ref=pinned, timestamp=None),
        about=snapshot.rows_url,
        arrow=arrow,
        features=card or features_of(arrow),
        predicate=compile_filters(options.filters, options.where, arrow),
    )


def _resolve(options: ReadOptions) -> Snapshot:
    return resolve(options.ref, options.token, data_files=options.data_files, data_dir=options.data_dir)


def _at_time(options: ReadOptions) -> DatasetRef:
    if options.timestamp is None:
        return options.ref
    return replace(options.ref, revision=pin_at(options.ref, options.token, options.timestamp).revision)
