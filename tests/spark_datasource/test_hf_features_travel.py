"""Hugging Face features: what `datasets` pushed is read with them, and written again it is the same to `datasets`."""

import io
import json

import datasets
import huggingface_hub
import pyarrow as pa
import pytest
import yaml
from huggingface_hub import CommitOperationAdd, HfApi
from pyarrow import parquet as pq
from pyspark.sql import types as t

from pipeline.errors import SchemaError
from spark_datasource.source import HuggingFaceDataSource
from spark_datasource.written import own_features, written_schema

MEDIA = {"bytes": b"\x89not decoded", "path": "a.bin"}
FEATURES = {
    "image": datasets.Image(decode=False),
    "gray": datasets.Image(mode="L", decode=False),
    "audio": datasets.Audio(sampling_rate=16000, decode=False),
    "video": datasets.Video(decode=False),
    "pdf": datasets.Pdf(decode=False),
    "nifti": datasets.Nifti(decode=False),
    "mesh": datasets.Mesh(decode=False),
    "label": datasets.ClassLabel(names=["cat", "dog", "no: 1"]),
    "pair": datasets.Translation(languages=["en", "fr"]),
    "any": datasets.TranslationVariableLanguages(languages=["en", "fr"]),
    "list": datasets.List(datasets.Image(decode=False)),
    "large": datasets.LargeList(datasets.Value("string")),
    "fixed": datasets.List(datasets.Value("float32"), length=2),
    "labels": datasets.Sequence(datasets.ClassLabel(names=["a", "b"])),
    "struct": {"x": datasets.Value("int8"), "y": datasets.List({"z": datasets.ClassLabel(num_classes=3)})},
    "two": datasets.Array2D(shape=(2, 2), dtype="float32"),
    "three": datasets.Array3D(shape=(1, 2, 1), dtype="int64"),
    "four": datasets.Array4D(shape=(1, 1, 1, 2), dtype="float64"),
    "five": datasets.Array5D(shape=(1, 1, 1, 1, 2), dtype="int32"),
    "open": datasets.Array2D(shape=(None, 2), dtype="int32"),
    "json": datasets.Json(),
    "when": datasets.Value("timestamp[us, tz=UTC]"),
    "half": datasets.Value("float32"),
}
ROW = {
    **dict.fromkeys(("image", "gray", "audio", "video", "pdf", "nifti", "mesh"), MEDIA),
    "label": 2,
    "pair": {"en": "a", "fr": "é"},
    "any": {"language": ["en", "fr"], "translation": ["a", "b"]},
    "list": [MEDIA, None],
    "large": ["x", None],
    "fixed": [0.5, 1.5],
    "labels": [1, 0],
    "struct": {"x": 1, "y": [{"z": 2}]},
    "two": [[1.0, 2.0], [3.0, 4.0]],
    "three": [[[1], [2]]],
    "four": [[[[1.0, 2.0]]]],
    "five": [[[[[1, 2]]]]],
    "open": [[1, 2]] * 3,
    "json": {"a": [1, "x", None]},
    "when": None,
    "half": 0.5,
}


def put(hub, repo, *files):
    """Commit a Parquet file and a card."""
    api = HfApi(endpoint=hub.endpoint, token="hf_x")
    api.create_repo(repo, repo_type="dataset")
    adds = [
        CommitOperationAdd(path, data) for path, data in zip(("data/train.parquet", "README.md"), files, strict=True)
    ]
    api.create_commit(repo, adds, commit_message="put", repo_type="dataset")
    return {"path": repo, "endpoint": hub.endpoint, "token": "hf_x"}


def everything(hub, repo):
    """A dataset with a row of everything, as `datasets` writes file and card, and its features.

    The batch size is given, for `datasets` stumbles over a Translation beside an Image when it looks for one; and to encode
    each medium it wants a package of its own.
    """
    features = datasets.Features(FEATURES)
    media = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    plain = datasets.Features({**FEATURES, **{name: media for name, value in ROW.items() if value is MEDIA}})
    whole = datasets.Dataset.from_dict({name: [value] for name, value in ROW.items()}, features=plain).cast(features)
    sink = io.BytesIO()
    whole.to_parquet(sink, batch_size=1)
    card = yaml.safe_dump({"dataset_info": {"features": features._to_yaml_list()}}, sort_keys=False)
    return put(hub, repo, sink.getvalue(), f"---\n{card}---\n".encode()), features


def copy(options, target, features=None):
    """All rows of a dataset written to another one by the reader and the writer; Spark adds nothing here."""
    source = HuggingFaceDataSource(options)
    schema = source.schema()
    reader = source.reader(schema)
    batches = [batch for partition in reader.partitions() for batch in reader.read(partition)]
    given = {"features": json.dumps(features)} if features else {}
    writer = HuggingFaceDataSource({**options, **given, "path": target}).writer(schema, False)
    writer.commit([writer.write(iter(batches))])
    return schema


def test_every_feature_travels_from_datasets_through_spark_to_datasets(hub, repo):
    """Read, in the columns' metadata as `datasets` has them; written, `load_dataset` gives features and rows back."""
    options, features = everything(hub, repo)
    schema = copy(options, f"{repo}-again")
    carried = {one.name: json.loads(one.metadata["huggingface"]) for one in schema}
    assert datasets.Features.from_dict(carried) == features
    first = datasets.load_dataset(repo, split="train")
    found = datasets.load_dataset(f"{repo}-again", split="train")
    assert found.features == first.features == features
    assert found.with_format("arrow")[:].equals(first.with_format("arrow")[:])
    assert str(found[0]) == str(first[0])


def test_the_features_are_in_the_card_and_in_the_files(hub, repo):
    """Files alone, without the card, still say what they hold."""
    options, features = everything(hub, repo)
    copy(options, f"{repo}-again")
    path = huggingface_hub.hf_hub_download(
        f"{repo}-again", "data/train-00000-of-00001.parquet", repo_type="dataset", endpoint=hub.endpoint
    )
    schema = pq.read_schema(path)
    told = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert datasets.Features.from_dict(told) == features
    found = datasets.Features.from_arrow_schema(schema)  # believes what is stored as the very type of the feature
    assert {name for name in features if found[name] != features[name]} == {
        *("large", "fixed", "two", "three", "four", "five", "open", "json")
    }
    card = huggingface_hub.DatasetCard.load(
        huggingface_hub.hf_hub_download(f"{repo}-again", "README.md", repo_type="dataset", endpoint=hub.endpoint)
    )
    assert datasets.Features._from_yaml_list(card.data.dataset_info["features"]) == features


LONG = t.LongType()
STRUCT = t.StructType().add("a", "integer")
IMAGE = t.StructType().add("bytes", "binary").add("path", "string")


@pytest.mark.parametrize(
    ("feature", "kind", "said"),
    [
        ({"_type": "Imagee"}, IMAGE, "column 'x' has the feature 'Imagee'; known are Value, ClassLabel"),
        ({"_type": "Image"}, LONG, "column 'x' is int64, which cannot be Image; expected a struct of bytes"),
        ({"_type": "Image"}, STRUCT, "which cannot be Image; expected"),
        (
            {"_type": "ClassLabel", "names": ["a"]},
            "double",
            "is double, which cannot be ClassLabel; expected an integer",
        ),
        ({"_type": "List", "feature": {"_type": "Image"}}, IMAGE, "which cannot be List; expected a list"),
        (
            {"_type": "List", "feature": {"_type": "Image"}},
            t.ArrayType(t.IntegerType()),
            "is int32, which cannot be Image",
        ),
        ({"a": {"_type": "Image"}}, t.StructType().add("b", "integer"), "which has not the fields 'a' of its feature"),
        (
            {"_type": "Value", "dtype": "int64"},
            t.ArrayType(t.IntegerType()),
            "which cannot be Value; expected a plain value",
        ),
        ("Image", IMAGE, "has the feature 'Image'; expected an object"),
    ],
)
def test_a_feature_that_a_column_cannot_be_is_refused(feature, kind, said):
    """Before anything is written, with the column and what would fit: `datasets` could not load it."""
    schema = t.StructType().add("x", kind)
    with pytest.raises(SchemaError) as caught:
        own_features(schema, written_schema(schema), {"x": feature})
    assert said in str(caught.value)
    assert str(caught.value).startswith("option 'features': column 'x'")


@pytest.mark.parametrize(
    ("feature", "kind"),
    [
        ({"_type": "Image"}, IMAGE),
        ({"_type": "Image"}, t.BinaryType()),
        ({"_type": "Audio"}, t.StringType()),
        ({"_type": "ClassLabel", "names": ["a"]}, t.ShortType()),
        ([{"_type": "Image"}], t.ArrayType(IMAGE)),
        ({"a": {"_type": "ClassLabel", "names": ["a"]}}, STRUCT),
        ({"_type": "Array2D", "shape": [2, 2], "dtype": "float32"}, t.ArrayType(t.ArrayType(t.FloatType()))),
        ({"_type": "Json"}, t.StringType()),
    ],
)
def test_a_feature_that_a_column_can_be_is_taken(feature, kind):
    """As it was given."""
    schema = t.StructType().add("x", kind)
    assert own_features(schema, written_schema(schema), {"x": feature}).columns == {"x": feature}


def test_a_column_that_was_made_into_something_else_loses_its_feature():
    """The metadata of a ClassLabel stays with a column that became text or a list: then the type tells."""
    label = {"huggingface": json.dumps({"_type": "Image"})}
    schema = t.StructType([t.StructField("x", t.LongType(), metadata=label)])
    assert own_features(schema, written_schema(schema), None).columns == {"x": {"dtype": "int64", "_type": "Value"}}


def test_a_struct_of_lists_in_an_old_card_is_one(hub, repo):
    """`sequence` of named columns, as cards from before `datasets` 4 have it (those of SQuAD): read and written as it is."""
    sink = io.BytesIO()
    rows = [{"answers": {"text": ["a", "b"], "start": [1, 2]}}, {"answers": {"text": [], "start": []}}]
    kind = pa.struct([("text", pa.list_(pa.string())), ("start", pa.list_(pa.int32()))])
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([("answers", kind)])), sink)
    card = """---
dataset_info:
  features:
  - name: answers
    sequence:
    - name: text
      dtype: string
    - name: start
      dtype: int32
---
"""
    copy(put(hub, repo, sink.getvalue(), card.encode()), f"{repo}-again")
    theirs = datasets.load_dataset(repo, split="train")
    found = datasets.load_dataset(f"{repo}-again", split="train")
    assert found.features == theirs.features
    assert found[:] == theirs[:]
