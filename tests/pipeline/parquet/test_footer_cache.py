"""Footers: read once on a machine, found again by content, cut to what a task needs."""

import io
import random

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.hub import cache
from pipeline.hub.ranges import file_refs
from pipeline.hub.resolver import resolve
from pipeline.parquet import parsed as parsing
from pipeline.parquet.footer import Footer, read_footer, read_footers
from pipeline.parquet.parsed import Recent
from pipeline.parquet.scan import scan
from pipeline.parquet.task import ScanTask, find_extents, whole_file
from pipeline.storage import Meter, expand

NESTED = pa.table(
    {
        "id": range(1000),
        "messages": [[{"role": "user", "content": str(i) * 50}] * 2 for i in range(1000)],
        "a.b": ["x"] * 1000,
        "a": [{"b": i, "c": "y" * 20} for i in range(1000)],
    }
)


@pytest.fixture
def ten(put, repo, parquet_bytes, hub):
    """Ten files on the Hub, of one to ten rows, with contents of this test's own: footers are found by content."""
    tables = {
        f"{i:02}.parquet": parquet_bytes({"x": list(range(i + 1)), "n": [f"{repo} {i}"] * (i + 1)}) for i in range(10)
    }
    files = file_refs(resolve(put(repo, tables), None))
    hub.reset_counts()
    return files


def requests(hub):
    """The requests so far."""
    return sum(count for name, count in hub.counts().items() if name != "agent_harnesses")


def test_footers_are_read_once_on_a_machine(ten, hub):
    """The first time each costs one range; after that no request at all, whoever asks and under whatever path."""
    meter = Meter()
    first = read_footers(ten, None, meter)
    assert [footer.rows for footer in first] == list(range(1, 11))
    assert dict(meter.requests) == {"xet": 10}
    hub.reset_counts()
    assert read_footers(ten, None) == first
    assert read_footer(ten[3], None) == first[3]
    assert requests(hub) == 0


def test_a_cached_footer_that_was_damaged_is_read_again(ten, hub):
    """An entry that is cut short is as none: the footer comes from the file."""
    first = read_footer(ten[0], None)
    for path in (cache.folder() / "footer").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-3])
    hub.reset_counts()
    assert read_footer(ten[0], None) == first
    assert requests(hub) > 0


def test_a_local_file_that_changes_is_read_anew(tmp_path):
    """Files that are not named by a hash are at hand, and are never taken from the cache."""
    path = tmp_path / "a.parquet"
    for rows in (1, 2):
        pq.write_table(pa.table({"x": [0] * rows}), path)
        assert read_footer(expand([str(path)])[0], None).rows == rows


@pytest.fixture
def grouped(tmp_path):
    """A local file of 10 row groups."""
    pq.write_table(NESTED, tmp_path / "a.parquet", row_group_size=100)
    return expand([str(tmp_path / "a.parquet")])[0]


def test_a_slim_task_reads_the_same_rows(grouped):
    """A task with a footer of its own row groups alone is smaller, names the same row groups, and reads the same rows."""
    footer = read_footer(grouped, None)
    rng = random.Random(1)
    for size in (0, 1, 3, 10):
        chosen = tuple(rng.sample(range(10), size))
        task = ScanTask(file=grouped, footer=footer, row_groups=chosen)
        slim = task.slim()
        assert list(scan([slim], None)) == list(scan([task], None))
        assert [group.index for group in slim.groups()] == list(chosen)
        assert len(slim.footer.raw) <= len(footer.raw)
        assert slim.slim() == slim
        for index in chosen:
            again = ScanTask(file=grouped, footer=slim.footer, row_groups=(index,))
            assert list(scan([again.slim()], None)) == list(scan([again], None))
    assert whole_file(grouped, footer).slim().footer is footer


def test_a_slim_footer_grows_with_its_row_groups_not_with_the_file(grouped):
    """What is shipped for one row group of ten is well under half of the whole footer."""
    task = ScanTask(file=grouped, footer=read_footer(grouped, None), row_groups=(4,))
    stripped = len(Footer(raw=task.footer.raw).only(()).raw)
    assert len(task.slim().footer.raw) - stripped <= (len(task.footer.raw) - stripped) / 10 + 100


def test_counts_and_single_row_groups_are_those_of_all(grouped):
    """Counting, and a row group by its place, say what the whole list says, also in a part of a footer."""
    whole = read_footer(grouped, None)
    for footer in (whole, whole.only((7, 2))):
        groups = footer.row_groups()
        assert footer.counts() == ([group.rows for group in groups], [group.num_bytes for group in groups])
        assert [footer.row_group(place) for place in range(len(groups))] == list(groups)
    assert [group.index for group in whole.only((7, 2)).row_groups()] == [7, 2]


def test_a_single_row_group_is_cut_without_walking_the_others(grouped, tmp_path):
    """With its extents at hand, a footer is cut to the same bytes as when it is walked; one of one row group is itself."""
    footer = read_footer(grouped, None)
    extents = find_extents(grouped, footer, None)
    for index in range(10):
        assert extents.task(grouped, footer, index) == ScanTask(file=grouped, footer=footer, row_groups=(index,)).slim()
    pq.write_table(NESTED, tmp_path / "b.parquet")
    (alone,) = expand([str(tmp_path / "b.parquet")])
    footer = read_footer(alone, None)
    assert find_extents(alone, footer, None).task(alone, footer, 0) == whole_file(alone, footer)


def test_a_long_walk_is_made_once_on_a_machine(put, repo, parquet_bytes, monkeypatch):
    """The extents of a large footer are kept on disk; those of another footer under the same name are not taken for them."""
    table = {f"{repo} {i}": [0] * 150 for i in range(10)}
    (file,) = file_refs(resolve(put(repo, {"a.parquet": parquet_bytes(table, row_group_size=1)}), None))
    footer = read_footer(file, None)
    walked = find_extents(file, footer, None)
    monkeypatch.setattr("pipeline.parquet.task.fields", None)
    assert find_extents(file, footer, None) == walked
    with pytest.raises(TypeError):
        find_extents(file, Footer(raw=footer.raw + b" "), None)


def test_little_of_what_was_parsed_stays(grouped, monkeypatch):
    """Parsed footers stay up to so many bytes of them, and the last one whatever its size: not one per file of a dataset."""
    monkeypatch.setattr(parsing, "_parsed", Recent(1 << 20))
    whole = read_footer(grouped, None)
    for index in range(100):
        assert Footer(raw=whole.raw + b" " * (index << 10)).rows == 1000
    assert 5 < len(parsing._parsed._held) < 17  # a small one counts as 64 KiB
    assert sum(map(len, parsing._parsed._held)) <= 1 << 20
    assert Footer(raw=whole.raw + b" " * (2 << 20)).metadata() is Footer(raw=whole.raw + b" " * (2 << 20)).metadata()
    assert len(parsing._parsed._held) == 1


def test_what_is_used_again_stays():
    """Of values that do not fit together, those that nobody asked for since go first."""
    recent = Recent(3 << 20)
    for key in "abc":
        recent.put(key, key.upper(), 1 << 20)
    assert recent.get("a") == "A"
    recent.put("d", "D", 1 << 20)
    assert [recent.get(key) for key in "abcd"] == ["A", None, "C", "D"]


@pytest.mark.parametrize(
    ("columns", "expected", "chunks"),
    [
        (["messages.role"], {"messages": [[{"role": "user"}] * 2] * 1000}, 1),
        (["a.c", "id"], {"a": [{"c": "y" * 20}] * 1000, "id": list(range(1000))}, 2),
        (["a.b"], {"a.b": ["x"] * 1000}, 1),
        (["a"], {"a": NESTED.column("a").to_pylist()}, 2),
    ],
)
def test_a_part_of_a_nested_column_is_read_alone(grouped, columns, expected, chunks):
    """A path into a struct, also in a list, reads that part; a column whose own name has a dot is that column."""
    footer = read_footer(grouped, None)
    found = pa.Table.from_batches(list(scan([whole_file(grouped, footer)], None, columns)))
    assert found.to_pydict() == expected
    assert found.schema.names == list(expected)
    group = footer.row_groups()[0]
    assert len(group.select(columns)) == chunks


def test_parts_that_were_not_chosen_are_not_fetched(put, repo, hub):
    """Of a list of structs, the field that was not asked for stays on the Hub."""
    rng = random.Random(2)
    heavy = pa.table({"m": [[{"role": "user", "content": rng.randbytes(40_000).hex()}] for _ in range(50)]})
    sink = io.BytesIO()
    pq.write_table(heavy, sink, compression="none", use_dictionary=False)
    (file,) = file_refs(resolve(put(repo, {"a.parquet": sink.getvalue()}), None), "http")
    footer = read_footer(file, None)
    hub.reset_counts()
    found = pa.Table.from_batches(list(scan([whole_file(file, footer)], None, ["m.role"])))
    assert found.column("m").to_pylist() == [[{"role": "user"}]] * 50
    assert hub.bytes_sent()["cdn"] < 10_000
