"""What a write changes, planned on a listing: its own split, and no other one, whatever patterns the card has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SchemaError
from pipeline.hub.card import parse_card, split_info
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.repo import DatasetRef
from pipeline.hub.resolver import pick_config, splits_of
from pipeline.hub.split import Mode, SplitWrite, split_change
from pipeline.hub.upload import ShardReceipt, StoredFile

REF = DatasetRef(repo_id="ns/name", endpoint="http://hub", revision="0" * 40)
OLD = "data/train-00000-of-00001.parquet"
NEW = "data/train-01234567-00000-of-00001.parquet"


def listing(*paths, card=""):
    """A listing of small files."""
    files = tuple(DataFile(path=path, size=1) for path in sorted(paths))
    return Listing(ref=REF, files=files, card=parse_card(card, about="ns/name"))


def card(**configs):
    """A card with these configs: name -> patterns of `train`, or split -> patterns."""
    entries = [
        f"- config_name: {name}\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: '{path}'\n" for split, path in files.items())
        for name, files in configs.items()
    ]
    return f"---\nconfigs:\n{''.join(entries)}---\n"


def written(before, mode, *, config="default", split="train", count=1):
    """The listing after a write of `count` files, and the change that leads there."""
    write = SplitWrite(config=config, split=split, mode=mode, transaction="0123456789abcdef", features=None)
    receipts = [
        ShardReceipt(file=StoredFile(path=f"p{i}", sha256="", xet_hash="", size=5), rows=1, num_bytes=8)
        for i in range(count)
    ]
    change = split_change(before, write, receipts, None)
    paths = {file.path for file in before.files} - set(change.deletions) | {file.path for file in change.files}
    return listing(*paths, card=change.texts["README.md"]), change


def splits(found):
    """(config, split) -> the paths of its files."""
    entries = found.card.configs or (pick_config(found, None),)
    return {
        (entry.name, split): [file.path for file in files]
        for entry in entries
        for split, files in splits_of(found, entry).items()
    }


@pytest.mark.parametrize("mode", Mode)
def test_a_new_split_never_writes_over_a_file_of_another(mode):
    """Where another config has a file of the name that ours would have, ours gets a name of its own."""
    before = listing(OLD, card=card(en={"train": "data/train-*"}))
    after, change = written(before, mode)
    assert [file.path for file in change.files] == [NEW]
    assert change.deletions == ()
    assert splits(after) == {("en", "train"): [OLD], ("default", "train"): [NEW]}


def test_a_file_that_no_split_names_is_not_written_over():
    """What lies in the repo unnamed stays as it is."""
    _, change = written(listing(OLD, card=card(default={"test": "test.parquet"})), Mode.OVERWRITE)
    assert [file.path for file in change.files] == [NEW]


def test_an_overwrite_keeps_the_files_that_another_split_names():
    """A file of two splits stays for the other one, and the overwritten one does not match it again."""
    before = listing(OLD, "data/train-x.parquet", card=card(default={"train": "data/*"}, en={"train": OLD}))
    after, change = written(before, Mode.OVERWRITE)
    assert change.deletions == ("data/train-x.parquet",)
    assert splits(after) == {("default", "train"): [NEW], ("en", "train"): [OLD]}


@pytest.mark.parametrize("mode", Mode)
def test_no_other_split_grows(mode):
    """A pattern of another split that would match the new files becomes the files that it matches now."""
    before = listing("data/a.parquet", card=card(default={"train": "data/*.parquet"}))
    after, change = written(before, mode, split="test")
    new = [file.path for file in change.files]
    assert splits(after) == {("default", "train"): ["data/a.parquet"], ("default", "test"): new}
    again, change = written(after, Mode.APPEND, split="test")
    assert splits(again) == {
        ("default", "train"): ["data/a.parquet"],
        ("default", "test"): sorted([*new, *(file.path for file in change.files)]),
    }


def test_a_card_has_the_numbers_of_all_splits_or_of_none():
    """`datasets` refuses to load a config whose card counts only some of its splits: then it counts none."""
    before = listing("data/a.parquet", card=card(default={"train": "data/a*"}))
    after, _ = written(before, Mode.APPEND, split="test")
    assert not after.card.info("default").keys() & {"splits", "dataset_size"}
    after, _ = written(after, Mode.OVERWRITE)
    assert split_info(after.card, "default", "train") is None
    whole, _ = written(listing(), Mode.APPEND)
    whole, _ = written(whole, Mode.APPEND, split="test")
    assert [one["name"] for one in whole.card.info("default")["splits"]] == ["train", "test"]


def test_a_pattern_that_named_nothing_does_not_take_what_is_new():
    """A card made before its data keeps no pattern that would show one split's rows as another's."""
    after, _ = written(listing(card=card(default={"train": "data/*"})), Mode.APPEND, split="test")
    assert list(splits(after)) == [("default", "test")]


def test_a_config_of_a_folder_in_another_format_is_not_hidden():
    """Adding to a config whose rows lie in a folder as CSV is refused, for its card entry would name ours alone."""
    text = "---\nconfigs:\n- config_name: en\n  data_dir: en\n---\n"
    with pytest.raises(SchemaError, match="its data is csv"):
        written(listing("en/train.csv", card=text), Mode.APPEND, config="en")


PATTERNS = st.sampled_from(
    ["**", "data/*", "data/train-*", "data/t*", "*.parquet", "en/**", "en/*-0*", OLD, NEW, "**/test*"]
)
FILES = st.sets(
    st.sampled_from([OLD, NEW, "data/a.parquet", "data/test-0.parquet", "en/train-00000-of-00001.parquet", "x.parquet"])
)


@given(
    paths=FILES,
    configs=st.dictionaries(
        st.sampled_from(["default", "en", "fr"]),
        st.dictionaries(st.sampled_from(["train", "test"]), PATTERNS, min_size=1),
    ),
    mode=st.sampled_from(Mode),
    config=st.sampled_from(["default", "en"]),
    split=st.sampled_from(["train", "test"]),
    count=st.integers(1, 2),
)
def test_a_write_changes_its_own_split_alone(paths, configs, mode, config, split, count):
    """Whatever the card's patterns: other splits keep their files, ours has what it keeps and what is new."""
    before = listing(*paths, card=card(**configs) if configs else "")
    old = splits(before)
    own = old.pop((config, split), [])
    after, change = written(before, mode, config=config, split=split, count=count)
    found = splits(after)
    new = [file.path for file in change.files]
    assert found.pop((config, split)) == sorted([*(own if mode is Mode.APPEND else []), *new])
    empty = {name for name, _ in old} - {name for (name, _), files in old.items() if files}
    for name in old | found:
        if name[0] == config or name[0] not in empty:  # a config that has no file at all keeps its patterns
            assert found.get(name, []) == old.get(name, [])
    assert not {path for files in old.values() for path in files} & {*new, *change.deletions}
    assert not set(new) & ({file.path for file in before.files} - set(own))
