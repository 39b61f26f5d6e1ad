"""Footers and scans: any Parquet writer's files, only the bytes that are asked for, errors that name the file."""

import datetime
import io
import random
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.errors import CorruptFileError, DatasetError, SchemaError
from pipeline.hub.ranges import file_refs
from pipeline.hub.resolver import resolve
from pipeline.parquet.blocks import merge_ranges
from pipeline.parquet.footer import read_footer, read_footers
from pipeline.parquet.plan import balance, measure
from pipeline.parquet.scan import scan
from pipeline.parquet.task import ScanOptions, whole_file
from pipeline.storage import FileRef, expand

ODD_NAMES = ["a", "a.b", "a b", "é", "`tick`", 'q"uote', "a.b.c", "", "list", "x/y", "key_value"]
TABLE = pa.table(
    {
        "id": pa.array(range(10), pa.int32()),
        "text": ["", None, "é", "a" * 100, "b", "c", None, "d", "e", "f"],
        "nested": [{"list": [{"x": 1, "y": None}], "b": b"1"}, None, {"list": [], "b": None}, {"list": None, "b": b""}]
        + [None] * 6,
        "tags": pa.array([{"k": 1}, {}, None] * 3 + [None], pa.map_(pa.string(), pa.int64())),
        "fixed": pa.array([[1.0, 2.0]] * 10, pa.list_(pa.float32(), 2)),
        "none": pa.nulls(10),
        "day": [datetime.date(2024, 1, 1)] * 10,
    }
)


@pytest.fixture
def store(tmp_path):
    """Write a Parquet file here; returns a ref to it."""

    def write(table, name="a.parquet", **options):
        path = tmp_path / name
        if isinstance(table, bytes):
            path.write_bytes(table)
        else:
            pq.write_table(table, path, **options)
        return expand([str(path)])[0]

    return write


def read(file, columns=None, **options):
    """A file as a table, through our scan."""
    footer = read_footer(file, None)
    batches = list(scan([whole_file(file, footer)], None, columns, ScanOptions(**options) if options else None))
    schema = footer.schema() if columns is None else pa.schema([footer.schema().field(name) for name in columns])
    return pa.Table.from_batches(batches, batches[0].schema if batches else schema)


def test_int96_timestamps_of_any_year_come_back(store):
    """Timestamps in the form that Spark and Hive write are exact from year 1 to 9999, in nested columns too, and no others."""
    times = [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999), None]
    table = pa.table(
        {"t": pa.array(times, pa.timestamp("us")), "l": pa.array([times, None, []], pa.list_(pa.timestamp("us")))}
    )
    table = table.append_column("ns", pa.array([1, 2, 3], pa.timestamp("ns")))
    file = store(table, use_deprecated_int96_timestamps=True, store_schema=False)
    schema = read_footer(file, None).schema()
    assert (schema.field("t").type, schema.field("l").type.value_type) == (pa.timestamp("us"), pa.timestamp("us"))
    found = read(file)
    assert found.schema.equals(schema)
    assert found.select(["t", "l"]).to_pydict() == {"t": times, "l": [times, None, []]}
    plain = store(table.select(["ns"]))
    assert read(plain).column("ns").to_pylist() == table.column("ns").to_pylist()


def test_two_columns_of_one_name_are_refused(store):
    """A file in which a name means two columns is a SchemaError with file and column, whatever is read of it."""
    twice = pa.Table.from_arrays([pa.array([1]), pa.array(["x"]), pa.array([2])], names=["a", "b", "a"])
    file = store(twice)
    with pytest.raises(SchemaError, match=r"a\.parquet: several columns are named 'a'"):
        read_footer(file, None)


def test_nested_null_and_typed_columns_come_back(store):
    """Structs, lists, maps, fixed lists, null columns and null values read as pyarrow reads them, in small groups and batches."""
    file = store(TABLE, row_group_size=3)
    assert read(file).equals(pq.read_table(file.uri))
    assert read(file, batch_rows=2).equals(pq.read_table(file.uri))
    assert read(file, ["nested", "id"]).equals(
        pq.read_table(file.uri, columns=["nested", "id"]).select(["nested", "id"])
    )


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_column_name_can_be_read_alone(store, name):
    """Names with dots, spaces, quotes or nothing in them select that column, and not a nested one that is spelled alike."""
    table = pa.table(
        [pa.array([i, i + 1]) for i in range(len(ODD_NAMES))] + [pa.array([{"y": {"b": 1}, "b": 2}] * 2)],
        names=[*ODD_NAMES, "z"],
    )
    if name == "a.b":
        table = table.drop_columns(["a"]).append_column("a", pa.array([{"b": 7, "c": 8}] * 2))
    file = store(table)
    assert read(file, [name]).equals(table.select([name]))
    assert read(file, [name, "z"]).equals(table.select([name, "z"]))
    if name == "a.b":
        assert read(file, ["a", "a.b"]).equals(table.select(["a", "a.b"]))


@settings(deadline=None, max_examples=30)
@given(
    columns=st.lists(st.sampled_from(TABLE.column_names), unique=True, min_size=1),
    group=st.integers(1, 12),
    rows=st.integers(1, 12),
    budget=st.sampled_from([1, 200, 10**6]),
)
def test_a_scan_reads_what_pyarrow_reads(columns, group, rows, budget):
    """Any columns in any order, row groups of any size, any batch size, a budget smaller than a row group."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a.parquet"
        pq.write_table(TABLE, path, row_group_size=group)
        file = expand([path])[0]
        assert read(file, columns, batch_rows=rows, prefetch_bytes=budget).equals(pq.read_table(path).select(columns))


def test_no_columns_still_count_rows(store):
    """A scan of no columns gives batches with rows and no columns, and reads no data."""
    file = store(TABLE, row_group_size=3)
    footer = read_footer(file, None)
    batches = list(scan([whole_file(file, footer)], None, []))
    assert sum(batch.num_rows for batch in batches) == 10
    assert all(batch.num_columns == 0 for batch in batches)


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("columns", [0, 2])
def test_files_without_rows_row_groups_or_columns_are_files(store, rows, columns):
    """An empty file, a file of one row group without rows, a file without columns: no rows, no error."""
    table = pa.table({str(i): pa.array([], pa.int64()) for i in range(columns)})
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema) as writer:
        for _ in range(rows):
            writer.write_table(table)
    file = store(sink.getvalue())
    assert read(file).num_rows == read_footer(file, None).rows == 0


def test_files_of_other_writers_are_read(tmp_path, spark):
    """Spark, DuckDB and Polars write the same rows; our footers and scans read them all, row groups and bytes included."""
    import duckdb
    import polars

    frame = TABLE.select(["id", "text", "day"])
    polars.from_arrow(frame).write_parquet(tmp_path / "polars.parquet", row_group_size=4)
    duckdb.from_arrow(frame).write_parquet(str(tmp_path / "duckdb.parquet"), compression="zstd")
    spark.createDataFrame(frame.to_pandas()).coalesce(1).write.parquet(str(tmp_path / "spark"))
    for name in ("polars.parquet", "duckdb.parquet", "spark"):
        file = expand([str(tmp_path / name)])[0]
        assert [{**row, "day": str(row["day"])} for row in read(file).to_pylist()] == [
            {**row, "day": str(row["day"])} for row in frame.to_pylist()
        ], name
        footer = read_footer(file, None)
        for group in footer.row_groups():
            assert {chunk.column for chunk in group.chunks} == {"id", "text", "day"}
            assert all(4 <= start < end <= file.size for start, end in group.ranges())


def test_a_corrupt_file_is_named(store):
    """Garbage, a cut file, a lying footer length, flipped pages: CorruptFileError in one line with the file's name."""
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"x": pa.array(random.Random(1).randbytes(90_000).hex()[i : i + 9] for i in range(9_000))}), sink
    )
    good = sink.getvalue()
    cases = {
        "empty": b"",
        "tiny": b"PAR1PAR1",
        "text": b"not parquet at all",
        "cut": good[: len(good) // 2],
        "length": good[:-8] + b"\xff\xff\xff\x7fPAR1",
        "footer": good[:-200] + b"\0" * 150 + good[-50:],
        "pages": good[:100] + bytes(len(good[100:-5000])) + good[-5000:],
    }
    for name, data in cases.items():
        file = store(data, f"{name}.parquet")
        with pytest.raises(CorruptFileError, match=f"{name}.parquet") as caught:
            read(file)
        assert "\n" not in str(caught.value)


def test_a_missing_column_is_named(store):
    """A column that a file lacks is a SchemaError with the file and what it has."""
    with pytest.raises(SchemaError, match=r"a\.parquet: no column 'nope'; it has 'id', 'text'"):
        read(store(TABLE.select(["id", "text"])), ["nope"])


@pytest.fixture
def wide(put, repo, parquet_bytes):
    """On the Hub: a narrow column and a wide one, in four row groups; (file, its table)."""
    rng = random.Random(3)
    table = pa.table({"id": list(range(40)), "wide": [rng.randbytes(150_000) for _ in range(40)], "n": [1.5] * 40})
    data = parquet_bytes(table, row_group_size=10, compression="none", use_dictionary=False)
    return file_refs(resolve(put(repo, {"a.parquet": data}), None), "http")[0], table


def test_a_scan_of_chosen_columns_fetches_only_their_bytes(wide, hub):
    """Two narrow columns of a 6 MB file cost their column chunks, plus the footer, and no more."""
    file, table = wide
    footer = read_footer(file, None)
    hub.reset_counts()
    assert read_columns(file, footer, ["n", "id"]).equals(table.select(["n", "id"]))
    expected = sum(group.size(["n", "id"]) for group in footer.row_groups())
    assert hub.bytes_sent()["cdn"] <= expected * 4 + 4 * 1024
    assert hub.bytes_sent()["cdn"] < 20_000


def read_columns(file, footer, columns, **options):
    """Columns of a file, of which the footer is known."""
    return pa.Table.from_batches(list(scan([whole_file(file, footer)], None, columns, ScanOptions(**options))))


@pytest.mark.parametrize("budget", [1, 1_800_000, 64 << 20])
def test_every_byte_is_fetched_once(wide, hub, budget):
    """A row group larger than the budget is read piece by piece, one that fits ahead: never more than the file."""
    file, table = wide
    footer = read_footer(file, None)
    hub.reset_counts()
    assert read_columns(file, footer, None, prefetch_bytes=budget).equals(table)
    assert hub.bytes_sent()["cdn"] <= file.size
    assert hub.counts()["resolve"] == 1


def test_closing_a_scan_early_ends_it(wide, hub):
    """After the first batch of a scan that is closed, what was not asked for is not fetched, and its threads end."""
    import threading

    file, _ = wide
    footer = read_footer(file, None)
    batches = scan([whole_file(file, footer)], None, None, ScanOptions(prefetch_bytes=1_800_000, prefetch_requests=1))
    next(batches)
    batches.close()
    for thread in threading.enumerate():
        if thread.name.startswith(("fetch", "decode")):
            thread.join(10)
            assert not thread.is_alive()
    assert hub.bytes_sent()["cdn"] < file.size * 0.8


def test_an_error_while_fetching_reaches_the_reader(wide, hub):
    """A refusal in the middle of a scan is our error, not pyarrow's, also in a group that is read piece by piece."""
    file, _ = wide
    footer = read_footer(file, None)
    for budget in (1, 64 << 20):
        hub.faults.clear()
        hub.faults.add("resolve", status=403, times=None)
        with pytest.raises(DatasetError, match="a token that may do this"):
            list(scan([whole_file(file, footer)], None, None, ScanOptions(prefetch_bytes=budget)))


def test_a_footer_is_one_request(put, repo, parquet_bytes, hub):
    """A small footer costs one range; one larger than the first guess, two."""
    large = pa.table(
        {f"column-{i:05}-{'x' * 40}": [repo] for i in range(2000)}
    )  # a repo's name: content of this test's own
    files = file_refs(
        resolve(put(repo, {"a.parquet": parquet_bytes({"x": [repo]}), "b.parquet": parquet_bytes(large)}), None),
        "http",
    )
    for file, requests in zip(files, (1, 2), strict=True):
        hub.reset_counts()
        assert read_footer(file, None).rows == 1
        assert hub.counts()["cdn"] + hub.counts()["resolve"] in (requests, requests + 1)
        assert hub.counts()["cdn"] in (requests, 0)
    assert [footer.rows for footer in read_footers(files, None)] == [1, 1]


@given(
    sizes=st.lists(st.lists(st.integers(0, 50), max_size=5), max_size=6),
    target=st.integers(1, 300),
)
def test_balanced_runs_hold_every_row_group_once_in_order(sizes, target):
    """Whatever the files and the target: each row group in one run, order kept, runs within one row group of the mean."""
    tasks, groups = [], []
    for number, rows in enumerate(sizes):
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, pa.schema([("x", pa.int8())]), compression="none", use_dictionary=False) as writer:
            for count in rows:
                writer.write_table(pa.table({"x": pa.array([1] * count, pa.int8())}), row_group_size=max(1, count))
        from pipeline.parquet.footer import Footer

        data = sink.getvalue()
        footer = Footer(raw=data[-8 - int.from_bytes(data[-8:-4], "little") : -8])
        task = whole_file(FileRef(uri=str(number), size=len(data), content_id=str(number)), footer)
        tasks.append(task)
        groups += [(task.file, group.index, group.size(["x"])) for group in task.groups()]
    runs = balance([measure(task, ["x"]) for task in tasks], target)
    flat = [[(task.file, group.index, group.size(["x"])) for task in run for group in task.groups()] for run in runs]
    assert [one for run in flat for one in run] == groups
    assert all(flat)
    total = sum(size for _, _, size in groups)
    if total:
        mean = total / max(1, -(-total // target))
        largest = max(size for _, _, size in groups)
        assert all(sum(size for _, _, size in run) <= mean + largest for run in flat)


@given(ranges=st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 10**8)), max_size=10))
def test_merged_ranges_cover_what_was_asked_for(ranges):
    """Joined and cut ranges hold every asked byte, in order, without overlap, in pieces of at most 8 MiB."""
    asked, at = [], 0
    for hole, length in ranges:
        asked.append((at + hole, at + hole + length))
        at += hole + length
    merged = merge_ranges(asked, 128 << 10, 8 << 20)
    assert all(0 <= end - start <= 8 << 20 for start, end in merged)
    assert all(a[1] <= b[0] for a, b in pairwise(merged))
    for start, end in asked:
        covered = sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in merged)
        assert covered == end - start
