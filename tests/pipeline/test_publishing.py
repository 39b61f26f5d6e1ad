"""Rows -> one commit that a split is read from: append and overwrite, cards, names, conflicts; and streaming it back."""

import uuid

import pyarrow as pa
import pytest

import pipeline
from pipeline.errors import ConflictError, NotFoundError, OptionError, SchemaError
from pipeline.hub.card import split_info
from pipeline.hub.listing import list_files
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.resolver import resolve
from pipeline.hub.split import Mode, SplitWrite, existing_files
from pipeline.parquet.features import features_of, to_yaml
from pipeline.parquet.layout import Kind, Layout
from pipeline.publishing import publish
from pipeline.writing import FileSizes, store_split

TOKEN = Secret("hf_secretsecret")


def write(
    ref,
    values,
    mode=Mode.APPEND,
    *,
    config="default",
    split="train",
    planned=None,
    max_rows=None,
    transaction=None,
    **more,
):
    """Write a column `x` of integers as a split."""
    batch = pa.record_batch({"x": pa.array(values, pa.int64())})
    features = features_of(batch.schema)
    receipts = store_split(
        ref,
        TOKEN,
        [batch],
        batch.schema,
        name="part",
        layout=Layout(kind=Kind.EDITABLE),
        features=features,
        sizes=FileSizes(max_rows=max_rows),
        at_least_one=True,
    ).receipts
    change = SplitWrite(
        config=config,
        split=split,
        mode=mode,
        transaction=transaction or uuid.uuid4().hex,
        features=to_yaml(features),
        **more,
    )
    planned = existing_files(list_files(ref, TOKEN), config, split) if planned is None else planned
    return publish(ref, TOKEN, change, receipts, planned=planned, message="write")


def values(ref, **options):
    """What a split holds."""
    return [row["x"] for row in pipeline.stream(ref.repo_id, endpoint=ref.endpoint, **options)]


def test_first_files_are_named_as_push_to_hub_names_them(new_ref):
    """A fresh split has `train-00000-of-00002`; a config has a folder of its own."""
    write(new_ref, range(5), max_rows=3)
    write(new_ref, [9], config="fr", split="test")
    paths = [file.path for file in list_files(new_ref, None).files if file.path.endswith(".parquet")]
    assert paths == [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "fr/test-00000-of-00001.parquet",
    ]
    assert values(new_ref) == list(range(5))
    assert values(new_ref, config="fr", split="test") == [9]


def test_an_append_adds_and_renames_nothing(new_ref):
    """Old files stay as they were, old rows come first, numbers in the card are sums."""
    write(new_ref, [1, 2])
    before = list_files(new_ref, None)
    write(new_ref, [3])
    after = list_files(new_ref, None)
    assert {file for file in before.files if "parquet" in file.path} < set(after.files)
    assert values(new_ref) == [1, 2, 3]
    assert split_info(after.card, "default", "train").num_examples == 3
    data = [file for file in after.files if file.path.endswith(".parquet")]
    assert after.card.info("default")["download_size"] == sum(file.size for file in data)


def test_an_overwrite_replaces_its_split_and_no_other(new_ref):
    """The split's old files are gone, other splits and configs stay, in one commit."""
    write(new_ref, range(4), max_rows=1)
    write(new_ref, [7], split="test")
    write(new_ref, [8], config="fr")
    write(new_ref, [5, 6], Mode.OVERWRITE)
    assert values(new_ref) == [5, 6]
    assert values(new_ref, split="test") == [7]
    assert values(new_ref, config="fr") == [8]
    assert len([file for file in list_files(new_ref, None).files if file.path.startswith("data/train")]) == 1
    assert split_info(list_files(new_ref, None).card, "default", "train").num_examples == 2


def test_an_overwrite_of_a_split_that_changed_is_refused(new_ref):
    """What another writer added since the overwrite was planned is not lost: ConflictError; another split's change is none."""
    write(new_ref, [1])
    planned = existing_files(list_files(new_ref, None), "default", "train")
    write(new_ref, [2], split="test")
    write(new_ref, [3], Mode.OVERWRITE, planned=planned)
    with pytest.raises(ConflictError, match="was changed by another writer"):
        write(new_ref, [4], Mode.OVERWRITE, planned=planned)
    assert values(new_ref) == [3]


def test_a_repeated_write_is_one_write(new_ref):
    """The same transaction twice, as a driver that was retried makes it: rows once."""
    for mode in (Mode.APPEND, Mode.OVERWRITE):
        for _ in range(2):
            write(new_ref, [1, 2], mode, transaction=f"once-{mode}")
    assert values(new_ref) == [1, 2]


def test_rows_that_file_names_told_of_stay_visible(put, repo, parquet_bytes):
    """Appending to a repo without a card keeps the splits that its file names gave, odd names included."""
    from datasets import load_dataset

    names = ["train", "odd [1]/train é", "my-test", "a/val-1"]
    ref = put(repo, {f"{name}.parquet": parquet_bytes({"x": [i]}) for i, name in enumerate(names)})
    before = {split: values(ref, split=split) for split in ("train", "test", "validation")}
    assert sorted(before["train"]) == [0, 1]
    write(ref, [10], split="extra")
    write(ref, [11], split="train")
    after = {split: sorted(values(ref, split=split)) for split in before}
    assert after == {split: sorted([*rows, 11]) if split == "train" else rows for split, rows in before.items()}
    assert values(ref, split="extra") == [10]
    assert load_dataset(repo, split="extra")["x"][:] == [10]
    theirs = load_dataset(repo, streaming=True)
    assert {split: sorted(row["x"] for row in rows) for split, rows in theirs.items()} == {**after, "extra": [10]}


def test_a_config_of_a_folder_keeps_what_it_has(put, repo, parquet_bytes):
    """A config that the card gives by data_dir keeps its splits when one is added."""
    card = "---\nconfigs:\n- config_name: en\n  data_dir: english\n---\n# Hello\n"
    ref = put(
        repo,
        {
            "README.md": card,
            "english/train.parquet": parquet_bytes({"x": [1]}),
            "other.parquet": parquet_bytes({"x": [0]}),
        },
    )
    write(ref, [2], config="en", split="test")
    write(ref, [3], config="en")
    assert values(ref, config="en") == [1, 3] or values(ref, config="en") == [3, 1]
    assert values(ref, config="en", split="test") == [2]
    assert "# Hello" in list_files(ref, None).card.body


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("split", "a b"),
        ("split", "a/b"),
        ("split", ""),
        ("config", "a/b"),
        ("config", ".x"),
        ("config", ""),
        ("config", "a*"),
    ],
)
def test_names_that_are_none_are_refused(option, value):
    """Splits are words, configs are names of folders; anything else is an OptionError with the value."""
    with pytest.raises(OptionError, match=f"option '{option}'"):
        SplitWrite(**{"config": "c", "split": "s", option: value}, mode=Mode.APPEND, transaction="t", features=None)


def test_numbers_that_the_card_lacks_come_from_the_files(put, repo, parquet_bytes):
    """An append to rows that no card counts still writes the right sum."""
    ref = put(repo, {"data/train-00000-of-00001.parquet": parquet_bytes({"x": [1, 2, 3]})})
    write(ref, [4])
    assert split_info(list_files(ref, None).card, "default", "train").num_examples == 4


def test_a_stream_is_pinned_when_it_starts(new_ref):
    """Rows that are appended while a stream is read are not in it."""
    write(new_ref, range(3))
    rows = pipeline.stream(new_ref.repo_id, endpoint=new_ref.endpoint)
    write(new_ref, [99])
    assert [row["x"] for row in rows] == [0, 1, 2]


def test_a_stream_gives_rows_or_batches_of_chosen_columns(put, repo, parquet_bytes, hub):
    """Python rows or record batches; a name with a revision; columns; what is wrong is said before the first row."""
    ref = put(repo, {"train.parquet": parquet_bytes({"a": [1, 2], "b": ["x", None]})})
    sha = resolve(ref, None).ref.revision
    options = {"endpoint": hub.endpoint}
    assert list(pipeline.stream(f"hf://datasets/{repo}@{sha}", columns=["b"], **options)) == [{"b": "x"}, {"b": None}]
    batches = list(pipeline.stream(repo, format="arrow", **options))
    assert pa.Table.from_batches(batches).to_pydict() == {"a": [1, 2], "b": ["x", None]}
    with pytest.raises(OptionError, match="format must be"):
        pipeline.stream(repo, format="pandas", **options)
    with pytest.raises(NotFoundError, match="no split 'test'"):
        pipeline.stream(repo, split="test", **options)
    with pytest.raises(SchemaError, match="no column 'nope'"):
        list(pipeline.stream(repo, columns=["nope"], **options))


def test_a_stream_has_the_same_columns_in_every_row(put, repo, parquet_bytes, hub):
    """A column that only some files have is None elsewhere, whichever columns are asked for, as Spark and `datasets` have it."""
    card = "---\ndataset_info:\n  features:\n  - {name: a, dtype: int64}\n  - {name: b, dtype: string}\n---\n"
    files = {
        "data/train-00000-of-00003.parquet": parquet_bytes({"a": pa.array([1], pa.int64())}),
        "data/train-00001-of-00003.parquet": parquet_bytes({"b": ["x"], "a": pa.array([2], pa.int32())}),
        "data/train-00002-of-00003.parquet": parquet_bytes({"b": ["y"]}),
    }
    put(repo, {"README.md": card, **files})
    rows = [{"a": 1, "b": None}, {"a": 2, "b": "x"}, {"a": None, "b": "y"}]
    assert list(pipeline.stream(repo)) == rows
    assert list(pipeline.stream(repo, columns=["b"])) == [{"b": row["b"]} for row in rows]
    schema = pa.schema({"a": pa.int64(), "b": pa.string()})
    assert {batch.schema for batch in pipeline.stream(repo, format="arrow")} == {schema}
    with pytest.raises(SchemaError, match="no column 'nope'; it has 'a'"):
        pipeline.stream(repo, columns=["nope"])
    put(repo, {"README.md": "no features"})
    assert list(pipeline.stream(repo, columns=["b", "a"])) == [{"b": row["b"], "a": row["a"]} for row in rows]
    with pytest.raises(SchemaError, match=r"00001-of-00003\.parquet: column 'b' is neither in the split's first file"):
        list(pipeline.stream(repo))


def test_an_empty_split_streams_no_rows(new_ref):
    """A split of one file without rows is valid and empty."""
    write(new_ref, [])
    assert values(new_ref) == []
    assert parse_ref(new_ref.repo_id).repo_id == new_ref.repo_id


def test_a_text_of_columns_is_refused():
    """A name where a list of names belongs is said to be one, instead of being read letter by letter."""
    with pytest.raises(OptionError, match=r"columns must be a list of names, got 'caption'"):
        pipeline.stream("ns/name", columns="caption")
