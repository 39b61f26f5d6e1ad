"""A ref's splits in any format: which format it is, and which splits a pattern means, is told as `datasets` tells it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import NotFoundError, OptionError, SchemaError
from pipeline.hub.any_format import resolve_any
from pipeline.hub.card import parse_card
from pipeline.hub.formats import READABLE, infer_format, kind_of
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.repo import DatasetRef

REF = DatasetRef(repo_id="ns/name", endpoint="http://hub", revision="0" * 40)
MODULES = {
    "images": "imagefolder",
    "audio": "audiofolder",
    "video": "videofolder",
    "mesh": "meshfolder",
    "nifti": "niftifolder",
}
MODULES["pdf"] = "pdffolder"
ENDINGS = [
    *("csv", "tsv", "json", "jsonl", "ndjson", "parquet", "arrow", "txt", "tar", "gz", "PNG", "jpg", "wav", "MP3")
]
ENDINGS += ["xml", "h5", "bak", "mp4", "lance"]


def listing_of(paths, readme=""):
    """A listing of empty files."""
    files = tuple(DataFile(path=path, size=0) for path in paths.split())
    return Listing(ref=REF, files=files, card=parse_card(readme, about="ns/name"))


def wanted(paths, split=None, readme="", **asked):
    """The paths of each split that is wanted."""
    found = resolve_any(listing_of(paths, readme), replace(REF, split=split), **asked).wanted
    return {name: [file.path for file in snapshot.files] for name, snapshot in found.items()}


@given(
    names=st.lists(
        st.one_of(
            st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=2).map(lambda endings: ".".join(["a", *endings])),
            st.sampled_from(["metadata.csv", "metadata.jsonl", "plain"]),
        ),
        max_size=6,
    )
)
def test_the_format_is_the_one_that_datasets_infers(names):
    """From the endings of a split's files, the most common first, with its favourites."""
    from datasets.load import infer_module_for_data_files_list

    module, options = infer_module_for_data_files_list(names)
    format, ending = infer_format(names)
    assert MODULES.get(format, format) == module
    assert (ending == "tsv") == bool(options)


def test_the_files_of_a_format_are_those_that_datasets_keeps():
    """Also with another ending after its own, and metadata of media."""
    from datasets.data_files import DataFilesList
    from datasets.packaged_modules import _MODULE_TO_EXTENSIONS, _MODULE_TO_METADATA_FILE_NAMES

    names = [f"x/a.{one}.{two}".rstrip(".") for one in ENDINGS for two in ["", *ENDINGS]]
    names += ["metadata.csv", "x/metadata.jsonl", "x/metadata.parquet", "a.zip", "csv"]
    for format in READABLE:
        module = MODULES.get(format, format)
        kept = DataFilesList(names, [None] * len(names)).filter(
            extensions=_MODULE_TO_EXTENSIONS[module], file_names=_MODULE_TO_METADATA_FILE_NAMES[module]
        )
        assert [name for name in names if kind_of(format).holds(name)] == list(kept), format


def test_a_split_is_a_name_a_pattern_or_a_sum():
    """`*` is all splits in their order, a sum is in its own; each split comes once, and by default there is one."""
    paths = "test.csv train.csv validation_1.csv train.txt"
    assert wanted(paths) == {"train": ["train.csv"]}
    assert list(wanted(paths, "*")) == ["train", "validation", "test"]
    assert list(wanted(paths, "test+t*")) == ["test", "train"]
    assert list(wanted(paths, "va?idation")) == ["validation"]
    assert wanted(paths, "test") == {"test": ["test.csv"]}
    with pytest.raises(NotFoundError, match="no split 'x\\*'; those that exist: 'train', 'validation', 'test'"):
        wanted(paths, "train+x*")
    with pytest.raises(NotFoundError, match="no split 'x'"):
        wanted(paths, "x")


def test_patterns_of_parquet_splits_mean_those_alone():
    """`train` is not `train_v2`; the card's order holds."""
    readme = "---\nconfigs:\n- config_name: default\n  data_files:\n"
    readme += (
        "".join(f"  - {{split: {split}, path: '{split}-*'}}\n" for split in ("train_v2", "train", "test")) + "---\n"
    )
    paths = "train-0.parquet train_v2-0.parquet test-0.parquet"
    assert wanted(paths, "train", readme) == {"train": ["train-0.parquet"]}
    assert list(wanted(paths, "train*", readme)) == ["train_v2", "train"]
    assert resolve_any(listing_of(paths, readme), REF).format == "parquet"


def test_what_the_card_says_of_reading_is_kept():
    """With data_files of the user too, as in `datasets`; a TSV has its separator where the card has none."""
    readme = "---\nconfigs:\n- {config_name: default, data_files: a.tsv, sep: ';', drop_labels: true}\n---\n"
    listing = listing_of("a.tsv b.tsv", readme)
    assert resolve_any(listing, REF).reading == {"sep": ";", "drop_labels": True}
    assert resolve_any(listing, REF, data_files="b.tsv").reading["sep"] == ";"
    assert resolve_any(listing_of("a.tsv"), REF).reading == {"sep": "\t"}


def test_each_config_has_its_own_format():
    """`datasets` takes the first one's for all of them, and finds nothing in the others."""
    readme = "---\nconfigs:\n- {config_name: a, data_files: a/*}\n- {config_name: b, data_files: b/*}\n---\n"
    listing = listing_of("a/x.csv b/x.jsonl b/notes.md", readme)
    assert {name: resolve_any(listing, replace(REF, config=name)).format for name in "ab"} == {"a": "csv", "b": "json"}


def test_what_cannot_be_read_is_refused_in_one_line():
    """Another format, splits that differ, an archive; what else there is can be chosen."""
    with pytest.raises(NotFoundError, match="is video, and only parquet, csv"):
        wanted("a.mp4 b.mp4 c.csv")
    assert wanted("a.mp4 b.mp4 c.csv", data_files="*.csv") == {"train": ["c.csv"]}
    with pytest.raises(SchemaError, match=r"'train' csv, 'test' jsonl"):
        wanted("train.csv test.jsonl")
    with pytest.raises(OptionError, match=r"'b\.csv\.zip' is a ZIP archive"):
        wanted("a.csv b.csv.zip")
    with pytest.raises(NotFoundError, match="it has none yet"):
        wanted("README.md run.py")
    with pytest.raises(NotFoundError, match=r"no files for 'gone\.csv'"):
        wanted("a.csv", data_files=["gone.csv", "a.csv"])
