"""The measures of a shuffle, against direct computation and a table that was measured once with real consumers."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.mix import quality
from pipeline.mix.cutting import MAX_LARGE_ROWS
from pipeline.mix.order import apportion, interleave
from pipeline.mix.quality import adjacency_excess, behind_buffer, chi2_per_dof, measure_quality

RUNS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=30)


def _direct_chi2(rows, window):
    shares = {source: count / len(rows) for source, count in Counter(rows).items()}
    starts = range(0, len(rows) - window + 1, window)
    if len(shares) < 2 or not starts:
        return None
    total = 0.0
    for start in starts:
        counts = Counter(rows[start : start + window])
        total += sum((counts[s] - window * p) ** 2 / (window * p) for s, p in shares.items())
    return total / len(starts) / (len(shares) - 1)


def _direct_adjacency(rows):
    chance = sum((count / len(rows)) ** 2 for count in Counter(rows).values()) if rows else 1.0
    if len(set(rows)) < 2:
        return None
    same = sum(a == b for a, b in pairwise(rows)) / (len(rows) - 1)
    return (same - chance) / (1 - chance)


@settings(deadline=None)
@given(RUNS, st.integers(1, 40))
def test_runs_are_measured_as_their_rows_would_be(runs, window):
    """Counting by runs gives what the definition gives row by row; None where there is nothing to measure."""
    rows = [source for source, count in runs for _ in range(count)]
    assert chi2_per_dof(runs, 4, window) == pytest.approx(_direct_chi2(rows, window), abs=1e-9)
    assert adjacency_excess(runs, 4) == pytest.approx(_direct_adjacency(rows), abs=1e-9)


@settings(deadline=None)
@given(RUNS, st.integers(1, 50), st.integers(0, 9))
def test_a_buffer_loses_and_adds_no_row(runs, rows, seed):
    """What leaves the buffer is what went in, the same for the same seed, and no row leaves before its time."""
    out = behind_buffer(runs, rows, seed)
    assert out == behind_buffer(runs, rows, seed)
    wanted, got = Counter(), Counter()
    for source, count in runs:
        wanted[source] += count
    for source, count in out:
        got[source] += count
    assert got == +wanted
    first = [source for source, count in runs for _ in range(count)][:rows]
    assert not out or out[0][0] in first


def test_little_is_measured_as_far_as_it_goes():
    """No rows, one source and short mixes have no measures, and pass the gate."""
    for runs, sources in (([], 0), ([], 3), ([(0, 10_000)], 1), ([(1, 10_000)], 3), ([(0, 1)], 2)):
        measured = measure_quality(runs, sources)
        assert measured.stored == measured.buffered
        assert (measured.stored.chi2_64, measured.stored.adjacency, measured.meets_gate) == (None, None, True)
    short = measure_quality([(0, 50), (1, 50)], 2)
    assert short.stored.chi2_64 is not None
    assert short.stored.chi2_512 is None
    assert short.rows == 100


def _zipf(block, rows=200_000, sources=8):
    """How many blocks each source has."""
    return [max(1, count) for count in apportion([1 / (n + 1) for n in range(sources)], rows // block)]


def _balanced(block, sources=8, seed=3):
    counts = _zipf(block, sources=sources)
    runs = [(source, block) for source, count in enumerate(counts) for _ in range(count)]
    return [runs[place] for place in interleave(counts, seed, [str(source) for source in range(sources)])]


def _shuffled(block):
    runs = [(source, block) for source, count in enumerate(_zipf(block)) for _ in range(count)]
    random.Random(7).shuffle(runs)
    return measure_quality(runs, 8)


def test_rows_in_random_order_measure_one():
    """Independent draws: chi2/dof near 1 in every window, no adjacency excess; the gate is met."""
    measured = _shuffled(1)
    for view in (measured.stored, measured.buffered):
        assert view.chi2_64 == pytest.approx(1, abs=0.05)
        assert view.chi2_512 == pytest.approx(1, abs=0.15)
        assert view.chi2_4096 == pytest.approx(1, abs=0.4)
        assert abs(view.adjacency) < 0.01
    assert measured.meets_gate


@pytest.mark.parametrize(
    ("block", "stored", "buffered", "gate"),
    [(16, (16.1, 15.7), (1.5, 4.3), True), (64, (64, 62), (3.0, 15.6), False), (256, (64, 211), (7.8, 51), False)],
)
def test_random_blocks_measure_as_a_real_consumer_did(block, stored, buffered, gate):
    """The measured table, with one input shard: chi2/dof is about the block, and 16 rows pass the gate."""
    measured = _shuffled(block)
    assert (measured.stored.chi2_64, measured.stored.chi2_512) == pytest.approx(stored, rel=0.25)
    assert (measured.buffered.chi2_64, measured.buffered.chi2_512) == pytest.approx(buffered, rel=0.25)
    assert measured.meets_gate is gate


def test_an_unshuffled_mix_measures_as_a_real_consumer_did():
    """Sources one after another: the window itself, and no buffer helps."""
    measured = measure_quality(list(enumerate(_zipf(1))), 8)
    assert (measured.stored.chi2_64, measured.stored.chi2_512) == pytest.approx((64, 508), rel=0.03)
    assert (measured.buffered.chi2_64, measured.buffered.chi2_512) == pytest.approx((52, 411), rel=0.25)
    assert not measured.meets_gate


@pytest.mark.parametrize("block", [4, 16, 64])
def test_a_balanced_interleave_beats_a_random_one(block):
    """In windows that span several blocks of each source, spreading is better than chance allows."""
    balanced = measure_quality(_balanced(block), 8)
    chance = _shuffled(block)
    assert balanced.stored.chi2_512 < 0.6 * chance.stored.chi2_512
    assert balanced.stored.chi2_4096 < 0.2 * chance.stored.chi2_4096
    assert balanced.buffered.chi2_512 < 0.7 * chance.buffered.chi2_512


@pytest.mark.parametrize(
    ("sources", "block", "expected"),
    [(8, 4, (0.41, 0.06, 0.01)), (8, 16, (9.6, 1.06, 0.14)), (185, 4, (3.7, 2.6, 0.3)), (185, 16, (14.4, 13.8, 7.0))],
)
def test_a_balanced_interleave_measures_as_a_real_consumer_did(sources, block, expected):
    """One shift per source gives the measured figures in windows of 64, 512 and 4,096 rows."""
    stored = measure_quality(_balanced(block, sources), sources).stored
    assert (stored.chi2_64, stored.chi2_512) == pytest.approx(expected[:2], rel=0.3)
    assert stored.chi2_4096 == pytest.approx(expected[2], rel=0.4)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("sources", [8, 185])
def test_default_blocks_of_images_meet_the_gate(sources, seed):
    """The largest block that is cut by default, spread by balance: a consumer with a buffer of 1,000 rows sees a good shuffle."""
    measured = measure_quality(_balanced(MAX_LARGE_ROWS, sources, seed), sources)
    assert measured.meets_gate
    assert measured.buffered.chi2_64 < 1.6
    assert measured.buffered.adjacency < 0.005


@pytest.mark.parametrize(
    ("buffer_rows", "lengths"), [(200, [4_000] * 16), (1_000, [10_666] * 6), (90_000, [32_000] * 2)]
)
def test_a_large_mix_is_seen_through_stretches(buffer_rows, lengths):
    """Beyond the cap the buffer is simulated on evenly spaced parts, long ones for a large buffer: the work is bounded."""
    parts = quality._stretches(_balanced(16), buffer_rows, 64_000)
    assert [sum(rows for _, rows in part) for part in parts] == lengths


def test_stretches_show_nearly_what_the_whole_does():
    """What is stored is measured as a whole; behind the buffer, the numbers are close."""
    runs = _balanced(16)
    whole, sampled = measure_quality(runs, 8), measure_quality(runs, 8, max_rows=64_000)
    assert sampled.stored == whole.stored
    assert sampled.buffered.chi2_64 == pytest.approx(whole.buffered.chi2_64, rel=0.3)
