"""How a stream reads: only what a filter may pass, of the commit of a time, from the disk in later epochs; and what it counts."""

import datetime
import json
import random
import subprocess
import sys
import threading

import pyarrow as pa
import pytest

import pipeline
from pipeline.errors import NotFoundError, OptionError, SchemaError
from pipeline.hub import cache

ROWS = 4000


@pytest.fixture
def sorted_rows(put, repo, parquet_bytes):
    """Two files of eight row groups each, sorted by x, 40 KB of noise per row group."""
    rng = random.Random(repo)
    noise = [rng.randbytes(160).hex() for _ in range(ROWS)]
    tables = [
        pa.table({"x": range(at, at + 2000), "text": noise[at : at + 2000], "odd": [i % 2 for i in range(2000)]})
        for at in (0, 2000)
    ]
    put(repo, {f"train-{n}.parquet": parquet_bytes(t, row_group_size=250) for n, t in enumerate(tables)})
    return repo


def xs(stream):
    """The column x of what is left of a stream."""
    return [row["x"] for row in stream]


@pytest.mark.parametrize("shuffle", [False, True])
def test_row_groups_that_a_filter_excludes_are_not_fetched(sorted_rows, shuffle):
    """A condition that one row group of 16 can pass costs a fraction of the bytes; its rows and their states are exact."""
    options = {"filter": "x >= 1100 and x < 1150", "shuffle": shuffle, "shuffle_rows": 600}
    stream = pipeline.stream(sorted_rows, transport="http", **options)
    whole = xs(stream)
    assert sorted(whole) == list(range(1100, 1150))
    assert stream.stats.bytes_used * 8 < pipeline.stream(sorted_rows).rows.source.files[0].size * 2
    for taken in (1, 20, 49):
        again = pipeline.stream(sorted_rows, **options)
        rows = iter(again)
        before = [next(rows)["x"] for _ in range(taken)]
        state = json.loads(json.dumps(again.state_dict()))
        resumed = pipeline.stream(sorted_rows, **options)
        resumed.load_state_dict(state)
        assert before + xs(resumed) == whole


def test_a_filter_gives_the_same_rows_in_the_same_order_as_without_statistics(sorted_rows, put, repo, parquet_bytes):
    """Leaving out row groups changes neither which rows come nor their order."""
    plain = {"shuffle": True, "shuffle_rows": 700, "seed": 3}
    everything = xs(pipeline.stream(sorted_rows, **plain))
    for where, passes in (("x % 7 = 3 and x > 3000", lambda x: x % 7 == 3 and x > 3000), ("x < 0", lambda _: False)):
        found = xs(pipeline.stream(sorted_rows, filter=where, **plain))
        assert found == [x for x in everything if passes(x)]


def test_the_counters_say_what_was_read(sorted_rows):
    """Rows, bytes that came and bytes that were wanted, and ranges by transport."""
    for transport in ("xet", "http"):
        stream = pipeline.stream(sorted_rows, columns=["x"], transport=transport, hole_bytes=0)
        assert len(xs(stream)) == ROWS
        stats = stream.stats
        assert stats.rows == ROWS
        assert 0 < stats.bytes_used <= stats.bytes_fetched < 300_000
        assert stats.requests[transport] > 0
        assert stats.wait_s > 0
    assert stream.stats.requests["resolve"] == 2


def test_later_epochs_come_from_the_disk(sorted_rows, hub, tmp_path, monkeypatch):
    """With cache_bytes, an epoch that was read once sends no request again, in any order, in another process' stream too."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))
    options = {"shuffle": True, "shuffle_rows": 600, "cache_bytes": 100_000_000}
    stream = pipeline.stream(sorted_rows, **options)
    first = xs(stream)
    other = pipeline.stream(sorted_rows, **options)
    hub.reset_counts()
    for epoch in (1, 2):
        other.set_epoch(epoch)
        assert sorted(xs(other)) == sorted(first)
    assert {name for name, count in hub.counts().items() if count} == set()
    assert other.stats.requests["disk"] > 0


def test_the_disk_holds_no_more_than_it_may(sorted_rows, tmp_path, monkeypatch):
    """cache_bytes is a bound for all that is kept; what does not fit is fetched again, and rows are the same."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))
    stream = pipeline.stream(sorted_rows, shuffle=True, shuffle_rows=300, cache_bytes=800_000)
    for epoch in range(3):
        stream.set_epoch(epoch)
        assert sorted(xs(stream)) == list(range(ROWS))
        held = sum(path.stat().st_size for path in (cache.folder() / "range").rglob("*") if path.is_file())
        assert 0 < held <= 900_000


def test_a_range_on_the_disk_that_was_damaged_is_fetched_again(sorted_rows, tmp_path, monkeypatch):
    """Bits that rot in the cache never become rows."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))
    stream = pipeline.stream(sorted_rows, cache_bytes=100_000_000)
    rows = list(stream)
    for path in (cache.folder() / "range").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    assert list(stream) == rows


def test_a_timestamp_is_the_commit_of_that_time(put, repo, parquet_bytes, hub):
    """The rows are those of the last commit at that time; before the first one there are none."""
    from huggingface_hub import HfApi

    for value in (1, 2):
        put(repo, {"train.parquet": parquet_bytes({"x": [value]})})
    commits = HfApi(endpoint=hub.endpoint).list_repo_commits(repo, repo_type="dataset")
    assert xs(pipeline.stream(repo, timestamp=datetime.datetime.now(datetime.UTC))) == [2]
    for commit in commits[:2]:
        expected = [2] if commit is commits[0] or commits[0].created_at == commit.created_at else [1]
        assert xs(pipeline.stream(repo, timestamp=commit.created_at.isoformat())) == expected
    with pytest.raises(NotFoundError, match="no commit is as old as 2001"):
        pipeline.stream(repo, timestamp="2001-01-01")
    with pytest.raises(OptionError, match="must be a time such as"):
        pipeline.stream(repo, timestamp="yesterday")


def test_data_files_are_those_of_load_dataset(sorted_rows):
    """Patterns and folders choose files as everybody knows it."""
    assert xs(pipeline.stream(sorted_rows, data_files="train-1*")) == list(range(2000, 4000))
    with pytest.raises(NotFoundError, match="nope"):
        pipeline.stream(sorted_rows, data_files="nope/*.parquet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefetch_requests": 0}, "prefetch_requests must be at least 1, got 0"),
        ({"prefetch_bytes": -1}, "prefetch_bytes must be at least 0, got -1"),
        ({"block_bytes": "8MB"}, "block_bytes must be a whole number, got '8MB'"),
        ({"transport": "ftp"}, "'auto', 'xet' or 'http', got 'ftp'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(sorted_rows, options, message):
    """One line with the value and what was expected."""
    with pytest.raises(OptionError, match=message):
        pipeline.stream(sorted_rows, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"prefetch_bytes": 0, "prefetch_requests": 1},
        {"prefetch_bytes": 50_000, "block_bytes": 7_000, "hole_bytes": 0},
        {"prefetch_bytes": 1 << 30, "prefetch_requests": 32, "block_bytes": 1 << 30, "hole_bytes": 1 << 30},
    ],
)
def test_how_far_it_reads_ahead_changes_no_row(sorted_rows, options):
    """Whatever the budget, the requests and the blocks: the same rows in the same order."""
    plain = list(pipeline.stream(sorted_rows, shuffle=True, shuffle_rows=700))
    assert list(pipeline.stream(sorted_rows, shuffle=True, shuffle_rows=700, **options)) == plain


STARTER = """
import sys
import pipeline
sys.stdin.readline()
stream = pipeline.stream(sys.argv[1], shuffle=True, rank=int(sys.argv[2]), world_size=6)
print(len([row["x"] for row in stream]))
"""


def test_ranks_of_a_machine_start_with_three_requests_and_a_token(sorted_rows, hub):
    """Six processes that start at once, nothing cached: branch, listing, card and one token; every footer is read once."""
    hub.reset_counts()
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, sorted_rows, str(rank)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(6)
    ]
    for one in ranks:
        one.stdin.write("\n")
        one.stdin.flush()
    assert {one.communicate(timeout=120)[0] for one in ranks} == {"666\n"}
    counts = hub.counts()
    assert (counts["repo_info"], counts["tree"], counts["resolve"], counts["xet_read_token"]) == (1, 1, 1, 1)


def test_a_part_of_a_nested_column_streams_alone(put, repo, parquet_bytes):
    """A path reads that part and fetches no other, with its feature; a column with a dot in its name is itself."""
    rng = random.Random(repo)
    rows = [
        {
            "m": [{"role": "user", "content": rng.randbytes(9000).hex()}],
            "s": {"a": i, "b": {"c": i, "d": "x"}},
            "s.a": "dot",
        }
        for i in range(200)
    ]
    put(repo, {"train.parquet": parquet_bytes(pa.Table.from_pylist(rows), row_group_size=50)})
    stream = pipeline.stream(repo, columns=["m.role", "s.b.c", "s.a"], shuffle=True, transport="http")
    expected = [{"m": [{"role": "user"}], "s": {"b": {"c": i}}, "s.a": "dot"} for i in range(200)]
    assert sorted(stream, key=lambda row: row["s"]["b"]["c"]) == expected
    assert stream.stats.bytes_fetched < 100_000
    assert list(stream.features["m"]["feature"]) == ["role"]
    with pytest.raises(SchemaError, match=r"no column 'm\.nope'"):
        pipeline.stream(repo, columns=["m.nope"])
    with pytest.raises(OptionError, match="name 's' as a whole"):
        pipeline.stream(repo, columns=["s.b"], filter="s.b.c > 3")


@pytest.mark.parametrize(
    ("then", "now", "message"),
    [
        ({"remainder": "drop"}, {"remainder": "pad"}, "remainder='drop'"),
        ({"data_files": "train-0*"}, {"data_files": "train-1*"}, "files="),
    ],
)
def test_a_state_is_of_the_same_files_and_shares(sorted_rows, then, now, message):
    """A state that was taken over other files of the commit, or with another remainder, is refused, saying so."""
    state = pipeline.stream(sorted_rows, rank=0, world_size=3, **then).state_dict(rows_consumed=100)
    with pytest.raises(OptionError, match=message):
        pipeline.stream(sorted_rows, rank=0, world_size=3, **now).load_state_dict(state)


def test_a_closed_stream_asks_for_nothing_more(sorted_rows, hub):
    """Who stops after some rows stops what is on its way too, also while a window is being put together."""
    hub.bandwidth_bytes_s = 500_000
    rows = iter(pipeline.stream(sorted_rows, shuffle=True, shuffle_rows=300, transport="http", prefetch_requests=2))
    next(rows)
    rows.close()
    hub.bandwidth_bytes_s = None
    for thread in threading.enumerate():
        if thread.name.startswith(("fetch", "decode", "order")):
            thread.join(20)
            assert not thread.is_alive()
    assert hub.bytes_sent()["cdn"] < 700_000


LEFT_OPEN = """
import sys
import pipeline
rows = iter(pipeline.stream(sys.argv[1], shuffle=True, shuffle_rows=300, transport="http"))
print(len(next(rows)))
"""


def test_a_program_that_leaves_a_stream_open_ends_quietly(sorted_rows, hub):
    """At the end of a program an open iterator neither fetches on nor complains."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, sorted_rows], capture_output=True, text=True, timeout=120, check=True
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_readers_of_a_file_share_its_signed_address(sorted_rows, hub):
    """Over HTTP each file's address is asked for once in a process, for footers, rows and later epochs."""
    hub.reset_counts()
    stream = pipeline.stream(sorted_rows, transport="http")
    for _ in range(2):
        assert len(xs(stream)) == ROWS
    assert hub.counts()["resolve"] <= 1 + 2  # the card, and two files
