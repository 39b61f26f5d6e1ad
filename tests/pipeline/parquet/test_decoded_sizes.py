"""Batches stay small whatever a file's encoding makes of long texts, and row groups of more than 2 GB of text are read."""

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.parquet.dataset import scan_as
from pipeline.parquet.footer import read_footers
from pipeline.parquet.scan import scan
from pipeline.parquet.task import ScanOptions, whole_file
from pipeline.storage import expand

MB = 1 << 20


@pytest.fixture
def write(tmp_path):
    """A table as a Parquet file of one row group; a task for it."""

    def make(table, **options):
        path = tmp_path / "x.parquet"
        pq.write_table(table, path, row_group_size=table.num_rows, store_schema=False, **options)
        [file] = expand([str(path)])
        assert file.size < MB
        return whole_file(file, read_footers([file], None)[0])

    return make


def repeated(rows, num_bytes):
    """Rows of one of three long texts: what a dictionary makes a few bytes of."""
    texts = pa.array([letter * num_bytes for letter in "abc"])
    return pa.DictionaryArray.from_arrays(pa.array([row % 3 for row in range(rows)], pa.int32()), texts)


@pytest.mark.parametrize("listed", [False, True])
def test_repeated_texts_come_in_small_batches(write, listed):
    """60 MB of text from a file of some kB: batches are cut by what the rows are in memory, alone and in lists."""
    column = repeated(600, 100_000)
    if listed:
        column = pa.ListArray.from_arrays(pa.array(range(601), pa.int32()), column)
    batches = list(scan([write(pa.table({"x": column}))], None, options=ScanOptions(batch_bytes=8 * MB)))
    assert max(batch.nbytes for batch in batches) <= 9 * MB
    assert sum(batch.num_rows for batch in batches) == 600


def test_texts_that_share_beginnings_come_in_small_batches(write):
    """So do those that are written as what differs from the one before."""
    texts = pa.array(["a" * 100_000 + str(i) for i in range(300)])
    task = write(pa.table({"x": texts}), use_dictionary=False, column_encoding={"x": "DELTA_BYTE_ARRAY"})
    batches = list(scan([task], None, options=ScanOptions(batch_bytes=8 * MB)))
    assert max(batch.nbytes for batch in batches) <= 9 * MB
    assert pa.Table.from_batches(batches)["x"].combine_chunks().equals(texts)


def test_a_narrow_column_comes_in_large_batches(write):
    """What stands beside it and is not read does not count."""
    task = write(pa.table({"wide": repeated(5000, 100_000), "id": range(5000)}))
    assert [batch.num_rows for batch in scan([task], None, ["id"])] == [5000]


@pytest.mark.long
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_a_row_group_of_more_than_2_gb_of_text_is_read(write, kind):
    """In batches of some MB, each of exactly the asked type."""
    task = write(pa.table({"x": repeated(25_000, 100_000)}))
    wanted = pa.schema([("x", kind)])
    rows = num_bytes = 0
    for batch in scan_as([task], wanted, None):
        assert batch.schema.equals(wanted)
        assert batch.nbytes < 40 * MB
        rows, num_bytes = rows + batch.num_rows, num_bytes + batch.nbytes
    assert rows == 25_000
    assert num_bytes > 2 << 30
