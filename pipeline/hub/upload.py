"""Bytes into Xet storage as they are made: no temporary file, no whole file in memory.

An `Upload` is one hf_xet commit object: it holds a session's uploads, nothing of it is visible on the Hub before a Git
commit names it (commit.py). What it stored comes back as `StoredFile` values; a task that fails or runs twice costs nothing
but deduplicated bytes. One session per process, for hf_xet's objects neither pickle nor survive a fork.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Self

from pipeline.errors import AccessError, DatasetError, SetupError, TransferError
from pipeline.hub import client
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.xet import TOKEN_FIELDS

_PIECE = 2 << 20
_PIECES_SENDING = 2
# A slow network must not fill the memory: hf_xet takes all that it is given, and each upload under way holds up to 64 MB.
# Measured on 600 MB at 20 MB/s: 600 MB of memory without a limit, 351 MB with 2, in the same time.
_UPLOADS_IN_FLIGHT = 2
# What is cut and not sent. Measured on 1 GB of wide rows: 508 MB of memory with it, 590 MB without, in the same time.
_WAITING_BYTES = 32 << 20
_STALLED_S = 10.0
_LOOK_AGAIN_S = 0.005
_REFUSED = re.compile(r"HTTP status client error \((401|403)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that is in storage but in no commit yet. Sizes in bytes; `new_bytes` is what deduplication left to store."""

    path: str
    sha256: str
    xet_hash: str
    size: int
    new_bytes: int = 0
    prevented_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReceipt:
    """A stored Parquet file: its rows, `num_bytes` as Arrow holds them, the `folder` that partition columns name (`lang=en/`)."""

    file: StoredFile
    rows: int
    num_bytes: int
    folder: str = ""


class UploadStream:
    """A file being uploaded: what is written to it goes into storage. Looks enough like a file for `pa.PythonFile`.

    Pieces are cut, hashed and sent in another thread, one after the other, while the next is made. `waited_s` is how long the
    writer had to wait for that.
    """

    def __init__(self, path: str, stream: Any, submit: Callable[[Callable[[], None]], Future[None]]) -> None:
        self.path = path
        self.size = 0
        self.closed = False
        self.waited_s = 0.0
        self._stream = stream
        self._submit = submit
        self._piece = bytearray()
        self._sending: deque[Future[None]] = deque()

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PIECE):
            self._piece += view[start : start + _PIECE]
            if len(self._piece) >= _PIECE:
                self._send()
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing that a reader could see before the file is closed."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """The end of the file. Its hashes are known after `Upload.finish`."""
        if not self.closed:
            self.closed = True
            self._send()
            self._settle(0)
            begun = time.perf_counter()
            self._translated(self._stream.finish)
            self.waited_s += time.perf_counter() - begun

    def _send(self) -> None:
        piece, self._piece = bytes(self._piece), bytearray()
        if piece:
            self._settle(_PIECES_SENDING - 1)
            self._sending.append(self._submit(partial(self._stream.write, piece)))

    def _settle(self, left: int) -> None:
        """Wait until no more than `left` pieces are being sent."""
        begun = time.perf_counter()
        while len(self._sending) > left:
            self._translated(self._sending.popleft().result)
        self.waited_s += time.perf_counter() - begun

    def _translated(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as err:
            raise translate(err, self.path) from err


class Upload:
    """One session of uploads to one repo. As a context manager it aborts what was not finished.

    `busy_s` is how long it was sending, in seconds.
    """

    def __init__(self, ref: DatasetRef, token: Secret | None) -> None:
        self._ref = ref
        self.busy_s = 0.0
        self._streams: list[UploadStream] = []
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._commit: Any = None
        url = ref.api_url("xet-write-token" if ref.kind == "buckets" else "xet-write-token/main")
        headers = client.auth_headers(token)
        # The first token is asked for here: of a refusal hf_xet says only that it could not connect.
        first = client.get_json(url, token, *TOKEN_FIELDS, about=ref.full_name)
        try:
            self._commit = _session(os.getpid()).new_upload_commit(
                endpoint=first["casUrl"],
                token=first["accessToken"],
                token_expiry_unix_secs=first["exp"],
                token_refresh_url=url,
                token_refresh_headers=headers,
                custom_headers={"user-agent": headers["user-agent"]},
            )
        except Exception as err:
            raise translate(err, ref.full_name) from err

    def open(self, path: str) -> UploadStream:
        """Start the upload of one file; `path` is its place in the repo."""
        try:
            begun = self._commit.start_upload_stream(name=path)
        except Exception as err:
            raise translate(err, path) from err
        stream = UploadStream(path, begun, self._submit)
        self._streams.append(stream)
        return stream

    def _submit(self, send: Callable[[], None]) -> Future[None]:
        return self._sender.submit(self._work, send)

    def _work(self, send: Callable[[], None]) -> None:
        """Send a piece, but let no more pile up than can be sent; what hinders it for long, hf_xet tells at the next write."""
        commit, begun = self._commit, time.perf_counter()
        seen, since = -1, begun
        while commit is not None and time.perf_counter() - since < _STALLED_S:
            progress = commit.progress()
            done = progress.total_transfer_bytes_completed
            if progress.total_transfer_bytes - done <= _WAITING_BYTES:
                break
            if done != seen:
                seen, since = done, time.perf_counter()
            time.sleep(_LOOK_AGAIN_S)
        send()
        self.busy_s += time.perf_counter() - begun

    def finish(self) -> list[StoredFile]:
        """Wait until all is stored; the files in the order they were opened.

        Raises TransferError, AccessError, or SetupError.
        """
        commit, self._commit = self._commit, None
        self._sender.shutdown()
        begun = time.perf_counter()
        try:
            report = commit.wait_to_finish()
        except Exception as err:
            raise translate(err, self._ref.full_name) from err
        self.busy_s += time.perf_counter() - begun
        by_name = {one.tracking_name: one for one in report.uploads.values()}
        return [_stored(stream.path, by_name[stream.path]) for stream in self._streams]

    def abort(self) -> None:
        """Drop what is under way."""
        if self._commit is not None:
            commit, self._commit = self._commit, None
            commit.abort()
            self._sender.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


@lru_cache(maxsize=1)
def _session(_pid: int) -> Any:
    """The process's hf_xet session: a forked child's process id is another one, and makes it one of its own."""
    from hf_xet import XetConfig, XetSession

    return XetSession(XetConfig().with_config({"client.ac_max_upload_concurrency": _UPLOADS_IN_FLIGHT}))


def _stored(path: str, upload: Any) -> StoredFile:
    info, dedup = upload.xet_info, upload.dedup_metrics
    return StoredFile(
        path=path,
        sha256=info.sha256,
        xet_hash=info.hash,
        size=info.file_size,
        new_bytes=dedup.new_bytes if dedup else info.file_size,
        prevented_bytes=dedup.defrag_prevented_dedup_bytes if dedup else 0,
    )


def translate(err: Exception, about: str) -> DatasetError:
    """hf_xet's error as ours. Its types say little (RuntimeError), so the class comes from the few that do.

    A status is in the text only; an OSError that is no ConnectionError is about the folder where it keeps what is on its way.
    """
    from hf_xet import XetAuthenticationError

    reason = str(err).replace("\n", " ")[:300]
    if isinstance(err, DatasetError):
        return err
    if isinstance(err, (XetAuthenticationError, PermissionError)) or _REFUSED.search(reason):
        return AccessError(f"{about}: the Hub refused the upload ({reason}); give a token with write access")
    if isinstance(err, OSError) and not isinstance(err, (ConnectionError, TimeoutError)):
        return SetupError(
            f"{about}: hf_xet cannot write to its cache folder ({reason}); it needs one with some room that this process may "
            "write to: set HF_XET_CACHE or HF_HOME to it, on every executor"
        )
    return TransferError(
        f"{about}: the upload to Xet storage failed ({reason}); run again, what is stored is not sent again"
    )
