"""Ranges of files on the Hub, over HTTP.

The Hub answers a download with a redirect to storage, signed for a while. The signed address is asked for once per file and
used until storage refuses it. The Hub's token goes to the Hub alone, also when the Hub says that a repo has moved. A range that
comes back short or long is an error.
"""

from __future__ import annotations

import threading
from urllib.parse import urljoin, urlsplit

import httpx2
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import hf_raise_for_status, http_backoff

from pipeline.errors import TransferError
from pipeline.hub import client
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.resolver import Snapshot
from pipeline.storage import ArrowFileReader, FileRef, RangeReader

_REDIRECTS = (301, 302, 303, 307, 308)
_EXPIRED = (401, 403)
_HOPS = 6


def file_refs(snapshot: Snapshot) -> tuple[FileRef, ...]:
    """A snapshot's files as refs that ranges are read from."""
    ref = snapshot.ref
    return tuple(
        FileRef(
            uri=f"hf://datasets/{ref.repo_id}@{ref.revision}/{file.path}",
            size=file.size,
            content_id=file.content_id,
            endpoint=ref.endpoint,
        )
        for file in snapshot.files
    )


def open_file(file: FileRef, token: Secret | None) -> RangeReader:
    """Open a file for range reads, wherever it is."""
    return HubFileReader(file, token) if file.uri.startswith("hf://") else ArrowFileReader(file)


class HubFileReader:
    """Ranges of one file on the Hub; threads share the remembered address."""

    def __init__(self, file: FileRef, token: Secret | None) -> None:
        ref = parse_ref(file.uri, endpoint=file.endpoint)
        self._url = ref.file_url(ref.path)
        self._about = f"{ref}/{ref.path}"
        self._token = token
        self._signed: str | None = None
        self._lock = threading.Lock()

    def read(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        try:
            response = self._get(start, end)
        except (hub_errors.HfHubHTTPError, httpx2.HTTPError) as err:
            raise client.translate(err, self._about) from err
        data = response.content
        if response.status_code == 200 and len(data) > end - start:
            data = data[start:end]
        if len(data) != end - start:
            raise TransferError(f"{self._about}: {len(data)} bytes came for range {start}-{end}; try again")
        return data

    def close(self) -> None:
        """Nothing is held: connections belong to the process."""

    def _get(self, start: int, end: int) -> httpx2.Response:
        wanted = {"Range": f"bytes={start}-{end - 1}"}
        signed = self._signed
        response = _ask_storage(signed, wanted) if signed else None
        if response is None or response.status_code in _EXPIRED:
            signed, response = self._ask_hub(wanted, stale=signed)
        response = response if response is not None else _ask_storage(signed or self._url, wanted)
        hf_raise_for_status(response)
        return response

    def _ask_hub(self, wanted: dict[str, str], *, stale: str | None) -> tuple[str | None, httpx2.Response | None]:
        """The signed address, or the answer of a Hub that has the bytes itself. One thread asks, the others wait for it."""
        with self._lock:
            if self._signed not in (None, stale):
                return self._signed, None
            url, mine = self._url, client.auth_headers(self._token)
            for _ in range(_HOPS):
                response = http_backoff(
                    "GET", url, headers=mine | wanted, timeout=client.TIMEOUT_S, follow_redirects=False
                )
                if response.status_code not in _REDIRECTS:
                    break
                url = urljoin(url, response.headers["location"])
                if _origin(url) != _origin(self._url):
                    self._signed = url
                    return url, None
            return None, response


def _ask_storage(signed: str, wanted: dict[str, str]) -> httpx2.Response:
    return http_backoff("GET", signed, headers=wanted, timeout=client.TIMEOUT_S)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
