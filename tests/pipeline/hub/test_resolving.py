"""A ref -> the files of a split: from the card, else from file names as `datasets` reads them; never outside the repo."""

import os

import pytest

from pipeline.errors import AccessError, NotFoundError, OptionError, SchemaError
from pipeline.hub.card import ConfigEntry, parse_card
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.repo import DatasetRef, Secret, parse_ref
from pipeline.hub.resolver import pick_config, resolve, splits_of
from pipeline.hub.split import check_only_parquet
from pipeline.localhub import Account, LocalHub

REF = DatasetRef(repo_id="ns/name", endpoint="http://hub", revision="0" * 40)


def listing(*paths, card=""):
    """A listing of empty files."""
    files = tuple(DataFile(path=path, size=1) for path in paths)
    return Listing(ref=REF, files=files, card=parse_card(card, about="ns/name"))


def names(splits):
    """Split -> the paths of its files."""
    return {split: [file.path for file in files] for split, files in splits.items()}


@pytest.mark.parametrize(
    "pattern",
    [
        "/etc/hostname",
        "../other/*",
        "data/../../x",
        "file:///etc/hostname",
        "hf://datasets/a/b/*",
        "..",
        "a\\..\\b",
        "https://evil/x",
    ],
)
@pytest.mark.parametrize("place", ["data_files: {0}", "data_files: [{{split: train, path: {0}}}]", "data_dir: {0}"])
def test_a_card_cannot_leave_its_repo(pattern, place):
    """Absolute paths, `..` and other schemes in a card are an error that shows the pattern."""
    entry = place.format(f"'{pattern}'")
    found = listing("data/train.parquet", card=f"---\nconfigs:\n- {{config_name: default, {entry}}}\n---\n")
    with pytest.raises(OptionError, match="leaves the repo"):
        splits_of(found, pick_config(found, None))


LAYOUTS = {
    "sharded": [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/test-00000-of-00001.parquet",
    ],
    "sharded, odd splits": [
        "data/train.extra-00000-of-00001.parquet",
        "data/abc-00000-of-00001-ff.parquet",
        "train.parquet",
    ],
    "sharded elsewhere": ["default/train-00000-of-00001.parquet", "default/other-00000-of-00001.parquet"],
    "one file": ["a.parquet"],
    "by file": ["train.parquet", "test.parquet", "validation_0.parquet", "other.parquet"],
    "by file with words": ["my-dev.parquet", "my.eval.2.parquet", "training 3.parquet", "latest.parquet"],
    "by folder": ["train/a.parquet", "train/b/c.parquet", "data/val/x.parquet", "rest/x.parquet"],
    "by folder before file": ["data/test/train.parquet", "data/dev-set/test.parquet", "train.parquet"],
    "words inside words": ["contest.parquet", "trainer.parquet", "evaluate.parquet"],
    "upper case": ["Train.parquet", "TEST.parquet"],
    "hidden": [
        "data/train.parquet",
        ".cache/train.parquet",
        "data/.train.parquet",
        "__pycache__/train.parquet",
        "_x/train.parquet",
    ],
    "nested": ["a/b/c/d/train-1.parquet", "a/b/test-1.parquet"],
    "in two": ["train-test.parquet", "train.parquet"],
    "odd names": ["data [1]/train é.parquet", "data [1]/test%20#.parquet"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_card_splits_are_those_of_datasets(layout, tmp_path):
    """File names and folders give the splits, and each split the files, that `datasets` gives them."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    for path in LAYOUTS[layout]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    base = str(tmp_path)
    theirs = DataFilesDict.from_patterns(get_data_patterns(base), base_path=base)
    found = listing(*LAYOUTS[layout], "README.md", ".gitattributes")
    ours = names(splits_of(found, pick_config(found, None)))
    assert ours == {
        str(split): sorted(os.path.relpath(file, base) for file in files) for split, files in theirs.items()
    }
    assert list(ours) == [str(split) for split in theirs]


CARD = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: [en/a*.parquet, en/b.parquet]
  - split: test
    path: en/test/**
- config_name: fr
  data_files: fr/*.parquet
  default: true
- config_name: de
  data_dir: de
- config_name: it
  data_dir: it/
  data_files:
  - split: train
    path: "x*.parquet"
- config_name: all
  data_files: "**"
---
"""


def test_a_card_tells_configs_and_splits():
    """Patterns as text, as lists and by split; data_dir alone and with patterns; hidden files and cards are no data."""
    paths = [
        "en/a1.parquet",
        "en/b.parquet",
        "en/c.parquet",
        "en/test/x/y.parquet",
        "fr/1.parquet",
        "de/train.parquet",
        "de/test.parquet",
        "it/x.parquet",
        "it/y.parquet",
        "x.parquet",
    ]
    found = listing(*paths, "README.md", ".gitattributes", "en/.hidden.parquet", "__pycache__/x.parquet", card=CARD)
    assert pick_config(found, None).name == "fr"
    by_config = {entry.name: names(splits_of(found, entry)) for entry in found.card.configs}
    assert by_config == {
        "en": {"train": ["en/a1.parquet", "en/b.parquet"], "test": ["en/test/x/y.parquet"]},
        "fr": {"train": ["fr/1.parquet"]},
        "de": {"train": ["de/train.parquet"], "test": ["de/test.parquet"]},
        "it": {"train": ["it/x.parquet"]},
        "all": {"train": sorted(paths)},
    }


def test_the_default_config_is_named_or_alone():
    """`default: true`, the name `default`, or the only one; several without a default must be chosen from, by name."""
    two = listing("a.parquet", card="---\nconfigs:\n- config_name: en\n- config_name: fr\n---\n")
    with pytest.raises(NotFoundError, match=r"option 'config' is needed.*'en', 'fr'"):
        pick_config(two, None)
    assert pick_config(two, "fr").name == "fr"
    one = listing("a.parquet", card="---\nconfigs:\n- config_name: en\n---\n")
    assert pick_config(one, None).name == "en"
    assert pick_config(listing(), "default") == ConfigEntry(name="default", data_files=())


def test_what_does_not_exist_is_listed_against_what_does(put, repo):
    """An unknown config or split is a NotFoundError that lists those that exist; so is a split without files."""
    card = "---\nconfigs:\n- config_name: en\n  data_files:\n  - {split: train, path: a.parquet}\n"
    card += "  - {split: old, path: gone*}\n---\n"
    ref = put(repo, {"README.md": card, "a.parquet": b"x"})
    for options, said in (
        ({"config": "fr"}, "no config 'fr'; those that exist: 'en'"),
        ({"split": "test"}, "no split 'test' in config 'en'; those that exist: 'train', 'old'"),
        ({"split": "old"}, "split 'old' of config 'en' has no files"),
    ):
        with pytest.raises(NotFoundError, match=said) as caught:
            resolve(parse_ref(repo, endpoint=ref.endpoint, **options), None)
        assert "\n" not in str(caught.value)
    assert [file.path for file in resolve(ref, None).files] == ["a.parquet"]


@pytest.mark.parametrize(
    ("paths", "formats"),
    [
        (["train.csv", "test.tsv"], "csv"),
        (["a.jsonl.gz", "b.json"], "json"),
        (["data/train-00000-of-00001.arrow", "odd.parquet"], "arrow"),
        (["x-000.tar", "x-001.tar", "notes.txt"], "webdataset and text"),
        (["train.zip"], "zip"),
    ],
)
def test_rows_in_another_format_are_named_and_not_hidden(paths, formats, put, repo):
    """Without `configs`, a repo whose rows `datasets` reads in another format is told apart from an empty one."""
    ref = put(repo, dict.fromkeys(paths, b"x"))
    if "odd.parquet" not in paths:
        with pytest.raises(NotFoundError, match=f"its data is {formats}, and only Parquet can be read"):
            resolve(ref, None)
    with pytest.raises(SchemaError, match=f"its data is {formats}.*convert it to Parquet.*another repo"):
        check_only_parquet(list_files(ref, None))


@pytest.mark.parametrize(
    "found",
    [
        listing(),
        listing("README.md", ".gitattributes", "LICENSE.txt", "script.py", "requirements.txt"),
        listing("data/train-00000-of-00001.parquet", "logo.png", "a.csv", "b.csv"),
        listing("a.parquet", "b.csv"),
        listing("a.csv", card="---\nconfigs:\n- config_name: en\n  data_files: a.csv\n---\n"),
    ],
)
def test_files_next_to_rows_are_no_other_format(found):
    """An empty repo, one with text and code, one whose rows are Parquet, and one whose card tells, can be written to."""
    check_only_parquet(found)


def test_a_snapshot_is_pinned(put, repo, hub):
    """What was resolved at a branch stays that commit; a full sha is not asked for again."""
    first = resolve(put(repo, {"a.parquet": b"x"}), None)
    put(repo, {"b.parquet": b"y"})
    hub.reset_counts()
    again = resolve(first.ref, None)
    assert again.files == first.files
    assert hub.counts()["repo_info"] == 0
    assert len(resolve(parse_ref(repo, endpoint=hub.endpoint), None).files) == 2


def test_branches_tags_and_pull_requests_resolve(put, repo, hub):
    """A revision with slashes is one, quoted or in the option."""
    from huggingface_hub import HfApi

    ref = put(repo, {"a.parquet": b"x"})
    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    api.create_branch(repo, branch="side/one", repo_type="dataset")
    api.create_tag(repo, tag="v1", repo_type="dataset")
    put(repo, {"b.parquet": b"y"}, revision="side/one")
    assert len(resolve(parse_ref(f"{repo}@side%2Fone", endpoint=hub.endpoint), None).files) == 2
    assert len(resolve(parse_ref(repo, revision="v1", endpoint=hub.endpoint), None).files) == 1
    assert len(resolve(ref, None).files) == 1
    with pytest.raises(NotFoundError, match="no such revision"):
        resolve(parse_ref(f"{repo}@nope", endpoint=hub.endpoint), None)


def test_no_such_repo_and_no_access_are_one_line(hub, repo, tmp_path):
    """A missing repo is a NotFoundError, a private one without a token too, a bad token an AccessError: no token in any."""
    with pytest.raises(NotFoundError, match="no such dataset"):
        resolve(parse_ref(repo, endpoint=hub.endpoint), None)
    with LocalHub(tmp_path / "own", accounts=[Account(name="ann", token="hf_ann")]) as own:
        from huggingface_hub import HfApi

        HfApi(endpoint=own.endpoint, token="hf_ann").create_repo("ann/x", repo_type="dataset", visibility="private")
        ref = parse_ref("ann/x", endpoint=own.endpoint)
        assert list_files(ref, Secret("hf_ann")).files
        for token, kinds in ((None, NotFoundError), (Secret("hf_wrongwrong"), (AccessError, NotFoundError))):
            with pytest.raises(kinds) as caught:
                list_files(ref, token)
            assert "\n" not in str(caught.value)
            assert "hf_wrongwrong" not in str(caught.value)


def test_a_long_listing_comes_in_pages(put, repo, hub):
    """Every file is listed, however many pages that takes, in the order of the Hub."""
    ref = put(repo, {f"data/{i:04}.txt": str(i) for i in range(1200)})
    found = list_files(ref, None)
    assert len([file for file in found.files if file.path.startswith("data/")]) == 1200
    assert hub.counts()["tree"] > 1
