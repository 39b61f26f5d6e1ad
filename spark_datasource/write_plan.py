"""What the driver decides about a write before its first task: where it goes, what it must fit, how its columns are written.

The repo or bucket exists after it, and the branch; the columns fit the rows that stay; the split's files are remembered.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql.types import StructType

from pipeline.errors import NotFoundError, OptionError
from pipeline.hub import client
from pipeline.hub.bucket import create_bucket
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.repo import DatasetRef
from pipeline.hub.split import Mode, check_names, check_only_parquet
from pipeline.parquet.features import Features
from pipeline.parquet.partitions import check_columns
from spark_datasource.write_fit import find_kept, fit, split_now
from spark_datasource.write_options import WriteOptions
from spark_datasource.written import OwnFeatures, holds_map, own_features, written_schema

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePlan:
    """What the driver decided before the first task; `planned` are the split's files then, at the commit `head`.

    `query` and `batch` are those of a stream's micro-batch.
    """

    options: WriteOptions
    mode: Mode
    arrow: pa.Schema
    own: OwnFeatures
    features: Features | None
    card_features: Features | None
    planned: tuple[DataFile, ...]
    head: str | None
    transaction: str
    query: str | None = None
    batch: int | None = None


def plan_write(options: WriteOptions, schema: StructType, *, overwrite: bool) -> WritePlan:
    """Look at the target and decide. Creates the repo or bucket when there is none, and the branch.

    Raises SchemaError when the columns do not fit the rows that the config keeps, AccessError, OptionError.
    """
    check_names(options.config, options.split)
    arrow = written_schema(schema)
    check_columns(options.partition_columns, arrow)
    own = own_features(schema, arrow, options.features)
    listing = _open_target(options)
    mode = Mode.OVERWRITE if overwrite else Mode.APPEND
    fitted = fit(find_kept(options, mode, listing), options, arrow, own)
    if maps := [column.name for column in arrow if holds_map(column.type)]:
        log.warning(
            "%s: `datasets` cannot load maps, such as column %r; Spark and we can", options.ref.repo_id, maps[0]
        )
    return WritePlan(
        options=options,
        mode=mode,
        arrow=fitted.arrow,
        own=own,
        features=fitted.features,
        card_features=fitted.card_features,
        planned=split_now(options, listing),
        head=listing.ref.revision,
        transaction=uuid.uuid4().hex,
    )


def check_fits(plan: WritePlan, listing: Listing) -> None:
    """A write that comes after another writer's must fit what that one wrote. Raises SchemaError."""
    if listing.ref.revision != plan.head:
        fit(find_kept(plan.options, plan.mode, listing), plan.options, plan.arrow, plan.own)


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
                _check_new(ref)
                client.create_repo(ref, token, private=options.private)
            client.ensure_branch(ref, token)
        listing = list_files(ref, token)
    if ref.kind == "datasets":
        client.check_branch(ref, token)
        check_only_parquet(listing)
    return listing


def _check_new(ref: DatasetRef) -> None:
    """Raises OptionError for a revision that no repo has when it is new."""
    if not client.is_branch_name(ref.revision or "main"):
        raise OptionError(
            f"option 'revision' must be a branch's name where the repo is new, got {ref.revision!r}: {ref.repo_id} does not "
            "exist; check its name, or leave the option out"
        )
