"""Which files make which config and split: what `datasets` says of the same files, and the rows where we differ on purpose.

`datasets` resolves each layout in a local folder of empty files, and some on the embedded Hub from real Parquet. The order of
splits, and of the files in a split, counts. (The tables make this file long; a row is worth more than a short file.)
"""

import pickle
import re
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DatasetError
from pipeline.hub.card import parse_card
from pipeline.hub.formats import formats_of, is_parquet
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.repo import DatasetRef
from pipeline.hub.resolver import resolve, select_split

REF = DatasetRef(repo_id="ns/name", endpoint="http://hub", revision="0" * 40)
ANY_SPLIT = "no-such-split"
SHARD = "{0}-{1:05}-of-{2:05}.parquet".format


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Paths (a line of them, or more; `named` may have spaces), the card's `configs`, and what the user asks for.

    Where we differ on purpose `ours` is what we say instead, an error's text or files by split, and `theirs` what `datasets`
    says, an error's text or files by split.
    """

    paths: str
    named: tuple[str, ...] = ()
    configs: str = ""
    infos: str = ""
    config: str | None = None
    data_files: Any = None
    data_dir: str | None = None
    ours: Any = None
    theirs: Any = None

    @property
    def files(self):
        """All that there is."""
        yaml = f"configs:\n{self.configs}\n" if self.configs else ""
        yaml += f"dataset_info:\n{self.infos}\n" if self.infos else ""
        card = {"README.md": f"---\n{yaml}---\n"} if yaml else {}
        return {**dict.fromkeys((*self.paths.split(), *self.named), ""), ".gitattributes": "", **card}

    @property
    def asked(self):
        """The user's options."""
        return {"data_files": self.data_files, "data_dir": self.data_dir}


def config(name, data_files, more=""):
    """One entry of a card's `configs`, as YAML."""
    return f"- {{config_name: {name}, data_files: {data_files}{more}}}\n"


EN_FR = "en/train-1.parquet en/test-1.parquet fr/x.parquet fr/y.parquet"
BY_FOLDER = "- {config_name: en, data_dir: en}\n- {config_name: fr, data_dir: fr/}"
FLAT = "a.parquet b.parquet c.csv d/e.parquet"
SAME = {
    # Names that tell splits.
    "one file": Layout(paths="a.parquet"),
    "files at several depths": Layout(paths="b.parquet a/z.parquet a/b/c.parquet a.parquet"),
    "shards": Layout(
        paths=" ".join(f"data/{SHARD(split, i, 2)}" for split in ("test", "train", "validation") for i in (1, 0))
    ),
    "shards of splits of any name": Layout(
        paths=" ".join(f"data/{SHARD(split, 0, 1)}" for split in ("zz", "test", "a.b", "train", "A_1"))
    ),
    "shards hide other names": Layout(
        paths=f"data/{SHARD('x', 0, 1)} train.parquet data/test.parquet test/a.parquet",
    ),
    "shards with a hash": Layout(paths="data/train-00000-of-00002-0a1b.parquet data/train-00001-of-00002-ff.parquet"),
    "shards in another folder": Layout(paths=f"default/{SHARD('train', 0, 1)} default/{SHARD('odd', 0, 1)}"),
    "shards deeper": Layout(paths=f"data/x/{SHARD('train', 0, 1)} data/x/{SHARD('odd', 0, 1)}"),
    "shards of four digits": Layout(paths="data/odd-0000-of-0001.parquet data/train-0000-of-0001.parquet"),
    "file names": Layout(paths="train.parquet test.parquet validation_0.parquet other.parquet"),
    "file names with words": Layout(
        paths="my-dev.parquet my.eval.2.parquet training_3.parquet latest.parquet a9val9.parquet a-testing-b.parquet"
    ),
    "file names in folders": Layout(paths="a/b/c/train-1.parquet a/b/test-1.parquet x/train.parquet"),
    "file name of two splits": Layout(paths="train-test.parquet train.parquet"),
    "folders": Layout(paths="train/a.parquet train/b/c.parquet data/val/x.parquet rest/x.parquet"),
    "folders come before file names": Layout(paths="data/test/train.parquet data/dev-set/test.parquet train.parquet"),
    "folders with words": Layout(
        paths="my_train/a.parquet x-test.v2/b.parquet training/c.parquet evaluation/d.parquet",
    ),
    "folder order is the words', not the paths'": Layout(
        paths="training/a.parquet train/z.parquet train-2/b.parquet a-train/c.parquet a-train-2/d.parquet"
    ),
    "file order is the words', not the paths'": Layout(
        paths="eval.parquet testing-0.parquet x-test-1.parquet test-9.parquet a_eval_1.parquet"
    ),
    "words inside words": Layout(paths="contest.parquet trainer.parquet evaluate.parquet devil/interval.parquet"),
    "capitals": Layout(paths="Train.parquet TEST.parquet Test/a.parquet"),
    "split without train": Layout(paths="test.parquet eval/x.parquet"),
    "hidden": Layout(
        paths="data/train.parquet .kept/train.parquet data/.train.parquet __pycache__/train.parquet _x/train.parquet"
    ),
    "hidden ones tell no split": Layout(paths="a.parquet .test/a.parquet __test__/test.parquet x/__y/train.parquet"),
    "double underscores in a file's name": Layout(paths="__a.parquet __train-1.parquet x/__test.parquet"),
    "dots in folders": Layout(paths=".../train.parquet a../test.parquet"),
    "other endings of Parquet": Layout(
        paths="a.geoparquet b.gpq c.parquet d.PARQUET e.parquet.bak f.snappy.parquet g.xparquet parquet h.parquet_old"
    ),
    "names with brackets": Layout(paths="data[1]/train*.parquet data[1]/test?x.parquet"),
    "text next to rows": Layout(
        paths="a.parquet b.parquet LICENSE run.py notes.txt config.json sub/dataset_info.json",
    ),
    # Cards.
    "card: a pattern": Layout(paths=FLAT, configs=config("x", "'*.parquet'")),
    "card: a list": Layout(paths=FLAT, configs=config("x", "[d/*, b.parquet, 'a*']")),
    "card: a list that overlaps by glob order": Layout(
        paths="b.parquet a.parquet", configs=config("x", "['b*', 'a*']"),
    ),
    "card: splits": Layout(
        paths=EN_FR, configs=config("x", "[{split: test, path: en/test*}, {split: odd.1, path: [fr/y*, fr/x.parquet]}]")
    ),
    "card: train is the default where it stands": Layout(
        paths=EN_FR, configs=config("x", "[{split: a, path: fr/*}, {split: train, path: en/*}]")
    ),
    "card: everything": Layout(paths="a.parquet d/e.parquet .h/a.parquet __d/b.parquet", configs=config("x", "'**'")),
    "card: every folder": Layout(paths=EN_FR, configs=config("x", "'**/*1.parquet'")),
    "card: a folder's tree": Layout(paths="en/a.parquet en/x/y.parquet fr/a.parquet", configs=config("x", "en/**")),
    "card: sets and question marks": Layout(
        paths="p1.parquet p2.parquet p3.parquet p10.parquet", configs=config("x", "['p[!13].parquet', 'p1?.parquet']")
    ),
    "card: hidden ones spelled out": Layout(
        paths=".h/a.parquet .h/.b.parquet x/.b.parquet __d/a.parquet __d/x/__e/b.parquet __c.parquet",
        configs=config("x", "['.h/*', '*/.b.parquet', '__*/*', '*.parquet', '__d/**/b.parquet']"),
    ),
    "card: a slash at the end": Layout(paths="en/a.parquet en/b/c.parquet", configs=config("x", "'en/*/'")),
    "card: the default by name": Layout(paths=EN_FR, configs=config("en", "en/*") + config("default", "fr/*")),
    "card: the default by flag": Layout(
        paths=EN_FR, configs=config("en", "en/*") + config("fr", "fr/*", ", default: true"),
    ),
    "card: the default by its numbers": Layout(
        paths=EN_FR, configs=config("en", "en/*") + config("fr", "fr/*"), infos="- {config_name: fr, features: []}"
    ),
    "card: a config by name": Layout(paths=EN_FR, configs=config("en", "en/*") + config("fr", "fr/*"), config="fr"),
    "card: no such config": Layout(
        paths=EN_FR, configs=config("en", "en/*"), config="de",
        ours="no config 'de'", theirs="'de' not found",
    ),
    "card: no default": Layout(
        paths=EN_FR, configs=config("en", "en/*") + config("fr", "fr/*"), ours="'config' is needed",
        theirs="Config name is missing"
    ),
    "card: two defaults": Layout(
        paths=EN_FR, configs=config("default", "en/*") + config("fr", "fr/*", ", default: true"),
        ours="more than one is the default", theirs="several default configs",
    ),
    "card: data_dir": Layout(paths=EN_FR, configs=BY_FOLDER, config="en"),
    "card: data_dir with a slash": Layout(paths=EN_FR, configs=BY_FOLDER, config="fr"),
    "card: data_dir of shards": Layout(
        paths=f"en/data/{SHARD('odd', 0, 1)} en/train.parquet", configs="- {config_name: en, data_dir: en}"
    ),
    "card: data_dir and patterns": Layout(
        paths=EN_FR, configs=config("fr", "fr/*") + config("x", "'t*'", ", data_dir: en"), config="x"
    ),
    "card: hidden data_dir": Layout(
        paths=".en/train.parquet .en/.x.parquet a.parquet", configs="- {config_name: x, data_dir: .en}",
    ),
    "card: a path that is not there": Layout(
        paths=FLAT, configs=config("x", "[a.parquet, gone.parquet]"),
        ours="no files for 'gone.parquet' of README.md; Parquet files that exist: 'a.parquet'", theirs="gone.parquet",
    ),
    "card: one glob of two matches nothing": Layout(paths=FLAT, configs=config("x", "['a*', 'gone*']")),
    "card: a split twice": Layout(
        paths=FLAT, configs=config("x", "[{split: train, path: a*}, {split: train, path: b*}]"),
        ours="a split stands twice", theirs="duplicated",
    ),
    "card: no patterns": Layout(
        paths=FLAT, configs=config("x", "[]"),
        ours="has no files", theirs="No .supported. data files",
    ),
    "card: a dict": Layout(
        paths=FLAT, configs=config("x", "{train: a*}"),
        ours="must be a pattern", theirs="Expected data_files in YAML",
    ),
    # What the user asks for.
    "asked: a pattern": Layout(paths=FLAT, data_files="d/*.parquet"),
    "asked: a path": Layout(paths=FLAT, data_files="d/e.parquet"),
    "asked: a list": Layout(paths=FLAT, data_files=["d/*.parquet", "a.parquet"]),
    "asked: splits": Layout(paths=EN_FR, data_files={"odd": "fr/*", "test": ["en/test*", "en/train*"]}),
    "asked: splits as a card has them": Layout(
        paths=EN_FR, data_files=[{"split": "a", "path": "fr/*"}, {"split": "b", "path": ["en/*"]}],
    ),
    "asked: a split twice": Layout(
        paths=FLAT, data_files=[{"split": "a", "path": "a*"}, {"split": "a", "path": "b*"}], ours="must be a", theirs="duplicated"
    ),
    "asked: over a card": Layout(paths=EN_FR, configs=config("en", "en/*"), data_files="fr/*"),
    "asked: over a card's config": Layout(
        paths=EN_FR, configs=config("en", "en/*") + config("fr", "fr/*"), config="en", data_files="fr/*"
    ),
    "asked: over configs without a default": Layout(
        paths=EN_FR, configs=config("en", "en/*") + config("fr", "fr/*"), data_files="fr/*"
    ),
    "asked: of a config that is not there": Layout(
        paths=EN_FR, configs=config("en", "en/*"), config="de", data_files="fr/*", ours="no config 'de'",
        theirs="'de' not found"
    ),
    "asked: a folder": Layout(paths=EN_FR, data_dir="en"),
    "asked: a folder with slashes": Layout(paths=EN_FR, data_dir="./en/"),
    "asked: a folder of a folder": Layout(paths="a/test/b/train.parquet a/test/b/x.parquet", data_dir="a/test"),
    "asked: a folder over a card": Layout(paths=EN_FR, configs=config("fr", "fr/*"), data_dir="en"),
    "asked: patterns in a folder": Layout(paths=EN_FR, data_dir="en", data_files={"x": "t*-1.parquet"}),
    "asked: a path that is not there": Layout(
        paths=FLAT, data_files=["a.parquet", "gone.parquet"],
        ours="no files for 'gone.parquet' of option 'data_files'; Parquet files that exist: 'a.parquet', 'b.parquet', 'd/e",
        theirs="gone.parquet",
    ),
    "asked: a glob that matches nothing": Layout(
        paths=FLAT, data_files="gone*", ours="no files for 'gone.' of option 'data_files'; Parquet files that exist",
        theirs="No .supported. data files",
    ),
    "asked: a folder that is not there": Layout(
        paths=FLAT, data_dir="gone", ours="folder 'gone' has no Parquet file; Parquet files that exist: 'a.parquet'",
        theirs="doesn't contain any data files",
    ),
    "asked: nothing": Layout(paths=FLAT, data_files=[], ours="must be a pattern", theirs="No .supported. data files"),
    # Other formats are said, not read.
    "no rows": Layout(
        paths="LICENSE run.py",
        ours="it has none yet", theirs="No .supported. data files|doesn't contain",
    ),
    "zip alone": Layout(paths="a.zip", ours="its data is zip", theirs=""),
}  # fmt: skip
DIFFERENT = {
    # Patterns stay in the repo: `datasets` reads any file of the machine, and refuses only what was resolved from a Hub.
    "a path out of the repo": Layout(
        paths="en/a.parquet b.parquet", configs=config("x", "en/../b.parquet"),
        ours="leaves the repo", theirs={"train": ["en/../b.parquet"]},
    ),
    "a folder out of the repo": Layout(
        paths="en/a.parquet b.parquet", data_dir="en/..",
        ours="leaves the repo", theirs={"train": ["b.parquet", "en/a.parquet"]},
    ),
    "asked: out of the repo": Layout(
        paths="en/a.parquet b.parquet", data_dir="en", data_files="../b.parquet",
        ours="leaves the repo", theirs={"train": ["en/../b.parquet"]},
    ),
    # Only Parquet is data: another format's files make no split and no rows.
    "the most common format": Layout(
        paths="a.csv b.csv c.parquet",
        ours={"train": ["c.parquet"]}, theirs={"train": ["a.csv", "b.csv"]},
    ),
    "a glob of two formats": Layout(
        paths="a.parquet b.csv c.txt", configs=config("x", "'*'"),
        ours={"train": ["a.parquet"]}, theirs={"train": ["a.parquet", "b.csv", "c.txt"]},
    ),
    "asked: a glob of two formats": Layout(
        paths="a.parquet b.csv c.py", data_files="*",
        ours={"train": ["a.parquet"]}, theirs={"train": ["a.parquet", "b.csv", "c.py"]},
    ),
    "a path of another format": Layout(
        paths="a.parquet b.csv", configs=config("x", "b.csv"),
        ours="what it matches is csv, and only Parquet", theirs={"train": ["b.csv"]},
    ),
    "an archive next to Parquet": Layout(
        paths="a.parquet b.zip",
        ours={"train": ["a.parquet"]}, theirs={"train": ["a.parquet", "b.zip"]},
    ),
    "a script that is called like a split": Layout(
        paths="a.parquet test_a.py",
        ours={"train": ["a.parquet"]}, theirs="data files",
    ),
    "notes that are called like a split": Layout(
        paths="train.parquet test.txt",
        ours={"train": ["train.parquet"]}, theirs="same data file format",
    ),
    "Markdown, which makes a task folder": Layout(
        paths="a.parquet b.md c.md",
        ours={"train": ["a.parquet"]}, theirs={"train": ["b.md", "c.md"]},
    ),
    "a log of an evaluation": Layout(
        paths="a.parquet b.eval",
        ours={"train": ["a.parquet"]}, theirs={"logs": ["b.eval"]},
    ),
    "other configs in another format": Layout(
        paths="a.csv b.parquet", configs=config("x", "a.csv") + config("y", "b.parquet"), config="x",
        ours="csv", theirs={"train": ["a.csv"]},
    ),
    "a folder's other formats": Layout(
        paths="en/a.parquet en/b.csv", configs="- {config_name: x, data_dir: en}",
        ours={"train": ["en/a.parquet"]}, theirs={"train": ["en/a.parquet", "en/b.csv"]},
    ),
    # A row is read once, also where `datasets` repeats it.
    "a file of two patterns": Layout(
        paths="a.parquet b.parquet", configs=config("x", "['b*', '*']"),
        ours={"train": ["b.parquet", "a.parquet"]},
        theirs={"train": ["b.parquet", "a.parquet", "b.parquet"]},
    ),
    "a file of two words": Layout(
        paths="train-train-1.parquet",
        ours={"train": ["train-train-1.parquet"]}, theirs={"train": ["train-train-1.parquet"] * 2},
    ),
    "a path and a pattern that matches it": Layout(
        paths="a.parquet b.parquet", data_files=["b.parquet", "*"],
        ours={"train": ["b.parquet", "a.parquet"]}, theirs={"train": ["b.parquet", "a.parquet", "b.parquet"]},
    ),
    "a path twice": Layout(
        paths="a.parquet b.parquet", data_files=["b.parquet", "a.parquet", "b.parquet"],
        ours={"train": ["b.parquet", "a.parquet"]}, theirs={"train": ["b.parquet", "a.parquet", "b.parquet"]},
    ),
    # We read what `datasets` cannot.
    "shards of a split with a dash": Layout(
        paths=f"data/{SHARD('en-x', 0, 1)}",
        ours={"en-x": [f"data/{SHARD('en-x', 0, 1)}"]}, theirs="Split name should match",
    ),
    "stars within a name": Layout(
        paths="a/b-1.parquet b-2.parquet", configs=config("x", "'**b-*'"),
        ours={"train": ["a/b-1.parquet", "b-2.parquet"]}, theirs="can only be an entire path",
    ),
    "wildcards in a folder's name": Layout(
        paths="d[1]/a.parquet", data_dir="d[1]",
        ours={"train": ["d[1]/a.parquet"]}, theirs="data files",
    ),
    "patterns in a folder with wildcards in its name": Layout(
        paths="d[1]/a.parquet", data_dir="d[1]", data_files="*", ours={"train": ["d[1]/a.parquet"]}, theirs="data files"
    ),
    # Only the config and the split that are wanted are looked at.
    "data_dir and patterns, in the first config": Layout(
        paths=EN_FR, configs=config("x", "'t*'", ", data_dir: en"),
        ours={"train": ["en/test-1.parquet", "en/train-1.parquet"]}, theirs="data files",
    ),
    "a split that is not there yet": Layout(
        paths="a.parquet", configs=config("x", "[{split: train, path: a*}, {split: test, path: b*}]"),
        ours={"train": ["a.parquet"], "test": "has no files for 'b"}, theirs="same data file format",
    ),
}  # fmt: skip


ON_THE_HUB = (
    "shards", "file names with words", "folder order is the words', not the paths'", "hidden", "other endings of Parquet",
    "card: a list", "card: splits", "card: the default by flag", "card: a config by name", "card: data_dir",
    "card: data_dir and patterns", "asked: splits", "asked: over a card's config", "asked: a folder",
)  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_splits_and_files_are_those_of_datasets(name, tmp_path):
    """The same splits in the same order, each of the same files in the same order; where it refuses, so do we, and say why."""
    layout = SAME[name]
    ours, theirs = ours_of(layout), theirs_of(layout, tmp_path / "repo")
    if layout.ours is None:
        assert ours == theirs
        assert list(ours) == list(theirs)
    else:
        assert says(layout.ours, ours), ours
        assert isinstance(theirs, str)
        assert says(layout.theirs, theirs), theirs


@pytest.mark.parametrize("name", DIFFERENT)
def test_where_we_differ_from_datasets_we_mean_to(name, tmp_path):
    """Patterns stay in the repo, only Parquet is rows, no row comes twice, and what is not wanted cannot fail."""
    layout = DIFFERENT[name]
    ours, theirs = ours_of(layout), theirs_of(layout, tmp_path / "repo")
    assert says(layout.ours, ours), ours
    assert says(layout.theirs, theirs), theirs


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_a_repo_on_the_hub_resolves_as_datasets_resolves_it(name, hub, repo, put, parquet_bytes, tmp_path):
    """The same from a commit of real Parquet files, through all of `load_dataset_builder` and all of `resolve`."""
    from datasets import load_dataset_builder

    layout = SAME[name]
    ref = put(repo, {path: text or parquet_bytes({"a": [path]}) for path, text in layout.files.items()})
    builder = load_dataset_builder(repo, name=layout.config, cache_dir=str(tmp_path), **layout.asked)
    theirs = builder.config.data_files
    for split, files in theirs.items():
        snapshot = resolve(replace(ref, config=layout.config, split=str(split)), None, **layout.asked)
        root = f"hf://datasets/{repo}@{snapshot.ref.revision}"
        assert [file.path for file in snapshot.files] == [cut(file, root) for file in files]
    assert theirs


WORDS = ("train", "training", "test", "eval", "dev", "val", "valid", "validation", "data", "x", "latest")
PART = st.lists(st.sampled_from((*WORDS, *"-._ 09", "__", "-00000-of-00001")), min_size=1, max_size=4).map("".join)
FOLDER = st.sampled_from((*WORDS, "data")) | PART
PATH = st.builds(
    lambda folders, name, ending: "/".join([*folders, f"{name}.{ending}"]),
    st.lists(FOLDER.filter(lambda part: part.strip(".")), max_size=2),
    PART,
    st.sampled_from(("parquet", "parquet", "parquet", "gpq", "geoparquet", "0.parquet", "parquet.1")),
)
PATTERN = st.lists(
    st.sampled_from(("**", "*", "data", "train", "*.parquet", "t*", "*[-._ 0-9]*", ".*", "__*", "?*", "*train*")),
    min_size=1,
    max_size=3,
).map("/".join)


@settings(max_examples=150)
@given(paths=st.sets(PATH, min_size=1, max_size=6), patterns=st.none() | st.lists(PATTERN, min_size=1, max_size=3))
def test_whatever_the_names_splits_are_those_of_datasets(paths, patterns):
    """Names made of split words, separators, shards and hidden parts, under patterns or none: the same splits and files."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    with TemporaryDirectory() as folder:
        for path in sorted(paths):
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).touch()
        try:
            splits = {"train": patterns} if patterns else get_data_patterns(folder)
            found = DataFilesDict.from_patterns(splits, base_path=folder)
        except (FileNotFoundError, ValueError):  # nothing there, or a split's name with a dash
            return
    theirs = {str(split): list(dict.fromkeys(cut(file, folder) for file in files)) for split, files in found.items()}
    ours = ours_of(Layout(paths="", named=tuple(paths), data_files=patterns))
    if theirs == {"train": []}:
        assert says("has no files", ours)
    else:
        assert ours == theirs
        assert list(ours) == list(theirs)


def test_a_snapshot_carries_its_own_files():
    """What goes to a worker does not grow with the rest of the repo."""
    paths = [f"{split}/{i}.parquet" for split in ("train", "test") for i in range(1000)]
    sizes = [
        len(pickle.dumps(select_split(listing_of(some, ""), replace(REF, split="test"))))
        for some in (paths, paths[1000:])
    ]
    assert sizes[0] == sizes[1]


def test_what_the_user_asks_for_hides_the_cards_features():
    """A card tells of its own files only: others may have other columns."""
    card = "---\nconfigs:\n- {config_name: default, data_files: a*}\ndataset_info: {features: [{name: x, dtype: int8}]}\n---\n"
    listing = listing_of(["a.parquet", "b.parquet"], card)
    assert select_split(listing, REF).features == ({"name": "x", "dtype": "int8"},)
    assert select_split(listing, REF, data_files="b*").features is None


def test_every_ending_that_datasets_reads_is_known():
    """No format of `datasets` passes for an empty repo, but for the Markdown and TOML that tell of nothing else."""
    from datasets.packaged_modules import _EXTENSION_TO_MODULE

    names = {ending: f"x{ending}" for ending in _EXTENSION_TO_MODULE}
    assert {ending for ending, name in names.items() if not formats_of([name])} == {".md", ".toml"}
    parquet = {ending for ending, (module, _) in _EXTENSION_TO_MODULE.items() if module == "parquet"}
    assert {ending for ending, name in names.items() if is_parquet(name)} == parquet


def says(expected, found):
    """Whether files by split are those expected, or an error, of all splits or of each, has the text."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and list(expected) == list(found)
            and all(says(expected[split], found[split]) for split in found)
        )
    if isinstance(expected, list):
        return expected == found
    errors = found.values() if isinstance(found, dict) else [found]
    return all(isinstance(error, str) and "\n" not in error and re.search(expected, error) for error in errors)


def listing_of(paths, readme):
    """A listing of empty files, not in the order of their paths."""
    files = tuple(DataFile(path=path, size=0) for path in sorted(paths, reverse=True))
    return Listing(ref=REF, files=files, card=parse_card(readme, about="ns/name"))


def resolve_ours(listing, layout, split):
    """The paths of a split, or an error's text."""
    ref = replace(REF, config=layout.config, split=split)
    try:
        return [file.path for file in select_split(listing, ref, **layout.asked).files]
    except DatasetError as err:
        return str(err)


def ours_of(layout):
    """Split -> paths, the splits as the error for one that is not there lists them; else an error's text."""
    files = layout.files
    try:
        listing = listing_of(files, files.get("README.md", ""))
    except DatasetError as err:
        return str(err)
    said = resolve_ours(listing, layout, ANY_SPLIT)
    if f"no split {ANY_SPLIT!r}" not in said or "those that exist: " not in said:
        return said
    names = [name.strip("'") for name in said.partition("those that exist: ")[2].split(", ")]
    found = {name: resolve_ours(listing, layout, name) for name in names}
    first = "train" if "train" in found else names[0]
    assert resolve_ours(listing, layout, None) == found[first]
    return found


def theirs_of(layout, folder):
    """What `load_dataset` would read: split -> paths, or an error's text."""
    from datasets import load_dataset_builder

    for path, text in layout.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    try:
        builder = load_dataset_builder(str(folder), name=layout.config, cache_dir=str(folder.parent), **layout.asked)
    except Exception as err:
        return str(err).replace("\n", " ")
    return {str(split): [cut(file, folder) for file in files] for split, files in builder.config.data_files.items()}


def cut(file, folder):
    """A path in the folder."""
    return file.removeprefix(f"{folder}/")
