"""What cannot be written is said before a repo is made or a byte is sent, in one line."""

import logging

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from pipeline.errors import OptionError, SchemaError


@pytest.fixture
def api(hub):
    """The Hub, as anybody's client sees it."""
    return HfApi(endpoint=hub.endpoint, token="hf_any")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("1 a, named_struct() s", "column 's' is struct<>, which cannot be written to Parquet"),
        ("1 a, array(named_struct()) s", "column 's' is array<struct<>>, which cannot be written"),
        ("1 a, interval '1' year y", "column 'y' is interval year, which cannot be written"),
        ("1 a, 2 a", "several columns named 'a'"),
        ("1 a, named_struct('x', 1, 'x', 2) s", "column 's' has several fields named 'x'"),
    ],
)
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_column_that_cannot_be_written_is_named_first(spark, save, fails, api, repo, columns, said, mode):
    """Types that Parquet has not and names that mean two things are refused with the column; no repo is made."""
    with fails(SchemaError, said):
        save(spark.sql(f"select {columns}"), repo, mode)
    assert not api.repo_exists(repo, repo_type="dataset")


@pytest.mark.parametrize("options", [{"split": "a b"}, {"config": "a/b"}, {"features": '{"nope": {"_type": "Image"}}'}])
def test_an_option_that_cannot_be_makes_no_repo(spark, save, fails, api, repo, options):
    """Bad names are refused before the repo is created for them."""
    with fails((OptionError, SchemaError), "option"):
        save(spark.range(1), repo, **options)
    assert not api.repo_exists(repo, repo_type="dataset")


def test_only_branches_and_pull_requests_are_written_to(spark, save, load, fails, api, repo, hub):
    """A commit or a tag is refused before any upload; a branch that is not there is made, with the repo if need be."""
    save(spark.range(2), repo, revision="dev")
    assert load(repo, revision="dev").count() == 2
    save(spark.range(2), repo)
    api.create_tag(repo, tag="v1", repo_type="dataset")
    hub.reset_counts()
    for revision in ("v1", api.dataset_info(repo).sha):
        with fails(
            OptionError,
            f"option 'revision' must be a branch or a pull request (refs/pr/1) to write to, got '{revision}'",
        ):
            save(spark.range(1), repo, "overwrite", revision=revision)
    assert hub.counts()["xet_write_token"] == hub.counts()["commit"] == 0
    assert load(repo).count() == 2


def test_rows_in_another_format_are_not_hidden(spark, save, load, fails, api, repo, hub):
    """A repo of CSV without a card is neither appended to nor overwritten; it can be read."""
    api.create_repo(repo, repo_type="dataset")
    api.create_commit(repo, [CommitOperationAdd("train.csv", b"id\n1\n")], commit_message="put", repo_type="dataset")
    hub.reset_counts()
    for mode in ("append", "overwrite"):
        with fails(SchemaError, "its data is csv, and only Parquet splits can be added to; convert it"):
            save(spark.range(1), repo, mode)
    assert hub.counts()["commit"] == 0
    assert [tuple(row) for row in load(repo).collect()] == [(1,)]


def test_maps_are_written_and_warned_of(spark, repo, hub, caplog):
    """A map is written for Spark and us; that `datasets` cannot load it is logged once, with the column."""
    from spark_datasource.write_options import parse_write
    from spark_datasource.write_plan import plan_write

    schema = spark.sql("select 1 a, array(map('k', 1)) m").schema
    with caplog.at_level(logging.WARNING, logger="spark_datasource"):
        plan_write(parse_write({"path": repo, "token": "hf_x"}), schema, overwrite=False)
    assert [record.getMessage() for record in caplog.records] == [
        f"{repo}: `datasets` cannot load maps, such as column 'm'; Spark and we can"
    ]
