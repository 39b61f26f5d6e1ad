"""A folder as a target: what is staged is invisible, what is published is whole, what was replaced is gone."""

import hashlib
import resource
import signal
import subprocess
import sys

import datasets
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet as pq

from pipeline import folder as publishing
from pipeline.errors import ConflictError, SetupError
from pipeline.folder import check_folder, list_folder, publish_folder
from pipeline.hub.split import Mode, SplitWrite, existing_files
from pipeline.parquet.features import features_of, to_yaml
from pipeline.parquet.layout import Kind, Layout
from pipeline.staging import FolderStore
from pipeline.unfinished import publication

FEATURES = {"n": {"dtype": "int64", "_type": "Value"}}
SCHEMA = pa.schema([("n", pa.int64())])


def _stage(folder, *shards):
    """Files with these numbers, staged; their receipts."""
    store = FolderStore(folder, "run")
    for number, values in enumerate(shards):
        writer = store.open(f"shard-{number:05d}", SCHEMA, layout=Layout(kind=Kind.BLOCKS), features=FEATURES)
        writer.write_row_group(pa.table({"n": pa.array(values, pa.int64())}))
        store.end(writer)
    receipts = store.finish()
    store.abort()
    return receipts


def _publish(folder, *shards, mode=Mode.OVERWRITE, transaction="0123456789ab", **names):
    write = SplitWrite(
        config=names.get("config", "default"),
        split=names.get("split", "train"),
        mode=mode,
        transaction=transaction,
        features=to_yaml(FEATURES),
        section="## How\n\nmixed",
        record="{}\n",
    )
    publish_folder(folder, write, _stage(folder, *shards))


def _loaded(folder, tmp_path, *args, **names):
    """The numbers that `datasets` finds."""
    loaded = datasets.load_dataset(str(folder), *args, cache_dir=str(tmp_path / "cache"), **names)
    return loaded["train"]["n"][:] if isinstance(loaded, dict) else loaded["n"][:]


def _card(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---")[1])


def test_a_receipt_tells_what_is_in_the_file(tmp_path):
    """Rows, size and sha256 are those of the staged file, and its features are in its footer."""
    for receipt, values in zip(_stage(tmp_path, [1, 2], [3]), ([1, 2], [3]), strict=True):
        data = (path := tmp_path / receipt.file.path).read_bytes()
        assert (receipt.rows, receipt.file.size) == (len(values), len(data))
        assert receipt.file.sha256 == hashlib.sha256(data).hexdigest()
        table = pq.read_table(path)
        assert table["n"].to_pylist() == values
        assert features_of(table.schema) == FEATURES


def test_what_is_staged_is_invisible(tmp_path):
    """A build that died leaves no row that `datasets` or a later listing sees, and the next one clears it away."""
    _publish(tmp_path / "mix", [1, 2])
    _stage(tmp_path / "mix", [99])
    listing = list_folder(tmp_path / "mix")
    assert [file.path for file in existing_files(listing, "default", "train")] == ["data/train-00000-of-00001.parquet"]
    assert not any("staged" in file.path for file in listing.files)
    assert _loaded(tmp_path / "mix", tmp_path) == [1, 2]
    _publish(tmp_path / "mix", [3])
    assert not (tmp_path / "mix/.pipeline/staged").exists()
    assert _loaded(tmp_path / "mix", tmp_path) == [3]


def test_a_new_folder_is_a_dataset(tmp_path):
    """Files are named as `push_to_hub` names them, the card tells counts and features, and `load_dataset` reads all."""
    folder = tmp_path / "deep/mix"
    _publish(folder, [1, 2], [3])
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        ".pipeline/writes/default/train/0123456789ab.json",
        "README.md",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
    ]
    info = _card(folder)["dataset_info"]
    assert info["splits"] == [{"name": "train", "num_bytes": 24, "num_examples": 3}]
    assert info["download_size"] == sum(path.stat().st_size for path in folder.glob("data/*"))
    assert _loaded(folder, tmp_path) == [1, 2, 3]


def test_an_overwrite_leaves_nothing_of_what_was_there(tmp_path):
    """The old files are gone, the new ones have names of their own, and counts are those of the new rows."""
    _publish(tmp_path, [1, 2], [3])
    old = set(tmp_path.glob("data/*"))
    _publish(tmp_path, [7, 8, 9])
    assert not old & set(tmp_path.glob("data/*"))
    assert len(list(tmp_path.glob("data/*"))) == 1
    assert _card(tmp_path)["dataset_info"]["splits"][0]["num_examples"] == 3
    assert _loaded(tmp_path, tmp_path) == [7, 8, 9]


def test_an_append_adds_files_and_changes_none(tmp_path):
    """The old files stay as they are, and the card counts old and new rows."""
    _publish(tmp_path, [1, 2])
    old = {path: path.read_bytes() for path in tmp_path.glob("data/*")}
    _publish(tmp_path, [3], mode=Mode.APPEND, transaction="a" * 12)
    _publish(tmp_path, [4], mode=Mode.APPEND, transaction="b" * 12)
    assert {path: path.read_bytes() for path in old} == old
    assert _card(tmp_path)["dataset_info"]["splits"][0]["num_examples"] == 4
    assert sorted(_loaded(tmp_path, tmp_path)) == [1, 2, 3, 4]


def test_other_splits_configs_and_files_are_left_alone(tmp_path):
    """Writing one split changes no file of another, keeps what people wrote on the card, and replaces its own section only."""
    _publish(tmp_path, [1])
    _publish(tmp_path, [2], split="test")
    _publish(tmp_path, [3], config="extra")
    card = tmp_path / "README.md"
    card.write_text(card.read_text() + "\nMy own words.\n", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("mine")
    _publish(tmp_path, [4])
    assert [_loaded(tmp_path, tmp_path, "default", split=split) for split in ("train", "test")] == [[4], [2]]
    assert _loaded(tmp_path, tmp_path, "extra") == [3]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    text = card.read_text()
    assert "My own words." in text
    assert text.count("## How\n") == 3


def test_an_aborted_file_is_removed(tmp_path):
    """What was not ended is not left behind."""
    store = FolderStore(tmp_path, "run")
    store.open("shard", SCHEMA, layout=Layout(kind=Kind.BLOCKS), features=None)
    assert len(list((tmp_path / ".pipeline/staged/run").iterdir())) == 1
    store.abort()
    assert not list(tmp_path.iterdir())
    store.abort()


def test_a_folder_that_cannot_be_one_is_refused(tmp_path):
    """A file in its place, or on the way to it, is named, and nothing is made; a folder still to be made is fine."""
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file/sub/mix"):
        with pytest.raises(SetupError, match=r"^target '.*': '.*/file' is not a folder; choose another folder$"):
            check_folder(bad)
        with pytest.raises(SetupError, match="cannot be written"):
            FolderStore(bad, "run")
    check_folder(tmp_path / "new/mix")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


FILL = """
import os, sys, pyarrow as pa
from pathlib import Path
from pipeline import folder as publishing
from pipeline.errors import ConflictError, SetupError
from pipeline.parquet.layout import Kind, Layout
from pipeline.staging import FolderStore
from pipeline.unfinished import publication
try:
    store = FolderStore(Path(sys.argv[1]), "run")
    try:
        for size in (1_000, 300_000):
            writer = store.open("shard", pa.schema([("b", pa.binary())]), layout=Layout(kind=Kind.BLOCKS), features=None)
            writer.write_row_group(pa.table({"b": [os.urandom(size)]}))
            store.end(writer)
    finally:
        store.abort()
except SetupError as err:
    print(err)
"""


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(tmp_path):
    """When a write fails, the message names file, reason and what to do; half-written and finished files are removed."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path / "mix")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert f"{tmp_path}/mix/.pipeline/staged/run/shard-" in done.stdout
    assert "cannot be written (File too large); make room or choose another folder" in done.stdout
    assert not (tmp_path / "mix").exists()


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("before", [(), ([1, 2], [3])])
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_publication_that_is_stopped_did_not_happen_and_is_repeated(tmp_path, monkeypatch, before, steps):
    """A listing has what was there before, staged files are there still, and the next publication leaves nothing of it."""
    folder = tmp_path / "mix"
    folder.mkdir()
    if before:
        _publish(folder, *before)
    listed = existing_files(list_folder(folder), "default", "train")
    calls, writes = iter(range(100)), (publishing._put, publishing._replace_content)

    def stopping(act):
        def step(*args):
            if next(calls) == steps:
                monkeypatch.setattr("pipeline.unfinished._clear", lambda _: None)
                monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
                raise _Killed
            act(*args)

        return step

    for act in writes:
        monkeypatch.setattr(publishing, act.__name__, stopping(act))
    with pytest.raises(_Killed):
        _publish(folder, [7], [8], transaction="f" * 12)
    monkeypatch.undo()
    assert existing_files(list_folder(folder), "default", "train") == listed
    assert len(list((folder / ".pipeline/staged/run").iterdir())) == 2
    _publish(folder, [7], [8], transaction="e" * 12)
    assert _loaded(folder, tmp_path) == [7, 8]
    assert len(list(folder.rglob("*.parquet"))) == 2
    assert not list(folder.rglob("*publishing*"))


def test_two_publications_at_once_are_refused(tmp_path):
    """A second one is told to wait, and changes nothing."""
    with publication(tmp_path), pytest.raises(ConflictError, match="another build is publishing"):
        _publish(tmp_path, [1])
    assert list_folder(tmp_path).files == ()
