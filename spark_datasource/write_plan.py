"""What the driver decides about a write before its first task: where it goes, what it must fit, how its columns are written.

The repo or bucket exists after it, and the branch; an append's columns fit; the split's files are remembered.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql.types import StructType

from pipeline.errors import NotFoundError, SchemaError
from pipeline.hub import client
from pipeline.hub.bucket import create_bucket, split_files
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.resolver import Snapshot
from pipeline.hub.split import Mode, check_names, check_only_parquet, config_splits, existing_files, folder_of
from pipeline.parquet.dataset import stored_schema
from pipeline.parquet.features import Features, features_of, from_yaml
from pipeline.parquet.footer import read_footer
from pipeline.parquet.partitions import check_columns
from spark_datasource.schemas import spark_arrow_type
from spark_datasource.write_options import WriteOptions
from spark_datasource.written import holds_map, written_features, written_schema

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePlan:
    """What the driver decided before the first task; `planned` are the split's files then.

    `query` and `batch` are those of a stream's micro-batch.
    """

    options: WriteOptions
    mode: Mode
    arrow: pa.Schema
    features: Features | None
    card_features: Features | None
    planned: tuple[DataFile, ...]
    transaction: str
    query: str | None = None
    batch: int | None = None


def plan_write(options: WriteOptions, schema: StructType, *, overwrite: bool) -> WritePlan:
    """Look at the target and decide. Creates the repo or bucket when there is none, and the branch.

    Raises SchemaError when an append's columns do not fit, AccessError, OptionError.
    """
    check_names(options.config, options.split)
    arrow = written_schema(schema)
    check_columns(options.partition_columns, arrow)
    features = written_features(schema, arrow, options.features)
    card_features = features
    listing = _open_target(options)
    mode = Mode.OVERWRITE if overwrite else Mode.APPEND
    planned = split_now(options, listing)
    if planned and mode is Mode.APPEND:
        arrow, features, card_features = _fit_existing(options, listing, planned, arrow, features)
    elif mode is Mode.APPEND and options.ref.kind == "datasets":
        _check_config(options, listing, arrow)
    if maps := [column.name for column in arrow if holds_map(column.type)]:
        log.warning(
            "%s: `datasets` cannot load maps, such as column %r; Spark and we can", options.ref.repo_id, maps[0]
        )
    return WritePlan(
        options=options,
        mode=mode,
        arrow=arrow,
        features=features,
        card_features=card_features,
        planned=planned,
        transaction=uuid.uuid4().hex,
    )


def split_now(options: WriteOptions, listing: Listing) -> tuple[DataFile, ...]:
    """The files that the split has: those of the card's config, or in a bucket those that are named like it in its folder."""
    if options.ref.kind == "buckets":
        return split_files(listing, folder_of(options.config, options.data_dir), options.split)
    return existing_files(listing, options.config, options.split)


def check_fits(plan: WritePlan, listing: Listing) -> None:
    """An append that comes after another writer's must fit what that one wrote. Raises SchemaError."""
    found = split_now(plan.options, listing)
    if plan.mode is Mode.APPEND and found and found != plan.planned:
        _fit_existing(plan.options, listing, found, plan.arrow, plan.features)


def _open_target(options: WriteOptions) -> Listing:
    """The repo or bucket, created when there is none, and fit to be written to."""
    ref, token = options.ref, options.token
    try:
        listing = list_files(ref, token)
    except NotFoundError:
        if ref.kind == "buckets":
            create_bucket(ref, token, private=options.private)
        else:
            if not client.repo_exists(ref, token):
                client.create_repo(ref, token, private=options.private)
            client.ensure_branch(ref, token)
        listing = list_files(ref, token)
    if ref.kind == "datasets":
        client.check_branch(ref, token)
        check_only_parquet(listing)
    return listing


def _fit_existing(
    options: WriteOptions, listing: Listing, files: Sequence[DataFile], arrow: pa.Schema, features: Features | None
) -> tuple[pa.Schema, Features | None, Features | None]:
    """The schema to append with: the split's own column order and types; its features, and those the card then has."""
    info = listing.card.info(options.config) or {}
    told = from_yaml(info["features"]) if info.get("features") else None
    refs = file_refs(Snapshot(ref=listing.ref, files=tuple(files)))
    existing = stored_schema(refs, list(told or {}), options.token)
    known = told or features_of(existing)
    same = [name for name in existing.names if name in arrow.names]
    added = [name for name in arrow.names if name not in existing.names and name not in (known or {})]
    missing = [name for name in (known or dict.fromkeys(existing.names)) if name not in arrow.names]
    _check_types(arrow, existing, "the split")
    if (added or missing) and not options.merge_schema:
        raise SchemaError(
            f"the DataFrame's columns differ from those of split {options.split!r}: "
            f"{_listed('new', added)}{'; ' if added and missing else ''}{_listed('missing', missing)}; "
            "select the same columns, or set option 'mergeSchema' to true"
        )
    rest = [name for name in arrow.names if name not in same]
    schema = pa.schema(
        [pa.field(name, existing.field(name).type) for name in same] + [arrow.field(name) for name in rest]
    )
    if known is None or features is None:
        return schema, features, None
    merged = known | {name: features[name] for name in rest if name not in known}
    return schema, {name: merged[name] for name in schema.names}, merged


def _check_config(options: WriteOptions, listing: Listing, arrow: pa.Schema) -> None:
    """A new split shares its config's features: a column that another split has must be of its type."""
    for split, files in config_splits(listing, options.config).items():
        if files:
            refs = file_refs(Snapshot(ref=listing.ref, files=files[:1]))
            _check_types(arrow, read_footer(refs[0], options.token).schema(), f"split {split!r}")
            return


def _check_types(arrow: pa.Schema, existing: pa.Schema, where: str) -> None:
    for name in [name for name in existing.names if name in arrow.names]:
        mine, theirs = arrow.field(name).type, existing.field(name).type
        if spark_arrow_type(theirs) != spark_arrow_type(mine):
            raise SchemaError(f"column {name!r} is {mine}, but {where} has {theirs}; cast it, or overwrite the split")


def _listed(what: str, names: Sequence[str]) -> str:
    return f"{what} {', '.join(map(repr, names))}" if names else ""
