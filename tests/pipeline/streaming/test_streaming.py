"""Streams over a Hub: every row once over kills and resumes, few bytes, every format, and plain words for what cannot be."""

import json
import os
import pickle
import sys
from collections import Counter
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.errors import OptionError, RecipeError, SchemaError
from pipeline.hub.repo import Secret
from pipeline.streaming import seats

ROWS = 100


@pytest.fixture
def dataset(numbered):
    return numbered(33, 0, 60, 7)


def xs(stream, rows=None):
    found = []
    for row in stream:
        found.append(row["x"])
        if len(found) == rows:
            break
    return found


def as_worker(worker, workers):
    """What a DataLoader's worker sees."""
    return mock.patch("pipeline.streaming.iterable.find_worker", return_value=(worker, workers))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_job_killed_at_any_point_sees_each_row_once(dataset, data):
    """Over random kills, world sizes, workers, epochs and shuffles, the rows seen are each row exactly once."""
    shuffle = data.draw(st.booleans())
    options = {"shuffle": shuffle, "seed": data.draw(st.integers(0, 5)), "shuffle_rows": data.draw(st.integers(1, 40))}
    state, seen = None, []
    epoch = data.draw(st.integers(0, 2))
    for last in [False] * data.draw(st.integers(0, 3)) + [True]:
        world_size = 1 if last else data.draw(st.integers(1, 4))
        workers, batch = (1, 1) if last else (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5)))
        ranks = [pipeline.stream(dataset, rank=rank, world_size=world_size, **options) for rank in range(world_size)]
        whole = []
        for one in ranks:
            one.set_epoch(epoch)
            if state:
                one.load_state_dict(json.loads(json.dumps(state)))
            for worker in range(workers):
                with as_worker(worker, workers):
                    whole.append(xs(one))
        assert len({len(rows) for rows in whole}) == 1
        total = workers * len(whole[0])
        consumed = total if last else data.draw(st.integers(0, total))
        state = ranks[-1].state_dict(rows_consumed=consumed, num_workers=workers, batch_size=batch)
        seen += taken(whole, consumed, workers, batch)
        assert len(json.dumps(state)) < 500
    assert Counter(seen) == Counter(range(ROWS))


def taken(shares, consumed, workers, batch):
    """What a DataLoader of each rank has yielded after so many rows."""
    found = []
    for first in range(0, len(shares), workers):
        iterators = [iter(share) for share in shares[first : first + workers]]
        left = consumed
        while left:
            for iterator in iterators:
                got = [row for _, row in zip(range(min(batch, left)), iterator, strict=False)]
                found += got
                left -= len(got)
    return found


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_rows", [None, 9])
def test_a_state_resumes_in_the_middle_of_a_window(dataset, shuffle, batch_rows):
    """At every point the state of what was yielded gives exactly the rest, in the same order."""
    options = {"shuffle": shuffle, "shuffle_rows": 30, "batch_rows": batch_rows}
    stream = pipeline.stream(dataset, **options)
    stream.set_epoch(3)
    whole = [row["x"] for row in stream]
    assert stream.stats.rows == ROWS
    for stop in range(0, len(whole) + 1, 9):
        iterator = iter(stream)
        assert [next(iterator)["x"] for _ in range(stop)] == whole[:stop]
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = pipeline.stream(dataset, **options)
        resumed.load_state_dict(state)
        assert resumed.epoch == 3
        assert [row["x"] for row in resumed] == whole[stop:]
        assert [row["x"] for row in resumed] == whole[stop:]
        resumed.set_epoch(4)
        assert sorted(flat(row["x"] for row in resumed)) == list(range(ROWS))


def flat(items):
    return [x for item in items for x in (item if isinstance(item, list) else [item])]


def test_a_worker_has_its_own_state(dataset):
    """A state taken inside a worker resumes that worker exactly, and no other."""
    stream = pipeline.stream(dataset, shuffle=True, shuffle_rows=20, rank=1, world_size=2)
    with as_worker(1, 3):
        whole = xs(stream)
        xs(stream, 5)
        state = stream.state_dict()
        stream.load_state_dict(state)
        assert xs(stream) == whole[5:]
        xs(stream, 2)
        stream.load_state_dict(stream.state_dict())
        assert xs(stream) == whole[7:]
        assert len(stream.state_dict()["segments"]) == 1
    with as_worker(0, 3), pytest.raises(OptionError, match="share 4 of 2 ranks with 3 workers"):
        xs(stream)


def test_resuming_reads_nothing_that_it_skips(numbered):
    """A resumed stream fetches the row groups of its rows only; so does a rank of its share."""
    name = numbered(4000, 4000, group_rows=500)
    stream = pipeline.stream(name, columns=["x"])
    scanned = []
    with watching(scanned):
        assert len(xs(stream)) == 8000
    assert len(scanned) == 16
    state = stream.state_dict(rows_consumed=7100)
    stream.load_state_dict(state)
    scanned.clear()
    with watching(scanned):
        assert xs(stream) == list(range(7100, 8000))
    assert scanned == [("00001", 6), ("00001", 7)]


def watching(scanned):
    """Note the row groups that are asked for."""
    from pipeline.streaming import reading

    scan_each = reading.scan_each

    def noted(tasks, *how, **more):
        def note():
            for task, columns in tasks:
                scanned.extend((task.file.uri[-22:-17], group) for group in task.row_groups)
                yield task, columns

        return scan_each(note(), *how, **more)

    return mock.patch.object(reading, "scan_each", noted)


def test_ranks_together_read_little_more_than_one(put, repo, parquet_bytes):
    """Four ranks fetch under 1.1 x the bytes that one rank alone fetches of an epoch, with windows small beside shares."""
    texts = [os.urandom(1000).hex() for _ in range(4000)]
    tables = [pa.table({"x": range(at, at + 500), "text": texts[at : at + 500]}) for at in range(0, 4000, 500)]
    put(repo, {f"train-{n}.parquet": parquet_bytes(table, row_group_size=20) for n, table in enumerate(tables)})
    sent = []
    for world_size in (1, 4):
        ranks = [
            pipeline.stream(repo, shuffle=True, shuffle_rows=50, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        assert sorted(x for rank in ranks for x in xs(rank)) == list(range(4000))
        sent.append(sum(rank.stats.bytes_fetched for rank in ranks))
    assert 8_000_000 < sent[0] <= sent[1] < 1.1 * sent[0]


@pytest.mark.parametrize("remainder", ["drop", "pad"])
def test_every_rank_has_as_many_rows(dataset, remainder):
    """Ranks get equally many; what does not divide is left out, or filled with rows that come twice."""
    ranks = [pipeline.stream(dataset, rank=rank, world_size=7, remainder=remainder, shuffle=True) for rank in range(7)]
    found = [xs(one) for one in ranks]
    assert {len(rows) for rows in found} == {len(ranks[0])} == {14 if remainder == "drop" else 15}
    assert len(set().union(*found)) == (98 if remainder == "drop" else 100)


def test_a_filter_leaves_positions_exact(dataset):
    """SQL or an Expression; columns that only the filter reads are dropped; a state under a filter resumes exactly."""
    options = {"filter": "x % 3 = 0 and text like 'row %'", "columns": ["text"], "shuffle": True, "shuffle_rows": 20}
    stream = pipeline.stream(dataset, **options)
    whole = list(stream)
    assert sorted(int(row["text"][4:]) for row in whole) == list(range(0, ROWS, 3))
    assert [list(row) for row in whole[:1]] == [["text"]]
    iterator = iter(stream)
    first = [next(iterator) for _ in range(11)]
    stream.load_state_dict(stream.state_dict())
    assert first + list(stream) == whole
    stream.load_state_dict(stream.state_dict())
    assert list(stream) == []
    expression = pipeline.stream(dataset, filter=pc.field("x") >= 95, columns=["text"])
    assert [row["text"] for row in expression] == [f"row {n}" for n in range(95, 100)]
    assert pickle.loads(pickle.dumps(expression)).schema.names == ["text"]
    with pytest.raises(TypeError, match="with a filter has no len"):
        len(stream)
    with pytest.raises(OptionError, match="rows_consumed cannot be used with a filter"):
        stream.state_dict(rows_consumed=1)
    with pytest.raises(RecipeError, match="filter"):
        pipeline.stream(dataset, filter="nope = 1")
    with pytest.raises(RecipeError, match="nope"):
        pipeline.stream(dataset, filter=pc.field("nope") == 1)
    with pytest.raises(OptionError, match="filter must be"):
        pipeline.stream(dataset, filter=3)


def test_under_a_filter_a_state_is_for_its_own_rank(dataset):
    """Ranks advance unequally under a filter, so another rank's state is refused and the own one is exact."""
    options = {"filter": "x > 30", "world_size": 2}
    stream = pipeline.stream(dataset, rank=0, **options)
    whole = xs(stream)
    xs(stream, 5)
    state = stream.state_dict()
    stream.load_state_dict(state)
    assert xs(stream) == whole[5:]
    other = pipeline.stream(dataset, rank=1, **options)
    other.load_state_dict(state)
    with pytest.raises(OptionError, match="resume with the same layout"):
        xs(other)


def test_formats(put, repo, parquet_bytes):
    """Rows or batches, as Python values, Arrow or numpy; batches have exactly batch_rows rows, but for the last."""
    table = pa.table(
        {
            "n": pa.array([1, 2, 3, 4, 5], pa.int32()),
            "s": ["a", None, "c", "d", "e"],
            "v": pa.array([[1.0, 2.0]] * 5, pa.list_(pa.float32())),
            "ragged": [[1], [2, 3], None, [], [4]],
            "d": [{"k": 1}] * 5,
        }
    )
    put(repo, {"train.parquet": parquet_bytes(table, row_group_size=2)})
    assert list(pipeline.stream(repo)) == table.to_pylist()
    batches = list(pipeline.stream(repo, format="arrow", batch_rows=3))
    assert [batch.num_rows for batch in batches] == [3, 2]
    assert pa.Table.from_batches(batches).equals(table)
    assert list(pipeline.stream(repo, batch_rows=4)) == [table.slice(0, 4).to_pydict(), table.slice(4).to_pydict()]
    row = next(iter(pipeline.stream(repo, format="numpy")))
    assert isinstance(row["n"], np.int32)
    assert row["v"].dtype == np.float32
    assert (row["s"], row["d"], row["ragged"].tolist()) == ("a", {"k": 1}, [1])
    batch = next(iter(pipeline.stream(repo, format="numpy", batch_rows=5)))
    assert batch["v"].shape == (5, 2)
    assert [None if one is None else one.tolist() for one in batch["ragged"]] == [[1], [2, 3], None, [], [4]]


def test_media_are_decoded_unless_told_otherwise(put, repo):
    """An Image column gives pictures, `decode=False` gives bytes, and arrow gives what is stored."""
    import io

    image = pytest.importorskip("PIL.Image")
    from pyarrow import parquet as pq

    from pipeline.parquet.features import with_features

    sink = io.BytesIO()
    image.new("RGB", (2, 3), (9, 8, 7)).save(sink, "PNG")
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array([{"bytes": sink.getvalue(), "path": None}], kind), "label": [1]})
    schema = with_features(table.schema, {"image": {"_type": "Image"}, "label": {"_type": "Value", "dtype": "int64"}})
    data = io.BytesIO()
    pq.write_table(table.cast(schema), data)
    put(repo, {"train.parquet": data.getvalue()})
    assert next(iter(pipeline.stream(repo)))["image"].size == (2, 3)
    assert next(iter(pipeline.stream(repo, decode=False))) == table.to_pylist()[0]
    assert next(iter(pipeline.stream(repo, format="numpy")))["image"].shape == (3, 2, 3)
    assert next(iter(pipeline.stream(repo, format="arrow"))).to_pylist() == table.to_pylist()
    assert pipeline.stream(repo).features["image"] == {"_type": "Image"}
    assert next(iter(pipeline.stream(repo).to_datasets()))["image"].size == (2, 3)


def test_datasets_shares_our_stream_among_its_workers(dataset):
    """`to_datasets` gives the same rows with the same features, in shards that `datasets` splits."""
    stream = pipeline.stream(dataset, shuffle=True, shuffle_rows=20)
    theirs = stream.to_datasets()
    assert theirs.features.to_dict() == stream.features
    assert [row["x"] for row in theirs] == xs(stream)
    assert theirs.num_shards > 8
    halves = [theirs.shard(num_shards=2, index=index) for index in range(2)]
    assert sorted(row["x"] for half in halves for row in half) == list(range(ROWS))


def test_a_stream_pickles_without_showing_its_token(dataset):
    """A copy gives the same rows from the same place; a token travels in it and is not in its text."""
    stream = pipeline.stream(dataset, shuffle=True, token="hf_verysecret")
    stream.set_epoch(2)
    copy = pickle.loads(pickle.dumps(stream))
    assert xs(copy) == xs(stream)
    assert copy.rows.source.token == Secret("hf_verysecret")
    assert "hf_verysecret" not in repr(stream)
    assert "hf_verysecret" not in repr(stream.rows)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed=0, but this stream has seed=1"),
        ({"shuffle_rows": 5}, "shuffle_rows=10000, but this stream has shuffle_rows=5"),
        ({"shuffle": False}, "shuffle=True, but this stream has shuffle=False"),
    ],
)
def test_a_state_of_another_order_is_refused(dataset, change, named):
    """A state that would lose or repeat rows is an error that says what differs."""
    state = pipeline.stream(dataset, shuffle=True).state_dict()
    with pytest.raises(OptionError, match=named):
        pipeline.stream(dataset, **{"shuffle": True, **change}).load_state_dict(state)


def test_a_state_of_another_commit_is_refused(dataset, put):
    """After a new commit, the error names the old one, which can still be opened and resumed."""
    stream = pipeline.stream(dataset)
    xs(stream, 95)
    state = stream.state_dict()
    put(dataset, {"other.txt": "x"})
    with pytest.raises(OptionError, match="commit=") as caught:
        pipeline.stream(dataset).load_state_dict(state)
    assert state["fingerprint"]["commit"] in str(caught.value)
    old = pipeline.stream(dataset, revision=state["fingerprint"]["commit"], seed=8)
    old.load_state_dict(state)
    assert xs(old) == [95, 96, 97, 98, 99]
    for bad in ({}, None, {"version": 2}, {**state, "segments": [[1]]}, {**state, "segments": [[1, [101]]]}):
        with pytest.raises(OptionError, match="the state"):
            old.load_state_dict(bad)


def test_ranks_come_from_the_environment(dataset, monkeypatch):
    """RANK and WORLD_SIZE of a launcher are the default; options win; nonsense is refused before anything is read."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert xs(pipeline.stream(dataset)) == list(range(25, 50))
    assert xs(pipeline.stream(dataset, rank=0, world_size=2)) == list(range(50))
    monkeypatch.setenv("RANK", "x")
    with pytest.raises(OptionError, match="RANK and WORLD_SIZE must be whole numbers"):
        pipeline.stream(dataset)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rank": 2, "world_size": 2}, "rank must be from 0 to world_size - 1, got rank 2 of world_size 2"),
        ({"rank": 2}, "give both rank and world_size"),
        ({"remainder": "keep"}, "remainder must be 'drop' or 'pad', got 'keep'"),
        ({"format": "pandas"}, "format must be 'python', 'arrow', 'numpy' or 'torch', got 'pandas'"),
        ({"seed": "x"}, "seed must be a whole number, got 'x'"),
        ({"shuffle_rows": 0}, "shuffle_rows must be at least 1, got 0"),
        ({"batch_rows": 0}, "batch_rows must be at least 1, got 0"),
    ],
)
def test_values_that_cannot_be_are_refused(options, named):
    """Each bad option is named with its value before the Hub is asked."""
    with pytest.raises(OptionError, match=named):
        pipeline.stream("ns/name", **options)


def test_a_column_unknown_to_the_first_file_is_not_left_out(put, repo, parquet_bytes):
    """As before: asked for all columns, a file with one that nobody announced is an error, shuffled or not."""
    put(repo, {"train-0.parquet": parquet_bytes({"a": [1]}), "train-1.parquet": parquet_bytes({"a": [2], "b": [1]})})
    for shuffle in (False, True):
        with pytest.raises(SchemaError, match="column 'b' is neither"):
            list(pipeline.stream(repo, shuffle=shuffle))
    assert sorted(row["a"] for row in pipeline.stream(repo, columns=["a"], shuffle=True)) == [1, 2]


def test_a_dataset_of_many_files_is_not_counted_before_its_first_row(numbered, hub):
    """The first rows of a plain stream need the footers of the first files only."""
    name = numbered(*[3] * 20)
    stream = pipeline.stream(name)
    assert stream.rows.table is None
    assert xs(stream) == list(range(60))
    assert len(stream) == 60
    state = stream.state_dict()
    stream.load_state_dict(state)
    assert xs(stream) == []


def test_without_torch_nothing_of_it_is_looked_for(dataset, monkeypatch):
    """A stream works where torch is not, and is a plain object there."""
    for name in ("torch.utils.data", "torch.distributed"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    stream = pipeline.stream(dataset)
    assert stream.__class__ is pipeline.streaming.Stream
    assert seats.find_worker() is None
    assert len(xs(stream)) == ROWS
    assert "torch.utils.data" not in sys.modules
