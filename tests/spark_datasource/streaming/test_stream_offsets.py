"""Whatever commits bring and however large batches may be: every file once, in order, from any offset on."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pipeline.hub.listing import DataFile
from spark_datasource.stream_offsets import Offset, Slice, advance, parse_offset, up_to

_COUNTS = st.lists(st.integers(0, 5), max_size=6)
_LIMITS = st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=1, max_size=5)


def history(counts):
    """A commit for each count, which brings so many files; the first one is a snapshot."""
    return [
        Slice(
            commit=f"c{i}",
            files=tuple(DataFile(path=f"c{i}/{j}", size=1) for j in range(count)),
            snapshot=i == 0,
        )
        for i, count in enumerate(counts)
    ]


def unread(slices, start):
    """What comes after an offset."""
    for i, one in enumerate(slices):
        if one.commit == start.commit:
            rest = [] if start.files is None else [one.after(start.files)]
            return [*rest, *slices[i + 1 :]]
    return slices


@given(counts=_COUNTS, limits=_LIMITS)
def test_batches_are_all_files_once_in_order(counts, limits):
    """With a limit that changes between runs; offsets go through JSON; no batch is larger than its limit, none is empty."""
    slices = history(counts)
    offset, read = Offset(), []
    for i in range(sum(counts) + 1):
        limit = limits[i % len(limits)]
        end = advance(offset, unread(slices, offset), limit)
        if end == offset:
            break
        end = parse_offset(json.loads(json.dumps(end.to_json())))
        last = next(k for k, one in enumerate(slices) if one.commit == end.commit)
        batch = [file.path for one in up_to(unread(slices[: last + 1], offset), end) for file in one.files]
        assert 0 < len(batch) <= (limit or len(batch))
        offset = end
        read += batch
    assert read == [file.path for one in slices for file in one.files]
