"""Several splits at once, files that are not Parquet, buckets, SQL: what `load` takes besides one split of Parquet."""

import gzip
import json

import pyarrow as pa
import pytest

from pipeline.errors import NotFoundError, OptionError, SchemaError
from spark_datasource.dataset import open_dataset
from spark_datasource.read_options import parse_read
from tests.spark_datasource.reading import put, read, reader_of


@pytest.fixture
def splits(hub, repo):
    put(
        repo,
        {
            "data/train-00000-of-00001.parquet": pa.table({"x": [1, 2]}),
            "data/train_v2-00000-of-00001.parquet": pa.table({"x": [3]}),
            "data/test-00000-of-00001.parquet": pa.table({"x": [4, 5]}),
        },
    )
    return repo


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("*", {(1, "train"), (2, "train"), (3, "train_v2"), (4, "test"), (5, "test")}),
        ("train*", {(1, "train"), (2, "train"), (3, "train_v2")}),
        ("test+train", {(4, "test"), (5, "test"), (1, "train"), (2, "train")}),
        ("tes?", {(4, "test"), (5, "test")}),
    ],
)
def test_several_splits_are_read_with_the_split_of_each_row(splits, split, rows):
    """A pattern or a sum reads those splits and no other, and a column tells which."""
    found = read(splits, split=split)
    assert found.column_names == ["x", "split"]
    assert set(zip(*found.to_pydict().values(), strict=True)) == rows
    assert read(splits, split=split, columns="split,x").num_rows == len(rows)
    assert set(read(splits, split=split, where="x > 3")["x"].to_pylist()) == {x for x, _ in rows if x > 3}


def test_a_split_whose_name_starts_alike_is_another(splits):
    """`train` is not `train_v2`, and one split has no column that tells it."""
    assert read(splits).to_pydict() == {"x": [1, 2]}
    assert read(splits, split="train_v2").to_pydict() == {"x": [3]}
    with pytest.raises(NotFoundError, match="no split 'val\\*'; those that exist"):
        read(splits, split="val*")


def test_a_condition_on_the_split_says_where_splits_are_chosen(splits):
    """The column that tells the split is not the files', so `where` cannot name it."""
    with pytest.raises(OptionError, match="splits are chosen by the option 'split'"):
        read(splits, split="*", where="split = 'test'")


def test_a_path_of_one_file_reads_that_file(splits):
    """As an address copied from the Hub has it."""
    assert read(f"hf://datasets/{splits}/data/test-00000-of-00001.parquet").to_pydict() == {"x": [4, 5]}


def test_a_column_named_split_is_not_overwritten(hub, repo):
    """A dataset with such a column is read split by split."""
    put(repo, {"train.parquet": pa.table({"split": ["a"]}), "test.parquet": pa.table({"split": ["b"]})})
    with pytest.raises(SchemaError, match="column 'split' of its own; read its splits one by one"):
        read(repo, split="*")
    assert read(repo, split="test").to_pydict() == {"split": ["b"]}


ROWS = {"id": [1, 2, 3], "text": ["a", "b,c", 'd"e']}
JSONL = "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in zip(*ROWS.values(), strict=True))


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("train.csv", 'id,text\n1,a\n2,"b,c"\n3,"d""e"\n', ROWS),
        ("train.csv.gz", gzip.compress(b'id,text\n1,a\n2,"b,c"\n3,"d""e"\n'), ROWS),
        ("train.tsv", 'id\ttext\n1\ta\n2\tb,c\n3\t"d""e"\n', ROWS),
        ("train.jsonl", JSONL, ROWS),
        ("train.json", json.dumps([{"id": 1, "text": "a"}]), {"id": [1], "text": ["a"]}),
        ("train.txt", "one\ntwo\n", {"text": ["one", "two"]}),
    ],
)
def test_other_formats_are_read_as_datasets_reads_them(hub, repo, path, content, expected):
    """The same rows, names and features that `load_dataset` gives; columns and conditions apply."""
    from datasets import load_dataset

    put(repo, {path: content})
    assert read(repo).to_pydict() == expected
    theirs = load_dataset(repo, split="train", token="hf_any")
    assert theirs.to_dict() == expected
    ours = open_dataset(parse_read({"path": repo, "token": "hf_any"}))
    assert ours.features == theirs.features.to_dict()
    name = list(expected)[-1]
    assert read(repo, columns=name).to_pydict() == {name: expected[name]}
    kept = read(repo, where=f"{name} LIKE '%o%' OR {name} = 'b,c' OR {name} = 'a'")
    assert kept[name].to_pylist() == [one for one in expected[name] if "o" in one or one in ("b,c", "a")]


def test_format_options_say_how_files_are_read(hub, repo):
    """`sep`, `field` and `sample_by` reach the format, also where no card says them."""
    put(
        repo,
        {"semi/train.csv": "a;b\n1;2\n", "nested/train.json": '{"data": [{"a": 1}]}', "docs/train.txt": "x\ny\n\nz"},
    )
    assert read(repo, data_dir="semi", sep=";").to_pydict() == {"a": [1], "b": [2]}
    assert read(repo, data_dir="semi", delimiter=";").to_pydict() == {"a": [1], "b": [2]}
    assert read(repo, data_dir="nested", field="data").to_pydict() == {"a": [1]}
    assert read(repo, data_files="docs/*.txt", sample_by="paragraph").to_pydict() == {"text": ["x\ny", "z"]}


def test_a_large_file_of_lines_is_read_by_several_tasks(hub, repo):
    """One JSON lines file of 6 MB becomes several tasks that give each line once, in order."""
    lines = [json.dumps({"n": i, "pad": "x" * 500}) for i in range(12_000)]
    put(repo, {"train.jsonl": "\n".join(lines)})
    reader, _ = reader_of(repo, columns="n", maxPartitionBytes="1m")
    parts = reader.partitions()
    assert len(parts) > 4
    assert [n for part in parts for batch in reader.read(part) for n in batch["n"].to_pylist()] == list(range(12_000))


def test_revisions_of_every_kind_are_read(hub, repo):
    """Branch, tag, sha, `refs/pr/N`, a timestamp: each pins its own commit."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    first = put(repo, {"train.parquet": pa.table({"x": [1]})}).oid
    api.create_tag(repo, tag="v1", repo_type="dataset")
    when = next(iter(api.list_repo_commits(repo, repo_type="dataset"))).created_at
    put(repo, {"train.parquet": pa.table({"x": [2]})})
    change = put(repo, {"train.parquet": pa.table({"x": [3]})}, create_pr=True)
    number = change.pr_url.rsplit("/", 1)[-1]

    def rows(**options):
        return read(repo, **options)["x"].to_pylist()

    assert rows() == [2]
    assert rows(revision=first) == rows(revision="v1") == [1]
    assert rows(revision=f"refs/pr/{number}") == [3]
    assert rows(timestamp=when.isoformat()) == [1]
    with pytest.raises(OptionError, match="timestamp must be a time"):
        rows(timestamp="yesterday")


def test_sql_reads_by_view_and_by_with(spark, splits):
    """Temporary views keep their options; a catalog table takes them in the query, and says so when it has none."""
    from jobs.session import unwrap

    spark.sql(
        "CREATE OR REPLACE TEMPORARY VIEW some_splits USING huggingface "
        f"OPTIONS (path '{splits}', split 'test', `columns` 'x', where 'x > 4')"
    )
    assert spark.sql("SELECT sum(x) FROM some_splits").collect() == [(5,)]
    spark.sql(f"CREATE TABLE splits_table USING huggingface OPTIONS (path '{splits}')")
    try:
        found = spark.sql(f"SELECT count(*) FROM splits_table WITH (path='{splits}', split='train')").collect()
        assert found == [(2,)]
        with pytest.raises(Exception, match="no dataset given") as caught:
            spark.sql("SELECT * FROM splits_table").collect()
        assert "SELECT ... FROM t WITH (path='ns/name')" in str(unwrap(caught.value))
        spark.sql(f"INSERT INTO splits_table WITH (path='{splits}', split='train') VALUES (9)")
    finally:
        spark.sql("DROP TABLE splits_table")
    loaded = spark.read.format("huggingface").option("split", "t*").load(splits)
    assert loaded.groupBy("split").count().orderBy("split").collect() == [("test", 2), ("train", 3), ("train_v2", 1)]
