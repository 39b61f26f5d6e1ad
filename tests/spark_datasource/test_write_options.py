"""Each option of a write does what its table says."""

import json
import logging
import re

import pyarrow as pa
import pytest
from huggingface_hub import HfApi

from pipeline.errors import OptionError
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import parse_ref
from pipeline.hub.resolver import resolve
from pipeline.parquet.footer import read_footer
from pipeline.streaming import stream
from spark_datasource.write_options import parse_write
from tests.spark_datasource.writing import listing, numbers, plan, receipts, run, write


def ids(repo, **where):
    return [row["id"] for row in stream(repo, **where)]


def footers(hub, repo, **where):
    return [read_footer(one, None) for one in file_refs(resolve(parse_ref(repo, endpoint=hub.endpoint, **where), None))]


def test_a_branch_that_is_not_there_is_made_from_main(repo, hub):
    """The branch begins with main's rows; main stays as it was. In a repo that does not exist both are made."""
    write(repo, numbers(0, 1))
    write(repo, numbers(2), revision="try/one")
    assert ids(repo) == [0, 1]
    assert ids(repo, revision="try/one") == [0, 1, 2]
    write(f"{repo}-new", numbers(5), revision="first")
    assert ids(f"{repo}-new", revision="first") == [5]


def test_data_dir_is_the_folder_of_the_files(repo, hub):
    """Files go there, `datasets` and we find them through the card; appends and overwrites know them."""
    from datasets import load_dataset

    write(repo, numbers(0), data_dir="/some/where/")
    write(repo, numbers(1), data_dir="some/where")
    write(repo, numbers(7), split="test")
    paths = [file.path for file in listing(hub, repo).files if file.path.endswith(".parquet")]
    assert paths[0] == "data/test-00000-of-00001.parquet"
    assert [path.rpartition("/")[0] for path in paths[1:]] == ["some/where"] * 2
    assert load_dataset(repo, split="train")["id"][:] == [0, 1]
    write(repo, numbers(9), data_dir="", overwrite=True)
    assert ids(repo) == [9]
    assert ids(repo, split="test") == [7]
    assert "train-00000-of-00001.parquet" in [file.path for file in listing(hub, repo).files]


def test_row_groups_have_at_most_the_rows_and_bytes_asked_for(repo, hub):
    """`row_group_size` is exact where bytes allow it; `row_group_bytes` is kept by all groups."""
    write(repo, numbers(*range(100)), row_group_size="30")
    assert [group.rows for group in footers(hub, repo)[0].row_groups()] == [30, 30, 30, 10]
    table = pa.table({"id": list(range(2000)), "text": ["x" * 100] * 2000})
    write(repo, table, config="bytes", row_group_bytes="20kB")
    rows = [group.rows for group in footers(hub, repo, config="bytes")[0].row_groups()]
    assert sum(rows) == 2000
    assert all(rows[i] * 108 <= 20_000 for i in range(len(rows)))
    assert all(rows[i] * 108 >= 2_500 for i in range(len(rows) - 1))


def test_a_file_ends_at_the_bytes_really_written(repo):
    """Whatever the row groups' size, a file has little more than `max_bytes_per_file`: an eighth, and its footer."""
    table = pa.table({"x": pa.array([bytes([i % 251]) * 50 + i.to_bytes(50, "big") * 9 for i in range(10_000)])})
    messages = write(repo, table, max_bytes_per_file="1MB")
    sizes = [receipt.file.size for receipt in receipts(messages)]
    assert len(sizes) > 3
    assert all(1_000_000 <= size <= 1_200_000 for size in sizes[:-1]), sizes


def test_the_commit_says_what_it_is_told_to(repo, hub):
    """`commit_message` is its title, `commit_description` its text; `private` and a features file are kept."""
    write(repo, numbers(1), commit_message="Ours", commit_description="of\ntoday", private="true")
    last = HfApi(endpoint=hub.endpoint, token="hf_x").list_repo_commits(repo, repo_type="dataset")[0]
    assert (last.title, last.message) == ("Ours", "of\ntoday")
    assert HfApi(endpoint=hub.endpoint, token="hf_x").dataset_info(repo).private


def test_features_may_be_the_path_of_a_file(repo, hub, tmp_path):
    """A `.json` file on the driver, read once."""
    path = tmp_path / "features.json"
    path.write_text(json.dumps({"id": {"_type": "ClassLabel", "names": ["no", "yes"]}}))
    write(repo, numbers(0, 1), features=str(path))
    path.unlink()
    kept = listing(hub, repo).card.info("default")["features"]
    assert kept == [{"name": "id", "dtype": {"class_label": {"names": {"0": "no", "1": "yes"}}}}]


def test_a_pull_request_is_opened_instead_of_a_commit(repo, hub, caplog):
    """`create_pr` leaves main as it was, and logs where the pull request is; committed twice it is one."""
    write(repo, numbers(0))
    writer = plan(repo, numbers(0).schema, create_pr="true", overwrite=True)
    messages = run(writer, numbers(1))
    with caplog.at_level(logging.INFO, "spark_datasource.writer"):
        writer.commit(messages)
        writer.commit(messages)
    assert f"/datasets/{repo}/discussions/1" in caplog.text
    assert ids(repo) == [0]
    assert ids(repo, revision="refs/pr/1") == [1]
    assert len(list(HfApi(endpoint=hub.endpoint, token="hf_x").get_repo_discussions(repo, repo_type="dataset"))) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"create_pr": "true", "revision": "side"},
            "option 'create_pr' opens a pull request to main, got revision 'side'",
        ),
        ({"data_dir": "../up"}, "option 'data_dir' must be a folder of the repo such as data/fr"),
        ({"data_dir": ".pipeline"}, "option 'data_dir' must be a folder of the repo"),
        ({"data_dir": "a*"}, "option 'data_dir' must be a folder of the repo"),
        ({"row_group_size": "0"}, "option 'row_group_size' must be at least 1, got '0'"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(options, said):
    """Nothing is asked of the Hub for it."""
    with pytest.raises(OptionError) as caught:
        parse_write({"path": "ns/name", **options})
    assert said in str(caught.value)


def test_each_task_and_the_driver_log_what_was_written(repo, caplog):
    """Rows, files, bytes, new and deduplicated ones, seconds: of each task in its worker's log, the sums in the driver's."""
    table = pa.table({"x": [index.to_bytes(500, "big") for index in range(400)]})
    with caplog.at_level(logging.INFO, "spark_datasource.writer"):
        write(repo, table, table, overwrite=True)
    lines = [record.getMessage() for record in caplog.records]
    seconds = r"\d+\.\d s encoding, \d+\.\d s uploading"
    each = rf"{repo}: partition 0: 400 rows in 1 files, [\d.]+ kB: [\d.]+ k?B new, [\d.]+ k?B deduplicated; {seconds}"
    assert [bool(re.fullmatch(each, line)) for line in lines] == [True, True, False, False]
    assert re.fullmatch(rf"{repo}: Write 800 rows .* with Spark at [0-9a-f]{{40}}", lines[2])
    assert re.fullmatch(rf"{repo}: 2 tasks: 800 rows in 2 files, .* new, .* deduplicated; {seconds}", lines[3])


def test_more_files_than_a_commit_takes_are_refused_before_they_are_stored(repo, hub, monkeypatch):
    """A task that would store more says so at the file above; the driver says so before it commits."""
    from pipeline.hub import commit as committing

    monkeypatch.setattr(committing, "FILES_MAX", 3)
    said = "one commit takes at most 3 files, got 4; write fewer, larger ones"
    with pytest.raises(OptionError, match=said):
        write(repo, numbers(*range(8)), maxRecordsPerFile="2")
    with pytest.raises(OptionError, match=said):
        write(repo, numbers(1), numbers(2), numbers(3), numbers(4))
    assert hub.counts()["commit"] == 0
