"""Files by URI: a range of bytes from one, a sink to one, the list that a pattern names.

Local paths and any file system that pyarrow knows (`s3://`, `gs://`). Files on the Hub have the same interface in
`pipeline.hub.ranges`, which falls back to here for every other scheme.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote

import pyarrow as pa
from pyarrow import fs

from pipeline.errors import AccessError, NotFoundError, TransferError

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRef:
    """A file that ranges are read from: `size` in bytes, `content_id` names its content for ever.

    `endpoint` is set for `hf://datasets/ns/name@commit/path`, and only there; `xet_hash` where it can be read from Xet storage.
    """

    uri: str
    size: int
    content_id: str
    endpoint: str | None = None
    xet_hash: str | None = None

    @property
    def is_hashed(self) -> bool:
        """Whether `content_id` is a hash of the content, so that what was read can be kept under it."""
        return self.endpoint is not None and not self.uri.endswith(f"/{self.content_id}")

    @property
    def content(self) -> str:
        """What names the content, wherever the file lies: its hash, or for a file without one its size and when it changed."""
        return self.content_id.removeprefix(f"{self.uri}:")


class Meter:
    """Counts what is asked for: requests by kind, bytes that came, and those of them that were wanted. Threads share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.bytes_fetched = 0
        self.bytes_used = 0

    def add(self, kind: str, num_bytes: int = 0) -> None:
        """Count a request."""
        with self._lock:
            self.requests[kind] += 1
            self.bytes_fetched += num_bytes

    def use(self, num_bytes: int) -> None:
        """Count bytes that were wanted."""
        with self._lock:
            self.bytes_used += num_bytes


class RangeReader(Protocol):
    """Random reads in one open file; safe to call from several threads at once."""

    def read(self, start: int, end: int) -> bytes:
        """The bytes [start, end): exactly that many, or an error."""
        ...

    def close(self) -> None:
        """Give back what is open, and give up what is on its way."""
        ...


def is_uri(text: str) -> bool:
    """Whether `text` starts with a scheme."""
    return bool(_SCHEME.match(text))


class ArrowFileReader:
    """Ranges of a file on a pyarrow file system."""

    def __init__(self, file: FileRef, meter: Meter | None = None) -> None:
        filesystem, path = file_system(file.uri)
        self._uri = file.uri
        self._meter = meter or Meter()
        try:
            self._file = filesystem.open_input_file(path)
        except OSError as err:
            raise translate(err, file.uri) from err

    def read(self, start: int, end: int) -> bytes:
        try:
            data = self._file.read_at(end - start, start)
        except OSError as err:
            raise translate(err, self._uri) from err
        if len(data) != end - start:
            raise TransferError(f"{self._uri}: {len(data)} bytes came for range {start}-{end}; the file was cut short")
        self._meter.add("file", len(data))
        return bytes(data)

    def close(self) -> None:
        self._file.close()


def file_system(uri: str) -> tuple[Any, str]:
    """The pyarrow file system of a URI or local path, and the path in it."""
    if uri.startswith("file://"):
        uri = unquote(uri.removeprefix("file://"))
    if not is_uri(uri):
        return fs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
    try:
        # Arrow's parser of URIs refuses spaces and brackets that people write in them.
        filesystem, path = fs.FileSystem.from_uri(quote(uri, safe="%/:?&=+@,;~!$'()*"))
    except (OSError, pa.ArrowInvalid) as err:
        raise NotFoundError(
            f"{uri!r}: no file system for it ({_reason(err)}); expected a path, s3:// or gs://"
        ) from err
    return filesystem, path


def expand(patterns: Iterable[str]) -> list[FileRef]:
    """The Parquet files that paths, folders and globs name, in path order per pattern, hidden ones left out.

    Raises NotFoundError for a pattern that names none.
    """
    found: dict[str, FileRef] = {}
    for pattern in patterns:
        matched = sorted(_expand_one(pattern), key=lambda file: file.uri)
        if not matched:
            raise NotFoundError(f"{pattern!r}: no such Parquet file or folder")
        found.update((file.uri, file) for file in matched)
    return list(found.values())


def is_changed(file: FileRef) -> bool:
    """Whether a file that `expand` found has another size or time now; of others, nothing is known."""
    if not file.content_id.startswith(f"{file.uri}:"):
        return False
    filesystem, path = file_system(file.uri)
    try:
        return _file_ref(file.uri, filesystem.get_file_info(path)) != file
    except OSError as err:
        raise translate(err, file.uri) from err


def _expand_one(pattern: str) -> list[FileRef]:
    filesystem, path = file_system(pattern)
    try:
        root, glob = _split_glob(filesystem, path)
        info = filesystem.get_file_info(root)
        if info.type == fs.FileType.NotFound:
            return []
        if info.type == fs.FileType.File:
            return [] if glob else [_file_ref(pattern, info)]
        entries = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    except OSError as err:
        raise translate(err, pattern) from err
    below = len(root.rstrip("/")) + 1
    files = [e for e in entries if e.type == fs.FileType.File and not re.search(r"(?:^|/)[._]", e.path[below:])]
    shape = glob or ["**", "*.parquet"]
    return [_file_ref(pattern, entry) for entry in files if _match_parts(entry.path[below:].split("/"), shape)]


def _split_glob(filesystem: Any, path: str) -> tuple[str, list[str]]:
    """A path's literal beginning, and the parts of the glob after it. What exists under its name is no glob."""
    parts = path.split("/")
    for i, part in enumerate(parts):
        if _GLOB.search(part):
            literal = "/".join(parts[: i + 1])
            if filesystem.get_file_info(literal).type == fs.FileType.NotFound:
                return "/".join(parts[:i]) or "/", parts[i:]
    return path or "/", []


def _match_parts(path: list[str], pattern: list[str]) -> bool:
    """Whether a path has the shape of a glob; `*` stays within one folder, `**` does not."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return _match_parts(path, pattern[1:]) or bool(path and _match_parts(path[1:], pattern))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _match_parts(path[1:], pattern[1:])


def _file_ref(pattern: str, info: Any) -> FileRef:
    """A file found by a pattern: its URI has the pattern's scheme and query (`?endpoint_override=...`)."""
    scheme = _SCHEME.match(pattern)
    uri = info.path
    if scheme and scheme[0] != "file://":
        query = pattern.partition("?")[2]
        uri = scheme[0] + quote(uri) + (f"?{query}" if query else "")
    changed = info.mtime_ns or 0
    return FileRef(uri=uri, size=info.size, content_id=f"{uri}:{info.size}:{changed}")


def translate(err: OSError, uri: str) -> Exception:
    """A file system's error as ours, in one line."""
    if isinstance(err, FileNotFoundError):
        return NotFoundError(f"{uri!r}: no such file")
    if isinstance(err, PermissionError):
        return AccessError(f"{uri!r}: may not be read ({_reason(err)}); check its permissions or your credentials")
    return TransferError(f"{uri!r}: could not be read ({_reason(err)})")


def _reason(err: Exception) -> str:
    return str(err).replace("\n", " ")[:200]
