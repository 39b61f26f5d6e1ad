"""What a rewrite of a changed table uploads: about what changed, whatever the batches and tasks it comes in."""

import random

import pyarrow as pa
import pytest

from tests.spark_datasource.writing import receipts, write

_ROWS = 60_000
_MORE = 4_000


def texts(rng, count):
    """Words as they are distributed in a language, in texts of very different lengths."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(rng.choices(letters, range(26, 0, -1), k=rng.randrange(2, 11))) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, 20_001)]
    stock = rng.choices(words, weights, k=2_000_000)
    for _ in range(count):
        length = min(3_000, int(rng.paretovariate(1.1) * 60))
        start = rng.randrange(len(stock) - length)
        yield " ".join(stock[start : start + length])


@pytest.fixture(scope="module")
def table():
    """Some 120 MB of rows; the last `_MORE` are those that are added."""
    rng, count = random.Random(6), _ROWS + _MORE
    numbers = pa.array([rng.random() for _ in range(8 * count)], pa.float32())
    return pa.table(
        {
            "id": pa.array(range(count)),
            "text": list(texts(rng, count)),
            "url": [f"https://example.org/{rng.randrange(10**9)}/{index}.html" for index in range(count)],
            "lang": rng.choices(["en", "de", "fr"], k=count),
            "score": [rng.random() for _ in range(count)],
            "vector": pa.ListArray.from_arrays(pa.array(range(0, 8 * count + 1, 8), pa.int32()), numbers),
        }
    )


def new_share(messages):
    """The part of what was written that was uploaded."""
    files = [receipt.file for receipt in receipts(messages)]
    return sum(file.new_bytes for file in files) / sum(file.size for file in files)


def in_batches(*tables, rows):
    return pa.Table.from_batches(pa.concat_tables(tables).combine_chunks().to_batches(max_chunksize=rows))


def test_rewriting_a_changed_table_uploads_about_what_changed(repo, table):
    """The same rows under 1 %; 5 % appended under 7 %; 1 % inserted in the middle under 8 %; cut into other tasks under 8 %."""
    rows, more = table.slice(0, _ROWS), table.slice(_ROWS)
    half, two_fifths = rows.slice(0, _ROWS // 2), _ROWS * 2 // 5
    first = write(repo, in_batches(rows, rows=10_000), overwrite=True)
    assert new_share(first) > 0.9
    assert new_share(write(repo, in_batches(rows, rows=777), overwrite=True)) < 0.01
    appended = in_batches(rows, more.slice(0, _ROWS // 20), rows=10_000)
    assert new_share(write(repo, appended, overwrite=True)) < 0.07
    inserted = in_batches(half, more.slice(0, _ROWS // 100), rows.slice(_ROWS // 2), rows=10_000)
    assert new_share(write(repo, inserted, overwrite=True)) < 0.08
    tasks = in_batches(rows.slice(0, two_fifths), rows=3_000), in_batches(rows.slice(two_fifths), rows=3_000)
    assert new_share(write(repo, *tasks, overwrite=True)) < 0.08
