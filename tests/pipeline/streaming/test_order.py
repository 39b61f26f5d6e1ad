"""The global order: a pure function of seed and epoch, of which any part is found on its own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.permutation import Permutation
from pipeline.streaming.order import Order, Window, cut_windows, parts

SHAPES = st.lists(st.integers(0, 12), max_size=12)
ORDERS = st.builds(
    Order,
    shuffle=st.booleans(),
    seed=st.integers(-3, 2**63 - 1),
    epoch=st.integers(0, 5),
    shuffle_rows=st.integers(1, 30),
    shuffle_bytes=st.integers(1, 400),
)


def read(rows, order, intervals):
    """The rows (group, row) at these positions, read as `reading` does it."""
    sizes = [10 * one for one in rows]
    found, read_groups = [], []
    for part in parts(cut_windows(rows, sizes, order), intervals, rows, order):
        stored = [(group, row) for group in part.groups for row in range(rows[group])]
        assert len(stored) == part.total
        read_groups += part.groups
        found += stored[part.first : part.last] if part.index is None else [stored[i] for i in part.index.to_pylist()]
    return found, read_groups


@settings(max_examples=80)
@given(rows=SHAPES, order=ORDERS)
def test_an_epoch_is_every_row_once(rows, order):
    """The order is a permutation of all rows; without shuffle it is the stored one."""
    found, _ = read(rows, order, [(0, sum(rows))] if sum(rows) else [])
    stored = [(group, row) for group in range(len(rows)) for row in range(rows[group])]
    assert sorted(found) == stored
    assert order.shuffle or found == stored
    assert found == read(rows, order, [(0, sum(rows))] if sum(rows) else [])[0]


@settings(max_examples=80)
@given(rows=SHAPES, order=ORDERS, data=st.data())
def test_a_part_is_the_same_read_alone(rows, order, data):
    """Any interval gives what the whole epoch has there, and reads no row group without a wanted row."""
    total = sum(rows)
    start = data.draw(st.integers(0, total))
    end = data.draw(st.integers(start, total))
    whole, _ = read(rows, order, [(0, total)] if total else [])
    found, groups = read(rows, order, [(start, end)] if start < end else [])
    assert found == whole[start:end]
    assert set(groups) == {group for group, _ in found}
    assert len(groups) == len(set(groups))


def every(windows):
    """All windows as values."""
    return [windows[number] for number in range(len(windows))]


def one_by_one(rows, sizes, order):
    """The windows as they were first made, a value each: slow, and plain to read."""
    numbers = range(len(rows))
    if order.shuffle:
        numbers = Permutation(len(rows), order.seed, f"stream groups {order.epoch}").of_range(0, len(rows)).to_pylist()
    windows, run = [], []

    def end():
        start = windows[-1].start + windows[-1].rows if windows else 0
        length = sum(rows[group] for group in run)
        windows.append(Window(number=len(windows), start=start, groups=tuple(run), rows=length))
        run.clear()

    enough = max(100, sum(rows) // 1000) if sum(rows) >= 100_000 else order.shuffle_rows
    for number in numbers:
        if not rows[number]:
            continue
        held = sum(rows[group] for group in run)
        many = held >= enough or sum(sizes[group] for group in run) + sizes[number] > order.shuffle_bytes
        if run and (not order.shuffle or held >= order.shuffle_rows or (len(run) >= 2 and many)):
            end()
        run.append(number)
    if run:
        end()
    return windows


@settings(max_examples=200)
@given(groups=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 150)), max_size=60), order=ORDERS)
def test_windows_are_those_that_states_were_saved_under(groups, order):
    """Made on demand, windows are bit for bit those that were once made one by one: a state resumes in the same order."""
    rows, sizes = [one for one, _ in groups], [one for _, one in groups]
    windows = cut_windows(rows, sizes, order)
    assert every(windows) == one_by_one(rows, sizes, order)
    assert all(windows.at(at) == one.number for one in every(windows) for at in (one.start, one.start + one.rows - 1))


@settings(max_examples=30)
@given(rows=st.lists(st.integers(0, 9000), min_size=20, max_size=60), order=ORDERS, asked=st.integers(1, 3000))
def test_windows_of_larger_epochs_are_made_alike(rows, order, asked):
    """So are those of epochs of 100,000 rows and more."""
    order = Order(shuffle=order.shuffle, seed=order.seed, epoch=order.epoch, shuffle_rows=asked)
    assert every(cut_windows(rows, rows, order)) == one_by_one(rows, rows, order)


def test_row_groups_are_permuted_alike_in_steps(monkeypatch):
    """The permutation is computed some row groups at a time, and that changes nothing."""
    rows, order = [2] * 100, Order(shuffle=True, seed=5, shuffle_rows=7)
    monkeypatch.setattr("pipeline.streaming.order._STEP", 9)
    assert every(cut_windows(rows, rows, order)) == one_by_one(rows, rows, order)


def test_windows_are_large_enough_and_no_larger():
    """A window has shuffle_rows rows, or as many row groups as fit the bytes, and at least two if one is too small."""
    order = Order(shuffle=True, shuffle_rows=25, shuffle_bytes=1000)
    assert {window.rows for window in every(cut_windows([10] * 9, [10] * 9, order))} == {30}
    assert {len(window.groups) for window in every(cut_windows([1] * 8, [250] * 8, order))} == {4}
    assert {len(window.groups) for window in every(cut_windows([1] * 8, [400] * 8, order))} == {2}
    assert {len(window.groups) for window in every(cut_windows([1] * 8, [5000] * 8, order))} == {2}
    assert {len(window.groups) for window in every(cut_windows([100] * 8, [5000] * 8, order))} == {1}


@pytest.mark.parametrize(
    ("groups", "group_rows", "asked", "rows"),
    [
        (999, 100, 10_000, {10_000, 9_900}),  # under 100,000 rows: as asked
        (10_000, 100, 10_000, {1000}),  # a million rows: 1/1000
        (100_000, 100, 10_000, {10_000}),  # ten million: as asked, for it is 1/1000
        (1000, 1000, 10_000, {2000}),  # two row groups where they are more
        (1000, 1000, 300, {1000}),  # never more than asked, where one row group has that
        (10_000, 100, 300, {300, 100}),
        (1000, 100, 10_000, {200}),
    ],
)
def test_a_window_is_at_most_a_thousandth_of_an_epoch(groups, group_rows, asked, rows):
    """From 100,000 rows on a window takes 1/1000 of the epoch, at least two row groups, and never more than was asked for."""
    order = Order(shuffle=True, shuffle_rows=asked, shuffle_bytes=1 << 60)
    assert {window.rows for window in every(cut_windows([group_rows] * groups, [1] * groups, order))} == rows


@pytest.mark.parametrize(
    ("group_rows", "shares", "most"), [(500, 8, 1.01), (500, 32, 1.03), (500, 97, 1.1), (4000, 8, 1.1)]
)
def test_shares_together_read_little_more_than_the_epoch(group_rows, shares, most):
    """Of a million rows in row groups of 4 MB, 97 shares read under 1.1 times the epoch; from row groups of 4,000 rows 8 do."""
    rows = [group_rows] * (1_000_000 // group_rows)
    order = Order(shuffle=True)
    windows = cut_windows(rows, [4_000_000] * len(rows), order)
    each = 1_000_000 // shares
    read_groups = sum(
        len(part.groups)
        for share in range(shares)
        for part in parts(windows, [(share * each, (share + 1) * each)], rows, order)
    )
    assert read_groups / len(rows) <= most


def test_a_window_that_is_not_there():
    """There is none before the first and none behind the last; an epoch without rows has none."""
    windows = cut_windows([3, 0, 3], [1, 1, 1], Order(shuffle=False))
    assert [window.groups for window in every(windows)] == [(0,), (2,)]
    for number in (-1, 2):
        with pytest.raises(IndexError, match="window must be between 0 and 1"):
            windows[number]
    assert len(cut_windows([0, 0], [5, 5], Order(shuffle=True))) == len(cut_windows([], [], Order(shuffle=True))) == 0


def test_epochs_and_seeds_differ():
    """Each epoch and seed has an order of its own, of row groups and inside them."""
    rows = [20] * 30
    orders = [
        read(rows, Order(shuffle=True, seed=s, epoch=e, shuffle_rows=60), [(0, 600)])[0] for s in (0, 1) for e in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4
    assert len({tuple(dict.fromkeys(group for group, _ in order)) for order in orders}) == 4


def test_the_order_of_a_seed_never_changes():
    """Golden values: if this fails, a state that was saved resumes in another order, losing and repeating rows."""
    found, _ = read([4, 3, 5], Order(shuffle=True, seed=42, epoch=1, shuffle_rows=6), [(0, 12)])
    assert found == GOLDEN


GOLDEN = [(1, 0), (1, 1), (2, 3), (2, 2), (2, 4), (2, 1), (1, 2), (2, 0), (0, 1), (0, 3), (0, 0), (0, 2)]
