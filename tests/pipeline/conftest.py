"""Repos with files, for the tests of the core: put there by huggingface_hub, as anybody would.

What imports huggingface_hub is imported inside: conftests are read before the one above has set HF_ENDPOINT.
"""

import io

import pyarrow as pa
import pytest
from hypothesis import settings
from pyarrow import parquet as pq

# The same examples in every run, and nothing remembered between runs in a folder of its own.
settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.load_profile("fixed")


@pytest.fixture
def parquet_bytes():
    """A table (or a dict of columns) as a Parquet file's bytes."""

    def make(table, **options):
        table = table if isinstance(table, pa.Table) else pa.table(table)
        sink = io.BytesIO()
        pq.write_table(table, sink, **options)
        return sink.getvalue()

    return make


@pytest.fixture
def put(hub):
    """Commit files (path -> bytes or text) to a repo, which is created when there is none; returns its ref."""
    from huggingface_hub import CommitOperationAdd, HfApi

    from pipeline.hub.repo import parse_ref

    def commit(repo, files, revision=None):
        api = HfApi(endpoint=hub.endpoint, token="hf_any")
        api.create_repo(repo, repo_type="dataset", exist_ok=True)
        adds = [
            CommitOperationAdd(path, data.encode() if isinstance(data, str) else data) for path, data in files.items()
        ]
        api.create_commit(repo, adds, commit_message="put", repo_type="dataset", revision=revision)
        return parse_ref(repo, endpoint=hub.endpoint)

    return commit


@pytest.fixture
def new_ref(hub, repo):
    """The ref of a dataset that exists and is empty."""
    from pipeline.hub import client
    from pipeline.hub.repo import parse_ref

    ref = parse_ref(repo, endpoint=hub.endpoint)
    client.create_repo(ref, None)
    return ref
