"""A DataFrame into a split: tasks store files, the driver makes one commit.

Planning happens on the driver before the first task: the repo exists, an append's columns fit, the split's files are
remembered. A task's files are invisible until the commit, so a retried or speculated one costs deduplicated bytes only.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage
from pyspark.sql.types import StructType

from pipeline.errors import NotFoundError, OptionError, SchemaError
from pipeline.hub import client
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.resolver import Snapshot
from pipeline.hub.split import Mode, SplitWrite, check_names, check_only_parquet, config_splits, existing_files
from pipeline.hub.upload import ShardReceipt
from pipeline.parquet.conform import conform
from pipeline.parquet.dataset import stored_schema
from pipeline.parquet.features import Features, features_of, from_yaml, to_yaml
from pipeline.parquet.footer import read_footer
from pipeline.parquet.layout import Kind, Layout
from pipeline.sizes import format_bytes
from pipeline.writing import FileSizes, hub_split_size, publish, store_split
from spark_datasource.schemas import spark_arrow_type
from spark_datasource.write_options import WriteOptions
from spark_datasource.written import holds_map, written_features, written_schema

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePlan:
    """What the driver decided before the first task. `rows_before` counts the split's rows then, for an overwrite."""

    options: WriteOptions
    mode: Mode
    arrow: pa.Schema
    features: Features | None
    card_features: Features | None
    planned: tuple[DataFile, ...]
    rows_before: int
    transaction: str


def plan_write(options: WriteOptions, schema: StructType, *, overwrite: bool) -> WritePlan:
    """Look at the target and decide. Creates the repo when there is none.

    Raises SchemaError when an append's columns do not fit, AccessError, OptionError.
    """
    check_names(options.config, options.split)
    arrow = written_schema(schema)
    features = written_features(schema, arrow, options.features)
    card_features = features
    listing = _open_target(options)
    mode = Mode.OVERWRITE if overwrite else Mode.APPEND
    planned = existing_files(listing, options.config, options.split)
    if planned and mode is Mode.APPEND:
        arrow, features, card_features = _fit_existing(options, listing, planned, arrow, features)
    elif mode is Mode.APPEND:
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
        rows_before=_rows(listing, options) if overwrite else 0,
        transaction=uuid.uuid4().hex,
    )


def _open_target(options: WriteOptions) -> Listing:
    """The repo, created when there is none, and fit to be written to."""
    try:
        listing = list_files(options.ref, options.token)
    except NotFoundError:
        if options.ref.revision not in (None, "main") or client.repo_exists(options.ref, options.token):
            raise
        client.create_repo(options.ref, options.token, private=options.private)
        listing = list_files(options.ref, options.token)
    client.check_branch(options.ref, options.token)
    check_only_parquet(listing)
    return listing


class Stored(WriterCommitMessage):
    """What one task stored."""

    def __init__(self, partition: int, receipts: Sequence[ShardReceipt]) -> None:
        self.partition = partition
        self.receipts = tuple(receipts)


class HuggingFaceWriter(DataSourceArrowWriter):
    """Carries out a plan; Spark pickles it to the executors and back to the driver."""

    def __init__(self, plan: WritePlan) -> None:
        self._plan = plan

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        context = TaskContext.get()
        partition = context.partitionId() if context else 0
        about = f"partition {partition}"
        batches = (conform(batch, self._plan.arrow, about) for batch in iterator)
        return Stored(partition, self._store(batches, name=f"part-{partition:05d}"))

    def commit(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        stored = sorted((m for m in messages if isinstance(m, Stored)), key=lambda message: message.partition)
        receipts = [receipt for message in stored for receipt in message.receipts]
        options = self._plan.options
        if not receipts:
            if self._plan.rows_before and not options.allow_empty_overwrite:
                raise OptionError(
                    f"an overwrite by no rows would delete the {self._plan.rows_before} rows of split {options.split!r}; "
                    "if that is meant, set option 'allowEmptyOverwrite' to true"
                )
            if self._plan.planned and self._plan.mode is Mode.APPEND:
                return
            receipts = self._store(iter(()), name="empty", at_least_one=True)
        committed = publish(
            options.ref,
            options.token,
            _split_write(self._plan),
            receipts,
            planned=self._plan.planned,
            message=_message(self._plan, receipts),
            check=self._check_fits,
        )
        log.info("%s: %s at %s", options.ref.repo_id, _message(self._plan, receipts), committed.sha)

    def abort(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """Nothing to undo: what tasks stored is in no commit, or the commit landed and stays."""

    def _check_fits(self, listing: Listing) -> None:
        """An append that comes after another writer's must fit what that one wrote."""
        plan = self._plan
        found = existing_files(listing, plan.options.config, plan.options.split)
        if plan.mode is Mode.APPEND and found and found != plan.planned:
            _fit_existing(plan.options, listing, found, plan.arrow, plan.features)

    def _store(self, batches: Iterator[pa.RecordBatch], *, name: str, at_least_one: bool = False) -> list[ShardReceipt]:
        options = self._plan.options
        return store_split(
            options.ref,
            options.token,
            batches,
            self._plan.arrow,
            name=name,
            layout=Layout(kind=Kind.EDITABLE),
            features=self._plan.features,
            sizes=FileSizes(max_rows=options.max_records_per_file, max_bytes=options.max_bytes_per_file),
            at_least_one=at_least_one,
        )


def _split_write(plan: WritePlan) -> SplitWrite:
    return SplitWrite(
        config=plan.options.config,
        split=plan.options.split,
        mode=plan.mode,
        transaction=plan.transaction,
        features=to_yaml(plan.card_features) if plan.card_features is not None else None,
    )


def _message(plan: WritePlan, receipts: Sequence[ShardReceipt]) -> str:
    rows = sum(receipt.rows for receipt in receipts)
    size = format_bytes(sum(receipt.file.size for receipt in receipts))
    verb = "Append" if plan.mode is Mode.APPEND else "Write"
    return f"{verb} {rows} rows ({size}, {len(receipts)} files) to split {plan.options.split} with Spark"


def _rows(listing: Listing, options: WriteOptions) -> int:
    size = hub_split_size(listing, options.config, options.split, options.token)
    return size.num_examples if size else 0


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
