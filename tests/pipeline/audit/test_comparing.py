"""What verification rests on: sums of row keys, the files of shards, the first row that differs."""

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.row_sums import RowSums, first_other_key
from pipeline.audit.shard_files import match_shards
from pipeline.audit.verify import first_difference
from pipeline.hub.listing import DataFile
from pipeline.mix.row_keys import row_keys

ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["x", "", None])), min_size=1, max_size=20)


def _batch(rows):
    columns = [pa.array([row[0] for row in rows], pa.int64()), pa.array([row[1] for row in rows], pa.string())]
    return pa.record_batch(columns, names=["n", "text"])


def _sums(rows, positions, parts=1):
    sums = RowSums()
    for part in range(parts):
        some, at = rows[part::parts], positions[part::parts]
        names = pa.repeat(pa.scalar("s"), len(some))
        sums.add(_batch(some), names, pa.repeat(pa.scalar(0, pa.int32()), len(some)), pa.array(at, pa.int64()))
    return sums


@given(rows=ROWS, seed=st.integers(0, 99), parts=st.integers(1, 4))
def test_sums_are_of_rows_at_positions_whatever_order_they_come_in(rows, seed, parts):
    """Read in any order and in any batches, the same rows at the same positions have the same sums."""
    numbered = list(enumerate(rows))
    random.Random(seed).shuffle(numbered)
    shuffled = _sums([row for _, row in numbered], [position for position, _ in numbered], parts)
    assert shuffled.same(("s", 0), _sums(rows, list(range(len(rows)))), order=True)


@given(rows=ROWS, other=ROWS)
def test_sums_differ_where_rows_do(rows, other):
    """As multisets without `order`, as sequences with it."""
    left, right = _sums(rows, list(range(len(rows)))), _sums(other, list(range(len(other))))
    plain = sorted(map(repr, rows)) == sorted(map(repr, other))
    assert left.same(("s", 0), right, order=False) == plain
    assert left.same(("s", 0), right, order=True) == (rows == other)


def test_sums_of_parts_make_the_sum_of_the_whole():
    """Merged and totalled over shards, they are those of all rows; those of some shards can be left out."""
    rows = [(n, "x") for n in range(6)]
    whole, halves = _sums(rows, list(range(6))), RowSums()
    for shard, start in enumerate((0, 3)):
        part = RowSums()
        names, shards = pa.repeat(pa.scalar("s"), 3), pa.repeat(pa.scalar(shard, pa.int32()), 3)
        part.add(_batch(rows[start : start + 3]), names, shards, pa.array(range(start, start + 3), pa.int64()))
        halves.merge(part)
    assert halves.total("s") == whole.total("s")
    assert halves.only({1}).total("s").rows == 3
    assert halves.total("t").rows == 0


def test_a_row_that_differs_is_found_by_its_number():
    """In the middle, at the end, where one side has no more rows; equal tables have none, NaN being NaN."""
    base = pa.table({"x": [1.0, float("nan"), None], "y": [["a"], [], None]})
    assert first_difference(base, base) is None
    changed = base.set_column(1, "y", pa.array([["a"], None, None], pa.list_(pa.string())))
    assert first_difference(base, changed) == 1
    assert (first_difference(base, base.slice(0, 2)), first_difference(base.slice(0, 2), base)) == (2, 2)
    keys = row_keys(base.combine_chunks().to_batches()[0])
    assert first_other_key(keys, keys[:-1] + b"!") == 2


def _file(path, sha, size=1):
    return DataFile(path=path, size=size, sha256=sha)


def _shard(sha, size=1):
    return {"sha256": sha, "size": size, "rows": 1}


def test_files_are_known_by_their_content():
    """Renamed or in another order, a file with a shard's sha256 is that shard; equal shards get a file each."""
    files = [_file("b", "1"), _file("a", "2"), _file("c", "2")]
    (found,), extra = match_shards(files, [[_shard("1"), _shard("2"), _shard("2")]])
    assert [file.path for file in found.files] == ["b", "a", "c"]
    assert (found.problems, extra) == ((), [])


def test_a_file_that_was_changed_gone_or_added_is_said():
    """A changed one stands for the shard of its number; one that is gone, for none; one too many is of no build."""
    files = [_file("t-00001-of-00003.parquet", "x"), _file("t-00000-of-00003.parquet", "0")]
    (found,), extra = match_shards(files, [[_shard("0"), _shard("1"), _shard("2")]])
    assert [file and file.path[2:7] for file in found.files] == ["00000", "00001", None]
    assert [problem.split(":")[0] for problem in found.problems] == [
        "t-00001-of-00003.parquet is not the shard 1 that was built",
        "shard 2 is gone",
    ]
    (found,), extra = match_shards([_file("t-00002-of-00003.parquet", "x")], [[_shard("0"), _shard("1"), _shard("2")]])
    assert [file and file.path[2:7] for file in found.files] == [None, None, "00002"]
    (found,), extra = match_shards([*files, _file("z", "z")], [[_shard("0")]])
    assert [line.split(" ")[0] for line in extra] == ["t-00001-of-00003.parquet", "z"]


def test_shards_of_several_builds_are_told_apart():
    """What was appended is another build, whose shards are other files."""
    files = [_file("a", "1"), _file("b", "2"), _file("c", "3", size=2)]
    first, second = match_shards(files, [[_shard("3", size=2)], [_shard("1"), _shard("2")]])[0]
    assert [file.path for file in first.files] == ["c"]
    assert [file.path for file in second.files] == ["a", "b"]


@pytest.mark.parametrize("size", [2, None])
def test_a_size_that_is_not_the_recorded_one_is_another_file(size):
    """A listing that says the right sha256 and another size is not believed."""
    (found,), _ = match_shards(
        [_file("a", "1", size=1)], [[{"sha256": "1", "rows": 1} | ({"size": 2} if size else {})]]
    )
    assert bool(found.problems) == bool(size)
