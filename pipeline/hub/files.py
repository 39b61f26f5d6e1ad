"""A file by its path, seekable, for what reads files: PyAV, tarfile, zipfile.

The path is looked up in a listing that is kept, ranges come through ranges.py. What is read in a row is fetched ahead, in blocks
that grow, and never more of it than was read in a row already: a seek begins anew with a small block, so random reads cost
about what they use. Blocks behind the position are let go.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from pyarrow import fs

from pipeline.errors import NotFoundError, OptionError
from pipeline.hub import client
from pipeline.hub.listing import DataFile, list_files, pin
from pipeline.hub.ranges import file_refs, open_file
from pipeline.hub.repo import DatasetRef, Secret, find_token, parse_ref
from pipeline.hub.resolver import Snapshot
from pipeline.storage import FileRef, file_system, translate

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PREFETCH_BYTES = 32 << 20
_SMALL = 64 << 10  # a range of Xet storage costs the 64 KB chunks that it touches
_LARGE = 4 << 20
_IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class Block:
    """The bytes [start, end), there or on their way."""

    start: int
    end: int
    data: Future[bytes]


def open_path(
    path: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    prefetch_bytes: int = PREFETCH_BYTES,
) -> io.BufferedReader:
    """Open a file to read bytes from it: `hf://datasets/ns/name[@revision]/path`, `hf://buckets/ns/name/path`, a path of this
    machine, `s3://...` or `gs://...`.

    `prefetch_bytes` are held in memory or on their way at most; one that reads in a row has so many fetched ahead in the end.
    At a commit's sha a path whose commit was listed on this machine costs no request before its bytes.
    Raises NotFoundError, also for a folder, AccessError, OptionError; TransferError here or while reading.
    """
    if not path.startswith("hf://"):
        if revision is not None or endpoint is not None:
            raise OptionError(f"options 'revision' and 'endpoint' are for paths on the Hub, got {path!r}")
        return open_ref(_local_file(path), None, prefetch_bytes)
    ref = parse_ref(path, revision=revision, endpoint=endpoint)
    if not ref.path:
        raise OptionError(f"{path!r} names no file; expected '{ref.uri('path')}'")
    secret = find_token(ref.endpoint, token)
    return open_ref(_hub_file(ref, secret), secret, prefetch_bytes)


def open_ref(file: FileRef, token: Secret | None, prefetch_bytes: int = PREFETCH_BYTES) -> io.BufferedReader:
    """Open a file that was found already."""
    if isinstance(prefetch_bytes, bool) or not isinstance(prefetch_bytes, int) or prefetch_bytes < 0:
        raise OptionError(f"prefetch_bytes must be a whole number of bytes, at least 0, got {prefetch_bytes!r}")
    return io.BufferedReader(PrefetchFile(file, token, prefetch_bytes), _SMALL)


def _local_file(path: str) -> FileRef:
    """A file that is not on the Hub."""
    filesystem, inside = file_system(path)
    try:
        info = filesystem.get_file_info(inside)
    except OSError as err:
        raise translate(err, path) from err
    if info.type != fs.FileType.File:
        raise NotFoundError(
            f"{path!r}: {'a folder, not a file' if info.type == fs.FileType.Directory else 'no such file'}"
        )
    return FileRef(uri=path, size=info.size, content_id=path)


def _hub_file(ref: DatasetRef, token: Secret | None) -> FileRef:
    repo = replace(ref, path="")
    if ref.kind == "buckets":
        names = _find_in_bucket(repo, ref.path, token)
    else:
        repo = pin(repo, token)
        names = _files(repo, token)
    if ref.path not in names:
        is_folder = any(name.startswith(f"{ref.path}/") for name in names)
        raise NotFoundError(f"{ref}/{ref.path}: {'a folder, name a file in it' if is_folder else 'no such file'}")
    return file_refs(Snapshot(ref=repo, files=(names[ref.path],)))[0]


@lru_cache(maxsize=8)
def _files(pinned: DatasetRef, token: Secret | None) -> Mapping[str, DataFile]:
    return {file.path: file for file in list_files(pinned, token).files}


def _find_in_bucket(repo: DatasetRef, path: str, token: Secret | None) -> Mapping[str, DataFile]:
    """The file at a path of a bucket, else what begins with it: one request for what a listing of all may need many."""
    found: dict[str, DataFile] = {}
    url = repo.api_url(f"tree/{quote(path, safe='')}?recursive=true")
    for entry in client.get_pages(url, token, about=str(repo)):
        if entry["type"] == "file":
            found[entry["path"]] = DataFile(path=entry["path"], size=entry["size"], xet_hash=entry["xetHash"])
        if entry["path"] == path:
            break
    return found


class PrefetchFile(io.RawIOBase):
    """A file in blocks; `_blocks` are neighbours, in order, the first one holds the position or what was read last."""

    def __init__(self, file: FileRef, token: Secret | None, prefetch_bytes: int) -> None:
        self.name = file.uri
        self._file, self._token = file, token
        self._most = prefetch_bytes
        self._blocks: deque[Block] = deque()
        self._at = self._begun = self._pid = 0
        self._attach()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check_open()
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        if at < 0:
            raise ValueError(f"negative seek position {at}")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._check_open()
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._file.size - self._at)
        if wanted <= 0:
            return 0
        if self._pid != os.getpid():  # neither threads nor hf_xet survive a fork
            self._attach()
        block = self._plan(wanted)
        try:
            data = block.data.result()
        except BaseException:
            self._forget()  # who reads again asks again
            raise
        start = self._at - block.start
        piece = memoryview(data)[start : start + wanted]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        left = max(0, self._file.size - self._at)
        data = bytearray(left)
        view = memoryview(data)
        done = 0
        while done < left:
            done += self.readinto(view[done:])
        return bytes(data)

    def close(self) -> None:
        """Give up what is on its way."""
        if not self.closed and self._pid:
            self._forget()
            self._reader.close()
            self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _attach(self) -> None:
        self._blocks.clear()
        self._reader = open_file(self._file, self._token)
        self._pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="read-ahead")
        self._pid = os.getpid()

    def _plan(self, wanted: int) -> Block:
        """The block at the position; what is wanted after it, and as much as was read in a row, is on its way then."""
        while self._blocks and self._blocks[0].end < self._at:  # one that ends here stays: tarfile looks one byte back
            self._blocks.popleft()
        if not self._blocks or self._blocks[0].start > self._at:
            self._forget()
            self._begun = self._at
        run = self._at - self._begun
        reach = min(self._at + max(wanted, min(run, self._most)), self._file.size)
        end = self._blocks[-1].end if self._blocks else self._at
        while end < reach:
            stop = min(end + self._length(run, self._at + wanted - end), self._file.size)
            held = stop - (self._blocks[0].start if self._blocks else end)
            if end > self._at and (held > self._most or stop > reach):
                break
            self._blocks.append(Block(end, stop, self._pool.submit(self._reader.read, end, stop)))
            end = stop
        return next(block for block in self._blocks if block.end > self._at)

    def _length(self, run: int, wanted: int) -> int:
        """How long the next block is: half of what was read in a row, or what is wanted now, within bounds."""
        return min(max(run // 2, wanted, _SMALL), max(_SMALL, min(_LARGE, self._most // _IN_FLIGHT)))

    def _forget(self) -> None:
        for block in self._blocks:
            block.data.cancel()
        self._blocks.clear()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
