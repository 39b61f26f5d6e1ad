"""Several streams as one: by weight, the same for all ranks, every row once, resumed exactly."""

import json
import pickle
from collections import Counter
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.errors import OptionError, SchemaError
from pipeline.streaming.choices import Choices

SIZES = (60, 25, 15)


@pytest.fixture
def datasets(numbered, repo):
    return [numbered(size, name=f"{repo}-{n}", start=1000 * n) for n, size in enumerate(SIZES)]


def mixed(datasets, weights=(3, 1, 1), strategy="first_exhausted", seed=7, **options):
    streams = [pipeline.stream(name, shuffle=True, shuffle_rows=10, **options) for name in datasets]
    return pipeline.interleave(streams, weights, seed, strategy)


def xs(stream, rows=None):
    iterator = iter(stream)
    return (
        [row["x"] for row, _ in zip(iterator, range(10**9 if rows is None else rows), strict=False)]
        if rows != 0
        else []
    )


def as_worker(worker, workers):
    return mock.patch("pipeline.streaming.iterable.find_worker", return_value=(worker, workers))


@pytest.mark.parametrize("strategy", ["first_exhausted", "all_exhausted"])
def test_an_interleave_resumes_exactly(datasets, strategy):
    """At any point, also after a stream began again, the state gives the rest in the same order."""
    one = mixed(datasets, strategy=strategy)
    one.set_epoch(2)
    whole = xs(one)
    assert len(one) == len(whole)
    for stop in range(0, len(whole) + 1, 29):
        iterator = iter(one)
        for _ in range(stop):
            next(iterator)
        state = json.loads(json.dumps(one.state_dict()))
        again = mixed(datasets, strategy=strategy)
        again.load_state_dict(state)
        assert xs(again) == whole[stop:]
        assert one.state_dict(rows_consumed=stop) == state
    assert xs(pickle.loads(pickle.dumps(one))) == whole


def test_first_exhausted_ends_with_the_first_and_repeats_nothing(datasets):
    """It ends when a stream that is drawn has no more; no row comes twice; shares follow the weights."""
    found = xs(mixed(datasets))
    counts = Counter(x // 1000 for x in found)
    assert len(set(found)) == len(found)
    assert any(counts[n] == size for n, size in enumerate(SIZES))


def test_all_exhausted_gives_every_row(datasets):
    """Every row of every stream comes, those of streams that ended early again and in another order."""
    found = xs(mixed(datasets, strategy="all_exhausted", weights=(1, 1, 1)))
    assert set(found) == {1000 * n + row for n, size in enumerate(SIZES) for row in range(size)}
    small = [x for x in found if x >= 2000]
    assert len(small) > 2 * SIZES[2]
    assert sorted(small[:15]) == sorted(small[15:30])
    assert small[:15] != small[15:30]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_row_is_lost_or_repeated_over_kills_and_layouts(datasets, data):
    """Killed at any point under any ranks and workers, what the streams gave and still have is each row once."""
    strategy = data.draw(st.sampled_from(["first_exhausted", "all_exhausted"]))
    state, seen = None, []
    for _ in range(data.draw(st.integers(1, 3))):
        world_size, workers = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
        batch = data.draw(st.integers(1, 4))
        ranks = [mixed(datasets, strategy=strategy, rank=rank, world_size=world_size) for rank in range(world_size)]
        shares = []
        for one in ranks:
            if state:
                one.load_state_dict(state)
            for worker in range(workers):
                with as_worker(worker, workers):
                    shares.append(xs(one))
        assert len({len(share) for share in shares}) == 1
        consumed = data.draw(st.integers(0, len(shares[0]) * workers))
        for first in range(0, len(shares), workers):
            seen += dealt_rows(shares[first : first + workers], consumed, batch)
        state = json.loads(json.dumps(ranks[0].state_dict(consumed, workers, batch)))
    if strategy == "first_exhausted":
        assert len(set(seen)) == len(seen)
    counts = Counter(seen)
    for n, (name, size) in enumerate(zip(datasets, SIZES, strict=True)):
        rest = Counter()
        for position in state["streams"][n]:
            child = pipeline.stream(name, shuffle=True, shuffle_rows=10)
            child.load_state_dict({**position, "share": None})
            rest.update(xs(child))
        if [position["epoch"] for position in state["streams"][n]] == [0]:  # it has not begun again
            rows = range(1000 * n, 1000 * n + size)
            assert [counts[x] + rest[x] for x in rows] == [1] * size


def dealt_rows(shares, consumed, batch):
    iterators, found = [iter(share) for share in shares], []
    while len(found) < consumed:
        for iterator in iterators:
            found += [row for _, row in zip(range(min(batch, consumed - len(found))), iterator, strict=False)]
    return found


def test_choices_follow_the_weights():
    """Draws are by weight, differ between epochs and seeds, and do not depend on where one begins."""
    choices = Choices(weights=(5.0, 3.0, 2.0), seed=1, epoch=0)
    drawn = choices.block(0, 20_000).to_pylist()
    assert drawn[777:900] == choices.block(777, 123).to_pylist()
    assert [drawn.count(n) / 20_000 for n in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.015)
    others = [Choices(weights=(5.0, 3.0, 2.0), seed=s, epoch=e).block(0, 100).to_pylist() for s, e in ((1, 1), (2, 0))]
    assert drawn[:100] not in others
    assert drawn[:12] == GOLDEN


def test_what_does_not_fit_is_refused(datasets, put, repo, parquet_bytes):
    """Other columns, formats, ranks, weights or states are named."""
    streams = [pipeline.stream(name) for name in datasets[:2]]
    for weights in ([1], [1, 0], [1, float("nan")]):
        with pytest.raises(OptionError, match="weights must be 2 numbers above 0"):
            pipeline.interleave(streams, weights)
    with pytest.raises(OptionError, match="stopping_strategy must be"):
        pipeline.interleave(streams, stopping_strategy="last")
    with pytest.raises(OptionError, match="streams must be a list"):
        pipeline.interleave([])
    with pytest.raises(OptionError, match="one format, got 'python' and 'arrow'"):
        pipeline.interleave([streams[0], pipeline.stream(datasets[1], format="arrow")])
    put(repo, {"train.parquet": parquet_bytes({"x": ["a"], "text": ["b"]})})
    with pytest.raises(SchemaError, match="got x: int64 and x: string"):
        pipeline.interleave([streams[0], pipeline.stream(repo)])
    state = pipeline.interleave(streams).state_dict()
    with pytest.raises(OptionError, match="weights="):
        pipeline.interleave(streams, [1, 2]).load_state_dict(state)
    with pytest.raises(OptionError, match="dataset="):
        pipeline.interleave(streams[::-1]).load_state_dict(state)
    with pytest.raises(OptionError, match="rows_consumed does not fit"):
        pipeline.interleave(streams).state_dict(rows_consumed=86)


GOLDEN = [0, 2, 0, 0, 0, 1, 1, 0, 0, 1, 0, 2]
