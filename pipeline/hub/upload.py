"""Bytes into Xet storage as they are made: no temporary file, no whole file in memory.

An `Upload` is one hf_xet commit object: it holds a session's uploads, nothing of it is visible on the Hub before a Git
commit names it (commit.py). What it stored comes back as `StoredFile` values; a task that fails or runs twice costs nothing
but deduplicated bytes. One session per process, for hf_xet's objects neither pickle nor survive a fork.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from pipeline.errors import AccessError, DatasetError, TransferError
from pipeline.hub import client
from pipeline.hub.repo import DatasetRef, Secret, check_writable
from pipeline.hub.xet import TOKEN_FIELDS

_PIECE = 4 << 20
# A slow network must not fill the memory: hf_xet takes all that it is given, and each upload under way holds up to 64 MB.
# Measured on 600 MB at 20 MB/s: 600 MB of memory without a limit, 351 MB with 2, in the same time.
_UPLOADS_IN_FLIGHT = 2


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
    """A stored Parquet file: its rows, and `num_bytes` as Arrow holds them."""

    file: StoredFile
    rows: int
    num_bytes: int


class UploadStream:
    """A file being uploaded: what is written to it goes into storage. Looks enough like a file for `pa.PythonFile`."""

    def __init__(self, path: str, stream: Any) -> None:
        self.path = path
        self.size = 0
        self.closed = False
        self._stream = stream

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), _PIECE):
                self._stream.write(bytes(view[start : start + _PIECE]))
        except Exception as err:
            raise translate(err, self.path) from err
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing waits: every write has gone to hf_xet."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """The end of the file. Its hashes are known after `Upload.finish`."""
        if not self.closed:
            self.closed = True
            try:
                self._stream.finish()
            except Exception as err:
                raise translate(err, self.path) from err


class Upload:
    """One session of uploads to one repo. As a context manager it aborts what was not finished."""

    def __init__(self, ref: DatasetRef, token: Secret | None) -> None:
        check_writable(ref)
        self._ref = ref
        self._streams: list[UploadStream] = []
        self._commit: Any = None
        url = ref.api_url("xet-write-token/main")
        headers = client.auth_headers(token)
        # The first token is asked for here: of a refusal hf_xet says only that it could not connect.
        first = client.get_json(url, token, *TOKEN_FIELDS, about=ref.repo_id)
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
            raise translate(err, ref.repo_id) from err

    def open(self, path: str) -> UploadStream:
        """Start the upload of one file; `path` is its place in the repo."""
        stream = UploadStream(path, self._commit.start_upload_stream(name=path))
        self._streams.append(stream)
        return stream

    def finish(self) -> list[StoredFile]:
        """Wait until all is stored; the files in the order they were opened.

        Raises TransferError or AccessError.
        """
        commit, self._commit = self._commit, None
        try:
            report = commit.wait_to_finish()
        except Exception as err:
            raise translate(err, self._ref.repo_id) from err
        by_name = {one.tracking_name: one for one in report.uploads.values()}
        return [_stored(stream.path, by_name[stream.path]) for stream in self._streams]

    def abort(self) -> None:
        """Drop what is under way."""
        if self._commit is not None:
            commit, self._commit = self._commit, None
            commit.abort()

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
    """hf_xet's error as ours. Its types say little (RuntimeError), so the class comes from the few that do."""
    from hf_xet import XetAuthenticationError

    reason = str(err).replace("\n", " ")[:300]
    if isinstance(err, DatasetError):
        return err
    if isinstance(err, (XetAuthenticationError, PermissionError)):
        return AccessError(f"{about}: the Hub refused the upload ({reason}); give a token with write access")
    return TransferError(
        f"{about}: the upload to Xet storage failed ({reason}); run again, what is stored is not sent again"
    )
