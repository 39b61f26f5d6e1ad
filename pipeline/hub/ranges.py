"""Ranges of files on the Hub, from Xet storage or over HTTP.

Xet (xet.py) is taken where the file is in it. Over HTTP the Hub answers a download with a redirect to storage, signed for a
while: the signed address is asked for once per file and used until shortly before it ends. The Hub's token goes to the Hub
alone, also when the Hub says that a repo has moved. A range that comes back short or long is an error, and so is one of a
bucket's file that is no longer what was listed: Xet storage has the old bytes still, HTTP only those of now.
"""

from __future__ import annotations

import io
import os
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import get_session, hf_raise_for_status

from pipeline.errors import CorruptFileError, DatasetError, OptionError, TransferError
from pipeline.hub import client, retry, xet
from pipeline.hub.repo import DatasetRef, Secret, parse_ref
from pipeline.hub.resolver import Snapshot
from pipeline.storage import ArrowFileReader, FileRef, Meter, RangeReader

Transport = Literal["auto", "xet", "http"]

_REDIRECTS = (301, 302, 303, 307, 308)
_EXPIRED = (401, 403)
_HOPS = 6
# An address may end while a request under it waits to be sent again; more often than this it is something else.
_RENEWALS = 3
_XET_TRIES = 2
_LEFT_S = 10.0


def file_refs(snapshot: Snapshot, transport: Transport = "auto") -> tuple[FileRef, ...]:
    """A snapshot's files as refs that ranges are read from.

    Raises OptionError for an unknown transport, and for `xet` when a file is not in Xet storage.
    """
    if transport not in ("auto", "xet", "http"):
        raise OptionError(f"option 'transport' must be 'auto', 'xet' or 'http', got {transport!r}")
    ref = snapshot.ref
    for file in snapshot.files:
        if transport == "xet" and file.xet_hash is None:
            raise OptionError(f"option 'transport' is 'xet', but {file.path!r} is not in Xet storage; use 'auto'")
    return tuple(
        FileRef(
            uri=ref.uri(file.path),
            size=file.size,
            content_id=file.content_id,
            endpoint=ref.endpoint,
            xet_hash=None if transport == "http" else file.xet_hash,
        )
        for file in snapshot.files
    )


def open_file(file: FileRef, token: Secret | None, meter: Meter | None = None) -> RangeReader:
    """Open a file for range reads, wherever it is; what is asked for is counted on the meter."""
    if not file.uri.startswith("hf://"):
        return ArrowFileReader(file, meter)
    return XetReader(file, token, meter) if file.xet_hash else HttpReader(file, token, meter)


class _ClosedError(Exception):
    """A range that nobody waits for any more."""


@dataclass(slots=True)
class _Address:
    """Where storage has a file, and until when that is signed."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    signed: str | None = None
    good_until: float = 0.0


@lru_cache(maxsize=16_384)
def _address(_url: str, _content_id: str, _token: Secret | None) -> _Address:
    """A file's address, one for all of this process' readers of it, one after the other too."""
    return _Address()


os.register_at_fork(
    after_in_child=_address.cache_clear
)  # a lock that another thread held would stay locked in the child


class HttpReader:
    """Ranges of one file on the Hub over HTTP; threads share the remembered address."""

    def __init__(self, file: FileRef, token: Secret | None, meter: Meter | None = None) -> None:
        ref = parse_ref(file.uri, endpoint=file.endpoint)
        self._url = ref.file_url(ref.path)
        self._about = f"{ref}/{ref.path}"
        self._content = file.content_id if ref.kind == "buckets" else None
        self._token = token
        self._meter = meter or Meter()
        self._address = _address(self._url, file.content_id, token)
        self._closed = threading.Event()

    def read(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        try:
            response, data = self._get({"Range": f"bytes={start}-{end - 1}"})
            hf_raise_for_status(response)
        except (hub_errors.HfHubHTTPError, httpx2.HTTPError) as err:
            raise client.translate(err, self._about) from err
        except _ClosedError as err:
            raise TransferError(f"{self._about}: closed while it was being read") from err
        said = response.headers.get("content-range", f"bytes {start}-")
        if response.status_code == 200:
            data = data[start:end]
        elif not said.startswith(f"bytes {start}-"):
            raise TransferError(f"{self._about}: {said!r} came for range {start}-{end}; try again")
        if len(data) != end - start:
            raise TransferError(f"{self._about}: {len(data)} bytes came for range {start}-{end}; try again")
        return data

    def close(self) -> None:
        """Connections belong to the process; what is on its way is given up at its next piece."""
        self._closed.set()

    def _get(self, wanted: dict[str, str]) -> tuple[httpx2.Response, bytes]:
        stale: str | None = None
        for _ in range(_RENEWALS):
            signed, answer = self._ask_hub(wanted, stale)
            if signed is None:
                assert answer is not None
                return answer
            had_ended = time.time() >= self._address.good_until
            response, data = self._send(signed, wanted, "http")
            renewed, stale = stale is not None and not had_ended, signed
            if response.status_code not in _EXPIRED or renewed:
                break
        return response, data

    def _ask_hub(
        self, wanted: dict[str, str], stale: str | None
    ) -> tuple[str | None, tuple[httpx2.Response, bytes] | None]:
        """The signed address, or the answer of a Hub that has the bytes itself. One thread asks, the others wait for it."""
        address = self._address
        with address.lock:
            if address.signed not in (None, stale) and time.time() < address.good_until:
                return address.signed, None
            url, mine = self._url, client.auth_headers(self._token)
            for _ in range(_HOPS):
                response, data = self._send(url, mine | wanted, "resolve")
                if response.status_code not in _REDIRECTS:
                    self._check_content(response)
                    break
                url = urljoin(url, response.headers["location"])
                if _origin(url) != _origin(self._url):
                    self._check_content(response)
                    address.signed, address.good_until = url, _good_until(url)
                    return url, None
            return None, (response, data)

    def _check_content(self, response: httpx2.Response) -> None:
        """Raises CorruptFileError unless the Hub says that a bucket's file is what it was when it was listed."""
        if self._content is None or response.status_code >= 400:
            return
        said = response.headers.get("x-xet-hash") or response.headers.get("etag", "").removeprefix("W/").strip('"')
        if said != self._content:
            raise CorruptFileError(
                f"{self._about}: was written again since the bucket was listed, its hash is {said or 'unknown'!r} and was "
                f"{self._content!r}; open the bucket again"
            )

    def _send(self, url: str, headers: dict[str, str], kind: str) -> tuple[httpx2.Response, bytes]:
        """The answer and its body, the body read here so that it can be given up."""
        body = io.BytesIO()  # hands its bytes over as they are: pieces joined at the end would be held twice

        def send() -> httpx2.Response:
            body.seek(0)
            body.truncate()
            if self._closed.is_set():
                raise _ClosedError
            plain = headers | {"Accept-Encoding": "identity"}
            with get_session().stream(
                "GET", url, headers=plain, timeout=client.TIMEOUT_S, follow_redirects=False
            ) as response:
                if not response.is_success:
                    response.read()
                    return response
                for piece in response.iter_raw():
                    if self._closed.is_set():
                        raise _ClosedError
                    body.write(piece)
            return response

        response = retry.send_again(send, self._closed)
        self._meter.add(kind, body.tell())
        return response, body.getvalue()


class XetReader:
    """Ranges of one file in Xet storage; what storage will not give is asked for over HTTP, which says why."""

    def __init__(self, file: FileRef, token: Secret | None, meter: Meter | None = None) -> None:
        assert file.xet_hash is not None
        self._hash, self._size = file.xet_hash, file.size
        self._meter = meter or Meter()
        self._http = HttpReader(replace(file, xet_hash=None), token, self._meter)
        self._storage = xet.storage_of(_repo_of(file), token)
        self._closed = threading.Event()

    def read(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        refused = None
        for _ in range(_XET_TRIES):
            if self._closed.is_set():
                break
            try:
                refused, group = self._storage.connect(refused)
                data = b"".join(xet.open_stream(group, self._hash, self._size, start, end))
            except (OSError, RuntimeError, DatasetError):  # hf_xet's own types say no more
                continue
            self._meter.add("xet", len(data))
            if len(data) == end - start:
                return data
        return self._http.read(start, end)

    def close(self) -> None:
        """Ask for nothing more. hf_xet 1.8 cannot give up a range that it has begun; nobody waits for it."""
        self._closed.set()
        self._http.close()


def _repo_of(file: FileRef) -> DatasetRef:
    return replace(parse_ref(file.uri, endpoint=file.endpoint), path="")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _good_until(url: str) -> float:
    """When to stop using a signed address, in seconds since 1970: shortly before it ends; never, where it does not say."""
    said = {name.lower(): values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    try:
        if "expires" in said:
            ends = float(said["expires"])
        else:
            signed_at = datetime.strptime(said["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            ends = signed_at.timestamp() + float(said["x-amz-expires"])
    except (KeyError, ValueError):
        return float("inf")
    return ends - min(_LEFT_S, (ends - time.time()) / 4)
