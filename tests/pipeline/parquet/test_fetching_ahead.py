"""Rows are decoded while later ones come, thousands of tiny files are opened a few at a time, and planned looked at once."""

import threading
from contextlib import closing

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.parquet import fetch
from pipeline.parquet import parsed as parsing
from pipeline.parquet.footer import read_footers
from pipeline.parquet.plan import balance, measure
from pipeline.parquet.scan import scan
from pipeline.parquet.task import ScanOptions, whole_file
from pipeline.storage import Meter, expand


@pytest.fixture
def store(tmp_path):
    """Write tables as files here; a task for all of each."""

    def write(*tables, **options):
        for number, table in enumerate(tables):
            pq.write_table(table, tmp_path / f"{number:05}.parquet", **options)
        files = expand([str(tmp_path)])
        return [whole_file(file, footer) for file, footer in zip(files, read_footers(files, None), strict=True)]

    return write


class Held:
    """Ranges of a file, those that begin after `limit` only once they are let go."""

    def __init__(self, reader, limit):
        self.reader, self.limit, self.gate = reader, limit, threading.Event()

    def read(self, start, end):
        assert start < self.limit or self.gate.wait(30), "nobody let it go"
        return self.reader.read(start, end)

    def close(self):
        self.gate.set()
        self.reader.close()


def test_rows_come_before_the_rest_of_their_row_group(store, monkeypatch):
    """The first rows of a large row group are there while its last bytes, and those of the next, are on their way."""
    table = pa.table({"x": range(400_000)})
    [task] = store(table, row_group_size=200_000, compression="none", use_dictionary=False, data_page_size=64 << 10)
    opened = []

    def open_held(file, token, meter):
        opened.append(Held(open_file(file, token, meter), 1_000_000))
        return opened[-1]

    open_file = fetch.open_file
    monkeypatch.setattr(fetch, "open_file", open_held)
    batches = scan([task], None, options=ScanOptions(block_bytes=256 << 10))
    first = next(batches)
    assert first.column(0).to_pylist() == list(range(10_000))
    opened[0].gate.set()
    assert pa.Table.from_batches([first, *batches]).equals(table)


def test_tiny_files_are_opened_a_few_at_a_time(store):
    """Of many files that all fit into the budget only so many are asked for as the requests under way can soon take."""
    tasks = store(*[pa.table({"x": [number]}) for number in range(60)])
    meter = Meter()
    options = ScanOptions(prefetch_requests=2)
    with closing(scan(tasks, None, options=options, meter=meter)) as batches:
        first = next(batches)
        assert meter.requests["file"] <= 2 * 4 + 3  # those queued, the one that came, and one ahead of it
        assert [row["x"] for batch in [first, *batches] for row in batch.to_pylist()] == list(range(60))


def test_tiny_files_share_tasks_by_their_number(store):
    """Files of almost no bytes are shared among tasks all the same, for each costs a request."""
    sized = [measure(task, None) for task in store(*[pa.table({"x": [number]}) for number in range(20)])]
    assert len(balance(sized, 100_000)) == 1
    runs = balance(sized, 100_000, open_bytes=20_000)
    assert [len(run) for run in runs] == [4] * 5
    assert [task.file for run in runs for task in run] == [one.task.file for one in sized]


def test_a_run_of_tasks_holds_footers_of_its_row_groups_alone(store):
    """A file in one run keeps its footer as it is; one that is cut has a footer for each part, that reads the same rows."""
    table = pa.table({"x": range(1000)})
    [task] = store(table, row_group_size=100)
    [(whole,)] = balance([measure(task, None)], 1 << 30)
    assert whole is task
    runs = balance([measure(task, None)], -(-measure(task, None).size // 5))
    assert [len(one.footer.row_groups()) for run in runs for one in run] == [2] * 5
    assert pa.Table.from_batches(scan([one for run in runs for one in run], None)).equals(table)


def test_thousands_of_footers_are_planned_without_parsing_any_twice(store, monkeypatch):
    """A plan parses each footer once, however many there are, and the schema that they share once for all."""
    count = 200  # more than stay parsed
    tables = [pa.table({"x": [number], "y": ["a"]}) for number in range(count)]
    files = [task.file for task in store(*tables)]
    parsed, schemas = [], []
    monkeypatch.setattr(parsing.pq, "read_metadata", lambda *args: parsed.append(1) or read_metadata(*args))
    monkeypatch.setattr(parsing, "leaves", lambda schema: schemas.append(1) or leaves(schema))
    found = read_footers(files, None)
    del parsed[:]
    balance([measure(whole_file(file, footer), ["x"]) for file, footer in zip(files, found, strict=True)], 1 << 20)
    assert len(parsed) <= count
    assert len(schemas) <= 1


def test_files_of_the_same_columns_keep_their_own_types_and_texts(store):
    """What two files differ in beside their columns is not mixed up: Arrow's types, and their texts."""
    plain = pa.schema([pa.field("x", pa.string())])
    tables = [
        pa.table({"x": ["a"]}, schema=plain),
        pa.table({"x": ["a"]}, schema=pa.schema([pa.field("x", pa.large_string())])),
        pa.table({"x": ["a"]}, schema=plain.with_metadata({"huggingface": "{}"})),
        pa.table({"x": ["a"]}, schema=plain),
    ]
    schemas = [task.footer.schema() for task in store(*tables)]
    assert all(schema.equals(table.schema, check_metadata=True) for schema, table in zip(schemas, tables, strict=True))


read_metadata, leaves = parsing.pq.read_metadata, parsing.leaves
