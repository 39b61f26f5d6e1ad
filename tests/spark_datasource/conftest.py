"""The format "huggingface" on the one Spark session, against the embedded Hub."""

import pytest


@pytest.fixture
def save(spark, hub):
    """Write a DataFrame to a repo, by default to append."""

    def write(frame, repo, mode="append", **options):
        frame.write.format("huggingface").mode(mode).options(**options).save(repo)

    return write


@pytest.fixture
def load(spark, hub):
    """Read a repo as a DataFrame."""

    def read(repo, schema=None, **options):
        reader = spark.read.format("huggingface").options(**options)
        return (reader.schema(schema) if schema else reader).load(repo)

    return read


@pytest.fixture
def commits(hub):
    """The titles of a repo's commits, newest first, without the one that made the repo."""
    from huggingface_hub import HfApi

    def titles(repo):
        return [
            one.title for one in HfApi(endpoint=hub.endpoint, token="hf_x").list_repo_commits(repo, repo_type="dataset")
        ][:-1]

    return titles


@pytest.fixture
def fails():
    """Expect an error of ours from Spark; its own one-line text comes back as `jobs.session` unwraps it."""
    from contextlib import contextmanager

    from jobs.session import unwrap

    @contextmanager
    def expect(kind, text):
        with pytest.raises(Exception) as caught:
            yield
        ours = unwrap(caught.value)
        assert isinstance(ours, kind), str(caught.value)
        assert text in str(ours)
        assert "\n" not in str(ours)

    return expect


@pytest.fixture
def files_of(hub):
    """The Parquet files of a repo's head."""
    from pipeline.hub.listing import list_files
    from pipeline.hub.repo import parse_ref

    def paths(repo):
        listing = list_files(parse_ref(repo, endpoint=hub.endpoint), None)
        return [file.path for file in listing.files if file.path.endswith(".parquet")]

    return paths
