"""A streaming query into a split: one commit per micro-batch, exactly once across restarts.

Spark runs a batch again when it does not know that it was done. So each commit carries the query's id (kept in its checkpoint)
and the batch's number, and both are looked up before a batch is committed. The commit's transaction id follows from them, so that
a lost answer and a driver that died after its commit are found out in the same way.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import DataSourceStreamArrowWriter, WriterCommitMessage
from pyspark.sql.types import StructType

from pipeline.compaction import CompactOptions, compact_split
from pipeline.errors import ConflictError, OptionError, TransferError
from pipeline.hub.transactions import batch_committed
from spark_datasource.write_options import WriteOptions
from spark_datasource.write_plan import WritePlan, plan_write
from spark_datasource.writer import HuggingFaceWriter, Stored

log = logging.getLogger(__name__)

_QUERY = "sql.streaming.queryId"


class StoredOfQuery(WriterCommitMessage):
    """What one task stored, and for which query."""

    def __init__(self, query: str | None, stored: WriterCommitMessage) -> None:
        self.query = query
        self.stored = stored


class HuggingFaceStreamWriter(DataSourceStreamArrowWriter):
    """Writes micro-batches as the batch writer writes DataFrames; an empty one makes no commit.

    Spark makes one to plan a batch, which travels to the tasks, and another one to commit it.
    """

    def __init__(self, plan: WritePlan, checkpoint: str | None) -> None:
        self._plan = plan
        self._checkpoint = checkpoint

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        context = TaskContext.get()
        query = context.getLocalProperty(_QUERY) if context else None
        return StoredOfQuery(query, HuggingFaceWriter(self._plan).write(iterator))

    def commit(self, messages: Sequence[WriterCommitMessage | None], batch: int) -> None:
        """Commit a batch unless it was. Raises OptionError when the query cannot be told, and what the batch writer raises."""
        given = [one for one in messages if isinstance(one, StoredOfQuery)]
        stored = [one.stored for one in given]
        if not any(one.receipts for one in stored if isinstance(one, Stored)):
            return
        query = next((one.query for one in given if one.query), None) or _query_of(self._checkpoint)
        options = self._plan.options
        if batch_committed(options.ref, options.token, query, batch):
            log.info("%s: batch %d of query %s was committed before", options.ref.repo_id, batch, query)
            return
        transaction = blake2b(f"{query}/{batch}".encode(), digest_size=16).hexdigest()
        plan = replace(self._plan, transaction=transaction, query=query, batch=batch)
        HuggingFaceWriter(plan).commit(stored)
        if options.auto_compact_min_files is not None:
            _compact(options, options.auto_compact_min_files)

    def abort(self, messages: Sequence[WriterCommitMessage | None], batch: int) -> None:  # noqa: ARG002 - Spark gives it
        """As of a batch: what tasks stored is in no commit, or the commit landed and stays."""
        HuggingFaceWriter(self._plan).abort([one.stored for one in messages if isinstance(one, StoredOfQuery)])


def plan_stream_write(
    options: WriteOptions, schema: StructType, *, overwrite: bool, checkpoint: str | None
) -> HuggingFaceStreamWriter:
    """The writer of one micro-batch. Raises OptionError for a bucket, and what `plan_write` raises."""
    if options.ref.kind == "buckets":
        raise OptionError(
            f"'hf://{options.ref}' is a bucket, whose writes cannot be told to have been done; stream into a dataset"
        )
    return HuggingFaceStreamWriter(plan_write(options, schema, overwrite=overwrite), checkpoint)


def _query_of(checkpoint: str | None) -> str:
    """The query's id as its checkpoint keeps it, for where tasks are not told. Raises OptionError."""
    parts = urlsplit(checkpoint or "")
    if parts.scheme in ("", "file") and parts.path:
        metadata = Path(unquote(parts.path) if parts.scheme else parts.path) / "metadata"
        if metadata.is_file():
            return str(json.loads(metadata.read_text())["id"])
    raise OptionError(
        f"the streaming query's id is not in its tasks, nor in option 'checkpointLocation' (got {checkpoint!r}); "
        "set that to a folder which the driver can read, so that no batch is committed twice"
    )


def _compact(options: WriteOptions, min_files: int) -> None:
    """Join small files; the batch is safe already, so what hinders that now is left to the next one."""
    ref = replace(options.ref, config=options.config, split=options.split)
    wanted = CompactOptions(target_bytes=options.max_bytes_per_file, min_files=max(2, min_files), writer="spark")
    try:
        done = compact_split(ref, options.token, wanted)
    except (ConflictError, TransferError) as err:
        log.warning("%s: not compacted this time: %s", ref.repo_id, err)
        return
    if done:
        log.info("%s: %d files became %d at %s", ref.repo_id, done.files_before, done.files_after, done.sha)
