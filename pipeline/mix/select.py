"""Which rows of a source a mix has when `dedup_by` drops those that were there before: in a source before it, or earlier in it.

Each row is known by a key of 16 bytes (`row_keys.py`), so 24 million rows take 384 MB. They are gone through in parts, by a byte
of their keys, to hold a table of one part only.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import CorruptFileError
from pipeline.mix.row_keys import KEY_BYTES

_PART_ROWS = 1 << 20
_MOST_PARTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The rows of a source that stay: a bit for each row of the row groups that lose some, counted as its transform gives them.

    `places` are those row groups in order (file << 32 | row group), `ends` where their bits end, both as 64-bit numbers; `bits`
    are laid out as Arrow's. `within` rows went because the source has them before, `across` because a source before it has them.
    """

    places: bytes = b""
    ends: bytes = b""
    bits: bytes = b""
    within: int = 0
    across: int = 0

    @property
    def dropped(self) -> int:
        """The rows that went."""
        return self.within + self.across

    def mask(self, file: int, group: int) -> pa.BooleanArray | None:
        """Of the rows of a row group, which ones stay; `None` for all."""
        place, places = file << 32 | group, memoryview(self.places).cast("Q")
        at = bisect_left(places, place)
        if at == len(places) or places[at] != place:
            return None
        ends = memoryview(self.ends).cast("Q")
        start = ends[at - 1] if at else 0
        return pa.Array.from_buffers(pa.bool_(), ends[at] - start, [None, pa.py_buffer(self.bits)], offset=start)


def apply_mask(rows: pa.RecordBatch, mask: pa.BooleanArray | None, start: int = 0) -> pa.RecordBatch:
    """The rows that stay, of rows that begin with row `start` of their row group, whose mask this is.

    Raises CorruptFileError when the mask ends before the rows do.
    """
    if mask is None:
        return rows
    own = mask.slice(start, rows.num_rows)
    if len(own) < rows.num_rows:
        raise CorruptFileError(f"a row group gives more than the {len(mask)} rows that were counted; make a new plan")
    if own.true_count == rows.num_rows:
        return rows
    try:
        return rows.filter(own)
    except pa.ArrowNotImplementedError:  # Arrow cannot filter views
        kept = [rows.slice(row, 1) for row in pc.indices_nonzero(own).to_pylist()]
        return pa.concat_batches(kept) if kept else rows.slice(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """For each row of all sources, one after the other, a byte that is 1 for the first one with its key. `dropped` has the rows
    that went of each source, within it and across.
    """

    marks: bytearray
    dropped: tuple[tuple[int, int], ...]


def keep_first(keys: bytes, bounds: Sequence[int], part_rows: int = _PART_ROWS) -> Kept:
    """Of rows with the same key, the first one. The rows of source n are [bounds[n], bounds[n + 1]).

    Besides the keys it holds 9 bytes a row (measured with 24 million rows, which take 7 s).
    """
    rows = bounds[-1]
    marks = bytearray(b"\1") * rows
    dropped = [[0, 0] for _ in bounds[1:]]
    buffer = pa.py_buffer(keys)
    every = pa.Array.from_buffers(pa.binary(KEY_BYTES), rows, [None, buffer])
    part_of = _first_bytes(buffer, rows)
    parts = min(_MOST_PARTS, 1 << (max(1, -(-rows // part_rows)) - 1).bit_length())
    for part in range(parts):
        inside = pc.equal(pc.bit_wise_and(part_of, pa.scalar(parts - 1, pa.uint8())), pa.scalar(part, pa.uint8()))
        positions = pc.indices_nonzero(inside)
        repeated, firsts = _repeated(every.filter(inside), positions)
        if len(
            repeated
        ):  # read from the buffer: as Python numbers at once, equal rows by the million would fill the memory
            for position in memoryview(repeated.buffers()[1]).cast("Q")[: len(repeated)]:
                marks[position] = 0
        _count(repeated, firsts, bounds, dropped)
    return Kept(marks=marks, dropped=tuple((within, across) for within, across in dropped))


def _first_bytes(keys: pa.Buffer, rows: int) -> pa.UInt8Array:
    octets = pa.Array.from_buffers(pa.uint8(), rows * KEY_BYTES, [None, keys])
    return pc.list_element(pa.FixedSizeListArray.from_arrays(octets, KEY_BYTES), 0)


def _repeated(keys: pa.Array, positions: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The positions of keys that were there before, and where each of those was first."""
    numbers = keys.dictionary_encode().indices  # numbered as they appear first
    if not len(numbers):
        return positions, positions
    highest = pc.cumulative_max(numbers)
    before = pa.concat_arrays([pa.array([-1], numbers.type), highest[:-1]])
    first = pc.greater(highest, before)
    again = pc.invert(first)
    return positions.filter(again), positions.filter(first).take(numbers.filter(again))


def _count(repeated: pa.Array, firsts: pa.Array, bounds: Sequence[int], dropped: Sequence[list[int]]) -> None:
    at = [bisect_left(repeated, bound, key=lambda position: position.as_py()) for bound in bounds]
    for source, found in enumerate(dropped):
        start, end = at[source], at[source + 1]
        if start < end:
            before = pc.less(firsts[start:end], pa.scalar(bounds[source], firsts.type)).true_count
            found[0] += end - start - before
            found[1] += before


def select_rows(
    kept: Sequence[Sequence[int]], marks: bytearray, start: int, dropped: tuple[int, int]
) -> tuple[Selection, list[tuple[int, ...]]]:
    """A source's selection, and what its row groups keep. `kept` are the rows of each file's row groups, `start` is the mark of
    the first one.
    """
    places, ends, lossy = array("Q"), array("Q"), []
    found = []
    for file, groups in enumerate(kept):
        left = []
        for group, rows in enumerate(groups):
            gone = marks.count(0, start, start + rows)
            if gone:
                places.append(file << 32 | group)
                ends.append((ends[-1] if ends else 0) + rows)
                lossy.append(marks[start : start + rows])
            left.append(rows - gone)
            start += rows
        found.append(tuple(left))
    within, across = dropped
    selection = Selection(places=places.tobytes(), ends=ends.tobytes(), bits=_bits(lossy), within=within, across=across)
    return selection, found


def _bits(marks: Iterable[bytearray]) -> bytes:
    octets = b"".join(marks)
    truth = pa.Array.from_buffers(pa.uint8(), len(octets), [None, pa.py_buffer(octets)]).cast(pa.bool_())
    return truth.buffers()[1].to_pybytes() if octets else b""
