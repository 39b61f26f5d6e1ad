"""A build into a folder that dies goes on: its ledger knows what is finished, on disk, and clears away the rest."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import ConflictError
from pipeline.folder import publish_folder
from pipeline.hub.split import Mode, SplitWrite
from pipeline.parquet.layout import Kind, Layout
from pipeline.staging import FolderLedger, FolderStore

SCHEMA = pa.schema([("n", pa.int64())])


def stage(folder, build, *values):
    """One finished shard with these numbers, as a task leaves it."""
    store = FolderStore(folder, build)
    writer = store.open("shard", SCHEMA, layout=Layout(kind=Kind.BLOCKS), features=None)
    writer.write_row_group(pa.table({"n": pa.array(values, pa.int64())}))
    store.end(writer)
    (receipt,) = store.finish()
    store.abort()
    return receipt


def staged(folder):
    """What is staged, by build."""
    found = (folder / ".pipeline/staged").glob("*/*")
    return sorted(path.relative_to(folder / ".pipeline/staged").as_posix() for path in found)


@pytest.fixture
def forget(monkeypatch):
    """Let this process hold no lock, as after its death."""

    def die():
        from pipeline import staging

        for descriptor in staging._HELD.values():
            os.close(descriptor)
        staging._HELD.clear()

    yield die
    die()


def test_what_is_saved_is_loaded_and_the_rest_is_cleared(tmp_path, forget):
    """Receipts come back as they were, also when the last line is cut short; a finished file that none tells of goes."""
    FolderLedger(tmp_path, "plan").load()
    kept = {f"train/{i:05d}": stage(tmp_path, "plan", i, i) for i in range(3)}
    stage(tmp_path, "plan", 9)
    FolderLedger(tmp_path, "plan").save({"train/00000": kept["train/00000"]})
    FolderLedger(tmp_path, "plan").save({key: one for key, one in kept.items() if key != "train/00000"})
    with (tmp_path / ".pipeline/staged/plan/receipts.jsonl").open("a") as file:
        file.write('{"key": "train/00003", "ro')
    forget()
    assert FolderLedger(tmp_path, "plan").load() == kept
    assert len(staged(tmp_path)) == 4


def test_a_receipt_of_a_file_that_is_gone_or_cut_is_not_loaded(tmp_path, forget):
    """A receipt is a hint."""
    receipts = {key: stage(tmp_path, "plan", 1, 2) for key in ("train/0", "train/1", "train/2")}
    FolderLedger(tmp_path, "plan").save(receipts)
    os.truncate(receipts["train/0"].file.path, 10)
    Path(receipts["train/1"].file.path).unlink()
    assert list(FolderLedger(tmp_path, "plan").load()) == ["train/2"]


def test_a_folder_that_moved_keeps_its_ledger(tmp_path, forget):
    """Another machine may see it at another path."""
    FolderLedger(tmp_path / "a", "plan").save({"train/0": stage(tmp_path / "a", "plan", 5)})
    (tmp_path / "a").rename(tmp_path / "b")
    (found,) = FolderLedger(tmp_path / "b", "plan").load().values()
    write = SplitWrite(config="default", split="train", mode=Mode.OVERWRITE, transaction="a" * 32, features=None)
    publish_folder(tmp_path / "b", write, [found])
    assert [path.name for path in (tmp_path / "b/data").iterdir()] == ["train-00000-of-00001.parquet"]
    assert not (tmp_path / "b/.pipeline/staged").exists()


LIVE = """
import sys, time
from pathlib import Path
from pipeline.staging import FolderLedger
FolderLedger(Path(sys.argv[1]), sys.argv[2]).load()
print("holds", flush=True)
sys.stdin.read()
"""


def test_what_a_living_build_has_not_told_of_stays(tmp_path, forget):
    """Neither another build, nor the same one begun again elsewhere, removes what a living process is making."""
    with subprocess.Popen(
        [sys.executable, "-c", LIVE, str(tmp_path), "plan"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as living:
        assert living.stdout.readline() == b"holds\n"
        stage(tmp_path, "plan", 1)
        with pytest.raises(ConflictError, match="another build is writing to this folder"):
            FolderLedger(tmp_path, "plan").load()
        FolderLedger(tmp_path, "other").load()
        assert len(staged(tmp_path)) == 1
        living.stdin.close()
    FolderLedger(tmp_path, "other").load()
    assert staged(tmp_path) == []


def test_builds_that_nobody_goes_on_with_are_cleared_away(tmp_path, forget):
    """A dead build without receipts goes at once, one with receipts after a week; `drop` leaves nothing."""
    for build, days in (("new", 1), ("old", 8)):
        FolderLedger(tmp_path, build).save({"train/0": stage(tmp_path, build, 1)})
        ledger = tmp_path / f".pipeline/staged/{build}/receipts.jsonl"
        os.utime(ledger, (time.time() - days * 86_400,) * 2)
    stage(tmp_path, "dead", 1)
    (tmp_path / ".pipeline/staged/loose-file").write_text("half")
    FolderLedger(tmp_path, "mine").load()
    assert sorted(path.name for path in (tmp_path / ".pipeline/staged").iterdir()) == ["mine", "new"]
    for build in ("mine", "new", "never"):
        FolderLedger(tmp_path, build).drop()
    assert not list(tmp_path.iterdir())
