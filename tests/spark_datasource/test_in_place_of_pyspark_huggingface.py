"""Every call of pyspark_huggingface's documentation, with this format in its place."""

import pyarrow as pa
import pytest

from tests.spark_datasource.reading import put


@pytest.fixture(scope="module")
def fineweb():
    """A dataset laid out as those in that documentation: two configs, a folder of samples, several splits."""

    def scored(scores):
        return pa.table({"text": [f"t{score}" for score in scores], "language_score": scores})

    card = """---
configs:
- config_name: default
  data_files: [{split: train, path: "sample/10BT/*"}, {split: test, path: "test/*"}]
- config_name: sample-10BT
  data_files: "sample/10BT/001*"
---
"""
    files = {
        "README.md": card,
        "sample/10BT/000_00000.parquet": scored([0.5, 0.991]),
        "sample/10BT/001_00000.parquet": scored([0.7, 0.995, 0.2]),
        "test/000_00000.parquet": scored([0.1]),
    }
    put("tests/fineweb-edu", files)
    return "tests/fineweb-edu"


READS = [
    ({}, 5),
    ({"split": "test"}, 1),
    ({"config": "sample-10BT"}, 3),
    ({"data_files": "sample/10BT/000_00000.parquet"}, 2),
    ({"data_files": '["sample/10BT/000_00000.parquet", "sample/10BT/001_00000.parquet"]'}, 5),
    ({"data_files": "sample/10BT/*.parquet"}, 5),
    ({"data_dir": "sample/10BT"}, 5),
    ({"filters": '[("language_score", ">", 0.99)]', "columns": '["text", "language_score"]'}, 2),
    ({"streaming": "false"}, 5),
    ({"revision": "main", "token": "hf_other"}, 5),
]


def test_every_documented_read(spark, hub, fineweb):
    """Splits, configs, files by name, list and glob, folders, filters with columns, `streaming`, revision and token."""
    for options, rows in READS:
        found = spark.read.format("huggingface").options(**options).load(fineweb)
        assert found.columns == ["text", "language_score"], options
        assert found.count() == rows, options


@pytest.mark.parametrize("kind", ["dataset", "bucket"])
def test_every_documented_write(spark, hub, repo, kind):
    """Overwrite and append with every option of its sink, to a dataset and to a bucket, and back."""
    target = repo if kind == "dataset" else f"buckets/{repo}"
    frame = spark.range(10).selectExpr("id", "string(id) AS text").coalesce(1)
    options = {
        "data_dir": "data",
        "split": "test",
        "max_bytes_per_file": 1_000_000,
        "row_group_size": 4,
        "max_operations_per_commit": 100,
        "token": "hf_any",
        "endpoint": hub.endpoint,
    }
    frame.write.format("huggingface").mode("overwrite").options(**options).save(target)
    frame.write.format("huggingface").mode("append").options(**options).save(target)
    read = spark.read.format("huggingface").option("split", "test")
    assert read.option("data_dir", "data").load(target).count() == 20
    frame.limit(3).write.format("huggingface").mode("overwrite").options(**options).save(target)
    assert sorted(row["id"] for row in read.option("data_dir", "data").load(target).collect()) == [0, 1, 2]
