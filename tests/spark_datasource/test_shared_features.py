"""A config has one list of columns and features: a write of one split never changes how the others' rows are read."""

import io
import json

import datasets
import pyarrow as pa
import pytest
from huggingface_hub import HfApi
from pyarrow import parquet as pq

from pipeline.errors import OptionError, SchemaError
from pipeline.parquet.feature_meaning import in_words, is_plain, same_meaning
from spark_datasource.schemas import spark_schema
from spark_datasource.write_options import parse_write
from spark_datasource.write_plan import plan_write
from spark_datasource.writer import HuggingFaceWriter
from tests.spark_datasource.writing import listing, numbers, plan, run, write

IMAGE = {"_type": "Image"}
NEG_POS = {"_type": "ClassLabel", "names": ["neg", "pos"]}
POS_NEG = {"_type": "ClassLabel", "names": ["pos", "neg"]}
NUMBER = {"_type": "Value", "dtype": "int64"}


def features(**columns):
    """The option."""
    return json.dumps(columns)


def labelled(*labels):
    """A table of an image and a label."""
    image = pa.array(
        [{"bytes": b"x", "path": None}] * len(labels), pa.struct([("bytes", "binary"), ("path", "string")])
    )
    return pa.table({"image": image, "label": pa.array(labels, pa.int64())})


def card_features(hub, repo):
    """What the card says of the config."""
    return datasets.Features._from_yaml_list(listing(hub, repo).card.info("default")["features"])


def write_carrying(repo, carried, **options):
    """A write of a DataFrame that was read from another dataset, with its features in the columns' metadata."""
    table = numbers(0)
    writer = plan_write(
        parse_write({"path": repo, "token": "hf_x", **options}), spark_schema(table.schema, carried), overwrite=False
    )
    HuggingFaceWriter(writer).commit([HuggingFaceWriter(writer).write(iter(table.to_batches()))])


@pytest.mark.parametrize("again", [{"split": "test"}, {"split": "test", "overwrite": True}, {}])
def test_a_write_without_features_takes_those_of_the_config(repo, hub, again):
    """Images and labels of the rows that are there stay so, and those that are written are so too, in card and file."""
    write(repo, labelled(0), features=features(image=IMAGE, label=NEG_POS))
    writer = plan(repo, labelled(0).schema, **again)
    assert (writer._plan.features, writer._plan.card_features) == ({"image": IMAGE, "label": NEG_POS},) * 2
    write(repo, labelled(1), **again)
    for found in datasets.load_dataset(repo).values():
        assert found.features == {"image": datasets.Image(), "label": datasets.ClassLabel(names=["neg", "pos"])}


@pytest.mark.parametrize("again", [{"split": "test"}, {"split": "test", "overwrite": True}, {}])
@pytest.mark.parametrize(
    ("there", "given", "said"),
    [
        (NEG_POS, POS_NEG, "ClassLabel(pos, neg) in option 'features', and ClassLabel(neg, pos) in config 'default'"),
        (NUMBER, NEG_POS, "ClassLabel(neg, pos) in option 'features', and int64 in config 'default'"),
        (NEG_POS, NUMBER, "int64 in option 'features', and ClassLabel(neg, pos) in config 'default'"),
    ],
)
def test_another_meaning_for_a_column_is_refused(repo, hub, again, there, given, said):
    """Other labels, labels for numbers or numbers for labels: before anything is uploaded, with both and what to do."""
    write(repo, numbers(0), features=features(id=there))
    before = listing(hub, repo).ref.revision
    with pytest.raises(SchemaError) as caught:
        plan(repo, numbers().schema, features=features(id=given), **again)
    assert f"column 'id' is {said}" in str(caught.value)
    assert str(caught.value).endswith("or write to another 'config'" if "split" in again else "or overwrite the split")
    assert listing(hub, repo).ref.revision == before


def test_what_a_read_brought_along_is_as_good_as_said(repo, hub):
    """Labels that came with the DataFrame must be those of the config; that it came as a number denies nothing."""
    write(repo, numbers(0), features=features(id=NEG_POS))
    with pytest.raises(
        SchemaError, match=r"ClassLabel\(pos, neg\) in the DataFrame, which was read so, and ClassLabel\(neg"
    ):
        write_carrying(repo, {"id": POS_NEG}, split="test")
    write_carrying(repo, {"id": NUMBER}, split="test")
    write_carrying(repo, {"id": POS_NEG}, split="valid", features=features(id=NEG_POS))
    assert card_features(hub, repo) == {"id": datasets.ClassLabel(names=["neg", "pos"])}


def test_the_files_tell_what_a_card_does_not(repo, hub):
    """Features in a sibling's file are those of the config when the card has none, and come into it."""
    write(repo, labelled(0), features=features(image=IMAGE, label=NEG_POS))
    info = "dataset_info"
    card = listing(hub, repo).card.text()
    bare = card[: card.index(info)] + card[card.rindex("---") :]
    HfApi(endpoint=hub.endpoint, token="hf_x").upload_file(
        path_or_fileobj=bare.encode(), path_in_repo="README.md", repo_id=repo, repo_type="dataset"
    )
    assert listing(hub, repo).card.info("default") is None
    with pytest.raises(SchemaError, match="column 'label' is ClassLabel"):
        plan(repo, labelled().schema, split="test", features=features(label=POS_NEG))
    write(repo, labelled(1), split="test")
    assert datasets.load_dataset(repo, split="test").features["label"] == datasets.ClassLabel(names=["neg", "pos"])


def test_a_split_is_written_in_the_types_that_the_config_has(repo, hub):
    """A number that Spark holds wider is as narrow as in the sibling; a card that says what the rows cannot be is named."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"n": pa.array([1], pa.uint8())}), sink)
    api = HfApi(endpoint=hub.endpoint, token="hf_x")
    api.create_repo(repo, repo_type="dataset")
    api.upload_file(
        path_or_fileobj=sink.getvalue(), path_in_repo="data/train.parquet", repo_id=repo, repo_type="dataset"
    )
    table = pa.table({"n": pa.array([255], pa.int16())})
    write(repo, table, split="test")
    assert {split: rows.features["n"].dtype for split, rows in datasets.load_dataset(repo).items()} == {
        "train": "uint8",
        "test": "uint8",
    }
    assert plan(repo, table.schema, split="test")._plan.arrow.field("n").type == pa.uint8()
    card = listing(hub, repo).card.text().replace("dtype: uint8", "dtype: image")
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo, repo_type="dataset")
    with pytest.raises(
        SchemaError, match=r"column 'n' is int16, which cannot be Image; .*, as in config 'default'; make it that"
    ):
        plan(repo, table.schema, split="test")


def test_the_only_split_may_be_overwritten_by_anything(repo, hub):
    """Other types, columns and features: nothing else is read by them."""
    write(repo, numbers(0), features=features(id=NEG_POS))
    write(repo, pa.table({"id": ["a"], "more": [1.0]}), overwrite=True)
    assert card_features(hub, repo) == {"id": datasets.Value("string"), "more": datasets.Value("float64")}
    write(repo, numbers(0), split="test", config="other", features=features(id=POS_NEG))


@pytest.mark.parametrize("overwrite", [False, True])
def test_every_split_of_the_config_is_looked_at(repo, hub, overwrite):
    """A column that only the second sibling has must be of its type, and an overwrite is no exception."""
    write(repo, numbers(0), split="a")
    write(repo, pa.table({"id": [0], "text": ["x"]}), split="b", mergeSchema="true")
    write(repo, numbers(0), split="c")
    for name, there in (("text", "split 'b' has string"), ("id", "split 'a' has int64")):
        table = pa.table({name: [1.5]})
        with pytest.raises(SchemaError) as caught:
            plan(repo, table.schema, split="c", overwrite=overwrite, mergeSchema="true")
        assert f"column {name!r} is double, but " in str(caught.value)
        assert overwrite is False or there in str(caught.value)
        assert "or write to another 'config'" in str(caught.value)


def test_a_new_column_must_be_asked_for(repo, hub):
    """It is null in all other splits, so it takes mergeSchema; one that has no feature would hide those of the config."""
    write(repo, numbers(0), features=features(id=NEG_POS))
    more = pa.table({"id": [1], "text": ["x"]})
    with pytest.raises(SchemaError, match="column 'text' is new in config 'default', whose splits share their columns"):
        write(repo, more, split="test")
    write(repo, more, split="test", mergeSchema="true")
    assert datasets.load_dataset(repo, split="train")[:] == {"id": [0], "text": [None]}
    assert datasets.load_dataset(repo, split="test")[:] == {"id": [1], "text": ["x"]}
    write(repo, numbers(1), split="few")
    write(repo, numbers(0), split="few")  # it has not what only the others have, and an append need not either
    assert datasets.load_dataset(repo, split="few")[:] == {"id": [1, 0], "text": [None, None]}
    maps = pa.table({"id": [1], "m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))})
    for split in ("train", "test", "new"):
        with pytest.raises(SchemaError, match=r"column 'm' is map<.*>, which has no Hugging Face feature"):
            write(repo, maps, split=split, mergeSchema="true")
    assert card_features(hub, repo)["id"] == datasets.ClassLabel(names=["neg", "pos"])


def test_a_column_that_differs_in_case_only_is_refused(repo):
    """Spark cannot tell `ID` from `id` by default: no read of such a split would work."""
    write(repo, numbers(0))
    for split in ("train", "test"):
        with pytest.raises(SchemaError, match="column 'ID' differs from 'id' of config 'default' in case only"):
            write(repo, pa.table({"ID": [1]}), split=split, mergeSchema="true")


def test_a_split_that_another_writer_began_meanwhile_is_looked_at(repo, hub):
    """Two first writes of one config at once: the later one is refused if it means something else, as if it had begun later."""
    late = plan(repo, numbers().schema, split="test", features=features(id=POS_NEG))
    plain = plan(repo, numbers().schema, split="plain")
    write(repo, numbers(0), features=features(id=NEG_POS))
    with pytest.raises(SchemaError, match=r"ClassLabel\(neg, pos\) in config 'default'"):
        late.commit(run(late, numbers(0)))
    plain.commit(run(plain, numbers(0)))
    assert card_features(hub, repo) == {"id": datasets.ClassLabel(names=["neg", "pos"])}


@pytest.mark.parametrize("revision", ["refs/pr/1", "0" * 40, "refs/convert/parquet"])
def test_no_repo_is_made_for_a_revision_that_it_cannot_have(repo, hub, revision):
    """A new repo has branches only."""
    with pytest.raises(OptionError, match=f"must be a branch's name where the repo is new, got '{revision}'"):
        plan(repo, numbers().schema, revision=revision)
    assert not HfApi(endpoint=hub.endpoint, token="hf_x").repo_exists(repo, repo_type="dataset")


LISTED = {"_type": "List", "feature": NEG_POS}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (NUMBER, {"_type": "Value", "dtype": "int8"}, True),
        (IMAGE, {"_type": "Image", "decode": False}, True),
        (IMAGE, {"_type": "Image", "mode": "L"}, True),
        ({"_type": "Audio", "sampling_rate": 8000}, {"_type": "Audio", "sampling_rate": 16000}, False),
        (LISTED, [NEG_POS], True),
        (LISTED, {"_type": "LargeList", "feature": NEG_POS}, True),
        (LISTED, {"_type": "List", "feature": POS_NEG}, False),
        ({**LISTED, "length": 2}, LISTED, True),
        ({**LISTED, "length": 2}, {**LISTED, "length": 3}, False),
        ({"a": NEG_POS}, {"a": NEG_POS}, True),
        ({"a": NEG_POS}, {"a": POS_NEG}, False),
        ({"a": NEG_POS}, {"b": NEG_POS}, False),
        (IMAGE, {"bytes": NUMBER, "path": NUMBER}, False),
        (LISTED, NEG_POS, False),
    ],
)
def test_features_mean_the_same_or_not(one, other, same):
    """How wide a number is or whether an image is decoded changes no meaning; labels, media and languages do."""
    assert same_meaning(one, other) is same_meaning(other, one) is same
    assert not is_plain(one) or one == NUMBER
    assert in_words(one)


def test_what_is_no_more_than_a_type_is_plain():
    """At any depth; so it denies nothing."""
    assert is_plain({"a": [NUMBER], "b": {"_type": "List", "feature": NUMBER}})
    assert not is_plain({"a": [{"b": IMAGE}]})
