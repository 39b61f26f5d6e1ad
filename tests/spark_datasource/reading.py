"""Files on the Hub as anybody puts them there, and the reader as Spark drives it, without a JVM."""

from __future__ import annotations

import io

import pyarrow as pa
from pyarrow import parquet as pq

from spark_datasource.dataset import open_dataset
from spark_datasource.read_options import parse_read
from spark_datasource.reader import HuggingFaceReader
from spark_datasource.schemas import arrow_schema


def parquet_bytes(table, **options):
    """A table, or its columns, as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), sink, **options)
    return sink.getvalue()


def put(repo, files, *, create_pr=False, **options):
    """Commit files (path -> bytes, text or table) to a repo, which is made when there is none; what the Hub said."""
    from huggingface_hub import CommitOperationAdd, HfApi

    def content(data):
        return parquet_bytes(data, **options) if isinstance(data, pa.Table) else data

    api = HfApi(token="hf_any")
    api.create_repo(repo, repo_type="dataset", exist_ok=True)
    found = {path: content(data) for path, data in files.items()}
    adds = [CommitOperationAdd(path, data.encode() if isinstance(data, str) else data) for path, data in found.items()]
    return api.create_commit(repo, adds, commit_message="put", repo_type="dataset", create_pr=create_pr)


def reader_of(repo, schema=None, **options):
    """The reader of a dataset, or of a user's own schema of it, and that schema."""
    dataset = open_dataset(parse_read({"path": repo, "token": "hf_any", **options}))
    schema = schema or dataset.schema()
    return HuggingFaceReader(dataset, schema), schema


def read(repo, schema=None, **options):
    """The rows that Spark's executors would give."""
    reader, schema = reader_of(repo, schema, **options)
    batches = [batch for part in reader.partitions() for batch in reader.read(part)]
    return pa.Table.from_batches(batches, batches[0].schema if batches else arrow_schema(schema))
