"""Lines by ranges of bytes: wherever a file is cut, each line is read once, by one task."""

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats.json import json_format
from pipeline.formats.lines import cut_ranges, line_blocks
from pipeline.formats.text import text_format


@given(
    data=st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", "\u2028".encode()]), max_size=40).map(b"".join),
    cuts=st.lists(st.integers(0, 80), max_size=5),
    block_bytes=st.integers(1, 20),
)
def test_any_ranges_give_each_line_exactly_once(data, cuts, block_bytes):
    """In order, whatever the ranges and the blocks."""
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found = [
        block
        for start, end in pairwise(bounds)
        for block in line_blocks(io.BufferedReader(io.BytesIO(data)), start, end, block_bytes)
    ]
    assert b"".join(found) == data
    assert all(block.endswith(b"\n") for block in found[:-1])
    assert [block for block in line_blocks(io.BytesIO(data), block_bytes=block_bytes) if not block] == []


@given(size=st.integers(0, 10_000), target=st.integers(0, 3000))
def test_ranges_cover_a_file_and_are_near_the_target(size, target):
    """None is larger, none is empty."""
    ranges = cut_ranges(size, target)
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == size
    assert all(end - start <= max(target, 1) for start, end in ranges)


@pytest.mark.parametrize(("format", "line"), [(json_format({}), '{"a":%d}'), (text_format({}), "%d")])
def test_a_large_file_of_lines_is_many_tasks(format, line, local):
    """And they hold its rows, in order."""
    file = local("".join(f"{line % number}\n" for number in range(1000)))
    schema = format.infer([file], None)
    tasks = format.plan([file], None, 500)
    assert len(tasks) == -(-file.size // 500)
    rows = [
        row for task in tasks for batch in format.read(task, schema, None, schema.names) for row in batch.to_pylist()
    ]
    assert [int(next(iter(row.values()))) for row in rows] == list(range(1000))


@pytest.mark.parametrize("reading", [{"encoding": "utf-16"}, {"encoding": "latin-1", "sample_by": "paragraph"}])
def test_what_cannot_be_cut_is_one_task(reading, local):
    """Where lines do not end with one byte, or a row is more than a line."""
    encoded = "a\nb\n".encode(reading["encoding"])
    assert len(text_format(reading).plan([local(encoded)], None, 1)) == 1
