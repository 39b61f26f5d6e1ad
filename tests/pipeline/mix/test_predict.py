"""What a build will upload is told before it: by source, with the reason."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mix.blocks import block_names
from pipeline.mix.plan import plan_mix
from pipeline.mix.predict import ALIGNED, UNALIGNED, new_share, predict

CURVES = st.sampled_from([ALIGNED, UNALIGNED])


@pytest.mark.parametrize("curve", [ALIGNED, UNALIGNED])
def test_a_curve_passes_through_what_was_measured(curve):
    """Each point exactly; shares fall from one to the next, and beyond the last one the new bytes stay the same."""
    for size, share in curve:
        assert new_share(curve, size) == pytest.approx(share)
    last, share = curve[-1]
    assert new_share(curve, 10 * last) * 10 * last == pytest.approx(share * last)
    assert new_share(curve, 1) == curve[0][1]


@given(CURVES, st.lists(st.floats(1, 1e9), min_size=2, max_size=8))
def test_longer_runs_deduplicate_better(curve, sizes):
    """A share lies in (0, 1) and never rises with the length of a run."""
    shares = [new_share(curve, size) for size in sorted(sizes)]
    assert all(0 < share < 1 for share in shares)
    assert all(longer <= shorter for shorter, longer in pairwise(shares))


@pytest.mark.parametrize(
    ("curve", "size", "low", "high"),
    [
        (ALIGNED, 40e3, 0.6, 0.7),
        (ALIGNED, 80e3, 0.5, 0.6),
        (ALIGNED, 160e3, 0.08, 0.1),
        (ALIGNED, 320e3, 0.005, 0.01),
        (ALIGNED, 1e6, 0.001, 0.004),
        (UNALIGNED, 20e6, 0.004, 0.007),
    ],
)
def test_runs_below_a_quarter_of_a_megabyte_cost_much_more(curve, size, low, high):
    """The limit on fragments: 66 % at 40 KB, 0.7 % at 320 KB."""
    assert low < new_share(curve, size) < high


def _predict(make, rows=100, keys=None, *, known=False, **recipe):
    made = make(([[rows] * 40], keys or {}), **{"row_bytes": 200_000, "why": None, "source_column": None, **recipe})
    plan = plan_mix(made.recipe, made.sources).splits[0]
    names = frozenset(block_names(plan.sources, plan.blocks)) if known else frozenset()
    one = predict(plan, names)[0]
    return one.bytes_new / one.bytes_written, one.reason, one.bytes_written


@pytest.mark.parametrize(
    ("keys", "low", "high", "reason"),
    [
        ({"rows": 5, "padded": True}, 0.001, 0.01, "copied raw, same layout"),
        ({"rows": 5, "padded": True, "source_column": "source"}, 0.008, 0.02, "copied raw, same layout"),
        ({"rows": 5, "padded": True, "opened": {"on_hub": False}}, 1, 1, "copied raw, but not in this Hub's storage"),
        ({"rows": 100}, 0.004, 0.008, "copied raw, row groups of 20.0 MB"),
        ({"rows": 5}, 0.1, 0.2, "copied raw, row groups of 1.0 MB"),
        ({"rows": 200}, 1, 1, "re-encoded: row groups are cut into blocks"),
        ({"rows": 5, "why": "its columns are computed"}, 1, 1, "re-encoded: its columns are computed"),
        ({"rows": 5, "why": "x", "known": True}, 0.001, 0.01, "as built before"),
        ({"rows": 5, "why": "x", "keys": {"repeat": 4}}, 0.25, 0.26, "re-encoded: x"),
        ({"shuffle": "rows"}, 1, 1, "rows shuffled, 200 kB each: too small to deduplicate"),
        ({"shuffle": "rows", "row_bytes": 600_000}, 0.12, 0.25, "rows shuffled, 600 kB each"),
        ({"shuffle": "rows", "opened": {"on_hub": False}}, 1, 1, "not in this Hub's storage"),
        ({"shuffle": "none", "opened": {"unchanged": True}}, 0, 0, "whole files, copied by the Hub"),
    ],
)
def test_each_way_into_the_mix_has_its_price_and_reason(make, keys, low, high, reason):
    """Of 8 MB to 8 GB of images: about 1 % where blocks are aligned, a chunk at each end where they are not, else all."""
    share, told, _ = _predict(make, **keys)
    assert low <= share <= high
    assert told == reason


def test_a_source_that_goes_two_ways_says_so(make):
    """The share of what most bytes do, and what the others do."""
    made = make(([[5] * 30 + [20] * 10], {}), row_bytes=200_000, padded=True, why=None, block_rows=5)
    one = predict(plan_mix(made.recipe, made.sources).splits[0])[0]
    assert one.reason == "57% re-encoded: row groups are cut into blocks; copied raw, same layout"


def test_pads_and_footers_are_counted(make):
    """What is written is the rows, 8.3 KB per block and 150 bytes per column chunk."""
    _, _, written = _predict(make, rows=5, padded=True)
    assert written == 40 * (1_000_000 + 8_320 + 150)
