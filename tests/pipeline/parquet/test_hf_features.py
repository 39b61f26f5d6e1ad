"""Features in their three forms, as `datasets` itself has them."""

import json

import pyarrow as pa
import pytest
from datasets import (
    Array2D,
    Array3D,
    Audio,
    BioSequence,
    BioStructure,
    ClassLabel,
    Features,
    Image,
    Json,
    LargeList,
    List,
    Mesh,
    Nifti,
    Pdf,
    Sequence,
    Translation,
    TranslationVariableLanguages,
    Value,
    Video,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.parquet.features import feature_of_type, features_of, from_yaml, media_columns, to_yaml, with_features

MANY = {
    "int": Value("int64"),
    "text": Value("string"),
    "large": Value("large_string"),
    "day": Value("date32"),
    "half": Value("float16"),
    "when": Value("timestamp[us, tz=UTC]"),
    "time": Value("time64[ns]"),
    "span": Value("duration[ms]"),
    "money": Value("decimal128(10, 2)"),
    "null": Value("null"),
    "bytes": Value("binary"),
    "flag": Value("bool"),
    "label": ClassLabel(names=["cat", "dog: hot", "no", "1"]),
    "numbered": ClassLabel(num_classes=3),
    "image": Image(),
    "gray": Image(mode="L"),
    "stored": Image(decode=False),
    "audio": Audio(sampling_rate=16000),
    "sound": Audio(),
    "film": Video(),
    "paper": Pdf(),
    "scan": Nifti(),
    "mesh": Mesh(),
    "protein": BioSequence(),
    "molecule": BioStructure(),
    "json": Json(),
    "list": List(Value("int8")),
    "fixed": List(Value("float32"), length=3),
    "largelist": LargeList(Value("string")),
    "images": List(Image()),
    "labels": List(ClassLabel(names=["a", "b"])),
    "lists": List(List(Value("int32"), length=2)),
    "struct": {"a": Value("int32"), "b": {"c": List(Value("string")), "d": Image()}},
    "structs": List({"x": Value("string"), "y": [Value("int64")]}),
    "matrix": Array2D(shape=(2, 3), dtype="float32"),
    "cube": Array3D(shape=(None, 3, 2), dtype="uint8"),
    "pair": Translation(languages=["en", "fr"]),
    "any": TranslationVariableLanguages(languages=["en", "fr"]),
    "sequence": Sequence(Value("int64")),
    "dicts": Sequence({"a": Value("int32")}),
}
VALUES = st.sampled_from([value for name, value in MANY.items() if name not in ("sequence", "dicts")])
NESTED = st.recursive(
    VALUES,
    lambda inner: (
        inner.map(List)
        | inner.map(LargeList)
        | st.builds(lambda f: List(f, length=2), inner)
        | st.dictionaries(
            st.sampled_from(["a", "dtype", "list", "struct", "_x", "name"]), inner, min_size=1, max_size=3
        )
    ),
    max_leaves=4,
)


def theirs(features):
    """What `datasets` puts into a card."""
    return Features(features)._to_yaml_list()


@pytest.mark.parametrize("name", MANY)
def test_a_feature_in_a_card_is_what_datasets_writes_and_reads(name):
    """Our YAML is theirs, theirs read by us is the feature's own JSON, and ours read by them is the feature."""
    features = Features({name: MANY[name]})
    assert to_yaml(json.loads(json.dumps(features.to_dict()))) == theirs(features)  # JSON is how they reach us
    assert Features.from_dict(from_yaml(theirs(features))) == features
    assert Features._from_yaml_list(to_yaml(features.to_dict())) == features


def test_a_sequence_of_columns_is_a_struct_of_lists():
    """As cards from before `datasets` 4 have it, also with a length and inside of structs."""
    card = [
        {"name": "a", "sequence": [{"name": "x", "dtype": "string"}, {"name": "y", "sequence": "int8"}], "length": 2},
        {"name": "b", "struct": [{"name": "c", "sequence": [{"name": "z", "dtype": "int32"}]}]},
        {"name": "d", "sequence": {"class_label": {"names": {"0": "no", "1": "yes"}}}},
        {"name": "e", "sequence": "image"},
    ]
    assert Features.from_dict(from_yaml(card)) == Features._from_yaml_list(card)


@settings(deadline=None)
@given(features=st.dictionaries(st.text("abc .`é", min_size=1, max_size=4), NESTED, max_size=4))
def test_nested_features_in_a_card_are_those_of_datasets(features):
    """Lists, fixed lists and structs of anything, under names that are YAML's own words too, go there and back."""
    features = Features(features)
    try:
        expected = theirs(features)
        again = Features._from_yaml_list(expected)
    except Exception:
        return  # a name that `datasets` cannot write itself
    assert Features._from_yaml_list(to_yaml(features.to_dict())) == again
    if again == features:
        assert Features.from_dict(from_yaml(expected)) == features


ARROW = [
    pa.int8(),
    pa.uint64(),
    pa.float16(),
    pa.float32(),
    pa.float64(),
    pa.string(),
    pa.large_string(),
    pa.binary(),
    pa.large_binary(),
    pa.bool_(),
    pa.null(),
    pa.date32(),
    pa.date64(),
    pa.timestamp("s"),
    pa.timestamp("us", "UTC"),
    pa.time32("ms"),
    pa.time64("ns"),
    pa.duration("us"),
    pa.decimal128(12, 3),
    pa.decimal256(40, 2),
    pa.list_(pa.int32()),
    pa.large_list(pa.string()),
    pa.list_(pa.int8(), 4),
    pa.struct([("a", pa.int8()), ("b", pa.list_(pa.struct([("c", pa.string())])))]),
    pa.dictionary(pa.int32(), pa.string()),
    pa.string_view(),
    pa.binary_view(),
    pa.binary(16),
    pa.map_(pa.string(), pa.int8()),
    pa.list_view(pa.int8()),
    pa.uuid(),
    pa.bool8(),
]


@pytest.mark.parametrize("kind", ARROW, ids=str)
def test_a_type_has_the_feature_that_datasets_gives_it(kind):
    """Where `datasets` has a feature for an Arrow type ours is the same; where it has none we claim none."""
    try:
        expected = Features.from_arrow_schema(pa.schema([("x", kind)])).to_dict()["x"]
        Features.from_dict({"x": expected}).arrow_schema  # noqa: B018 - a dtype that it cannot read back is none
    except (ValueError, TypeError, NotImplementedError):
        expected = None
    assert feature_of_type(kind) == expected


def test_features_in_a_file_are_found_by_datasets_and_by_us(tmp_path):
    """Written into a file's metadata they come back from it, there and here, also for some of its columns."""
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b"]), "n": Value("int8")}).to_dict()
    schema = pa.schema([("label", pa.int64()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))])
    found = with_features(schema.with_metadata({"other": "kept", "huggingface": "old"}), features)
    assert found.metadata[b"other"] == b"kept"
    assert Features.from_arrow_schema(found).to_dict() == {name: features[name] for name in schema.names}
    assert features_of(found) == {name: features[name] for name in schema.names}
    assert with_features(found, None).metadata == {b"other": b"kept"}
    assert features_of(pa.schema([("a", pa.int8()), ("b", pa.map_(pa.string(), pa.int8()))])) is None


@pytest.mark.parametrize("metadata", [b"not json", b"[]", b'{"info": null}', b'{"info": {"features": 3}}', b"\xff"])
def test_broken_metadata_is_no_features(metadata):
    """What is in the key and is none is not believed; the types still tell."""
    schema = pa.schema([("a", pa.int8())]).with_metadata({"huggingface": metadata})
    assert features_of(schema) == {"a": {"dtype": "int8", "_type": "Value"}}


def test_media_is_found_at_any_depth():
    """Columns that hold images or sounds anywhere are media columns."""
    assert media_columns(Features(MANY).to_dict()) == {
        "image",
        "gray",
        "stored",
        "audio",
        "sound",
        "film",
        "paper",
        "scan",
        "images",
        "struct",
    }
    assert media_columns(None) == set()
