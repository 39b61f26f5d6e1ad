"""A local folder as a target: the same files, card and layout as on the Hub, readable with `load_dataset("./folder")`.

A folder has no commits. New files have unique names and are moved into place first, the card that names them is replaced in
one step after them, what it named before is removed last. One writer at a time. A run's staged files are in a folder of its
own, which it holds a lock on: a run that died holds none, and the next one clears its files away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import SetupError
from pipeline.hub.card import parse_card
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.repo import DatasetRef
from pipeline.hub.split import Mode, SplitWrite, existing_files, split_change
from pipeline.hub.upload import ShardReceipt, StoredFile
from pipeline.parquet.features import Features
from pipeline.parquet.layout import Layout
from pipeline.parquet.writer import FileWriter
from pipeline.storage import FileRef
from pipeline.writing import split_size

_STAGED = ".pipeline/staged"


class _HashedFile:
    """A file being written, and its sha256."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = hashlib.sha256()
        with _writing(path):
            self._file = path.open("xb", buffering=0)

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        left = memoryview(data)
        while left:
            with _writing(self.path):
                left = left[self._file.write(left) :]
        return len(data)

    def close(self) -> None:
        with _writing(self.path):
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


@contextmanager
def staging(folder: Path, run: str) -> Iterator[None]:
    """A run's staging place; what is in it is gone in the end. That of runs that died is cleared away before."""
    mine, is_new = folder / _STAGED / run, not folder.exists()
    with _writing(mine):
        for other in (folder / _STAGED).glob("*"):
            with _locked(other) as dead:
                if dead:
                    _remove(other)
        mine.mkdir(parents=True)
    try:
        with _locked(mine):
            yield
    finally:
        _remove(mine)
        if is_new:
            with suppress(OSError):  # it is not empty: something was published
                folder.rmdir()


@contextmanager
def _locked(staged: Path) -> Iterator[bool]:
    """Hold the lock on a run's folder, which ends with the process; whether it was free."""
    try:
        descriptor = os.open(staged, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _remove(staged: Path) -> None:
    """Remove a run's folder, or a file of it that lies beside, and the folders around it that are empty then."""
    if staged.is_dir():
        shutil.rmtree(staged, ignore_errors=True)
    else:
        staged.unlink(missing_ok=True)
    for around in (staged.parent, staged.parent.parent):
        with suppress(OSError):
            around.rmdir()


class FolderStore:
    """Files into a run's staging place, under names that nobody else uses."""

    def __init__(self, folder: Path, run: str) -> None:
        self._staged = folder / _STAGED / run
        with _writing(self._staged):
            self._staged.mkdir(parents=True, exist_ok=True)
        self._open: dict[int, _HashedFile] = {}
        self._receipts: list[ShardReceipt] = []

    def open(
        self, path: str, schema: pa.Schema, *, layout: Layout, features: Features | None, identity: str = ""
    ) -> FileWriter:
        file = _HashedFile(self._staged / f"{path}-{uuid.uuid4().hex}")
        writer = FileWriter(file, schema, layout=layout, features=features, identity=identity)
        self._open[id(writer)] = file
        return writer

    def end(self, writer: FileWriter) -> None:
        written, file = writer.close(), self._open.pop(id(writer))
        file.close()
        stored = StoredFile(
            path=str(file.path),
            sha256=file.sha256.hexdigest(),
            xet_hash="",
            size=written.size,
            new_bytes=written.size,
        )
        self._receipts.append(ShardReceipt(file=stored, rows=written.rows, num_bytes=written.num_bytes))

    def finish(self) -> list[ShardReceipt]:
        return self._receipts

    def abort(self) -> None:
        for file in self._open.values():
            file.discard()
        self._open = {}


def check_folder(folder: Path) -> None:
    """Raises SetupError when files cannot be put there; makes nothing."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problem = "may not be written to" if nearest.is_dir() else "is not a folder"
        raise SetupError(f"target {str(folder)!r}: {str(nearest)!r} {problem}; choose another folder")


def list_folder(folder: Path) -> Listing:
    """The folder as a listing of a repo; an absent one is empty."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _STAGED not in str(path)]
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return Listing(
        ref=DatasetRef(repo_id=str(folder), endpoint="", revision="folder"),
        files=tuple(DataFile(path=path.relative_to(folder).as_posix(), size=path.stat().st_size) for path in files),
        card=parse_card(text, about=str(folder)),
    )


def folder_refs(folder: Path, files: Sequence[DataFile]) -> tuple[FileRef, ...]:
    """A folder's files as refs that ranges are read from."""
    return tuple(FileRef(uri=str(folder / file.path), size=file.size, content_id=file.path) for file in files)


def publish_folder(folder: Path, write: SplitWrite, receipts: Sequence[ShardReceipt]) -> None:
    """Make staged files a split of the folder."""
    listing = list_folder(folder)
    old = existing_files(listing, write.config, write.split)
    refs = folder_refs(folder, old)
    before = split_size(listing, write.config, write.split, refs, None) if write.mode is Mode.APPEND else None
    staged = [Path(receipt.file.path) for receipt in receipts]
    change = split_change(listing, replace(write, unique_names=bool(old)), receipts, before)
    with _writing(folder):
        for source, file in zip(staged, change.files, strict=True):
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        for path, text in change.texts.items():
            _replace_text(folder / path, text)
        for path in change.deletions:
            (folder / path).unlink(missing_ok=True)
        for place in {path.parent for path in staged}:
            _remove(place)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A failing disk in one line."""
    try:
        yield
    except OSError as err:
        reason = err.strerror or str(err)
        raise SetupError(
            f"{path}: cannot be written ({reason}); make room or choose another folder, then run again"
        ) from err


def _replace_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
