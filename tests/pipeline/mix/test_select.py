"""Which of equal rows stays, and how that is told to those who read them again."""

import pickle
from itertools import accumulate

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorruptFileError
from pipeline.mix.row_keys import KEY_BYTES, row_keys
from pipeline.mix.select import Selection, apply_mask, keep_first, select_rows

# Sources of files of row groups of values.
SOURCES = st.lists(st.lists(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=3), max_size=3), max_size=4)


def _first(sources):
    """Per source, file and row group, which rows stay; and per source, how many go within it and across."""
    seen = {}
    kept, dropped = [], []
    for number, files in enumerate(sources):
        within = across = 0
        kept.append([[[seen.setdefault(v, at) == at for v, at in group] for group in file] for file in files])
        for file in files:
            for group in file:
                for value, at in group:
                    if seen[value] != at:
                        within += seen[value][0] == number
                        across += seen[value][0] < number
        dropped.append((within, across))
    return kept, dropped


def _placed(sources):
    return [
        [
            [[(value, (s, f, g, i)) for i, value in enumerate(group)] for g, group in enumerate(file)]
            for f, file in enumerate(files)
        ]
        for s, files in enumerate(sources)
    ]


@settings(max_examples=150)
@given(SOURCES, st.sampled_from([1, 3, 1 << 20]))
def test_the_first_of_equal_rows_stays(sources, part_rows):
    """First source, then first file, then first row; in however many parts the rows are gone through."""
    expected, dropped = _first(_placed(sources))
    values = [value for files in sources for file in files for group in file for value in group]
    rows = [sum(len(group) for file in files for group in file) for files in sources]
    bounds = [0, *accumulate(rows)]
    keys = row_keys(pa.record_batch([pa.array(values, pa.int64())], ["x"]))
    found = keep_first(keys, bounds, part_rows)
    assert list(found.dropped) == dropped
    for number, files in enumerate(sources):
        counts = [[len(group) for group in file] for file in files]
        selection, left = select_rows(counts, found.marks, bounds[number], found.dropped[number])
        assert left == [tuple(map(sum, file)) for file in expected[number]]
        assert selection.dropped == sum(dropped[number])
        again = pickle.loads(pickle.dumps(selection))
        for f, file in enumerate(expected[number]):
            for g, marks in enumerate(file):
                mask = again.mask(f, g)
                assert (mask is None) == all(marks)  # only row groups that lose rows are in it
                assert mask is None or mask.to_pylist() == marks


def test_a_selection_is_small():
    """A bit for each row of row groups that lose some, and nothing for the others."""
    rows, groups = 1000, 100
    keys = bytearray(row_keys(pa.record_batch([pa.array(range(rows * groups))], ["x"])))
    keys[-KEY_BYTES * rows :] = keys[: KEY_BYTES * rows]
    found = keep_first(bytes(keys), [0, rows * groups])
    selection, left = select_rows([[rows] * groups], found.marks, 0, found.dropped[0])
    assert left == [(*[rows] * (groups - 1), 0)]
    assert (selection.within, selection.across) == (rows, 0)
    assert len(pickle.dumps(selection)) < rows // 8 + 300
    assert Selection().mask(0, 0) is None


def test_a_mask_is_applied_to_any_part_of_its_row_group():
    """Batches of a row group lose the rows that the whole one does; also types that Arrow cannot filter."""
    mask = pa.array([True, False, True, True, False, False])
    for kind in (pa.string(), pa.string_view()):
        rows = pa.record_batch([pa.array(list("abcdef"), kind)], ["x"])
        parts = [apply_mask(rows.slice(at, 2), mask, at) for at in range(0, 6, 2)]
        assert [part["x"].to_pylist() for part in parts] == [["a"], ["c", "d"], []]
        assert all(part.schema == rows.schema for part in parts)
        assert apply_mask(rows, None) is rows
    with pytest.raises(CorruptFileError, match="more than the 6 rows that were counted"):
        apply_mask(rows, mask, 1)
