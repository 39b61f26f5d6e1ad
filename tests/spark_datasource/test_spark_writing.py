"""DataFrames -> splits: append, overwrite, sizes, schemas; nothing half visible, nothing lost, nothing twice."""

import os
import signal
import threading
from pathlib import Path

import pytest

from pipeline.errors import AccessError, OptionError, SchemaError, TransferError
from pipeline.hub.card import split_info
from pipeline.hub.listing import list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import parse_ref
from pipeline.hub.resolver import resolve
from pipeline.parquet.footer import read_footer


def ids(frame):
    """The column `id`, sorted."""
    return sorted(row["id"] for row in frame.collect())


def test_append_and_overwrite_do_what_they_say(spark, save, load, files_of, commits):
    """Append adds rows, overwrite replaces those of its config and split and no other, each in one commit."""
    repo = "tests/spark-modes"
    save(spark.range(0, 10, 1, 2), repo)
    save(spark.range(10, 13, 1, 1), repo)
    save(spark.range(50, 52, 1, 1), repo, split="test", config="fr")
    assert ids(load(repo)) == list(range(13))
    save(spark.range(100, 104, 1, 2), repo, mode="overwrite")
    assert ids(load(repo)) == [100, 101, 102, 103]
    assert ids(load(repo, config="fr", split="test")) == [50, 51]
    assert files_of(repo) == [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "fr/test-00000-of-00001.parquet",
    ]
    assert len(commits(repo)) == 4


def test_files_hold_at_most_as_many_rows_and_bytes_as_asked(spark, save, load, repo, files_of, hub):
    """maxRecordsPerFile is exact, max_bytes_per_file about right; names match ignoring case and underscores."""
    save(spark.range(0, 25, 1, 1), repo, MAX_RECORDS_PER_FILE="10", Split="test")
    assert len(files_of(repo)) == 3
    footers = [
        read_footer(file, None)
        for file in file_refs(resolve(parse_ref(repo, split="test", endpoint=hub.endpoint), None))
    ]
    assert [footer.rows for footer in footers] == [10, 10, 5]
    wide = spark.range(0, 400, 1, 1).selectExpr("id", "randstr(5000, 1) as text", "rand() as x")
    save(wide, repo, maxbytesperfile="400kB", config="bytes")
    sizes = [
        file.size
        for file in list_files(parse_ref(repo, endpoint=hub.endpoint), None).files
        if file.path.startswith("bytes/")
    ]
    assert 3 <= len(sizes) <= 6
    assert load(repo, config="bytes").count() == 400


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"splt": "train"}, "unknown option 'splt' for writing; did you mean 'split'?"),
        ({"zzzzzz": "1"}, "unknown option 'zzzzzz' for writing; known are split, config"),
        ({"maxRecordsPerFile": "lots"}, "option 'maxRecordsPerFile' must be an integer, got 'lots'"),
        ({"max_bytes_per_file": "big"}, "option 'max_bytes_per_file' must be a size such as 500MB"),
        ({"mergeSchema": "maybe"}, "option 'mergeSchema' must be true or false, got 'maybe'"),
        ({"features": "[1]"}, "option 'features' must be a JSON object"),
        ({"features": '{"nope": {"_type": "Image"}}'}, "option 'features' names column 'nope'; the DataFrame has 'id'"),
        ({"split": "a b"}, "option 'split' must be words joined by dots, got 'a b'"),
        ({"endpoint": "hub"}, "option 'endpoint' must be an http:// or https:// URL"),
    ],
)
def test_a_bad_option_is_one_line_and_writes_nothing(spark, save, fails, repo, hub, options, said):
    """Unknown names get a suggestion, bad values are shown with what was expected; no commit is made."""
    with fails((OptionError, SchemaError), said):
        save(spark.range(1), repo, **options)
    assert hub.counts()["commit"] == 0


def test_an_empty_frame_writes_a_valid_empty_split(spark, save, load, repo):
    """No rows are a split that Spark, our stream and streaming `datasets` read. (Without streaming, `datasets` refuses any
    empty split by itself: it wants one example at least to write to its cache.)"""
    from datasets import load_dataset

    import pipeline

    save(spark.range(0).selectExpr("id", "'x' as text"), repo)
    assert load(repo).count() == 0
    assert load(repo).dtypes == [("id", "bigint"), ("text", "string")]
    assert list(pipeline.stream(repo)) == []
    theirs = load_dataset(repo, split="train", streaming=True)
    assert list(theirs) == []
    assert list(theirs.features) == ["id", "text"]
    save(spark.range(3).selectExpr("id", "'x' as text"), repo)
    assert load(repo).count() == 3
    assert load_dataset(repo, split="train").num_rows == 3


def test_rows_are_overwritten_by_nothing_only_when_that_is_meant(spark, save, load, fails, repo):
    """An empty overwrite of rows is refused unless allowEmptyOverwrite; an empty append changes nothing."""
    save(spark.range(3), repo)
    with fails(OptionError, "would delete the 3 rows of split 'train'"):
        save(spark.range(0), repo, mode="overwrite")
    save(spark.range(0), repo)
    assert ids(load(repo)) == [0, 1, 2]
    save(spark.range(0), repo, mode="overwrite", allowEmptyOverwrite="true")
    assert load(repo).count() == 0


def test_an_append_of_other_columns_names_them(spark, save, load, fails, repo):
    """New, missing and differently typed columns are refused by name; with mergeSchema they are added, and read as nulls."""
    from datasets import load_dataset

    save(spark.range(2).selectExpr("id", "'x' as text"), repo)
    other = spark.range(2, 4).selectExpr("id", "cast(id as double) as score")
    with fails(SchemaError, "new 'score'; missing 'text'"):
        save(other, repo)
    with fails(SchemaError, "column 'text' is int32, but the split has string"):
        save(spark.range(2).selectExpr("id", "cast(id as int) as text"), repo, mergeSchema="true")
    save(other, repo, merge_schema="TRUE")
    rows = [(0, "x", None), (1, "x", None), (2, None, 2.0), (3, None, 3.0)]
    assert sorted(map(tuple, load(repo).select("id", "text", "score").collect())) == rows
    assert sorted(map(tuple, load(repo, schema="score double, id bigint").select("id", "score").collect())) == [
        (a, c) for a, _, c in rows
    ]
    theirs = load_dataset(repo, split="train")
    assert sorted((row["id"], row["text"], row["score"]) for row in theirs) == rows
    with fails(SchemaError, "column 'score' is string, but the split has double"):
        save(spark.range(2).selectExpr("id", "'x' as text", "'y' as score"), repo)
    with fails(SchemaError, "missing 'score'"):
        save(spark.range(2).selectExpr("id", "'x' as text"), repo)


def test_columns_are_appended_in_the_splits_own_order(spark, save, load, repo):
    """Another order of the same columns is the same schema."""
    save(spark.range(1).selectExpr("id", "'a' as text"), repo)
    save(spark.range(1, 2).selectExpr("'b' as text", "id"), repo)
    assert sorted(map(tuple, load(repo).collect())) == [(0, "a"), (1, "b")]


def test_a_split_does_not_break_the_other_splits_of_its_config(spark, save, load, fails, repo):
    """A split with fewer columns leaves the card's features of the others; one of another type is refused."""
    from datasets import load_dataset

    save(spark.range(2).selectExpr("id", "'x' as label"), repo)
    save(spark.range(2, 4), repo, split="test")
    theirs = load_dataset(repo)
    assert theirs["train"]["label"][:] == ["x", "x"]
    assert theirs["test"]["id"][:] == [2, 3]
    with fails(SchemaError, "column 'id' is string, but split 'train' has int64"):
        save(spark.range(2).selectExpr("string(id) as id"), repo, split="other")


def test_a_frame_without_columns_is_refused(spark, save, fails, repo):
    """A dataset needs a column."""
    with fails(SchemaError, "has no columns"):
        save(spark.range(2).select(), repo)


def at_once(spark, *calls):
    """Run calls in threads that start together; their errors.

    Spark 4.3 looks for a Python data source in the thread's active session, which a new thread has not: it is set first.
    """
    start, errors = threading.Barrier(len(calls)), []

    def run(call):
        start.wait()
        try:
            spark._jvm.org.apache.spark.sql.SparkSession.setActiveSession(spark._jsparkSession)
            call()
        except Exception as err:
            errors.append(err)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_two_writers_that_append_at_once_both_land(spark, save, load, repo, commits, hub):
    """Both commits are there, no row is lost, the card counts both."""
    save(spark.range(0, 2), repo)
    first, second = spark.range(10, 15), spark.range(20, 25)
    errors = at_once(spark, lambda: save(first, repo), lambda: save(second, repo))
    assert not [str(getattr(e, "java_exception", e)) for e in errors]
    assert ids(load(repo)) == [0, 1, *range(10, 15), *range(20, 25)]
    assert len(commits(repo)) == 3
    assert (
        split_info(list_files(parse_ref(repo, endpoint=hub.endpoint), None).card, "default", "train").num_examples == 12
    )


def test_a_first_append_that_comes_second_must_fit(spark, save, load, fails, repo, hub):
    """Two writers begin a split with different columns: the later one is refused, as if it had begun later."""
    from pyspark.sql.types import StructType

    from spark_datasource.write_options import parse_write
    from spark_datasource.write_plan import plan_write
    from spark_datasource.writer import HuggingFaceWriter

    options = parse_write({"path": repo, "token": "hf_x"})
    late = HuggingFaceWriter(plan_write(options, StructType().add("other", "string"), overwrite=False))
    save(spark.range(2), repo)
    with pytest.raises(SchemaError, match="new 'other'; missing 'id'"):
        late.commit([late.write(iter(()))])
    assert ids(load(repo)) == [0, 1]


def once(path):
    """A column function that fails the first time it meets a row above 5, in any process."""

    def run(batches):
        import pyarrow as pa

        for batch in batches:
            if max(batch.column(0).to_pylist(), default=0) > 5 and not Path(path).exists():
                Path(path).touch()
                raise ValueError("first attempt")
            yield pa.RecordBatch.from_arrays(batch.columns, schema=batch.schema)

    return run


def test_a_task_that_is_retried_writes_its_rows_once(spark, save, load, repo, tmp_path, commits):
    """A task fails in the middle and runs again: rows exactly once, one commit."""
    frame = spark.range(0, 40, 1, 4).mapInArrow(once(str(tmp_path / "failed")), "id bigint")
    save(frame, repo)
    assert (tmp_path / "failed").exists()
    assert ids(load(repo)) == list(range(40))
    assert len(commits(repo)) == 1


def test_a_task_that_fails_after_it_stored_its_rows_writes_them_once(spark, load, repo, tmp_path, commits):
    """A task whose rows are stored already and whose answer is lost runs again: rows exactly once."""
    from spark_datasource.source import HuggingFaceDataSource
    from spark_datasource.writer import HuggingFaceWriter

    mark = str(tmp_path / "failed")

    class Failing(HuggingFaceWriter):
        def write(self, iterator):
            stored = super().write(iterator)
            if stored.receipts and not os.path.exists(mark):  # noqa: PTH110 - it runs in another process
                open(mark, "w").close()  # noqa: PTH123
                raise ValueError("after it was stored")
            return stored

    class Source(HuggingFaceDataSource):
        @classmethod
        def name(cls):
            return "failing_after_write"

        def writer(self, schema, overwrite):
            return Failing(super().writer(schema, overwrite)._plan)

    spark.dataSource.register(Source)
    spark.range(0, 20, 1, 2).write.format("failing_after_write").mode("append").save(repo)
    assert (tmp_path / "failed").exists()
    assert ids(load(repo)) == list(range(20))
    assert len(commits(repo)) == 1


def test_a_killed_worker_leaves_nothing_half_visible(spark, save, load, repo, tmp_path, commits):
    """SIGKILL at every attempt fails the write and shows nothing; killed once, a worker is retried; the next run succeeds."""

    def killer(mark, always):
        def run(batches):
            for batch in batches:
                if batch.num_rows and batch.column(0)[0].as_py() >= 10 and (always or not os.path.exists(mark)):  # noqa: PTH110
                    open(mark, "w").close()  # noqa: PTH123
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch

        return run

    save(spark.range(0, 4), repo)
    rows = spark.range(4, 20, 1, 2)
    with pytest.raises(Exception, match=r"crashed|exited unexpectedly|EOF|[Cc]onnection"):
        save(rows.mapInArrow(killer(str(tmp_path / "a"), always=True), "id bigint"), repo)
    assert ids(load(repo)) == [0, 1, 2, 3]
    assert len(commits(repo)) == 1
    save(rows.mapInArrow(killer(str(tmp_path / "b"), always=False), "id bigint"), repo)
    assert ids(load(repo)) == list(range(20))
    assert len(commits(repo)) == 2


@pytest.mark.parametrize(("fault", "made"), [({"kind": "lost"}, 1), ({"kind": "reset"}, 1), ({"status": 503}, 1)])
def test_a_commit_whose_answer_is_lost_is_made_once(spark, save, load, repo, hub, commits, fault, made):
    """A lost answer, a dropped connection, a 503 at the commit: rows once, one commit."""
    hub.faults.add("commit", **fault)
    save(spark.range(5), repo)
    assert ids(load(repo)) == list(range(5))
    assert len(commits(repo)) == made


def test_a_commit_that_never_succeeds_is_one_line(spark, save, load, repo, hub, fails, monkeypatch):
    """When the Hub refuses the commit for good, the error is ours, and the rows that were there stay."""
    save(spark.range(2), repo)
    hub.faults.add("commit", status=403, times=None)
    with fails(AccessError, "the Hub refused, status 403"):
        save(spark.range(5), repo, mode="overwrite")
    hub.faults.clear()
    assert ids(load(repo)) == [0, 1]


def test_storage_that_refuses_is_one_line(spark, save, repo, hub, fails):
    """A task that may not store anything fails with our error, and nothing is committed."""
    save(spark.range(2), repo)
    hub.reset_counts()
    hub.faults.add("xet_write_token", status=403, times=None)
    with fails((AccessError, TransferError), "the Hub refused"):
        save(spark.range(5), repo)
    assert hub.counts()["commit"] == 0


def test_a_branch_is_written_and_read(spark, save, load, repo, hub):
    """The option revision is the branch; main stays as it was."""
    from huggingface_hub import HfApi

    save(spark.range(2), repo)
    HfApi(endpoint=hub.endpoint, token="hf_x").create_branch(repo, branch="side/one", repo_type="dataset")
    save(spark.range(2, 4), repo, revision="side/one")
    assert ids(load(repo)) == [0, 1]
    assert ids(load(repo, revision="side/one")) == [0, 1, 2, 3]
    assert ids(load(f"hf://datasets/{repo}@side%2Fone")) == [0, 1, 2, 3]


def test_a_saved_frame_says_in_sparks_ui_what_it_writes(spark, load, repo):
    """`save` names its jobs by mode, repo and split, and leaves the caller's own description as it was."""
    import spark_datasource

    context = spark.sparkContext
    context.setJobDescription("mine")
    try:
        spark_datasource.save(spark.range(3), repo, mode="overwrite", SPLIT="test")
        assert context.getLocalProperty("spark.job.description") == "mine"
    finally:
        context.setLocalProperty("spark.job.description", None)
    jobs = context._jsc.sc().statusStore().jobsList(None)
    descriptions = [jobs.apply(i).description() for i in range(jobs.size())]
    said = [one.get() for one in descriptions if one.isDefined()]
    assert f"overwrite to {repo}, split test" in said
    assert load(repo, split="test").count() == 3
