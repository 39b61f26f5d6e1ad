"""Streams over many files: counted once on a machine, and each row group scanned with a footer of its own."""

import pickle
import threading
from dataclasses import replace

import pytest

import pipeline
from pipeline.errors import SchemaError
from pipeline.hub import cache
from pipeline.parquet.footer import Footer
from pipeline.streaming import groups
from pipeline.streaming.groups import Footers

SIZES = [7 * (number % 3) for number in range(1, 21)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache of this test's own: footers are found by content."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def counted(monkeypatch):
    """The footers that are counted, each time."""
    found, counts = [], Footer.counts
    monkeypatch.setattr(Footer, "counts", lambda footer: (found.append(footer), counts(footer))[1])
    return found


def table(stream, known=None):
    """The table of a stream's files, as a process makes it that has counted nothing."""
    source = stream.rows.source
    return Footers(source.files, source.token, source.known if known is None else known).table()


def test_many_files_are_counted_once_on_a_machine(numbered, counted):
    """Later streams of the same files count nothing, and give the same rows."""
    name = numbered(*SIZES, group_rows=3)
    first = pipeline.stream(name, shuffle=True)
    rows = [row["x"] for row in first]
    assert len(counted) == 20
    again = pipeline.stream(name, shuffle=True)
    assert [row["x"] for row in again] == rows
    assert again.rows.table == first.rows.table
    assert again.rows.total() == sum(again.rows.table.rows) == sum(SIZES)
    assert len(counted) == 20


def test_those_who_start_together_count_once(numbered, counted):
    """While one counts, the others wait, and take its table."""
    stream = pipeline.stream(numbered(*SIZES))
    found = []
    threads = [threading.Thread(target=lambda: found.append(table(stream))) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [found[0]] * 4
    assert len(counted) == 20


def test_other_files_are_counted_anew(numbered, put, parquet_bytes, counted):
    """A commit that changes one file has a table of its own."""
    name = numbered(*SIZES)
    assert pipeline.stream(name, shuffle=True).rows.total() == sum(SIZES)
    put(name, {"data/train-00003-of-00020.parquet": parquet_bytes({"x": [1, 2], "text": ["a", "b"]})})
    assert pipeline.stream(name, shuffle=True).rows.total() == sum(SIZES) - SIZES[3] + 2
    assert len(counted) == 40
    files = pipeline.stream(name).rows.source.files
    others = [(*files[:-1], replace(files[-1], **change)) for change in ({"content_id": "0" * 64}, {"size": 1})]
    assert len({Footers(one, None, None)._key() for one in (files, *others, files[::-1], files[:-1])}) == 5


def test_files_that_may_change_or_are_few_are_counted_each_time(numbered, counted):
    """Only what a hash names is kept, and only where counting takes time."""
    for sizes in (SIZES[:16], SIZES):
        stream = pipeline.stream(numbered(*sizes))
        files = list(stream.rows.source.files)
        if len(files) > groups.FEW_FILES:
            files[5] = replace(files[5], content_id=files[5].uri.split("/")[-1])
            assert not files[5].is_hashed
        assert Footers(files, None, None)._key() is None
    assert not (cache.folder() / "groups").exists()


def test_a_column_that_nobody_announced_is_found_in_a_kept_table_too(numbered, put, parquet_bytes, counted):
    """The table that is kept says which columns all files have, so that none is left out unsaid by a later stream."""
    name = numbered(*SIZES)
    put(name, {"data/train-00007-of-00020.parquet": parquet_bytes({"x": [1], "text": ["a"], "extra": [1]})})
    for _ in range(2):
        with pytest.raises(SchemaError, match=r"train-00007-of-00020.parquet: column 'extra' is neither"):
            pipeline.stream(name, shuffle=True)
    with pytest.raises(SchemaError, match=r"train-00007-of-00020.parquet: column 'extra' is neither"):
        list(pipeline.stream(name))
    counted.clear()
    assert sum(1 for _ in pipeline.stream(name, shuffle=True, columns=["x"])) == sum(SIZES) - SIZES[7] + 1
    assert counted == []


def test_a_table_that_was_damaged_is_counted_again(numbered, counted):
    """What is kept and was cut short is as none."""
    stream = pipeline.stream(numbered(*SIZES))
    whole = table(stream)
    for path in (cache.folder() / "groups").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-8])
    assert table(stream) == whole
    assert len(counted) == 40


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("files", [2, 20])
def test_a_row_group_is_scanned_with_a_footer_of_its_own(numbered, monkeypatch, shuffle, files):
    """In any order, tasks carry one row group's footer, so that what is held and parsed does not grow with files."""
    name = numbered(*[10] * files, group_rows=2)
    found, make = [], Footers.task
    monkeypatch.setattr(Footers, "task", lambda *given: (found.append(make(*given)), found[-1])[1])
    stream = pipeline.stream(name, shuffle=shuffle, shuffle_rows=6)
    assert sorted(row["x"] for row in stream) == list(range(10 * files))
    assert len(found) == 5 * files
    assert all(task.footer.kept == task.row_groups and len(task.footer.row_groups()) == 1 for task in found)


def test_few_whole_footers_are_held(numbered, monkeypatch):
    """Of the footers that tasks are cut from, the last ones stay, and all rows come."""
    monkeypatch.setattr(groups, "_RECENT_BYTES", 3 << 16)
    stream = pipeline.stream(numbered(*[10] * 20, group_rows=2), shuffle=True, shuffle_rows=6)
    assert sorted(row["x"] for row in stream) == list(range(200))
    assert len(stream.rows.footers._recent._held) == 3
    copy = pickle.loads(pickle.dumps(stream))
    assert list(copy) == list(stream)


def test_a_footer_that_is_held_is_not_read_again(numbered, monkeypatch):
    """While all footers fit, each is read once, however often the order comes back to its file."""
    read, read_footers = [], groups.read_footers
    monkeypatch.setattr(groups, "read_footers", lambda files, *how: (read.extend(files), read_footers(files, *how))[1])
    assert len(list(pipeline.stream(numbered(*[10] * 17, group_rows=2), shuffle=True))) == 170
    assert len(read) == 17
