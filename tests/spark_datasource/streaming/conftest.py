"""Commits of any sort, and a stream's reader as Spark drives it: without a JVM, which adds nothing to either."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from pyspark.sql.pandas.types import from_arrow_schema

from spark_datasource.source import HuggingFaceDataSource
from spark_datasource.write_options import parse_write
from spark_datasource.write_plan import plan_write
from spark_datasource.writer import HuggingFaceWriter


@pytest.fixture
def remote(hub, repo):
    """A dataset that others write to."""
    return Remote(hub, repo)


@pytest.fixture
def stream(repo):
    """Begin a run of a query over the dataset: `stream(offset=..., available_now=..., schema=..., **options)`."""
    return lambda **about: Stream(**({"path": repo} | about))


class Remote:
    """A dataset on the embedded Hub that others write to. Each method makes one commit and gives its sha."""

    def __init__(self, hub, repo):
        self.api = HfApi(endpoint=hub.endpoint, token="hf_x")
        self.repo = repo

    def write(self, *ids, overwrite=False, **options):
        """Rows with the column `id`, or a table, in one file, through the batch writer."""
        table = ids[0] if isinstance(ids[0], pa.Table) else pa.table({"id": pa.array(ids, pa.int64())})
        plan = plan_write(
            parse_write({"path": self.repo, "token": "hf_x", **options}),
            from_arrow_schema(table.schema),
            overwrite=overwrite,
        )
        writer = HuggingFaceWriter(plan)
        writer.commit([writer.write(iter(table.to_batches()))])
        return self.head()

    def put(self, files, delete=()):
        """Files of other programs: path -> ids, table or text."""
        adds = [CommitOperationAdd(path, _content(value)) for path, value in files.items()]
        deletes = [CommitOperationDelete(path) for path in delete]
        self.api.create_repo(self.repo, repo_type="dataset", exist_ok=True)
        self.api.create_commit(self.repo, [*adds, *deletes], commit_message="by others", repo_type="dataset")
        return self.head()

    def head(self):
        return self.api.dataset_info(self.repo).sha


def _content(value):
    if isinstance(value, str):
        return value.encode()
    table = value if isinstance(value, pa.Table) else pa.table({"id": pa.array(value, pa.int64())})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


class Stream:
    """One run of a query over a repo: what Spark calls of a reader, in its order. Offsets pass through JSON."""

    def __init__(self, path, offset=None, available_now=False, schema=None, **options):
        source = HuggingFaceDataSource({"path": path, "token": "hf_x", **options})
        schema = schema or source.schema()
        self.reader = source.streamReader(schema)
        if available_now:
            self.reader.prepareForTriggerAvailableNow()
        self.limit = self.reader.getDefaultReadLimit()
        self.offset = offset or self.reader.initialOffset()

    def ask(self):
        """The next offset, as a checkpoint keeps it."""
        return json.loads(json.dumps(self.reader.latestOffset(self.offset, self.limit)))

    def read(self, start, end):
        """The rows between two offsets, by task."""
        tasks = self.reader.partitions(start, end)
        batches = [batch for task in tasks for batch in self.reader.read(task)]
        return [row if len(row) > 1 else row["id"] for batch in batches for row in batch.to_pylist()]

    def next(self):
        """The rows of the next micro-batch, `None` when there is nothing new."""
        start, end = self.offset, self.ask()
        if end == start:
            return None
        rows = self.read(start, end)
        self.reader.commit(end)
        self.offset = end
        return rows

    def all(self):
        """The rows of all micro-batches until there is nothing new."""
        batches = []
        while (rows := self.next()) is not None:
            batches.append(rows)
        return batches
