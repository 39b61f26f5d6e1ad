"""Files of a folder's next publication, before it: invisible, in a place of their build's own.

A ledger beside them tells which are finished, so that a build that died is gone on with. What nobody goes on with is cleared
away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import ConflictError, SetupError
from pipeline.hub.upload import ShardReceipt, StoredFile
from pipeline.parquet.features import Features
from pipeline.parquet.layout import Layout
from pipeline.parquet.writer import FileWriter

STAGED = ".pipeline/staged"
_RECEIPTS = "receipts.jsonl"
_KEPT_S = 7 * 86_400.0
_HELD: dict[Path, int] = {}
"""The staging places that this process holds a lock on, and the descriptors that it holds them by."""


class _HashedFile:
    """A file being written, and its sha256."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = hashlib.sha256()
        with writing(path):
            self._file = path.open("xb", buffering=0)

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        left = memoryview(data)
        while left:
            with writing(self.path):
                left = left[self._file.write(left) :]
        return len(data)

    def close(self) -> None:
        with writing(self.path):
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class FolderStore:
    """Files into a build's staging place, under names that nobody else uses. What it did not finish, an abort removes."""

    def __init__(self, folder: Path, build: str) -> None:
        self._made = [path for path in (folder, *folder.parents) if not path.exists()][:1]
        self._staged = folder / STAGED / build
        with writing(self._staged):
            self._staged.mkdir(parents=True, exist_ok=True)
        self._open: dict[int, _HashedFile] = {}
        self._receipts: list[ShardReceipt] = []
        self._finished = False

    def prime(self, names: Iterable[str], read: Callable[[str], bytes]) -> None:
        """Nothing deduplicates in a folder."""

    def open(
        self, path: str, schema: pa.Schema, *, layout: Layout, features: Features | None, identity: str = ""
    ) -> FileWriter:
        file = _HashedFile(self._staged / f"{path}-{uuid.uuid4().hex}")
        writer = FileWriter(file, schema, layout=layout, features=features, identity=identity)
        self._open[id(writer)] = file
        return writer

    def end(self, writer: FileWriter) -> None:
        written, file = writer.close(), self._open[id(writer)]
        file.close()
        del self._open[id(writer)]
        stored = StoredFile(
            path=str(file.path),
            sha256=file.sha256.hexdigest(),
            xet_hash="",
            size=written.size,
            new_bytes=written.size,
        )
        self._receipts.append(ShardReceipt(file=stored, rows=written.rows, num_bytes=written.num_bytes))

    def finish(self) -> list[ShardReceipt]:
        self._finished = True
        return self._receipts

    def abort(self) -> None:
        for file in self._open.values():
            file.discard()
        self._open = {}
        if not self._finished:
            for receipt in self._receipts:
                Path(receipt.file.path).unlink(missing_ok=True)
            _remove_empty(self._staged, self._made)


class FolderLedger:
    """The receipts of one build's staged files, in a file beside them (see pipeline/hub/ledger.py).

    Who loads it holds a lock on the staging place until its process ends, or it is dropped.
    """

    def __init__(self, folder: Path, build: str) -> None:
        self._staged = folder / STAGED / build

    def load(self) -> dict[str, ShardReceipt]:
        """Those whose files are there; files of this build that none tells of are removed, and so is what dead builds left.

        Other builds may be gone on with for a week. Raises SetupError, ConflictError while another process is at this build.
        """
        with writing(self._staged):
            self._staged.mkdir(parents=True, exist_ok=True)
            for other in self._staged.parent.iterdir():
                if other != self._staged and _is_dead(other):
                    remove_staged(other)
            if not _hold(self._staged):
                folder = self._staged.parents[2]
                raise ConflictError(
                    f"{folder}: another build is writing to this folder; wait until it ends, then run again"
                )
            found = {key: one for key, one in self._read() if _has_size(Path(one.file.path), one.file.size)}
            named = {_RECEIPTS, *(Path(one.file.path).name for one in found.values())}
            for path in self._staged.iterdir():
                if path.name not in named:
                    path.unlink()
        return found

    def save(self, receipts: Mapping[str, ShardReceipt]) -> None:
        """Remember more of them. Raises SetupError."""
        lines = [json.dumps({"key": key, **_values(receipt)}) + "\n" for key, receipt in receipts.items()]
        with writing(self._staged):
            self._staged.mkdir(parents=True, exist_ok=True)
            with (self._staged / _RECEIPTS).open("a", encoding="utf-8") as file:
                file.write("".join(lines))
                file.flush()
                os.fsync(file.fileno())

    def drop(self) -> None:
        """Remove the staging place."""
        if descriptor := _HELD.pop(self._staged, None):
            os.close(descriptor)
        remove_staged(self._staged)

    def _read(self) -> Iterator[tuple[str, ShardReceipt]]:
        """Keys and receipts, without what a kill left half-written."""
        path = self._staged / _RECEIPTS
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            with suppress(ValueError, TypeError, KeyError):
                values = json.loads(line)
                file = StoredFile(**{**values.pop("file"), "path": str(self._staged / values.pop("name"))})
                yield values.pop("key"), ShardReceipt(file=file, **values)


def _values(receipt: ShardReceipt) -> dict[str, Any]:
    values = asdict(receipt)
    return values | {"name": Path(receipt.file.path).name}


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _hold(staged: Path) -> bool:
    """Lock a build's staging place for this process; whether no other one has it."""
    if (before := _HELD.pop(staged, None)) is not None:
        os.close(before)
    descriptor = os.open(staged, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _HELD[staged] = descriptor
    return True


def _is_dead(staged: Path) -> bool:
    """Whether nobody holds it, and nobody will go on with it."""
    if staged in _HELD:
        return False
    if staged.is_dir() and (staged / _RECEIPTS).exists():
        return time.time() - (staged / _RECEIPTS).stat().st_mtime > _KEPT_S
    descriptor = os.open(staged, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def remove_staged(staged: Path) -> None:
    """Remove a build's folder, or a file of it that lies beside, and the folders around it that are empty then."""
    if staged.is_dir():
        shutil.rmtree(staged, ignore_errors=True)
    else:
        staged.unlink(missing_ok=True)
    _remove_empty(staged, [])


def _remove_empty(staged: Path, more: Sequence[Path]) -> None:
    for around in (staged, staged.parent, staged.parent.parent, *more):
        with suppress(OSError):
            around.rmdir()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A failing disk in one line."""
    try:
        yield
    except OSError as err:
        reason = err.strerror or str(err)
        raise SetupError(
            f"{path}: cannot be written ({reason}); make room or choose another folder, then run again"
        ) from err
