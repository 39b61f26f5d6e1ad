"""Features of a card as Arrow types: those of `datasets`, and rows in them whatever their files hold."""

import json

import pyarrow as pa
import pytest

from pipeline.errors import SchemaError
from pipeline.formats.csv import csv_format
from pipeline.formats.json import json_format
from pipeline.formats.types import schema_of
from pipeline.parquet.features import from_yaml, to_yaml

VALUES = "null bool int8 uint16 int64 float16 float32 float64 float double string large_string binary large_binary date32 date64"
TIMES = [
    "timestamp[s]",
    "timestamp[us, tz=Europe/Paris]",
    "time32[ms]",
    "time64[ns]",
    "duration[s]",
    "decimal128(10, 2)",
]


def test_features_have_the_types_of_datasets():
    """Every kind of value, media, and what nests them."""
    from datasets import Audio, ClassLabel, Features, Image, LargeList, List, Translation, Value, Video

    features = Features(
        {
            **{dtype: Value(dtype) for dtype in [*VALUES.split(), *TIMES]},
            "label": ClassLabel(names=["a", "b"]),
            "media": {"image": Image(), "audio": Audio(), "video": List(Video())},
            "lists": List(LargeList(List(Value("int8"), length=3))),
            "languages": Translation(languages=["fr", "en"]),
        }
    )
    read = from_yaml(to_yaml(features.to_dict()))
    schema = schema_of(read, "x")
    expected = features.arrow_schema.remove_metadata()
    assert {name: schema.field(name).type for name in features} == {
        name: expected.field(name).type for name in features
    }


@pytest.mark.parametrize(
    "feature", [{"_type": "Array2D", "shape": [1, 2], "dtype": "int8"}, {"_type": "Value", "dtype": "array"}]
)
def test_a_feature_that_is_not_known_is_named(feature):
    """With its column."""
    with pytest.raises(SchemaError, match="'odd'"):
        schema_of({"odd": feature}, "x")


def rows_as(format, file, features):
    """The rows of a file as these features."""
    schema = schema_of(features, "x")
    tasks = format.plan([file], None, 1 << 20)
    return [
        row for task in tasks for batch in format.read(task, schema, None, schema.names) for row in batch.to_pylist()
    ]


def test_text_and_json_are_read_as_the_card_says(local):
    """Labels by name or number, numbers as text where they are text, times, what is missing."""
    features = {
        "label": {"_type": "ClassLabel", "names": ["nay", "yea"]},
        "n": {"_type": "Value", "dtype": "int16"},
        "s": {"_type": "Value", "dtype": "string"},
        "t": {"_type": "Value", "dtype": "date32"},
        "gone": {"_type": "Value", "dtype": "float32"},
    }
    data = [{"label": "yea", "n": 1, "s": 7, "t": "2020-01-02"}, {"label": None, "n": None, "s": None, "t": None}]
    by_json = rows_as(json_format({}), local("".join(json.dumps(row) + "\n" for row in data)), features)
    by_csv = rows_as(csv_format({}), local("label,n,s,t\nyea,1,7,2020-01-02\n,,,\n"), features)
    assert by_json == by_csv
    assert {name: str(value) for name, value in by_csv[0].items()} == {
        "label": "1", "n": "1", "s": "7", "t": "2020-01-02", "gone": "None",
    }  # fmt: skip
    assert rows_as(csv_format({}), local("label\n0\n1\n"), {"label": features["label"]}) == [{"label": 0}, {"label": 1}]


@pytest.mark.parametrize(("make", "data"), [(csv_format, "label,x\nmaybe,1\n"), (json_format, '{"label":"maybe"}\n')])
def test_a_label_that_is_none_is_named(make, data, local):
    """With its column and file."""
    features = {"label": {"_type": "ClassLabel", "names": ["nay", "yea"]}, "x": {"_type": "Value", "dtype": "int8"}}
    with pytest.raises(SchemaError, match=r"labels\.txt: column 'label'.*'maybe'"):
        rows_as(make({}), local(data, "labels.txt"), features)


def test_what_text_cannot_be_is_named(local):
    """A list in a CSV."""
    features = {"a": {"_type": "List", "feature": {"_type": "Value", "dtype": "int8"}}}
    with pytest.raises(SchemaError, match="column 'a' is list"):
        rows_as(csv_format({}), local("a\n[1]\n"), features)
    assert pa.types.is_list(schema_of(features, "x").field("a").type)
