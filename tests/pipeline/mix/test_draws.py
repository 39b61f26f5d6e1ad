"""How many rows each source gives: exact, within what there is, and fair about what is taken away."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NotFoundError, OptionError
from pipeline.mix.draws import Draw, Drawn, draw_rows, share_within
from pipeline.mix.order import apportion

WEIGHTS = st.lists(st.integers(0, 9) | st.sampled_from([0.5, 0.1, 2.5]), min_size=1, max_size=5).filter(any)


def _draw(make, *rows_and_keys, share=(0, (1.0,)), available=None, **recipe):
    made = make(*[([[rows]], keys) for rows, keys in rows_and_keys], **recipe)
    have = available or [source.rows for source in made.sources]
    return draw_rows(made.recipe, made.sources, Drawn(available=have, share=share))


@pytest.mark.parametrize(
    ("keys", "wanted", "base", "rows"),
    [
        ({}, 10, 10, 10),
        ({"take": 4}, 4, 4, 4),
        ({"take": 0.25}, 2, 2, 2),
        ({"repeat": 2}, 20, 10, 20),
        ({"repeat": 2.5}, 25, 10, 25),
        ({"take": 100}, 100, 10, 10),
        ({"take": 4, "repeat": 2}, 8, 4, 8),
        ({"take": 3, "repeat": 1.5}, 4, 3, 4),
    ],
)
def test_plain_quantities_have_plain_results(make, keys, wanted, base, rows):
    """Of ten rows: all, four, a quarter (half to even), twice, two and a half times, more than there are."""
    draw = _draw(make, (10, keys))[0]
    assert draw == Draw(available=10, wanted=wanted, base=base, rows=rows)
    assert draw.whole * base + draw.rest == rows


def test_a_temperature_weighs_by_a_power_of_size(make):
    """1 is in proportion to size, 2 to its root, a large one nearly equal; the total is shared to the row."""
    sources = (100, {}), (400, {}), (900, {})
    counts = {t: [draw.rows for draw in _draw(make, *sources, temperature=t, total_rows=600)] for t in (1.0, 2.0, 1e9)}
    assert counts == {1.0: [43, 171, 386], 2.0: [100, 200, 300], 1e9: [200, 200, 200]}
    assert [draw.rows for draw in _draw(make, *sources, temperature=2.0)] == [100, 200, 300]


def test_without_a_total_the_scarcest_source_decides(make):
    """It gives all that it has, or as often as it may; the others their shares of that."""
    assert [draw.rows for draw in _draw(make, (10, {"weight": 1}), (1_000, {"weight": 3}))] == [10, 30]
    assert [d.rows for d in _draw(make, (10, {"weight": 1, "max_repeat": 2.5}), (1_000, {"weight": 3}))] == [25, 75]


def test_what_a_limit_takes_away_goes_to_the_others(make):
    """In proportion to their weights; where all are at their limits, the mix is smaller than asked for."""
    keys = [{"weight": 2, "max_repeat": 2}, {"weight": 1}, {"weight": 1}]
    draws = _draw(make, *[(10, one) for one in keys], total_rows=100)
    assert [(draw.wanted, draw.rows) for draw in draws] == [(50, 20), (25, 40), (25, 40)]
    draws = _draw(make, *[(10, {"weight": 1, "max_repeat": 1.5})] * 2, total_rows=100)
    assert [(draw.wanted, draw.rows) for draw in draws] == [(50, 15), (50, 15)]


@given(WEIGHTS, st.integers(0, 10_000), st.data())
def test_shares_within_limits_are_exact_and_fair(weights, total, data):
    """The sum is the total, or all limits; nobody is above its limit; those below theirs share in proportion to the row."""
    limits = data.draw(st.lists(st.none() | st.integers(0, 3_000), min_size=len(weights), max_size=len(weights)))
    shares = [Fraction(weight) for weight in weights]
    counts = share_within(shares, total, limits)
    able = [limit for limit, share in zip(limits, shares, strict=True) if share]
    assert sum(counts) == (total if None in able else min(total, sum(able)))
    assert all(limit is None or count <= limit for count, limit in zip(counts, limits, strict=True))
    assert all(share or not count for count, share in zip(counts, shares, strict=True))
    free = [n for n, (count, limit) in enumerate(zip(counts, limits, strict=True)) if shares[n] and count != limit]
    left = sum(counts[n] for n in free)
    for n in free:
        quota = shares[n] * left / sum(shares[m] for m in free)
        assert abs(counts[n] - quota) <= 1
    assert limits != [None] * len(limits) or counts == apportion(shares, total)


@settings(deadline=None)
@given(st.integers(1, 500), st.lists(st.integers(1, 99), min_size=2, max_size=4))
def test_splits_share_what_is_given_in_rows(make, take, parts):
    """`take` and `total_rows` are apportioned: all splits together have them, each from its own rows."""
    shares = tuple(part / sum(parts) for part in parts)
    splits = tuple((f"s{n}", share) for n, share in enumerate(shares))
    for keys, recipe in (({"take": take}, {}), ({"weight": 1}, {"total_rows": take})):
        draws = [
            _draw(make, (10_000, keys), share=(place, shares), available=[5_000], splits=splits, **recipe)[0]
            for place in range(len(shares))
        ]
        assert sum(draw.rows for draw in draws) == take
        assert {draw.available for draw in draws} == {5_000}


def test_a_source_without_rows_in_a_split_gives_it_none(make):
    """The others share what is asked for; nobody is refused."""
    keys = {"weight": 1}
    draws = _draw(
        make, (10, keys), (10, keys), available=[0, 6], splits=(("a", 0.9), ("b", 0.1)), share=(0, (0.9, 0.1))
    )
    assert [(draw.available, draw.rows) for draw in draws] == [(0, 0), (6, 6)]


def test_upper_bounds_are_marked(make):
    """What was not counted stays so."""
    assert [d.exact for d in _draw(make, (5, {}), opened={"exact": False})] == [False]


@pytest.mark.parametrize(
    ("keys", "recipe", "message"),
    [
        ({"take": 0.01}, {}, r"source 's0' would get no row of 10 \(take 0.01, repeat 1\); raise them"),
        ({"repeat": 0.01}, {}, r"source 's0' would get no row of 10 \(repeat 0.01\); raise them"),
        ({"weight": 0.001}, {"total_rows": 5}, "source 's0' would get no row of 5; raise its weight"),
    ],
)
def test_a_source_that_would_get_no_row_is_refused(make, keys, recipe, message):
    """Rounding to nothing is said, with the place in the recipe and what to raise; it is no empty mix."""
    other = {"weight": 1} if "weight" in keys else {}
    with pytest.raises(OptionError, match=rf"\Amix.yaml:1:1: {message}\Z"):
        _draw(make, (10, keys), (10, other), **recipe)
    with pytest.raises(OptionError, match="raise total_rows or the temperature"):
        _draw(make, (1, {}), (10**9, {}), temperature=1.0, total_rows=5)


def test_a_source_without_rows_is_refused(make):
    """A filter that keeps nothing, or empty files, are named instead of left out."""
    with pytest.raises(NotFoundError, match="source 's1' has no rows for which id > 3"):
        _draw(make, (10, {}), (0, {"where": "id > 3"}))
