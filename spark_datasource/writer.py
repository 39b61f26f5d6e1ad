"""A DataFrame into a split: tasks store files, the driver makes one commit.

Planning happens on the driver before the first task (write_plan.py). A task's files are invisible until the commit, so a retried
or speculated one costs deduplicated bytes only. A bucket has no commit: there the files get their names at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage

from pipeline.errors import OptionError
from pipeline.hub.listing import list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.resolver import Snapshot
from pipeline.hub.split import Mode, SplitWrite
from pipeline.hub.upload import ShardReceipt
from pipeline.parquet.conform import conform
from pipeline.parquet.features import to_yaml
from pipeline.parquet.layout import Kind, Layout
from pipeline.publishing import publish, publish_to_bucket, split_size
from pipeline.sizes import format_bytes
from pipeline.writing import FileSizes, StoredRows, store_split
from spark_datasource.write_fit import split_now
from spark_datasource.write_plan import WritePlan, check_fits

log = logging.getLogger(__name__)

_SHOWN = 10


class Stored(WriterCommitMessage):
    """What one task stored, and the seconds that it took."""

    def __init__(self, partition: int, rows: StoredRows) -> None:
        self.partition = partition
        self.receipts = rows.receipts
        self.encoding_s = rows.encoding_s
        self.uploading_s = rows.uploading_s


class HuggingFaceWriter(DataSourceArrowWriter):
    """Carries out a plan; Spark pickles it to the executors and back to the driver."""

    def __init__(self, plan: WritePlan) -> None:
        self._plan = plan

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        context = TaskContext.get()
        partition = context.partitionId() if context else 0
        about = f"partition {partition}"
        batches = (conform(batch, self._plan.arrow, about) for batch in iterator)
        stored = Stored(partition, self._store(batches, name=f"part-{partition:05d}"))
        log.info("%s: %s: %s", self._plan.options.ref.full_name, about, _measures([stored]))
        return stored

    def commit(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        stored = sorted((m for m in messages if isinstance(m, Stored)), key=lambda message: message.partition)
        receipts = [receipt for message in stored for receipt in message.receipts]
        if not receipts:
            if self._plan.planned and self._plan.mode is Mode.APPEND:
                return
            self._check_may_empty()
            stored = [Stored(0, self._store(iter(()), name="empty", at_least_one=True))]
            receipts = list(stored[0].receipts)
        done = self._publish(receipts)
        log.info("%s: %s%s", self._plan.options.ref.full_name, _message(self._plan, receipts), done)
        log.info("%s: %d tasks: %s", self._plan.options.ref.full_name, len(stored), _measures(stored))

    def abort(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """Nothing to undo: what tasks stored is in no commit, or the commit landed and stays. Says what was stored."""
        stored = [message for message in messages if isinstance(message, Stored)]
        receipts = [receipt for message in stored for receipt in message.receipts]
        if receipts:
            log.warning(
                "%s: the write failed when %d of %d tasks (%s) had stored %s; a run again does not upload it again",
                self._plan.options.ref.full_name,
                len(stored),
                len(messages),
                ", ".join(str(message.partition) for message in stored[:_SHOWN]) + (", ..." if stored[_SHOWN:] else ""),
                _measures(stored),
            )

    def _publish(self, receipts: Sequence[ShardReceipt]) -> str:
        """Let the files be seen; where that can be looked at."""
        plan, options = self._plan, self._plan.options
        if options.ref.kind == "buckets":
            publish_to_bucket(options.ref, options.token, _split_write(plan), receipts, planned=plan.planned)
            return ""
        committed = publish(
            options.ref,
            options.token,
            _split_write(plan),
            receipts,
            planned=plan.planned,
            message=options.commit_message or _message(plan, receipts),
            check=partial(check_fits, plan),
            description=options.commit_description,
            create_pr=options.create_pr,
        )
        return f" at {committed.sha}" + (f", in the pull request {committed.pr_url}" if committed.pr_url else "")

    def _check_may_empty(self) -> None:
        """Raises OptionError for an overwrite of rows by none that was not asked for."""
        options = self._plan.options
        if self._plan.mode is Mode.APPEND or not self._plan.planned or options.allow_empty_overwrite:
            return
        listing = list_files(options.ref, options.token)
        files = file_refs(Snapshot(ref=listing.ref, files=split_now(options, listing)))
        size = split_size(listing, options.config, options.split, files, options.token)
        if size and size.num_examples:
            raise OptionError(
                f"an overwrite by no rows would delete the {size.num_examples} rows of split {options.split!r}; "
                "if that is meant, set option 'allowEmptyOverwrite' to true"
            )

    def _store(self, batches: Iterator[pa.RecordBatch], *, name: str, at_least_one: bool = False) -> StoredRows:
        options = self._plan.options
        return store_split(
            options.ref,
            options.token,
            batches,
            self._plan.arrow,
            name=name,
            layout=Layout(
                kind=Kind.EDITABLE,
                row_group_bytes=options.row_group_bytes,
                row_group_rows=options.row_group_rows,
            ),
            features=self._plan.features,
            sizes=FileSizes(max_rows=options.max_records_per_file, max_bytes=options.max_bytes_per_file),
            partition_columns=options.partition_columns,
            at_least_one=at_least_one,
        )


def _split_write(plan: WritePlan) -> SplitWrite:
    return SplitWrite(
        config=plan.options.config,
        split=plan.options.split,
        mode=plan.mode,
        transaction=plan.transaction,
        features=to_yaml(plan.card_features) if plan.card_features is not None else None,
        data_dir=plan.options.data_dir,
        writer="spark",
        query=plan.query,
        batch=plan.batch,
    )


def _measures(stored: Sequence[Stored]) -> str:
    """Rows, files and bytes, of which how many were new and how many storage had; seconds, of all tasks together."""
    receipts = [receipt for one in stored for receipt in one.receipts]
    size, new = sum(one.file.size for one in receipts), sum(one.file.new_bytes for one in receipts)
    return (
        f"{sum(one.rows for one in receipts)} rows in {len(receipts)} files, {format_bytes(size)}: {format_bytes(new)} new, "
        f"{format_bytes(size - new)} deduplicated; {sum(one.encoding_s for one in stored):.1f} s encoding, "
        f"{sum(one.uploading_s for one in stored):.1f} s uploading"
    )


def _message(plan: WritePlan, receipts: Sequence[ShardReceipt]) -> str:
    rows = sum(receipt.rows for receipt in receipts)
    size = format_bytes(sum(receipt.file.size for receipt in receipts))
    verb = "Append" if plan.mode is Mode.APPEND else "Write"
    return f"{verb} {rows} rows ({size}, {len(receipts)} files) to split {plan.options.split} with Spark"
