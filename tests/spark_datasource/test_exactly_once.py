"""A write is made once, whatever fails, is repeated or happens at the same time; and nothing half-written is ever visible."""

import logging
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import ConflictError
from pipeline.hub import commit as committing
from pipeline.hub import retry
from pipeline.streaming import stream
from tests.spark_datasource.writing import listing, numbers, plan, receipts, rows_of_card, run, write

_PROGRAM = Path(__file__).parent / "cluster_program.py"


def ids(repo, **where):
    return sorted(row["id"] for row in stream(repo, **where))


def noise(count, seed=0):
    rng = random.Random(seed)
    return pa.table({"id": list(range(count)), "x": [rng.randbytes(1000) for _ in range(count)]})


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Waits between tries are short."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(committing, "_wait", lambda *_: None)


@pytest.mark.parametrize(
    "fault", [{"kind": "lost"}, {"kind": "reset"}, *({"status": status} for status in (409, 412, 429, 500, 503))]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_commit_that_fails_or_whose_answer_is_lost_is_made_once(hub, repo, commits, fault, overwrite):
    """Rows once and one commit, whatever the Hub answered first."""
    hub.faults.add("commit", **fault)
    write(repo, numbers(1, 2), numbers(3), overwrite=overwrite)
    assert ids(repo) == [1, 2, 3]
    assert len(commits(repo)) == 1
    assert rows_of_card(hub, repo) == 3


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_driver_that_commits_again_changes_nothing(hub, repo, commits, overwrite):
    """`commit` called twice, also when others have committed in between, makes one commit."""
    write(repo, numbers(0))
    writer = plan(repo, numbers().schema, overwrite=overwrite)
    messages = run(writer, numbers(1))
    writer.commit(messages)
    write(repo, numbers(2))
    before = listing(hub, repo).commit
    writer.commit(messages)
    assert listing(hub, repo).commit == before
    assert ids(repo) == ([1, 2] if overwrite else [0, 1, 2])
    assert len(commits(repo)) == 3


def test_an_abort_after_the_commit_landed_changes_nothing(hub, repo):
    """Spark calls it when the commit's success did not reach it."""
    writer = plan(repo, numbers().schema)
    messages = run(writer, numbers(1), numbers(2))
    writer.commit(messages)
    before = listing(hub, repo).commit
    hub.reset_counts()
    writer.abort([*messages, None])
    assert hub.counts() == Counter()
    assert listing(hub, repo).commit == before
    assert ids(repo) == [1, 2]


def test_what_a_failed_run_stored_is_told_and_free_on_the_next(repo, caplog):
    """`abort` logs which tasks stored how much; the next run uploads none of it."""
    tables = [noise(300, seed) for seed in range(2)]
    first = plan(repo, tables[0].schema)
    messages = [*run(first, *tables), None]
    with caplog.at_level(logging.WARNING, "spark_datasource.writer"):
        first.abort(messages)
    said = r"failed when 2 of 3 tasks \(0, 0\) had stored 600 rows in 2 files, 6\d\d.* kB: 6\d\d.* kB new, 0 B deduplicated"
    assert re.search(said, caplog.text)
    files = [receipt.file for receipt in receipts(write(repo, *tables))]
    assert sum(file.new_bytes for file in files) < sum(file.size for file in files) / 100


def test_a_slow_attempt_that_is_overtaken_leaves_nothing(hub, repo):
    """Speculation: a copy of a task ends first and is committed; the slow one goes on to store its rows, and changes nothing."""
    writer, go_on = plan(repo, numbers().schema), threading.Event()
    slow = []

    def late():
        yield numbers(1).to_batches()[0]
        go_on.wait()
        yield numbers(2).to_batches()[0]

    thread = threading.Thread(target=lambda: slow.append(writer.write(late())))
    thread.start()
    messages = run(writer, numbers(1, 2), numbers(3))
    writer.commit(messages)
    before = listing(hub, repo).commit
    go_on.set()
    thread.join()
    assert slow[0].receipts[0].rows == 2
    assert listing(hub, repo).commit == before
    assert ids(repo) == [1, 2, 3]
    assert rows_of_card(hub, repo) == 3


def test_an_overwrite_never_loses_what_came_meanwhile(hub, repo):
    """The same split changed since: one clear error, nothing done. Another split changed: it lands, and both are there."""
    write(repo, numbers(0))
    late, other = (plan(repo, numbers().schema, overwrite=True, split=split) for split in ("train", "test"))
    messages, others = run(late, numbers(9)), run(other, numbers(8))
    write(repo, numbers(1))
    other.commit(others)
    with pytest.raises(ConflictError) as caught:
        late.commit(messages)
    assert "split 'train' of config 'default' was changed by another writer since this overwrite began" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    assert ids(repo) == [0, 1]
    assert ids(repo, split="test") == [8]


def test_a_split_whose_name_begins_alike_is_never_touched(hub, repo):
    """`train`, `train_v2` and `train.x` of a config, in one folder."""
    siblings = {"train_v2": [1], "train.x": [2], "train2": [3]}
    for split, rows in siblings.items():
        write(repo, numbers(*rows), split=split)
    write(repo, numbers(0))
    write(repo, numbers(7, 8), numbers(9), overwrite=True)
    write(repo, numbers(10))
    assert ids(repo) == [7, 8, 9, 10]
    assert {split: ids(repo, split=split) for split in siblings} == siblings
    assert {split: rows_of_card(hub, repo, split=split) for split in siblings} == dict.fromkeys(siblings, 1)


def test_eight_writers_that_append_at_once_lose_nothing(hub, repo, commits):
    """8 writers, 5 commits each: 40 commits, every row once, the card's numbers right."""
    write(repo, numbers(-1))
    errors = []

    def work(number):
        try:
            for turn in range(5):
                write(repo, numbers(number * 10 + turn, 1000 + number * 10 + turn))
        except BaseException as err:
            errors.append(err)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    mine = [number * 10 + turn for number in range(8) for turn in range(5)]
    assert ids(repo) == sorted([-1, *mine, *(1000 + one for one in mine)])
    assert len(commits(repo)) == 41
    assert rows_of_card(hub, repo) == 81


def test_a_worker_that_is_killed_while_it_uploads_is_retried(spark, load, repo, tmp_path, commits):
    """SIGKILL of the process that writes, after its first row groups are stored: rows once, one commit."""
    from spark_datasource.source import HuggingFaceDataSource
    from spark_datasource.writer import HuggingFaceWriter

    mark = str(tmp_path / "killed")

    class Killed(HuggingFaceWriter):
        def write(self, iterator):
            def rows():
                for batch in iterator:
                    yield batch
                    if not os.path.exists(mark):  # noqa: PTH110 - it runs in another process
                        open(mark, "w").close()  # noqa: PTH123
                        os.kill(os.getpid(), signal.SIGKILL)

            return super().write(rows())

    class Source(HuggingFaceDataSource):
        @classmethod
        def name(cls):
            return "killed_while_writing"

        def writer(self, schema, overwrite):
            return Killed(super().writer(schema, overwrite)._plan)

    spark.dataSource.register(Source)
    frame = spark.range(0, 40_000, 1, 2)
    frame.write.format("killed_while_writing").mode("append").option("row_group_size", "1000").save(repo)
    assert (tmp_path / "killed").exists()
    assert load(repo).count() == 40_000
    assert load(repo).distinct().count() == 40_000
    assert len(commits(repo)) == 1


def test_a_killed_executor_is_replaced_and_rows_are_written_once(hub, repo, commits, tmp_path):
    """A cluster of two executors, one of which gets SIGKILL in the middle of a write."""
    program = subprocess.Popen(
        [sys.executable, _PROGRAM, repo, tmp_path], stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, said = program.communicate(timeout=200)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
    assert program.returncode == 0, said[-3000:]
    assert (tmp_path / "killed").exists()
    assert ids(repo) == list(range(40))
    assert len(commits(repo)) == 1
