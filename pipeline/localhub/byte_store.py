"""Bytes in files, named by their hash, and durable before anyone is told that they are there.

The one idea: bytes are written under `tmp/`, flushed, renamed to their final name, and the directory is flushed; so a
file under a final name is always whole. What a crash leaves under `tmp/` is thrown away at the next start.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from pipeline.errors import SetupError

BLOCK_BYTES: Final = 1024 * 1024


class ByteStore:
    """The folders `xorbs/`, `lfs/` and `packs/` under a root that one process holds at a time."""

    def __init__(self, root: Path) -> None:
        """SetupError if another process holds the root; OSError if the root cannot be a folder of ours."""
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (root / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(root / "tmp", ignore_errors=True)
            (root / "tmp").mkdir(mode=0o700)
        except BlockingIOError as err:
            self._lock.close()
            raise SetupError(f"{str(root)!r} is already served by another process; stop that one first") from err
        except OSError:
            self._lock.close()
            raise

    def close(self) -> None:
        """Let another process have the root."""
        self._lock.close()

    def path(self, folder: str, name: str) -> Path:
        """Where the bytes called `name` are, or would be; `name` is a hash, never something that a client chose."""
        return self.root / folder / name[:2] / name

    def create(self) -> Draft:
        """Begin to write bytes whose name is not known yet."""
        return Draft(self)

    def read(self, folder: str, name: str, start: int, end: int) -> Iterator[bytes]:
        """Yield bytes [start, end) in blocks of at most BLOCK_BYTES."""
        with self.path(folder, name).open("rb") as file:
            file.seek(start)
            while start < end:
                block = file.read(min(BLOCK_BYTES, end - start))
                if not block:
                    raise EOFError(f"{folder}/{name} ends at {start}, wanted {end}")
                start += len(block)
                yield block

    def discard(self, folder: str, name: str) -> None:
        """Delete bytes that nothing refers to, if they are there."""
        self.path(folder, name).unlink(missing_ok=True)

    def sweep(self, folder: str, known: set[str]) -> None:
        """Delete the files of `folder` that are not in `known`: of a transaction that never was, or of a deleted repo."""
        for path in (self.root / folder).glob("*/*"):
            if path.name not in known:
                path.unlink()


class Draft:
    """A file being written; used with `with`, it leaves nothing behind unless `keep` was called."""

    def __init__(self, store: ByteStore) -> None:
        self._store = store
        self._path = store.root / "tmp" / secrets.token_hex(16)
        self.file: BinaryIO = self._path.open("w+b")

    def flush(self) -> None:
        """Make the bytes durable."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def keep(self, folder: str, name: str) -> None:
        """Give the bytes their name and make both durable."""
        self.flush()
        target = self._store.path(folder, name)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _flush_folder(target.parent.parent)
            _flush_folder(self._store.root)
        self._path.rename(target)
        _flush_folder(target.parent)

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self._path.unlink(missing_ok=True)


def _flush_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
