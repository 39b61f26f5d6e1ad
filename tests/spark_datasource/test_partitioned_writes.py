"""`partition_columns`: folders that name values, read back by everybody, in bounded memory."""

import datetime
import random
import re
from collections import Counter
from decimal import Decimal
from urllib.parse import unquote

import pyarrow as pa
import pytest
from huggingface_hub import HfApi

from pipeline.errors import OptionError
from pipeline.parquet.partitions import PartitionedWriter, rows_by_folder
from pipeline.streaming import stream
from tests.spark_datasource.writing import listing, numbers, receipts, rows_of_card, write

ODD = ["en", "a/b=c%", "ü ñ", "x*?[y]", None, "", "é#'\"{^"]


def table(count=40):
    langs = [ODD[i % len(ODD)] for i in range(count)]
    days = [datetime.date(2024, 1, 1 + i % 2) for i in range(count)]
    return pa.table({"id": list(range(count)), "lang": langs, "day": days})


def paths(hub, repo):
    return [file.path for file in listing(hub, repo).files if file.path.endswith(".parquet")]


def test_values_name_folders_that_spark_and_datasets_read_back(spark, hub, repo, tmp_path):
    """Whatever the values, null among them: our stream, `datasets` and Spark's own Parquet reader get the rows back."""
    from datasets import load_dataset

    written = table()
    write(repo, written, partition_columns="lang,day")
    write(repo, numbers(1, 2), split="test")
    found = paths(hub, repo)
    assert "data/train/lang=en/day=2024-01-01/train-00000-of-00012.parquet" in found
    assert sum("lang=__HIVE_DEFAULT_PARTITION__/" in path for path in found) == 2
    key = {row["id"]: row for row in written.to_pylist()}
    assert {row["id"]: row for row in stream(repo)} == key
    theirs = load_dataset(repo)
    assert {row["id"]: row for row in theirs["train"]} == key
    assert theirs["test"]["id"][:] == [1, 2]
    HfApi(endpoint=hub.endpoint, token="hf_x").snapshot_download(repo, repo_type="dataset", local_dir=tmp_path)
    rows = spark.read.parquet(str(tmp_path / "data" / "train")).collect()
    assert {row["id"]: (row["lang"] or None, row["day"]) for row in rows} == {
        i: (row["lang"] or None, row["day"]) for i, row in key.items()
    }


def test_more_folders_than_an_integer_counts_are_told_apart():
    """2,000 values in each of six columns, of which 2,000 combinations are there: each row in its own folder."""
    names = [f"c{index}" for index in range(6)]
    rows = pa.RecordBatch.from_pydict(
        {**{name: [f"{name}{i}" for i in range(2_000)] for name in names}, "id": range(2_000)}
    )
    found = {folder: batch["id"].to_pylist() for folder, batch in rows_by_folder(rows, names)}
    assert found == {"".join(f"{name}={name}{i}/" for name in names): [i] for i in range(2_000)}


def test_folders_are_named_as_spark_names_them(spark, tmp_path):
    """The same values through Spark's own partitionBy make the same folders."""
    rows = [(i, *row) for i, row in enumerate(_values())]
    frame = spark.createDataFrame(rows, "id int, s string, b boolean, d decimal(9,3), t date")
    frame.coalesce(1).write.partitionBy("s", "b", "d", "t").parquet(str(tmp_path / "theirs"))
    theirs = {
        str(file.parent.relative_to(tmp_path / "theirs")) + "/" for file in (tmp_path / "theirs").rglob("*.parquet")
    }
    arrays = zip(*_values(), strict=True)
    types = [pa.string(), pa.bool_(), pa.decimal128(9, 3), pa.date32()]
    columns = [pa.array(values, kind) for values, kind in zip(arrays, types, strict=True)]
    batch = pa.record_batch(columns, names=["s", "b", "d", "t"])
    ours = {folder for folder, _ in rows_by_folder(batch, ["s", "b", "d", "t"])}
    assert ours == theirs


def _values():
    return [
        (
            text,
            i % 3 == 0 if i % 4 else None,
            Decimal(i) / 8 if i != 2 else Decimal("0.001"),
            datetime.date(999, 1, 1 + i),
        )
        for i, text in enumerate([*ODD, "~|<>", "plain-_.,;@$&()"])
    ]


def test_appends_and_overwrites_know_the_folders(hub, repo):
    """An append adds to them, with or without partitions; an overwrite replaces all files of the split and no other's."""
    write(repo, table(), partition_columns="lang")
    write(repo, numbers(5), split="train_v2")
    write(repo, table(10), partition_columns="day")
    write(repo, table(3))
    assert Counter(row["id"] for row in stream(repo)) == Counter([*range(40), *range(10), *range(3)])
    assert rows_of_card(hub, repo) == 53
    write(repo, table(2), partition_columns="day", overwrite=True)
    assert sorted(row["id"] for row in stream(repo)) == [0, 1]
    assert [path.rpartition("/")[0] for path in paths(hub, repo)] == [
        "data/train/day=2024-01-01",
        "data/train/day=2024-01-02",
        "data",
    ]
    assert [row["id"] for row in stream(repo, split="train_v2")] == [5]


def test_sorted_rows_make_a_file_for_each_value(repo):
    """Batches that come sorted by the columns: one file per value, each with its rows in order."""
    values = [f"v{i // 100:02}" for i in range(1000)]
    rows = pa.table({"id": list(range(1000)), "v": values})
    messages = write(repo, pa.Table.from_batches(rows.to_batches(max_chunksize=37)), partition_columns="v")
    assert [receipt.folder for receipt in receipts(messages)] == [f"v=v{i:02}/" for i in range(10)]
    assert [row["id"] for row in stream(repo)] == list(range(1000))


class Split:
    """Remembers what a SplitWriter is told, and how many are open and hold rows at a time."""

    def __init__(self, seen):
        self.seen, self.pending_bytes, self.is_open, self.rows = seen, 0, False, 0
        seen.append(self)

    def write(self, batch):
        self.pending_bytes += batch.nbytes
        self.rows += batch.num_rows

    def flush(self, _):
        self.pending_bytes, self.is_open = 0, True

    def end_file(self):
        self.is_open = False

    def close(self, schema, *, at_least_one):
        self.flush(schema)
        self.end_file()


def test_many_values_are_written_in_bounded_memory():
    """Rows in no order: no more is held than `max_bytes` and a batch, and two files are open at the most."""
    rng, seen, most = random.Random(5), [], 100_000
    writer = PartitionedWriter(["v"], lambda _: Split(seen), max_bytes=most)
    for _ in range(50):
        batch = pa.record_batch(
            {"v": [rng.randrange(200) for _ in range(1000)], "x": [rng.random() for _ in range(1000)]}
        )
        writer.write(batch)
        assert sum(one.pending_bytes for one in seen) <= most
        assert sum(one.is_open for one in seen) <= 2
    writer.close(batch.schema, at_least_one=False)
    assert len(seen) == 200
    assert sum(one.rows for one in seen) == 50_000


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("nope", "option 'partition_columns' names column 'nope'; the DataFrame has 'id', 'x'"),
        ("x", "option 'partition_columns': column 'x' is double; expected strings, whole numbers"),
        ("id,id", "option 'partition_columns' must name each column once and leave one out, got 'id,id'"),
    ],
)
def test_columns_that_name_no_folders_are_refused(hub, repo, columns, said):
    """Before the repo is made."""
    with pytest.raises(OptionError, match=re.escape(said)):
        write(repo, pa.table({"id": [1], "x": [1.0]}), partition_columns=columns)
    assert hub.counts()["repo_create"] == 0


def test_no_rows_make_one_empty_file(hub, repo):
    """An empty DataFrame is a valid split, in no folder."""
    write(repo, table().slice(0, 0), partition_columns="lang")
    assert paths(hub, repo) == ["data/train-00000-of-00001.parquet"]


def test_escapes_are_those_of_urls(hub, repo):
    """A folder's name, unquoted, is the value."""
    write(repo, table(), partition_columns="lang")
    names = {unquote(path.split("/")[2].removeprefix("lang=")) for path in paths(hub, repo)}
    assert names == {*filter(None, ODD), "__HIVE_DEFAULT_PARTITION__"}
