"""A branch as a stream: each new commit is a micro-batch of the rows that it added, by file.

A stream begins with all rows of the branch's head (or at `startingCommit`), in slices of `maxFilesPerTrigger` files, and goes on
commit by commit; a micro-batch takes as many as the limit lets it, from several commits too. Each file is read at the commit that
brought it, in the schema that the stream began with. Spark keeps one reader in a process of its own for as long as the query
runs, so what it learned of commits stays in it, and a poll that brings nothing new is one request.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit, ReadMaxFiles, SupportsTriggerAvailableNow
from pyspark.sql.types import StructType

from pipeline.errors import OptionError
from pipeline.hub.any_format import is_several
from pipeline.hub.formats import AUDIO, IMAGES
from pipeline.hub.listing import pin
from pipeline.hub.resolver import Snapshot
from spark_datasource.dataset import Dataset
from spark_datasource.read_options import StreamReadOptions
from spark_datasource.reader import HuggingFaceReader, Part
from spark_datasource.stream_commits import Commits
from spark_datasource.stream_offsets import Offset, Slice, advance, parse_offset, up_to

_LATEST = "latest"
_POLL_S = 1.0
"""Spark asks every 10 ms where there is nothing new; the Hub allows some requests per second."""


class HuggingFaceStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Follows a branch. Methods raise ConflictError at a commit that took rows away, NotFoundError for a rewritten history."""

    def __init__(self, dataset: Dataset, options: StreamReadOptions, schema: StructType) -> None:
        self._options = options
        self._rows = HuggingFaceReader(dataset, schema)
        self._commits = Commits(options)
        self._target: str | None = None
        self._asked_at = 0.0

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802 - Spark's name
        starting = self._options.starting_commit
        if starting is None or starting == _LATEST:
            return Offset().to_json()
        ref = replace(self._options.read.ref, revision=starting)
        return Offset(commit=pin(ref, self._options.read.token).revision or "").to_json()

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802 - Spark's name
        limit = self._options.max_files
        return ReadAllAvailable() if limit is None else ReadMaxFiles(limit)

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 - Spark's name
        self._target = self._head()

    def latestOffset(self, start: Mapping[str, Any], limit: ReadLimit) -> dict[str, Any]:  # noqa: N802 - Spark's name
        begin = parse_offset(start)
        tip = self._target or self._head()
        if not begin.commit and self._options.starting_commit == _LATEST:
            return Offset(commit=tip, files=None).to_json()
        unread = self._commits.unread(begin, tip)
        end = advance(begin, unread, limit.max_files if isinstance(limit, ReadMaxFiles) else None)
        if not end.commit:
            end = Offset(commit=tip, files=None, snapshot=True)
        return end.to_json()

    def partitions(self, start: Mapping[str, Any], end: Mapping[str, Any]) -> Sequence[InputPartition]:
        begin, last = parse_offset(start), parse_offset(end)
        if not last.commit or (not begin.commit and not last.snapshot):
            return []  # what "latest" began with: a commit, and none of its rows
        return self._rows.plan([self._snapshot(one) for one in up_to(self._commits.unread(begin, last.commit), last)])

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, Part)
        return self._rows.read(partition)

    def commit(self, end: Mapping[str, Any]) -> None:
        """Nothing to do: what was read before an offset is forgotten when Spark asks for what comes after it."""

    def __getstate__(self) -> dict[str, Any]:
        """What tasks need: not the commits."""
        return self.__dict__ | {"_commits": Commits(self._options)}

    def _snapshot(self, one: Slice) -> Snapshot:
        return Snapshot(ref=replace(self._options.read.ref, revision=one.commit), files=one.files)

    def _head(self) -> str:
        """The branch's commit: one request, and at most one in `_POLL_S`."""
        time.sleep(max(0.0, self._asked_at + _POLL_S - time.monotonic()) if self._asked_at else 0.0)
        self._asked_at = time.monotonic()
        return pin(self._options.read.ref, self._options.read.token).revision or ""


def check_format(dataset: Dataset) -> Dataset:
    """Raises OptionError for folders of media, where a file is no row by itself: others describe it."""
    if dataset.source is not None and dataset.source.name in (IMAGES, AUDIO):
        raise OptionError(
            f"{dataset.about}: its data is a folder of {dataset.source.name}, which is not read as a stream; convert it to "
            "Parquet, or read it without a stream"
        )
    return dataset


def check_stream(options: StreamReadOptions) -> StreamReadOptions:
    """The options with their split named. Raises OptionError for what no stream can follow."""
    ref = options.read.ref
    if ref.kind == "buckets":
        raise OptionError(f"'hf://{ref}' is a bucket, which has no commits to follow; read it without a stream")
    if is_several(ref.split):
        raise OptionError(f"option 'split' must be one split to read a stream, got {ref.split!r}; start one for each")
    return replace(options, read=replace(options.read, ref=replace(ref, split=ref.split or "train")))
