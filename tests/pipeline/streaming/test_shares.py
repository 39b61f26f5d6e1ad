"""Shares: every position once, whoever reads, however often the job was stopped and resumed."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.streaming.shares import Seat, Segment, count, cut, dealt, extend, remaining, share, share_rows

LAYOUTS = st.tuples(st.integers(1, 5), st.integers(1, 4))


def seats(world_size, workers):
    return [
        Seat(world_size=world_size, rank=rank, workers=workers, worker=worker)
        for rank in range(world_size)
        for worker in range(workers)
    ]


def positions(intervals):
    return [position for start, end in intervals for position in range(start, end)]


@given(total=st.integers(0, 200), layout=LAYOUTS, remainder=st.sampled_from(["drop", "pad"]))
def test_shares_are_equal_contiguous_and_cover_everything(total, layout, remainder):
    """Every share has as many rows; together they are the sequence, without its last few or with its first ones again."""
    left = remaining(total, [], remainder)
    shares = [positions(share(left, seat, remainder)) for seat in seats(*layout)]
    assert {len(one) for one in shares} == {share_rows(total, len(shares), remainder)}
    joined = [position for one in shares for position in one]
    if remainder == "drop":
        assert joined == list(range(len(joined)))
        assert total - len(joined) < len(shares)
    else:
        assert joined[:total] == list(range(total))
        assert len(joined) - total < len(shares)
        assert not total or joined == [n % total for n in range(len(joined))]


@hypothesis_settings(max_examples=60)
@given(total=st.integers(0, 150), data=st.data(), remainder=st.sampled_from(["drop", "pad"]))
def test_each_position_is_read_once_over_any_number_of_kills(total, data, remainder):
    """Killed at any point, with workers unequally far, and resumed under any layout: no position is lost, none comes twice."""
    segments, seen = (), []
    for _ in range(data.draw(st.integers(0, 3))):
        world_size, workers = data.draw(LAYOUTS)
        left = remaining(total, segments, remainder)
        each = share_rows(count(left), world_size * workers, remainder)
        rows = tuple(data.draw(st.integers(0, each)) for _ in range(workers))
        for seat in seats(world_size, workers):
            seen += positions(share(left, seat, remainder))[: rows[seat.worker]]
        segments = extend(segments, Segment(world_size=world_size, rows=rows))
    seen += positions(remaining(total, segments, remainder))
    assert sorted(set(seen)) == list(range(total))
    assert remainder == "pad" or len(seen) == total


@given(total=st.integers(0, 150), layout=LAYOUTS, data=st.data(), remainder=st.sampled_from(["drop", "pad"]))
def test_the_same_layout_goes_on_with_the_tails(total, layout, data, remainder):
    """Resumed under its own layout, each share goes on exactly where it stood, and the state does not grow."""
    left = remaining(total, [], remainder)
    each = share_rows(total, layout[0] * layout[1], remainder)
    first, more = data.draw(st.integers(0, each)), data.draw(st.integers(0, each))
    segments = extend((), Segment(world_size=layout[0], rows=(first,) * layout[1]))
    for seat in seats(*layout):
        tail = positions(share(remaining(total, segments, remainder), seat, remainder))
        whole = positions(share(left, seat, remainder))[first:]
        real = max(0, total - seat.number * each - first)  # behind them come positions that only pad
        assert len(tail) == len(whole)
        assert tail[:real] == whole[:real]
    again = extend(segments, Segment(world_size=layout[0], rows=(more,) * layout[1]))
    assert len(again) <= 1


@given(batches=st.integers(1, 7), workers=st.integers(1, 5), each=st.integers(0, 30), data=st.data())
def test_rows_are_dealt_as_a_data_loader_deals_them(batches, workers, each, data):
    """Workers take turns with a batch each; the last batch of each may be short."""
    rows = data.draw(st.integers(0, workers * each))
    given_rows, left = [0] * workers, rows
    while left:
        for worker in range(workers):
            batch = min(batches, each - given_rows[worker], left)
            given_rows[worker] += batch
            left -= batch
    assert dealt(rows, workers, batches, each) == tuple(given_rows)
    with pytest.raises(ValueError, match="rows were consumed"):
        dealt(workers * each + 1, workers, batches, each)


@given(total=st.integers(0, 50), pieces=st.integers(1, 9))
def test_a_cut_loses_nothing(total, pieces):
    """The pieces are the intervals, in order, and almost equal."""
    left = remaining(total + 10, [Segment(world_size=1, rows=(10,))], "drop")
    found = cut(left, pieces)
    assert [one for piece in found for one in positions(piece)] == positions(left)
    assert not found or max(map(count, found)) - min(map(count, found)) <= 1


def test_a_segment_that_takes_too_much_is_refused():
    """A state of other data cannot be resumed unnoticed."""
    with pytest.raises(ValueError, match="6 rows were taken from a share of 5"):
        remaining(10, [Segment(world_size=2, rows=(6,))], "drop")
