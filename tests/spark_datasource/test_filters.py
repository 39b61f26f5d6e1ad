"""`filters` and `where`: exactly the rows, and no bytes of row groups that cannot hold any; which files; how large tasks are."""

import datetime
import json
import logging
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq
from pyspark.sql import types as t
from pyspark.sql.pandas.types import to_arrow_schema

from pipeline.errors import NotFoundError, OptionError, RecipeError, SchemaError
from spark_datasource.dataset import open_dataset
from spark_datasource.filters import compile_filters, parse_filters
from spark_datasource.read_options import parse_read
from spark_datasource.reader import HuggingFaceReader
from tests.spark_datasource.reading import put, read, reader_of

TABLE = pa.table(
    {
        "id": pa.array(range(400), pa.int32()),
        "day": pa.array([datetime.date(2026, 1, 1) + datetime.timedelta(days=i // 10) for i in range(400)]),
        "label": pa.array([["cat", "dog", None][i % 3] for i in range(400)]),
        "meta": pa.array([{"score": i / 400, "tags": [str(i)]} for i in range(400)]),
        "blob": pa.array([random.Random(i).randbytes(20_000) for i in range(400)]),
    }
)


@pytest.fixture(scope="module")
def sorted_repo():
    """Ten row groups of 40 rows and 800 kB, sorted by id and day."""
    put("tests/filters", {"data/train-00000-of-00001.parquet": TABLE}, row_group_size=40, use_dictionary=False)
    return "tests/filters"


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"filters": '[("id", ">=", 10), ("id", "<", 13)]'}, [10, 11, 12]),
        ({"filters": '[["id", ">=", 398]]'}, [398, 399]),
        ({"filters": '[[("id", "==", 3)], [("id", "=", 300), ("label", "==", "cat")]]'}, [3, 300]),
        ({"filters": '[("id", "in", [5, 399, 5000]), ("label", "!=", "nope")]'}, [399]),
        ({"filters": '[("meta.score", "<", 0.005)]'}, [0, 1]),
        ({"filters": '[("day", "==", "2026-01-02"), ("id", "<", 12)]'}, [10, 11]),
        ({"filters": '[("day", "in", ["2026-01-01", "2026-02-09"]), ("id", ">", 7)]'}, [8, 9, *range(390, 400)]),
        ({"where": "id BETWEEN 10 AND 12"}, [10, 11, 12]),
        ({"where": "day = DATE '2026-01-02' AND label = 'dog'"}, [10, 13, 16, 19]),
        ({"where": "meta.score >= 0.9975"}, [399]),
        ({"where": "label IS NULL AND id < 6"}, [2, 5]),
        ({"where": "id < 0"}, []),
    ],
)
def test_exactly_the_rows_for_which_it_is_true(hub, sorted_repo, options, ids):
    """Both forms, alternatives, parts of nested columns, nulls; and only matching row groups' bytes are fetched."""
    hub.reset_counts()
    found = read(sorted_repo, columns="id,blob", **options)
    assert (found["id"].to_pylist() if found else []) == ids
    assert not found or found.column_names == ["id", "blob"]
    matching = len({i // 40 for i in ids})
    assert hub.bytes_sent()["cdn"] < 850_000 * matching + 150_000


def test_a_condition_reads_columns_that_are_not_wanted(hub, sorted_repo):
    """What only the condition needs is fetched, and not given; the wide column is not fetched at all."""
    hub.reset_counts()
    found = read(sorted_repo, columns="label", where="id IN (0, 1, 399)")
    assert found.to_pydict() == {"label": ["cat", "dog", "cat"]}
    assert hub.bytes_sent()["cdn"] < 150_000


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.tuples(st.just("id"), st.sampled_from(["<", ">=", "!=", "=="]), st.integers(-5, 410)),
                st.tuples(st.just("id"), st.sampled_from(["in", "not in"]), st.lists(st.integers(0, 400), max_size=3)),
                st.tuples(st.just("label"), st.sampled_from(["==", "!=", "not in"]), st.sampled_from(["cat", "dog"])),
            ),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_filters_mean_what_they_mean_to_pyarrow(filters):
    """Any filters, as JSON or as Python, choose the rows that `pyarrow.parquet.read_table(filters=)` chooses."""
    filters = [[(c, o, [v] if "in" in o and isinstance(v, str) else v) for c, o, v in each] for each in filters]
    expected = TABLE.filter(pq.filters_to_expression(filters))["id"].to_pylist()
    for text in (repr(filters), json.dumps(filters)):
        predicate = compile_filters(parse_filters(text), None, TABLE.schema)
        assert TABLE.filter(predicate.expression)["id"].to_pylist() == expected


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"filters": "id > 5"}, OptionError, "option 'filters' must be a list such as"),
        ({"filters": "[]"}, OptionError, "option 'filters' must be a list such as"),
        ({"filters": '[("id", "~", 5)]'}, OptionError, "operators are = == != < > <= >= in not in, not '~'"),
        ({"filters": '[("id", "in", 5)]'}, OptionError, "'in' takes a list of values"),
        ({"filters": '[("idd", ">", 5)]'}, OptionError, "names column 'idd'; the dataset has 'id', 'day'"),
        ({"filters": '[("id", ">", "x")]'}, OptionError, "option 'filters' does not fit the columns"),
        ({"filters": '[("day", ">", "soon")]'}, OptionError, "cannot compare 'day', which is date32[day], with 'soon'"),
        ({"filters": "[" * 100_000}, OptionError, "option 'filters' must be a list such as"),
        ({"filters": f'[("id", "<", {10**23})]'}, OptionError, "cannot compare 'id', which is int32"),
        ({"where": " OR ".join(["id = 1"] * 20_000)}, OptionError, "characters; expected 100000 at most"),
        ({"filters": "[__import__('os').getcwd()]"}, OptionError, "option 'filters' must be a list such as"),
        ({"where": "idd > 5"}, RecipeError, "idd"),
        ({"where": "id >"}, RecipeError, "where"),
        ({"where": "id > 1", "filters": '[("id", ">", 1)]'}, OptionError, "join them into 'where'"),
        ({"maxPartitionBytes": "lots"}, OptionError, "option 'maxPartitionBytes' must be a size"),
        ({"transport": "ftp"}, OptionError, "option 'transport' must be 'auto' or 'xet' or 'http', got 'ftp'"),
        ({"startingCommit": "x"}, OptionError, "'startingCommit' is for reading a stream"),
        ({"data_files": "[1, 2]"}, OptionError, "no split"),
    ],
)
def test_a_bad_option_is_one_line_before_anything_is_read(sorted_repo, options, kind, said):
    """Syntax, operators, columns and types of a condition are checked at load."""
    if options == {"data_files": "[1, 2]"}:
        kind, said = NotFoundError, "has no files for '[1, 2]' of option 'data_files'"
    with pytest.raises(kind) as caught:
        open_dataset(parse_read({"path": sorted_repo, "token": "hf_any", **options}))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tasks_hold_about_max_partition_bytes_of_the_chosen_columns(hub, sorted_repo):
    """One file of 8 MB is many tasks; of a narrow column it is one; a larger limit makes fewer."""

    def sizes(**options):
        parts = reader_of(sorted_repo, **options)[0].partitions()
        return [sum(group.size() for task in part.tasks for group in task.groups()) for part in parts]

    assert len(sizes(columns="id")) == 1
    assert len(sizes(maxPartitionBytes="1m")) == 8
    assert max(sizes(maxPartitionBytes="1m")) <= 1.7 * 2**20
    assert len(sizes(maxPartitionBytes="900k", where="id >= 200")) == 5
    assert len(sizes(maxPartitionBytes="100MB")) == 2


def test_a_wide_read_is_told_of_once(hub, put_wide, caplog):
    """A dataset of many columns read whole gives one hint, however often it is planned; a narrowed read gives none."""
    with caplog.at_level(logging.WARNING, "spark_datasource.reader"):
        for options in ({}, {}, {"columns": "c1"}, {"where": "c1 > 3"}):
            read(put_wide, **options)
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "every query of this DataFrame reads all 12 columns (1.0 kB); name those that you need with the option "
        "'columns' or .schema(...), and rows with 'where'"
    ]


def test_a_schema_may_say_that_there_are_no_nulls(hub, sorted_repo):
    """A schema of the user's own with `not null` is honoured where it is true, at any depth, and refused where it is not."""
    said = t.StructType(
        [
            t.StructField("id", t.LongType(), nullable=False),
            t.StructField("meta", t.StructType([t.StructField("tags", t.ArrayType(t.StringType(), False), False)])),
        ]
    )
    found = read(sorted_repo, said)
    assert found.schema.equals(to_arrow_schema(said, timezone="UTC"))
    assert found["meta"][7].as_py() == {"tags": ["7"]}
    with pytest.raises(SchemaError, match="column 'label' has nulls, and"):
        read(sorted_repo, t.StructType([t.StructField("label", t.StringType(), nullable=False)]))


def test_a_column_that_is_left_out_is_told_of_once(hub, repo, caplog):
    """What only a later file has, and no card: said with its file, and read when named. A null column learns its type."""
    first, second = pa.table({"a": [1], "n": pa.nulls(1)}), pa.table({"a": [2], "n": ["x"], "late": [3]})
    put(repo, {"train-0.parquet": first, "train-1.parquet": second})
    with caplog.at_level(logging.WARNING, "spark_datasource.reader"):
        for _ in range(2):
            assert read(repo).to_pydict() == {"a": [1, 2], "n": [None, "x"]}
        schema = t.StructType([t.StructField("late", t.LongType())])
        assert read(repo, schema).to_pydict() == {"late": [None, 3]}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "column 'late' of hf://" in said[0]
    assert "train-1.parquet is in neither the first file nor the card" in said[0]


@pytest.fixture
def put_wide(repo):
    table = pa.table({f"c{i}": [1, 2] for i in range(12)})
    put(repo, {"train.parquet": table}, compression="none", use_dictionary=False)
    return repo


def test_what_travels_to_every_task_does_not_grow_with_the_dataset(hub, repo):
    """The pickled reader of 200 files is as small as that of one: files go to the tasks that read them."""
    from pyspark import cloudpickle

    def pickled():
        dataset = open_dataset(parse_read({"path": repo, "token": "hf_any"}))
        reader = HuggingFaceReader(dataset, dataset.schema())
        assert sum(len(part.tasks) for part in reader.partitions()) == sum(len(one.files) for one in dataset.splits())
        return len(cloudpickle.dumps(reader))

    def add(names):
        put(repo, {f"data/train-{i:05d}.parquet": pa.table({"id": [i]}) for i in names})

    add([0])
    one = pickled()
    add(range(1, 200))
    assert pickled() < one + 200 < 10_000  # the same text may be one object or two
