"""Bytes into Xet storage as they are made: no temporary file, no whole file in memory.

An `Upload` is one hf_xet commit object: it holds a session's uploads, nothing of it is visible on the Hub before a Git
commit names it (commit.py). What it stored comes back as `StoredFile` values; a task that fails or runs twice costs nothing
but deduplicated bytes. One session per process, for hf_xet's objects neither pickle nor survive a fork.

What a machine did not upload itself, it has to discover: hf_xet asks the Hub's index for the first chunk of a file, and then for
one of a thousand, and learns from an answer all that is stored next to that chunk. So a file that is put together from others
begins with `Upload.prime`: their first chunks, as files that no commit ever names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from pipeline.hub import client
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.upload_stream import UploadStream, translate
from pipeline.hub.xet import TOKEN_FIELDS

FIRST_BYTES = 128 << 10
"""Of a file, as much as its first chunk can have; in the layout `blocks` it ends with the first pad, 8,324 bytes from the start.

Measured on mixes of 8 sources by a machine that knows none of them, 177 MB: 87 % is new without priming, 0.3 % with it. Half of
this leaves 34 % of files of another layout; twice as much gains nothing.
"""
MIXED_CHUNKS_PER_RANGE = 4.0
"""Measured on mixes of images of 20 to 60 KB, in blocks of 1, 4 and 16: 65, 19 and 0.6 % is new by hf_xet's own limit of 8; by 4
it is 4.3, 1.3 and 0.6 %. Reading them back takes 2.3, 1.1 and 1.0 times as long, with 20 ms for each request. Less gains nothing.
"""
_PRIME = "prime:"
# A slow network must not fill the memory: hf_xet takes all that it is given, and each upload under way holds up to 64 MB.
# Measured on 600 MB at 20 MB/s: 600 MB of memory without a limit, 351 MB with 2, in the same time.
_UPLOADS_IN_FLIGHT = 2
# What is cut and not sent. Measured on 1 GB of wide rows: 508 MB of memory with it, 590 MB without, in the same time.
_WAITING_BYTES = 32 << 20
_STALLED_S = 10.0
_LOOK_AGAIN_S = 0.005
# Each is read, and asks the index once: two round trips.
_PRIMING_AT_ONCE = 16
_PRIMED: set[tuple[int, float | None, str, str]] = set()
"""Process, limit of fragmentation, storage, name: whose first chunk a session of this process has asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a file is that was not uploaded: a dataset, and its path there."""

    repo_id: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that is in storage but in no commit yet. Sizes in bytes; `new_bytes` is what deduplication left to store.

    `prevented_bytes` of these were known, and stored again because they were too few in a row (`min_chunks_per_range`).
    `origin` is set for a file that the Hub copies (copies.py).
    """

    path: str
    sha256: str
    xet_hash: str
    size: int
    new_bytes: int = 0
    prevented_bytes: int = 0
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReceipt:
    """A stored Parquet file: its rows, `num_bytes` as Arrow holds them, the `folder` that partition columns name (`lang=en/`)."""

    file: StoredFile
    rows: int
    num_bytes: int
    folder: str = ""


class Upload:
    """One session of uploads to one repo. As a context manager it aborts what was not finished.

    `min_chunks_per_range` is how many known chunks in a row hf_xet wants, on average, before it refers to them: fewer means less
    to upload, and more ranges to fetch for who reads (`MIXED_CHUNKS_PER_RANGE`); `None` is its own default.
    `busy_s` is how long it was sending, in seconds.
    """

    def __init__(self, ref: DatasetRef, token: Secret | None, *, min_chunks_per_range: float | None = None) -> None:
        self._ref = ref
        self._limit = min_chunks_per_range
        self.busy_s = 0.0
        self._streams: list[UploadStream] = []
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._commit: Any = None
        url = ref.api_url("xet-write-token" if ref.kind == "buckets" else "xet-write-token/main")
        headers = client.auth_headers(token)
        # The first token is asked for here: of a refusal hf_xet says only that it could not connect.
        first = client.get_json(url, token, *TOKEN_FIELDS, about=ref.full_name)
        self._storage = str(first["casUrl"])
        try:
            self._commit = _session(os.getpid(), self._limit).new_upload_commit(
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

    def prime(self, names: Iterable[str], read: Callable[[str], bytes]) -> None:
        """Let what is opened next deduplicate against files: `read` gives the first `FIRST_BYTES` of one, all of a shorter one.

        It is asked by several threads, for those that no session of this process was primed with: once is enough for all that a
        process uploads. What is stored of them is counted with the first file. Raises what `read` raises, and as `finish`.
        """
        wanted = [name for name in dict.fromkeys(names) if self._primed(name) not in _PRIMED]
        if wanted:
            with ThreadPoolExecutor(_PRIMING_AT_ONCE, thread_name_prefix="prime") as pool:
                list(pool.map(lambda name: self._prime_one(name, read(name)), wanted))

    def _prime_one(self, name: str, first: bytes) -> None:
        from hf_xet import SKIP_SHA256

        try:
            stream = self._commit.start_upload_stream(name=f"{_PRIME}{name}", sha256=SKIP_SHA256)
            stream.write(first)
            stream.finish()
        except Exception as err:
            raise translate(err, name) from err
        _PRIMED.add(self._primed(name))

    def _primed(self, name: str) -> tuple[int, float | None, str, str]:
        return os.getpid(), self._limit, self._storage, name

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
        files = [_stored(stream.path, by_name[stream.path]) for stream in self._streams]
        primed = sum(_stored(name, one).new_bytes for name, one in by_name.items() if name.startswith(_PRIME))
        return [replace(file, new_bytes=file.new_bytes + primed * (not i)) for i, file in enumerate(files)]

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


@lru_cache(maxsize=2)
def _session(_pid: int, min_chunks_per_range: float | None = None) -> Any:
    """The process's hf_xet session: a forked child's process id is another one, and makes it one of its own."""
    from hf_xet import XetConfig, XetSession

    settings: dict[str, Any] = {"client.ac_max_upload_concurrency": _UPLOADS_IN_FLIGHT}
    if min_chunks_per_range is not None:
        settings["deduplication.min_n_chunks_per_range"] = float(min_chunks_per_range)
    return XetSession(XetConfig().with_config(settings))


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
