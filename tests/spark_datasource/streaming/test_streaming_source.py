"""Commits -> micro-batches: each row of each commit once, in order, from any offset on; what cannot be told is said."""

import re
from itertools import pairwise

import pyarrow as pa
import pytest
from pyspark.sql.streaming.datasource import ReadAllAvailable
from pyspark.sql.types import StructType

from pipeline.compaction import CompactOptions, compact_split
from pipeline.errors import ConflictError, CorruptFileError, NotFoundError, OptionError, SchemaError
from pipeline.hub.repo import parse_ref
from spark_datasource import stream_reader


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(stream_reader, "_POLL_S", 0.0)


def test_a_stream_reads_what_is_there_and_then_what_comes(remote, stream):
    """The head's rows are the first batch; then commits, several in one batch where there is no limit; nothing twice."""
    remote.write(1, 2)
    remote.write(3)
    run = stream()
    assert run.next() == [1, 2, 3]
    assert run.next() is None
    remote.write(4)
    assert run.next() == [4]
    remote.write(5)
    remote.write(6)
    assert run.next() == [5, 6]
    assert run.next() is None


def test_max_files_per_trigger_cuts_the_first_rows_and_commits_by_file(remote, stream):
    """A batch has at most so many files: of the snapshot, within a commit, and over several commits."""
    remote.put({f"data/train-{i}.parquet": [i] for i in range(3)})
    run = stream(maxFilesPerTrigger="2")
    assert run.next() == [0, 1]
    remote.put({f"data/train-a{i}.parquet": [10 + i] for i in range(3)})
    remote.write(20)
    assert run.all() == [[2, 10], [11, 12], [20]]


@pytest.mark.parametrize("snapshot", [True, False])
def test_an_offset_from_a_checkpoint_resumes_exactly(remote, stream, snapshot):
    """From every offset, in a new process, a batch that was planned reads the same rows, and what follows is the rest."""
    first = remote.put({f"data/train-{i}.parquet": [i] for i in range(3)})
    options = {"maxFilesPerTrigger": "2"} | ({} if snapshot else {"startingCommit": first})
    run = stream(**options)
    seen = [run.offset]
    batches = [run.next()]
    seen.append(run.offset)
    remote.put({f"data/train-b{i}.parquet": [10 + i] for i in range(2)})
    remote.put({"notes.txt": "nothing"})
    remote.write(20, 21)
    while (rows := run.next()) is not None:
        batches.append(rows)
        seen.append(run.offset)
    assert batches == [[0, 1], [2, 10], [11, 20, 21]]
    for i, (start, end) in enumerate(pairwise(seen)):
        again = stream(offset=start, **options)
        assert again.read(start, end) == batches[i]
        again.offset = end
        assert again.all() == batches[i + 1 :]


def test_a_first_batch_that_was_planned_is_the_same_after_new_commits(remote, stream):
    """Spark does not keep the initial offset: a first batch run again reads the commit that its end names."""
    remote.write(1)
    for options in ({}, {"startingCommit": "latest"}, {"startingCommit": remote.head()}):
        run = stream(**options)
        start, end = run.offset, run.ask()
        before = run.read(start, end)
        remote.write(2)
        again = stream(**options)
        assert again.read(again.offset, end) == before
        again.offset = end
        assert again.all() == [[2]]


def test_a_stream_starts_with_a_commit_or_after_now(remote, stream, repo):
    """startingCommit takes that commit's own additions and what follows, by sha or tag; `latest` only what follows."""
    first, second = remote.write(1), remote.write(2)
    remote.write(3)
    remote.api.create_tag(repo, tag="v2", revision=second, repo_type="dataset")
    assert stream(startingCommit=second).all() == [[2, 3]]
    assert stream(startingCommit="v2", maxFilesPerTrigger="1").all() == [[2], [3]]
    assert stream(startingCommit=first).all() == [[1, 2, 3]]
    run = stream(startingCommit="latest")
    assert run.all() == [[]]
    remote.write(4)
    assert run.all() == [[4]]


def test_available_now_ends_at_the_commit_where_it_began(remote, stream):
    """Commits made meanwhile are for the next run; all slices up to the target are read."""
    remote.put({f"data/train-{i}.parquet": [i] for i in range(2)})
    run = stream(available_now=True, maxFilesPerTrigger="1")
    remote.write(5)
    assert run.all() == [[0], [1]]
    assert stream(offset=run.offset, available_now=True).all() == [[5]]


def test_a_poll_without_news_is_one_request(remote, stream, hub):
    """Nothing new: the branch's commit is asked for once; a limit of Trigger.Once reads all."""
    remote.put({f"data/train-{i}.parquet": [i] for i in range(3)})
    run = stream(maxFilesPerTrigger="1")
    run.limit = ReadAllAvailable()
    assert run.next() == [0, 1, 2]
    hub.reset_counts()
    for _ in range(3):
        assert run.ask() == run.offset
    assert sum(hub.counts().values()) == 3


def test_commits_that_bring_no_rows_of_the_split_make_no_batch(remote, stream, repo, hub):
    """Other splits, other configs, the card, files that only moved, and what we compacted are passed over."""
    remote.put({"data/train-0.parquet": [1]})
    run = stream()
    assert run.all() == [[1]]
    remote.put({"data/train-moved.parquet": [1]}, delete=["data/train-0.parquet"])
    remote.write(7, split="test")
    remote.write(8, config="fr")
    assert run.next() is None
    remote.write(2)
    remote.write(3)
    ref = parse_ref(repo, split="train", endpoint=hub.endpoint)
    assert compact_split(ref, stream().reader._options.read.token, CompactOptions())
    assert run.all() == [[2, 3]]
    assert [sorted(rows) for rows in stream().all()] == [[1, 2, 3]]


def test_a_deletion_fails_the_stream_unless_it_is_passed_over(remote, stream):
    """The line names commit, file and both options; what came before it is read first."""
    remote.put({f"data/train-{i}.parquet": [i] for i in range(3)})
    run = stream()
    assert run.all() == [[0, 1, 2]]
    remote.put({"data/train-3.parquet": [3]})
    gone = remote.put({}, delete=["data/train-0.parquet", "data/train-1.parquet"])
    remote.put({"data/train-4.parquet": [4]})
    offset = run.offset
    assert run.next() == [3]
    said = rf"commit {gone[:8]} .*deletes 'data/train-0.parquet' and 1 more.*'ignoreDeletes'.*'ignoreChanges'"
    with pytest.raises(ConflictError, match=said):
        run.next()
    for option in ("ignoreDeletes", "ignoreChanges"):
        assert stream(offset=offset, **{option: "true"}).all() == [[3, 4]]


def test_a_rewritten_file_fails_the_stream_or_comes_again(remote, stream):
    """Same path with other content, and our own overwrite: refused, also with ignoreDeletes; read anew with ignoreChanges."""
    remote.put({"data/train-0.parquet": [0], "data/train-1.parquet": [1]})
    run = stream()
    assert run.all() == [[0, 1]]
    changed = remote.put({"data/train-1.parquet": [11], "data/train-2.parquet": [2]})
    for options in ({}, {"ignoreDeletes": "true"}):
        with pytest.raises(
            ConflictError, match=rf"commit {changed[:8]} .*replaces 'data/train-1.parquet'.*ignoreChanges"
        ):
            stream(offset=run.offset, **options).next()
    remote.write(20, overwrite=True)
    again = stream(offset=run.offset, ignoreChanges="true", maxFilesPerTrigger="1")
    assert again.all() == [[2], [11], [20]]


def test_each_file_is_read_at_the_commit_that_brought_it(remote, stream):
    """A file that is rewritten before its turn has its old rows first, and its new ones when their commit's turn comes."""
    remote.put({f"data/train-{i}.parquet": [i] for i in range(2)})
    run = stream(maxFilesPerTrigger="1", ignoreChanges="true", transport="http")
    assert run.next() == [0]
    remote.put({"data/train-1.parquet": [11]})
    assert run.all() == [[1], [11]]


def test_a_history_that_is_gone_is_one_line(remote, stream, repo):
    """Squashed since the offset, or a starting commit that never was: NotFoundError that says what to do."""
    remote.write(1)
    first = remote.write(2)
    run = stream()
    assert run.all() == [[1, 2]]
    remote.api.super_squash_history(repo, repo_type="dataset")
    with pytest.raises(
        NotFoundError, match=r"is not in the history of .*start again from a commit that is there"
    ) as caught:
        run.next()
    assert "\n" not in str(caught.value)
    with pytest.raises(NotFoundError):
        stream(startingCommit=first).next()
    with pytest.raises(NotFoundError, match="no such revision"):
        stream(startingCommit="0" * 40).next()


def test_a_branch_that_was_pushed_anew_behind_the_offset_goes_on(remote, stream, repo):
    """Commits that were seen but not read, and are gone from the branch, are forgotten; the stream goes on from its own."""
    base = remote.put({f"data/train-{i}.parquet": [i] for i in range(2)})
    branch = {"repo_id": repo, "branch": "work", "repo_type": "dataset"}
    remote.api.create_branch(**branch, revision=base)
    run = stream(revision="work", maxFilesPerTrigger="2")
    assert run.next() == [0, 1]
    remote.write(2, revision="work")
    run.ask()
    remote.api.delete_branch(**branch)
    remote.api.create_branch(**branch, revision=base)
    remote.write(9, revision="work")
    assert run.all() == [[9]]


def test_the_schema_of_the_start_holds(remote, stream):
    """Later files with more columns, or fewer, are read as the first; types that do not fit are named with file and column."""
    remote.put({"data/train-0.parquet": pa.table({"id": [1], "text": ["a"]})})
    run = stream()
    assert run.all() == [[{"id": 1, "text": "a"}]]
    remote.put({"data/train-1.parquet": pa.table({"more": [0.5], "text": ["b"], "id": [2]})})
    remote.put({"data/train-2.parquet": pa.table({"id": [3]})})
    assert run.next() == [{"id": 2, "text": "b"}, {"id": 3, "text": None}]
    remote.put({"data/train-3.parquet": pa.table({"id": ["x"], "text": ["c"]})})
    with pytest.raises(SchemaError, match=r"data/train-3.parquet: column 'id' does not fit"):
        run.next()


def test_columns_and_conditions_hold_for_every_batch(remote, stream):
    """columns, where and filters apply to the snapshot and to commits; a batch that statistics rule out reads nothing."""
    remote.put({"data/train-0.parquet": pa.table({"id": [1, 5], "n": [0, 1]})})
    run, same = (stream(columns="id", **one) for one in ({"where": "n > 0 and id < 9"}, {"filters": '[["n", ">", 0]]'}))
    assert run.next() == same.next() == [5]
    remote.put({"data/train-1.parquet": pa.table({"id": [6, 10], "n": [1, 1]})})
    remote.put({"data/train-2.parquet": pa.table({"id": [20], "n": [1]})})
    assert run.next() == [6]
    assert same.next() == [6, 10, 20]


def test_data_files_name_what_is_followed(remote, stream):
    """Only files that the pattern matches are rows; others come and go unseen."""
    remote.put({"raw/a-0.parquet": [1], "raw/b-0.parquet": [2]})
    run = stream(data_files="raw/a-*.parquet")
    assert run.all() == [[1]]
    remote.put({"raw/b-1.parquet": [3], "raw/a-1.parquet": [4]})
    assert run.all() == [[4]]


def test_other_formats_are_followed_by_file(remote, stream):
    """Lines of JSON and CSV are rows as a batch read gives them; a folder of images is refused."""
    remote.put({"data/train-0.jsonl": '{"id": 1}\n{"id": 2}\n'})
    run = stream()
    assert run.all() == [[1, 2]]
    remote.put({"data/train-1.jsonl": '{"id": 3}\n', "data/train-2.jsonl": '{"id": 4}\n'})
    assert run.all() == [[3, 4]]
    remote.put({"train/a.png": "x"}, delete=[f"data/train-{i}.jsonl" for i in range(3)])
    with pytest.raises(OptionError, match="a folder of images, which is not read as a stream"):
        stream()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "*"}, "option 'split' must be one split to read a stream, got '*'"),
        ({"maxFilesPerTrigger": "0"}, "option 'maxFilesPerTrigger' must be at least 1, got '0'"),
        ({"timestamp": "2026-01-01"}, "unknown option 'timestamp' for reading a stream"),
        ({"path": "buckets/a/b"}, "is a bucket, which has no commits to follow"),
    ],
)
def test_what_no_stream_can_follow_is_refused(remote, stream, options, said):
    """One line, before anything is read."""
    remote.write(1)
    with pytest.raises(OptionError, match=re.escape(said)):
        stream(schema=stream().reader._rows._schema, **options)


def test_a_batch_read_refuses_what_is_for_streams(remote, repo):
    """A schema is asked for without saying whether it is for a stream; the reader knows."""
    from spark_datasource.source import HuggingFaceDataSource

    remote.write(1)
    source = HuggingFaceDataSource({"path": repo, "token": "hf_x", "maxFilesPerTrigger": "1"})
    with pytest.raises(OptionError, match="'maxFilesPerTrigger' is for reading a stream"):
        source.reader(source.schema())


def test_a_misspelled_option_of_streams_is_suggested(remote, stream):
    """The schema is asked for first, which batch reads do too."""
    remote.write(1)
    with pytest.raises(
        OptionError, match="unknown option 'ignoreDelete' for reading a stream; did you mean 'ignoreDeletes'"
    ):
        stream(ignoreDelete="true")


def test_a_schema_of_the_user_chooses_columns_and_adds_ones_to_come(remote, stream):
    """Columns that no file has yet are null until one has them."""
    remote.put({"data/train-0.parquet": pa.table({"id": [1], "text": ["a"]})})
    run = stream(schema=StructType().add("id", "long").add("score", "double"))
    assert run.all() == [[{"id": 1, "score": None}]]
    remote.put({"data/train-1.parquet": pa.table({"id": [2], "score": [0.5]})})
    assert run.all() == [[{"id": 2, "score": 0.5}]]


def test_a_strange_offset_is_named(remote, stream):
    """A checkpoint of another format is refused in one line."""
    remote.write(1)
    with pytest.raises(CorruptFileError, match="the checkpoint's offset"):
        stream(offset={"version": 3}).next()


def test_a_reader_that_travels_holds_no_commits(remote, stream):
    """What tasks get does not grow with the history."""
    import pickle

    remote.write(1)
    run = stream()
    run.next()
    size = len(pickle.dumps(run.reader))
    remote.put({f"data/train-{i}.parquet": [i] for i in range(20)})
    run.ask()
    assert len(pickle.dumps(run.reader)) == size
