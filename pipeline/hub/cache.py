"""What never changes, kept on this machine's disk for ever: listings of commits, footers, and for a moment what a branch is.

An entry is a file that only its owner can read, named by a hash of its key and holding that key's hash with its content's:
whatever cannot be read, was cut short, belongs to another key or another version of this format is absent, and asked for
again. Entries appear by renaming. A disk that is full or read-only means no cache, never an error. What one token has
seen is kept under a salted hash of that token, so that no other one is ever served it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout
from huggingface_hub import constants

from pipeline.hub.repo import Secret

Key = tuple[str, ...]

_FORMAT = b"xet-pipeline cache 3\n"
_DIGEST_BYTES = 32
_LONG_BYTES = 1 << 20  # ranges are checked by their CRC, at four times the speed; a flipped bit is found either way
_SALT = "salt"
# Whoever waits longer for another process's answer asks itself: that process may hang.
_LOCK_S = 600.0


def folder() -> Path:
    """Where entries are: XET_PIPELINE_CACHE, else a folder of HF_HOME."""
    found = os.environ.get("XET_PIPELINE_CACHE")
    return Path(found) if found else Path(constants.HF_HOME) / "xet-pipeline"


def owner(token: Secret | None) -> str:
    """Who is served an entry: everybody without a token, otherwise whoever has this one."""
    if token is None:
        return "anonymous"
    return hmac.new(_salt(folder()), token.reveal().encode(), "sha256").hexdigest()


def load(key: Key, *, used: bool = False) -> bytes | None:
    """An entry's content, `None` when there is none that can be trusted. `used` keeps it from being trimmed soon."""
    path = _path(key)
    try:
        data = _read_own(path)
        if used:
            os.utime(path)
    except OSError:
        return None
    begin = len(_FORMAT) + _DIGEST_BYTES
    content = data[begin:]
    return content if data[:begin] == _FORMAT + _digest(key, content) else None


def store(key: Key, content: bytes) -> None:
    """Keep an entry, if the disk lets us."""
    path = _path(key)
    with suppress(OSError):
        _make_private(path.parent)
        handle, written = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # only its owner can read it
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_FORMAT + _digest(key, content) + content)
            Path(written).replace(path)
        except OSError:
            Path(written).unlink(missing_ok=True)


def drop(key: Key) -> None:
    """Forget an entry."""
    with suppress(OSError):
        _path(key).unlink(missing_ok=True)


def trim(kind: str, max_bytes: int) -> None:
    """Leave at most so many bytes of the entries of a kind: those used longest ago go."""
    found = []
    with suppress(OSError):  # a folder that may not be read
        for path in (folder() / kind).glob("*/*"):
            with suppress(OSError):  # another process trims too
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
    held = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if held <= max_bytes:
            return
        with suppress(OSError):
            path.unlink()
        held -= size


@contextmanager
def only_one(key: Key) -> Iterator[None]:
    """Only one process at a time is inside, so that those who start together share one answer.

    Without a disk to lock on, or when another one hangs, all are inside.
    """
    lock = None
    with suppress(OSError, Timeout, NotImplementedError):  # some network disks have no locks
        path = _path(("lock", *key))
        _make_private(path.parent)
        lock = FileLock(path, timeout=_LOCK_S, mode=0o600, thread_local=False)
        lock.acquire(poll_interval=0.05)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _read_own(path: Path) -> bytes:
    """A file's content. Raises OSError for a file that another user put there: it may say anything."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        return file.read()


def _make_private(wanted: Path) -> None:
    """Make a folder of the cache and those above it, each for its owner alone."""
    top = folder()
    top.parent.mkdir(parents=True, exist_ok=True)
    for one in (*reversed([above for above in wanted.parents if above.is_relative_to(top)]), wanted):
        one.mkdir(exist_ok=True, mode=0o700)


def _path(key: Key) -> Path:
    name = _digest(key, b"").hex()
    return folder() / key[0] / name[:2] / name[2:40]


def _digest(key: Key, content: bytes) -> bytes:
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in key:
        text = part.encode("utf-8", "surrogatepass")
        state.update(b"%d:" % len(text) + text)
    state.update(content if len(content) < _LONG_BYTES else b"%d:%d" % (len(content), zlib.crc32(content)))
    return state.digest()


@lru_cache(maxsize=8)
def _salt(top: Path) -> bytes:
    """This machine's salt: made once, kept with the entries, read once. Without a disk, one for this process."""
    path = top / _SALT
    with suppress(OSError):
        if not path.exists():
            _make_private(path.parent)
            handle, written = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_DIGEST_BYTES))
            with suppress(FileExistsError):
                os.link(written, path)  # of two processes one wins, and both read the same
            Path(written).unlink()
        return _read_own(path)
    return _PROCESS_SALT


_PROCESS_SALT = secrets.token_bytes(_DIGEST_BYTES)
