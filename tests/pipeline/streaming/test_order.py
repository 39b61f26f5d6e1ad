"""The global order: a pure function of seed and epoch, of which any part is found on its own."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.streaming.order import Order, cut_windows, parts

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


def test_windows_are_large_enough_and_no_larger():
    """A window has shuffle_rows rows, or as many row groups as fit the bytes, and at least two if one is too small."""
    order = Order(shuffle=True, shuffle_rows=25, shuffle_bytes=1000)
    assert {window.rows for window in cut_windows([10] * 9, [10] * 9, order)} == {30}
    assert {len(window.groups) for window in cut_windows([1] * 8, [400] * 8, order)} == {2}
    assert {len(window.groups) for window in cut_windows([1] * 8, [5000] * 8, order)} == {2}
    assert {len(window.groups) for window in cut_windows([100] * 8, [5000] * 8, order)} == {1}


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
