"""Row groups that Spark wrote are copied without decoding, and Spark and `datasets` read the copy as they do the source."""

import io

import pyarrow as pa
import pytest
from datasets import Dataset, Image
from pyarrow import parquet as pq

from pipeline.parquet.block_file import BlockFile
from pipeline.parquet.features import features_of
from pipeline.parquet.layout import Kind, Layout
from pipeline.parquet.rowgroup_copy import why_not_copied
from tests.pipeline.parquet.raw_files import Source, check_pages

pytestmark = pytest.mark.spark

SQL = """
    SELECT id, cast(id AS string) AS text, if(id % 3 = 0, null, array(cast(id AS int))) AS numbers, map('k', id) AS counts,
        if(id < 0, null, named_struct('bytes', encode(repeat(id, 200), 'utf-8'), 'path', cast(null AS string))) AS image,
        array(named_struct('role', 'user', 'words', array('a', null, cast(id AS string)))) AS turns,
        date_add(date '2020-01-01', cast(id AS int)) AS day, id / 7 AS ratio, cast(id AS decimal(30, 3)) AS price
    FROM range(400)
"""
SMALL = {"parquet.block.size": 1, "parquet.block.size.row.check.min": 40}
FEATURES = {"image": {"_type": "Image"}}


def check_copy(spark, folder, order):
    """Copy the row groups of Spark's file as columns in this order; each reader gives what it gives for Spark's file."""
    (file,) = (folder / "spark").glob("*.parquet")
    source = Source(file.read_bytes())
    assert len(source.groups) == 4
    fields = {field.name: field for field in source.footer.schema()} | {
        "source": pa.field("source", pa.string(), False)
    }
    schema = pa.schema([fields[name] for name in order])
    columns = {name: name for name in order if name != "source"}
    assert why_not_copied(source.footer, schema, columns) is None
    sink = io.BytesIO()
    written = BlockFile(sink, schema, layout=Layout(kind=Kind.BLOCKS), features=(features_of(schema) or {}) | FEATURES)
    for group in (2, 0, 3, 1):
        written.copy_block([source.groups[group]], columns, {"source": pa.scalar("here")})
    written.close()
    assert check_pages(sink.getvalue()) >= 4 * len(order)
    (folder / "copy.parquet").write_bytes(sink.getvalue())
    rows, copy = (
        spark.read.parquet(str(folder / "spark")).select(*columns),
        spark.read.parquet(str(folder / "copy.parquet")),
    )
    assert copy.rdd.getNumPartitions() > 4
    for sql in ("true", "id BETWEEN 130 AND 140 OR text = '77'", "numbers IS NULL AND ratio > 40"):
        wanted = [row.asDict(recursive=True) for row in rows.where(sql).orderBy("id").collect()]
        found = [row.asDict(recursive=True) for row in copy.where(sql).orderBy("id").collect()]
        assert found == [{**row, "source": "here"} for row in wanted]
    one, two = pq.read_table(folder / "copy.parquet").sort_by("id"), pq.read_table(file)
    assert one.drop(["source"]).equals(two.select(list(columns)))


@pytest.fixture
def split_finely(spark):
    """Spark in the mood to give each task a few bytes."""
    settings = {"spark.sql.files.maxPartitionBytes": "6000", "spark.sql.files.openCostInBytes": "0"}
    for key, setting in settings.items():
        spark.conf.set(key, setting)
    yield
    for key in (*settings, "spark.sql.parquet.writeLegacyFormat"):
        spark.conf.unset(key)


@pytest.mark.usefixtures("split_finely")
@pytest.mark.parametrize("legacy", ["true", "false"])
def test_spark_reads_each_row_of_a_copy_once_however_it_is_split(spark, tmp_path, legacy):
    """Also where columns changed places or a constant is the first, of lists in the old form too; filters find the same rows."""
    spark.conf.set("spark.sql.parquet.writeLegacyFormat", legacy)
    spark.sql(SQL).coalesce(1).write.options(**SMALL).parquet(str(tmp_path / "spark"))
    names = spark.read.parquet(str(tmp_path / "spark")).columns
    if legacy == "true":
        check_copy(spark, tmp_path, ["source", *names])
        return
    names.remove("counts")  # `datasets` has no maps
    check_copy(spark, tmp_path, [*reversed(names), "source"])
    found = Dataset.from_parquet(str(tmp_path / "copy.parquet"), cache_dir=str(tmp_path / "cache"))
    assert found.features["image"] == Image()
    images = found.with_format("arrow")[:]
    assert images["image"].to_pylist() == [
        {"bytes": str(number).encode() * 200, "path": None} for number in images["id"].to_pylist()
    ]
