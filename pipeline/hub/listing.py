"""A ref -> its commit, and all files of that commit with its card.

One request pins a branch to a commit; then the (paged) listing and the card are asked for at the same time. A commit never
changes, so its listing is kept on disk for ever, and who knows the commit sends no request at all. What a branch points to is
asked again by every job; only processes that start together share one answer.
"""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from pipeline.errors import NotFoundError
from pipeline.hub import cache, client
from pipeline.hub.card import Card, parse_card
from pipeline.hub.repo import DatasetRef, Secret

_PINNED: set[cache.Key] = set()
"""The branches that this process has asked for: who asks twice wants to know anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file at a commit: `size` in bytes; hashes in hex, `None` where the Hub stores the file in git itself."""

    path: str
    size: int
    sha256: str | None = None
    xet_hash: str | None = None

    @property
    def content_id(self) -> str:
        """What names the content for ever: the Xet hash, else the sha256, else the path."""
        return self.xet_hash or self.sha256 or self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All files of a repo at a commit, and its card."""

    ref: DatasetRef
    files: tuple[DataFile, ...]
    card: Card

    @property
    def commit(self) -> str:
        """The commit's sha."""
        assert self.ref.revision is not None
        return self.ref.revision


def pin(ref: DatasetRef, token: Secret | None, *, ttl_s: float = 0.0) -> DatasetRef:
    """The same ref with its branch or tag replaced by the commit it points to now: one request, none for a full sha.

    With `ttl_s`, an answer that another process got less than so many seconds ago is as good, once per process and ref.
    """
    if ref.revision and re.fullmatch(r"[0-9a-f]{40}", ref.revision):
        return ref
    key = _branch_key(ref, token)
    if ttl_s <= 0 or key in _PINNED:
        return replace(ref, revision=_ask_commit(ref, token))
    _PINNED.add(key)
    with cache.only_one(key):
        sha = _fresh_commit(cache.load(key), ttl_s)
        if sha is None:
            sha = _ask_commit(ref, token)
            cache.store(key, json.dumps({"sha": sha, "asked_at": time.time()}).encode())
    return replace(ref, revision=sha)


def forget_branch(ref: DatasetRef, token: Secret | None) -> None:
    """Let no process be served what a branch was before the commit that we just made."""
    cache.drop(_branch_key(ref, token))


def list_files(ref: DatasetRef, token: Secret | None, *, ttl_s: float = 0.0) -> Listing:
    """All files of a ref's commit, with its card parsed; `ttl_s` as in `pin`.

    Raises NotFoundError or AccessError.
    """
    pinned = pin(ref, token, ttl_s=ttl_s)
    assert pinned.revision is not None
    key = ("listing", cache.owner(token), pinned.endpoint, pinned.repo_id, pinned.revision)
    content = cache.load(key)
    if content is None:
        with cache.only_one(key):
            content = cache.load(key)
            if content is None:
                content = _ask_files(pinned, token)
                cache.store(key, content)
    kept = json.loads(content)
    files = tuple(DataFile(path=path, size=size, sha256=sha, xet_hash=xet) for path, size, sha, xet in kept["files"])
    return Listing(ref=pinned, files=files, card=parse_card(kept["card"], about=str(pinned)))


def _branch_key(ref: DatasetRef, token: Secret | None) -> cache.Key:
    return "branch", cache.owner(token), ref.endpoint, ref.repo_id, ref.revision or "main"


def _fresh_commit(content: bytes | None, ttl_s: float) -> str | None:
    if content is None:
        return None
    kept = json.loads(content)
    return str(kept["sha"]) if 0 <= time.time() - kept["asked_at"] < ttl_s else None


def _ask_commit(ref: DatasetRef, token: Secret | None) -> str:
    url = ref.api_url(f"revision/{quote(ref.revision or 'main', safe='')}")
    return str(client.get(url, token, about=str(ref)).json()["sha"])


def _ask_files(pinned: DatasetRef, token: Secret | None) -> bytes:
    """A commit's files and card as they are kept: JSON, a list per file."""
    url = pinned.api_url(f"tree/{pinned.revision}?recursive=true&expand=false")
    with ThreadPoolExecutor(1) as pool:
        card = pool.submit(_ask_card, pinned, token)
        entries = client.get_pages(url, token, about=str(pinned))
        files = [_as_kept(entry) for entry in entries if entry["type"] == "file"]
        return json.dumps({"files": files, "card": card.result()}).encode()


def _ask_card(pinned: DatasetRef, token: Secret | None) -> str:
    try:
        return client.get(pinned.file_url("README.md"), token, about=f"{pinned}/README.md").text
    except NotFoundError:
        return ""


def _as_kept(entry: dict[str, Any]) -> tuple[str, int, str | None, str | None]:
    lfs = entry.get("lfs") or {}
    return entry["path"], lfs.get("size", entry["size"]), lfs.get("oid"), entry.get("xetHash")
