"""Splits -> DataFrames: pinned, balanced, only the bytes that are asked for, every type; and the token nowhere."""

import datetime
import decimal
import json
import logging
import random

import pyarrow as pa
import pytest
from pyspark.sql import types as t

from pipeline.errors import CorruptFileError, NotFoundError, OptionError, SchemaError
from pipeline.localhub import Account, LocalHub
from pipeline.parquet.features import features_of
from spark_datasource.schemas import spark_arrow_type, spark_schema
from tests.spark_datasource import reading


@pytest.fixture
def put(hub):
    """Commit tables (path -> table) and texts to a repo; the commit's sha."""

    def commit(repo, files, **options):
        return reading.put(repo, files, **options).oid

    return commit


@pytest.fixture
def wide(put, hub):
    """A repo of one file: `id` and `n` narrow, `wide` of 12 MB, in four row groups."""
    rng = random.Random("wide")
    table = pa.table({"id": list(range(80)), "wide": [rng.randbytes(150_000) for _ in range(80)], "n": [1.5] * 80})
    put("tests/spark-wide", {"data/train-00000-of-00001.parquet": table}, row_group_size=20, use_dictionary=False)
    hub.reset_counts()
    return "tests/spark-wide"


@pytest.mark.parametrize("by", ["schema", "columns", "json"])
def test_chosen_columns_read_only_their_bytes(load, wide, hub, by):
    """A schema of some columns, and the option columns, fetch those and the footers: not the 12 MB beside them."""
    frame = {
        "schema": lambda: load(wide, schema="n double, id bigint"),
        "columns": lambda: load(wide, columns="n, id"),
        "json": lambda: load(wide, columns='["n", "id"]'),
    }[by]()
    assert frame.columns == ["n", "id"]
    assert sorted(map(tuple, frame.collect())) == [(1.5, i) for i in range(80)]
    assert hub.bytes_sent()["cdn"] < 300_000


def test_counting_rows_of_no_columns_reads_no_data(load, wide, hub):
    """count() over no columns is answered from the footers."""
    assert load(wide, columns="[]").count() == 80
    assert hub.bytes_sent()["cdn"] < 200_000


def test_a_large_file_is_read_in_balanced_tasks(load, wide):
    """Row groups become several partitions of about the same size, that hold every row once."""
    frame = load(wide)
    counts = frame.rdd.glom().map(len).collect()
    assert len(counts) > 1
    assert sum(counts) == 80
    assert max(counts) <= 40


def test_a_read_is_pinned_when_it_is_loaded(spark, save, load, repo):
    """A DataFrame that was loaded before an append, or an overwrite, keeps its rows: counted, collected, filtered."""
    save(spark.range(5), repo)
    frame = load(repo)
    save(spark.range(5, 10), repo)
    assert frame.count() == 5
    save(spark.range(100, 102), repo, mode="overwrite")
    assert sorted(row["id"] for row in frame.collect()) == [0, 1, 2, 3, 4]
    assert frame.where("id > 2").count() == 2
    assert frame.count() == 5
    assert sorted(row["id"] for row in load(repo).collect()) == [100, 101]


def test_one_frame_filtered_in_several_ways_is_right(spark, save, load, repo):
    """Filters of one scan do not leak into another one of the same DataFrame (as Spark's own pushdown would let them)."""
    save(spark.range(10), repo)
    frame = load(repo)
    assert frame.where("id > 5").union(frame.where("id > 7")).union(frame).count() == 16
    assert frame.where("id > 5").join(frame.where("id > 7"), "id").count() == 2


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"split": "nope"}, NotFoundError, "no split 'nope' in config 'default'; those that exist: 'train'"),
        ({"config": "nope"}, NotFoundError, "no config 'nope'; those that exist: 'default'"),
        ({"revision": "nope"}, NotFoundError, "no such revision"),
        ({"columns": "id,nope"}, SchemaError, "no column 'nope'; it has 'id', 'wide', 'n'"),
        ({"columns": "[1"}, OptionError, "option 'columns' must be"),
        ({"colums": "id"}, OptionError, "unknown option 'colums' for reading; did you mean 'columns'?"),
        (
            {"maxRecordsPerFile": "3"},
            OptionError,
            "unknown option 'maxrecordsperfile' for reading; 'maxRecordsPerFile' is for writing",
        ),
    ],
)
def test_a_bad_read_is_one_line(load, wide, fails, options, kind, said):
    """What does not exist is named, with what does; an unknown option gets a suggestion."""
    with fails(kind, said):
        load(wide, **options)


def test_a_schema_that_names_no_column_of_any_file_is_refused(load, wide, fails):
    """A slip in a user's schema is an error, not a column of nulls."""
    with fails(SchemaError, "no column 'idd'; it has 'id', 'wide', 'n'"):
        load(wide, schema="idd bigint").collect()


def test_no_dataset_and_no_such_dataset_are_one_line(spark, load, fails):
    """Neither load() without a name nor a name that nobody has is a stack trace of ours."""
    with fails(NotFoundError, "tests/nobody: no such dataset on the Hub, or no access to it"):
        load("tests/nobody")
    with fails(OptionError, "no dataset given"):
        spark.read.format("huggingface").load()


def test_a_corrupt_file_is_named_in_spark(put, load, repo, fails):
    """A file that is no Parquet is a CorruptFileError with its path."""
    put(repo, {"data/train-00000-of-00001.parquet": b"not parquet at all"})
    with fails(CorruptFileError, "data/train-00000-of-00001.parquet: not a Parquet file"):
        load(repo)


def test_what_push_to_hub_wrote_is_read(load, repo, hub):
    """Configs and splits that `datasets` pushed, its features in the columns' metadata; and names that need quoting."""
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"label": ClassLabel(names=["cat", "dog"]), "a.b `c`": Value("string"), "n": Value("uint8")})
    rows = Dataset.from_dict(
        {"label": [0, 1, None], "a.b `c`": ["x", None, "é"], "n": [0, 255, None]}, features=features
    )
    rows.push_to_hub(repo, config_name="fr", split="test", num_shards=2)
    frame = load(repo, config="fr", split="test")
    assert [tuple(row) for row in frame.collect()] == [(0, "x", 0), (1, None, 255), (None, "é", None)]
    assert json.loads(frame.schema["label"].metadata["huggingface"])["names"] == ["cat", "dog"]
    assert load(repo, config="fr", split="test", columns='["a.b `c`"]').collect()[2][0] == "é"


UTC = datetime.UTC
NOW = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456)
ARROW = {
    "uint8": (pa.uint8(), [0, 255, None]),
    "uint16": (pa.uint16(), [65535]),
    "uint32": (pa.uint32(), [2**32 - 1]),
    "uint64": (pa.uint64(), [2**64 - 1, None]),
    "half": (pa.float16(), [1.5, None]),
    "float": (pa.float32(), [0.5]),
    "large": (pa.large_string(), ["é", None]),
    "view": (pa.string_view(), ["x" * 20, None]),
    "bytes": (pa.large_binary(), [b"\0\xff"]),
    "fixed": (pa.binary(3), [b"abc", None]),
    "day": (pa.date32(), [datetime.date(1969, 12, 31)]),
    "day64": (pa.date64(), [datetime.date(2024, 1, 1)]),
    "local": (pa.timestamp("ms"), [NOW.replace(microsecond=123000), None]),
    "utc": (pa.timestamp("us", "UTC"), [NOW.replace(tzinfo=UTC)]),
    "tokyo": (pa.timestamp("s", "Asia/Tokyo"), [NOW.replace(microsecond=0, tzinfo=UTC)]),
    "span": (pa.duration("ms"), [datetime.timedelta(1, 2, 3000)]),
    "money": (pa.decimal128(10, 2), [decimal.Decimal("1.25")]),
    "small": (pa.decimal256(20, 2), [decimal.Decimal("-1.25")]),
    "category": (pa.dictionary(pa.int32(), pa.string()), ["a", "b", "a", None]),
    "list": (pa.list_(pa.int8()), [[1, None], [], None]),
    "llist": (pa.large_list(pa.large_string()), [["a"], None]),
    "flist": (pa.list_(pa.float32(), 2), [[1.0, 2.0], None]),
    "lview": (pa.list_view(pa.int32()), [[1, 2], [3], None, [4, 5, 6]]),
    "none": (pa.null(), [None]),
    "bool": (pa.bool_(), [True, None]),
    "struct": (
        pa.struct([("x", pa.uint8()), ("y", pa.list_(pa.struct([("z", pa.large_string())])))]),
        [{"x": 255, "y": [{"z": "q"}, None]}, None],
    ),
    "map": (pa.map_(pa.string(), pa.int32()), [[("a", 1)], [], None]),
}


def as_python(value):
    """Spark's values as pyarrow's."""
    if isinstance(value, t.Row):
        return {key: as_python(one) for key, one in value.asDict().items()}
    if isinstance(value, dict):
        return [(key, as_python(one)) for key, one in value.items()]
    if isinstance(value, list):
        return [as_python(one) for one in value]
    return bytes(value) if isinstance(value, bytearray) else value


def test_every_type_that_spark_can_hold_arrives(spark, put, load):
    """Values of each Arrow type are the same in Spark, nulls and extremes included; wider types where Spark has none."""
    columns = {name: pa.array([*values, *[None] * (4 - len(values))], kind) for name, (kind, values) in ARROW.items()}
    put("tests/spark-types", {"train.parquet": pa.table(columns)})
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    try:
        rows = load("tests/spark-types").collect()
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)
    for name, (_, values) in ARROW.items():
        found = [as_python(row[name]) for row in rows][: len(values)]
        if name in ("utc", "tokyo"):
            found = [one.astimezone(UTC) for one in found]
        assert found == values, name


@pytest.mark.parametrize(
    "kind",
    [pa.decimal256(40, 2), pa.month_day_nano_interval(), pa.struct([("x", pa.month_day_nano_interval())])],
    ids=str,
)
def test_a_type_that_spark_cannot_hold_is_named(kind):
    """The column and the type are in the error, and what to do."""
    with pytest.raises(SchemaError, match="column 'x': Spark cannot hold"):
        spark_schema(pa.schema([("x", kind)]), None)


SPARK_TYPES = (
    "b byte, s short, i int, l long, f float, d double, dec decimal(20,3), t string, bin binary, bo boolean, da date, "
    "ts timestamp, nt timestamp_ntz, arr array<int>, st struct<a:int,b:struct<c:string>>, m map<string,array<int>>"
)


def test_every_spark_type_makes_the_round_trip(spark, save, load):
    """Rows of every type, and rows of nulls, are written and read the same, types included; so they are a second time."""
    row = (
        1,
        2,
        3,
        4,
        0.5,
        1e300,
        decimal.Decimal("12345678901234567.125"),
        "é\0x",
        bytearray(b"\0\xff"),
        False,
        datetime.date(1, 1, 1),
        NOW,
        NOW,
        [1, None],
        t.Row(a=1, b=t.Row(c=None)),
        {"k": [1], "e": []},
    )
    frame = spark.createDataFrame([row, (None,) * len(row)], SPARK_TYPES)
    save(frame, "tests/spark-round")
    again = load("tests/spark-round")
    assert again.dtypes == frame.dtypes
    assert sorted(map(str, again.collect())) == sorted(map(str, frame.collect()))
    save(again, "tests/spark-round", config="again")
    assert sorted(map(str, load("tests/spark-round", config="again").collect())) == sorted(map(str, frame.collect()))


def test_features_survive_read_select_and_write(spark, put, save, load, repo):
    """A ClassLabel and an Image that were read are written as such: `datasets` decodes them from any config and split."""
    import io

    import PIL.Image
    from datasets import ClassLabel, Image, List, Value, load_dataset

    sink = io.BytesIO()
    PIL.Image.new("RGB", (5, 4), "red").save(sink, "PNG")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "id": [1, 2],
            "image": pa.array([{"bytes": sink.getvalue(), "path": "a.png"}, None], kind),
            "label": [1, None],
            "tags": pa.array([["x"], None], pa.list_(pa.string())),
            "half": pa.array([1.5, None], pa.float16()),
        }
    )
    given = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    put("tests/spark-media", {"train.parquet": table})
    first = load("tests/spark-media")
    save(first, repo, features=json.dumps(given))
    save(load(repo).where("id > 0").select("label", "image", "tags", "id"), repo, config="fr", split="test.extra")
    for options, names in (
        ({}, ["id", "image", "label", "tags", "half"]),
        ({"name": "fr", "split": "test.extra"}, ["label", "image", "tags", "id"]),
    ):
        for streaming in (True, False):
            found = load_dataset(repo, **{"split": "train", **options}, streaming=streaming)
            assert list(found.features) == names
            assert found.features["image"] == Image()
            assert found.features["label"] == ClassLabel(names=["cat", "dog"])
            assert found.features["tags"] == List(Value("string"))
            rows = sorted(found, key=lambda row: row["id"])
            assert [row["label"] for row in rows] == [1, None]
            assert rows[0]["image"].size == (5, 4)
            assert rows[1]["image"] is None


def test_null_structs_with_children_that_spark_calls_not_null_are_written(spark, save, load, repo):
    """An Image column whose children are declared `not null` holds null images all the same."""
    kind = t.StructType([t.StructField("bytes", t.BinaryType(), False), t.StructField("path", t.StringType(), False)])
    schema = t.StructType([t.StructField("id", t.LongType()), t.StructField("image", kind, True)])
    save(spark.createDataFrame([(1, (b"x", "p")), (2, None)], schema), repo)
    assert sorted((row["id"], row["image"] and bytes(row["image"]["bytes"])) for row in load(repo).collect()) == [
        (1, b"x"),
        (2, None),
    ]


def test_arrow_types_become_types_that_spark_takes():
    """Each supported type maps to one that Spark's own schema has, and to itself when mapped again."""
    for name, (kind, _) in ARROW.items():
        found = spark_arrow_type(kind)
        assert spark_arrow_type(found) == found, name
        if name not in ("none", "map"):
            assert features_of(pa.schema([("x", found)])), name


def test_a_files_types_may_differ_where_nothing_is_lost(put, load, repo, fails):
    """A later file with other integers or strings is read; one with values that do not fit is an error that names it."""
    put(
        repo,
        {
            "data/train-00000-of-00003.parquet": pa.table(
                {"x": pa.array([1], pa.int32()), "s": ["a"], "f": pa.array([1.0], pa.float32())}
            )
        },
    )
    put(
        repo,
        {
            "data/train-00001-of-00003.parquet": pa.table(
                {
                    "f": pa.array([0.5], pa.float64()),
                    "s": pa.array(["b"], pa.large_string()),
                    "x": pa.array([2], pa.int64()),
                }
            )
        },
    )
    assert sorted(map(tuple, load(repo).collect())) == [(1, "a", 1.0), (2, "b", 0.5)]
    put(
        repo,
        {
            "data/train-00002-of-00003.parquet": pa.table(
                {"x": pa.array([2**40], pa.int64()), "s": ["c"], "f": pa.array([0.1], pa.float64())}
            )
        },
    )
    with fails(SchemaError, "data/train-00002-of-00003.parquet: column 'x' does not fit int32"):
        load(repo, columns="x").collect()
    with fails(SchemaError, "column 'f' does not fit float"):
        load(repo, columns="f").collect()


TOKEN = "hf_secretsecretsecret"


def test_the_token_shows_nowhere(spark, save, load, tmp_path, caplog, capfd):
    """After reads and writes with a token, good and failing ones: it is in no exception, plan, explain, log, cache or repo."""
    caplog.set_level(logging.DEBUG)
    # py4j's own DEBUG log shows every call to the JVM, option("token", ...) too; only its developers turn it on.
    caplog.set_level(logging.INFO, logger="py4j")
    said = []
    accounts = [Account(name="ann", token=TOKEN), Account(name="eve", token=TOKEN + "2", role="read")]
    with LocalHub(tmp_path / "own", accounts=accounts) as own:
        options = {"endpoint": own.endpoint, "token": TOKEN}
        save(spark.range(5), "ann/x", private="true", **options)
        frame = load("ann/x", **options)
        assert frame.count() == 5
        frame.explain(True)
        said += [frame._jdf.queryExecution().toString(), str(frame.schema.jsonValue()), repr(frame)]
        bad = [
            lambda: load("ann/x", **options, split="nope"),
            lambda: load("ann/x", **options, colums="id"),
            lambda: load("ann/x", endpoint=own.endpoint, token=TOKEN + "3"),
            lambda: load("ann/x", endpoint=own.endpoint),
            lambda: save(spark.range(1), "ann/x", endpoint=own.endpoint, token=TOKEN + "2"),
            lambda: save(spark.range(1).selectExpr("string(id) as id"), "ann/x", **options),
            lambda: save(spark.range(1), "ann/x", **options, nope="1"),
            lambda: frame.selectExpr("raise_error('x')").collect(),
        ]
        for call in bad:
            with pytest.raises(Exception) as caught:
                call()
            said += [str(caught.value), str(getattr(caught.value, "java_exception", ""))]
        own.faults.add("*", status=403, times=None)
        with pytest.raises(Exception) as caught:
            load("ann/x", **options).collect()
        said.append(str(caught.value))
        assert own.counts()["cdn_with_token"] == 0
    said.append(caplog.text)
    said += capfd.readouterr()
    assert all("hf_secret" not in text for text in said)
    from pipeline.hub import cache

    stored = [path for root in (tmp_path / "own", cache.folder()) for path in root.rglob("*") if path.is_file()]
    assert stored
    assert all(TOKEN.encode() not in path.read_bytes() for path in stored)


def test_a_token_of_the_environment_stays_at_home(spark, load, fails, tmp_path, monkeypatch):
    """The default endpoint's token is not sent to another endpoint that an option names."""
    with LocalHub(tmp_path / "own", accounts=[Account(name="ann", token=TOKEN)]) as other:
        from huggingface_hub import HfApi

        HfApi(endpoint=other.endpoint, token=TOKEN).create_repo("ann/x", repo_type="dataset", visibility="private")
        from spark_datasource.read_options import parse_read

        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert parse_read({"path": "ann/x"}).token.reveal() == TOKEN
        assert parse_read({"path": "ann/x", "endpoint": other.endpoint}).token is None
        with fails(NotFoundError, "no such dataset on the Hub, or no access"):
            load("ann/x", endpoint=other.endpoint)
