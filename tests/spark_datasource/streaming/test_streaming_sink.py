"""Micro-batches -> commits: each batch once, whatever is lost or dies; and both ways at once through Spark."""

import json
import logging

import pyarrow as pa
import pytest
from pyspark.sql.types import LongType, StructType

from pipeline.errors import ConflictError, OptionError, SchemaError
from pipeline.hub.listing import list_files
from pipeline.hub.repo import parse_ref
from pipeline.hub.transactions import read_records
from spark_datasource.source import HuggingFaceDataSource
from spark_datasource.stream_writer import StoredOfQuery, plan_stream_write
from spark_datasource.write_options import parse_stream_write

_IDS = StructType().add("id", LongType())


@pytest.fixture
def batch(hub, repo):
    """Store and commit a micro-batch of a query as Spark would: with another writer for each of the two."""

    def run(number, *ids, query="q1", complete=False, checkpoint=None, **options):
        def writer():
            parsed = parse_stream_write({"path": repo, "token": "hf_x", **options})
            return plan_stream_write(parsed, _IDS, overwrite=complete, checkpoint=checkpoint)

        tasks = [pa.table({"id": pa.array([one], pa.int64())}).to_batches() for one in ids] or [[]]
        messages = [writer().write(iter(task)) for task in tasks]
        messages = [StoredOfQuery(query, one.stored) for one in messages]
        writer().commit([*messages, None], number)

    return run


@pytest.fixture
def ids_of(hub):
    """The sorted ids of a dataset's head."""
    import pipeline

    return lambda repo, **options: sorted(row["id"] for row in pipeline.stream(repo, **options))


def test_a_batch_that_was_committed_is_not_committed_again(batch, repo, commits, ids_of, hub):
    """Run again under the same query: no second commit, nor for an older one; another query's batch is its own."""
    batch(0, 1, 2)
    batch(1, 3)
    for number in (1, 0, 1):
        batch(number, 8, 9)
    assert ids_of(repo) == [1, 2, 3]
    batch(0, 4, query="q2")
    assert ids_of(repo) == [1, 2, 3, 4]
    assert len(commits(repo)) == 3
    records = read_records(list_files(parse_ref(repo, endpoint=hub.endpoint), None), None)
    assert [(one.query, one.batch, one.rows, one.mode) for one in records] == [
        ("q1", 0, 2, "append"),
        ("q1", 1, 1, "append"),
        ("q2", 0, 1, "append"),
    ]


def test_a_batch_is_known_when_its_transaction_is_forgotten(batch, remote, repo, commits, monkeypatch):
    """A checkpoint that was put back further than transactions are remembered: the query's last batch still tells."""
    from pipeline.hub import transactions

    monkeypatch.setattr(transactions, "_REMEMBERED", 1)
    batch(0, 1)
    batch(1, 2)
    remote.write(3)
    batch(0, 1)
    assert len(commits(repo)) == 3


def test_a_batch_that_two_drivers_commit_at_once_is_there_once(batch, repo, commits, monkeypatch):
    """Both looked before either committed: the transaction is the same one."""
    from spark_datasource import stream_writer

    monkeypatch.setattr(stream_writer, "batch_committed", lambda *_: False)
    batch(0, 1)
    batch(0, 1)
    assert len(commits(repo)) == 1


@pytest.mark.parametrize(
    "fault", [{"kind": "lost"}, {"kind": "reset"}, {"status": 503}, {"status": 412}, {"status": 429}]
)
def test_a_batch_whose_commit_is_answered_badly_is_there_once(batch, repo, commits, ids_of, hub, fault):
    """A lost answer, a dropped connection, an error, a conflict, a busy Hub at the commit: rows once, one commit."""
    batch(0, 1)
    hub.faults.add("commit", **fault)
    batch(1, 2)
    batch(1, 2)
    assert ids_of(repo) == [1, 2]
    assert len(commits(repo)) == 2


def test_an_empty_batch_makes_no_commit(batch, repo, commits, hub):
    """No rows: nothing is committed, in a new repo neither; in complete mode nothing is deleted."""
    batch(0)
    assert commits(repo) == []
    batch(1, 1)
    hub.reset_counts()
    batch(2)
    batch(3, complete=True)
    assert hub.counts()["commit"] == 0


def test_complete_mode_replaces_the_split(batch, repo, commits, ids_of):
    """Each batch is the whole result; a batch again changes nothing; other splits stay."""
    batch(0, 7, split="test")
    batch(0, 1, 2, complete=True, query="q2")
    batch(1, 1, 2, 3, complete=True, query="q2")
    batch(1, 1, 2, 3, complete=True, query="q2")
    assert ids_of(repo) == [1, 2, 3]
    assert ids_of(repo, split="test") == [7]
    assert len(commits(repo)) == 3


def test_streams_and_batch_writers_into_one_split_all_land(batch, remote, repo, ids_of):
    """Threads of two queries and a batch appender: every row once."""
    from concurrent.futures import ThreadPoolExecutor

    batch(0, 0)
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(remote.write, 100 + i) for i in range(3)]
        for query in ("qa", "qb"):
            jobs += [pool.submit(lambda name=query: [batch(i, ord(name[1]) * 10 + i, query=name) for i in range(3)])]
        for job in jobs:
            job.result()
    assert ids_of(repo) == [0, 100, 101, 102, 970, 971, 972, 980, 981, 982]


def test_small_files_are_compacted_when_there_are_so_many(batch, stream, repo, ids_of, files_of):
    """autoCompactMinFiles joins the split's files after the commit; a stream that reads the split sees each row once."""
    batch(0, 0)
    run = stream()
    assert run.all() == [[0]]
    for number in (1, 2):
        batch(number, number, autoCompactMinFiles="3")
        batch(number, number, autoCompactMinFiles="3")
    assert len(files_of(repo)) == 1
    assert ids_of(repo) == [0, 1, 2]
    assert [sorted(rows) for rows in run.all()] == [[1, 2]]
    batch(3, 3)
    batch(4, 4)
    assert len(files_of(repo)) == 3


def test_a_compaction_that_fails_leaves_the_batch(batch, repo, ids_of, caplog, monkeypatch):
    """The batch is committed; what hindered the compaction is logged, and the query goes on."""
    from spark_datasource import stream_writer

    def refuse(*_):
        raise ConflictError("changed meanwhile")

    monkeypatch.setattr(stream_writer, "compact_split", refuse)
    with caplog.at_level(logging.WARNING, logger="spark_datasource.stream_writer"):
        batch(0, 1, autoCompactMinFiles="2")
    assert [one.getMessage() for one in caplog.records] == [f"{repo}: not compacted this time: changed meanwhile"]
    assert ids_of(repo) == [1]


def test_the_query_is_told_by_its_checkpoint_where_tasks_do_not_know(batch, repo, commits, tmp_path):
    """A local checkpoint's metadata, by path or URL; without it the batch is refused rather than written twice."""
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / "metadata").write_text(json.dumps({"id": "q9"}))
    batch(0, 1, query=None, checkpoint=str(folder))
    batch(0, 1, query=None, checkpoint=folder.as_uri())
    assert len(commits(repo)) == 1
    for checkpoint in (None, "s3://bucket/checkpoint", str(tmp_path)):
        with pytest.raises(OptionError, match="the streaming query's id is not in its tasks"):
            batch(1, 2, query=None, checkpoint=checkpoint)


def test_a_bucket_is_no_sink(batch):
    """Where nothing tells what was written, exactly once cannot be promised."""
    with pytest.raises(OptionError, match="is a bucket"):
        batch(0, 1, path="buckets/a/b")


@pytest.fixture
def run(spark, hub, tmp_path):
    """Run a query from frames into a repo until all that is there is written; a checkpoint for each target."""

    class Blind(HuggingFaceDataSource):
        """The format where the driver cannot see the checkpoint: tasks tell the query's id."""

        @classmethod
        def name(cls):
            return "huggingface_blind"

        def streamWriter(self, schema, overwrite):
            return plan_stream_write(parse_stream_write(self.options), schema, overwrite=overwrite, checkpoint=None)

    spark.dataSource.register(Blind)

    def go(frame, target, mode="append", name=""):
        writer = frame.writeStream.format("huggingface_blind").outputMode(mode).trigger(availableNow=True)
        checkpoint = tmp_path / f"{target.replace('/', '-')}{name}"
        query = writer.option("checkpointLocation", checkpoint.as_uri()).start(target)
        query.awaitTermination()
        return checkpoint

    return go


@pytest.fixture
def follow(spark, hub):
    """A streaming DataFrame of a repo."""
    return lambda repo, **options: spark.readStream.format("huggingface").options(**options).load(repo)


def test_one_repo_streams_into_another_exactly_once(remote, repo, follow, run, commits, ids_of):
    """Files one by one, each a commit; a restart goes on; a batch that Spark forgot is not committed twice."""
    remote.put({f"data/train-{i}.parquet": [i] for i in range(2)})
    remote.write(2)
    target = f"{repo}-copy"
    frame = follow(repo, maxFilesPerTrigger="1").selectExpr("id", "id * 2 as twice")
    checkpoint = run(frame, target)
    assert ids_of(target) == [0, 1, 2]
    assert len(commits(target)) == 3
    last = max((checkpoint / "commits").glob("[0-9]*"), key=lambda one: int(one.name))
    last.unlink()
    (last.parent / f".{last.name}.crc").unlink(missing_ok=True)
    remote.write(3)
    run(frame, target)
    assert ids_of(target) == [0, 1, 2, 3]
    assert len(commits(target)) == 4
    assert json.loads((checkpoint / "offsets" / "3").read_text().splitlines()[-1])["commit"] == remote.head()
    records = read_records(list_files(parse_ref(target), None), None)
    assert {one.query for one in records} == {json.loads((checkpoint / "metadata").read_text())["id"]}
    assert [one.batch for one in records] == [0, 1, 2, 3]


def test_two_sources_and_an_aggregate_in_complete_mode(remote, repo, hub, follow, run, load, commits):
    """A union of two repos is counted; each run replaces the split by the whole result."""
    from pyspark.sql.functions import col

    other = type(remote)(hub, f"{repo}-other")
    remote.write(1, 2)
    other.write(3)
    target = f"{repo}-counts"
    frame = follow(repo).union(follow(other.repo)).groupBy((col("id") % 2).alias("odd")).count()
    run(frame, target, "complete")
    assert sorted(map(tuple, load(target).collect())) == [(0, 1), (1, 2)]
    other.write(5)
    run(frame, target, "complete")
    assert sorted(map(tuple, load(target).collect())) == [(0, 1), (1, 3)]
    assert len(commits(target)) == 2


def test_the_format_of_streams_is_found_by_its_name(remote, repo, hub, follow, tmp_path, ids_of):
    """`writeStream.format("huggingface")` takes its options from Spark, the checkpoint among them."""
    remote.write(1)
    writer = follow(repo).writeStream.format("huggingface").trigger(once=True)
    writer.option("checkpointLocation", str(tmp_path / "c")).option("split", "test").start(repo).awaitTermination()
    assert ids_of(repo, split="test") == [1]


def test_what_ends_a_query_is_one_line_of_ours(remote, repo, follow, run, fails, commits):
    """Errors of the source (in its own process) and of the sink come out of the query's exception."""
    remote.put({"data/train-0.parquet": [0], "data/train-1.parquet": [1]})
    frame, target = follow(repo), f"{repo}-copy"
    run(frame, target)
    with fails(SchemaError, "new 'other'"):
        run(frame.selectExpr("id", "'x' as other"), target, name="other")
    remote.put({}, delete=["data/train-0.parquet"])
    with fails(ConflictError, "deletes 'data/train-0.parquet'"):
        run(frame, target)
    assert len(commits(target)) == 1
