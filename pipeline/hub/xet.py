"""Ranges of files from Xet storage: one read token per repo, no question to the Hub per file or range.

A token is good for a while (an hour on the Hub), and for all files of its repo. It is kept where only its owner can read
it, so that a user's processes share one, and is renewed before it ends or when storage refuses it. hf_xet tells refusals,
absent files and broken networks apart only in its messages, and those are not for programs: whatever fails here is asked
again under another token, and then over HTTP (ranges.py), whose status says what was wrong.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from pipeline.hub import cache, client
from pipeline.hub.repo import DatasetRef, Secret

# hf_xet fetches ahead within a stream, up to gigabytes; our ranges are bounded, and we have several under way.
_MEMORY = {
    "reconstruction.min_reconstruction_fetch_size": "16mb",
    "reconstruction.min_prefetch_buffer": "16mb",
    "reconstruction.download_buffer_perfile_size": "32mb",
    "reconstruction.download_buffer_size": "128mb",
    "reconstruction.download_buffer_limit": "256mb",
    "client.ac_initial_download_concurrency": 16,
}
TOKEN_FIELDS = ("casUrl", "accessToken", "exp")
# A token is renewed when a minute of it is left, or a quarter where it lives shorter.
_LEFT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class XetToken:
    """A read token for one repo. It is a secret that lives an hour."""

    cas_url: str
    access_token: str
    asked_at: float
    expires_at: float

    def is_good(self) -> bool:
        """Whether it can still be used for a while."""
        left = min(_LEFT_S, (self.expires_at - self.asked_at) / 4)
        return time.time() < self.expires_at - left

    def __repr__(self) -> str:
        return f"XetToken(cas_url={self.cas_url!r}, access_token=***, expires_at={self.expires_at})"


class XetStorage:
    """A repo's Xet storage, as this process reads it; threads share it."""

    def __init__(self, ref: DatasetRef, token: Secret | None) -> None:
        self._ref, self._hub_token = replace(ref, path=""), token
        self._lock = threading.Lock()
        self._token: XetToken | None = None
        self._group: Any = None

    def connect(self, refused: XetToken | None = None) -> tuple[XetToken, Any]:
        """A good token and hf_xet's connection under it; a new one when storage `refused` the last.

        Raises what asking the Hub for a token raises.
        """
        with self._lock:
            if self._token is None or self._token == refused or not self._token.is_good():
                self._token = _shared_token(self._ref, self._hub_token, refused)
                self._group = _session(os.getpid()).new_download_stream_group(
                    endpoint=self._token.cas_url,
                    token=self._token.access_token,
                    # It refuses a token of which half a minute is left, and knows nobody to ask for another: we renew, not it.
                    token_expiry_unix_secs=int(self._token.expires_at + _LEFT_S),
                    custom_headers={"user-agent": client.auth_headers(None)["user-agent"]},
                )
            return self._token, self._group


def open_stream(group: Any, xet_hash: str, size: int, start: int, end: int) -> Iterator[bytes]:
    """The pieces of one range of a file, as they come."""
    from hf_xet import XetFileInfo

    pieces: Iterator[bytes] = group.download_stream(XetFileInfo(xet_hash, size), start=start, end=end)
    return pieces


def storage_of(ref: DatasetRef, token: Secret | None) -> XetStorage:
    """The one connection of this process to a repo's storage."""
    return _storage(os.getpid(), replace(ref, path="", config=None, split=None), token)


@lru_cache(maxsize=1024)
def _storage(_pid: int, ref: DatasetRef, token: Secret | None) -> XetStorage:
    return XetStorage(ref, token)


@lru_cache(maxsize=1)
def _session(_pid: int) -> Any:
    """The process's hf_xet session: a forked child's process id is another one, and makes it one of its own."""
    from hf_xet import XetConfig, XetSession

    return XetSession(XetConfig().with_config(_MEMORY))


def _shared_token(ref: DatasetRef, token: Secret | None, refused: XetToken | None) -> XetToken:
    """A token that a process of this user asked for and is still good, else a new one."""
    key = ("xet-token", cache.owner(token), ref.endpoint, ref.full_name)
    with cache.only_one(key):
        kept = _read_token(cache.load(key))
        if kept is not None and kept.is_good() and kept != refused:
            return kept
        asked_at = time.time()
        route = "xet-read-token" if ref.kind == "buckets" else f"xet-read-token/{ref.revision or 'main'}"
        said = client.get_json(ref.api_url(route), token, *TOKEN_FIELDS, about=ref.full_name)
        found = XetToken(
            cas_url=said["casUrl"], access_token=said["accessToken"], asked_at=asked_at, expires_at=float(said["exp"])
        )
        cache.store(key, json.dumps(asdict(found)).encode())
        return found


def _read_token(content: bytes | None) -> XetToken | None:
    return XetToken(**json.loads(content)) if content else None
