"""A ref -> its commit, and all files of that commit with its card.

One request pins a branch to a commit; then the (paged) listing and the card are asked for at the same time. A commit never
changes, so its listing is kept on disk for ever, and who knows the commit sends no request at all. What a branch points to is
asked again by every job; only processes that start together share one answer.

A bucket has no commits: its listing, whose files have content hashes, is pinned by a digest of itself, and is asked for again
by every job. The content of such a file is read by its hash (ranges.py), whatever stands at its path meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from operator import itemgetter
from typing import Any
from urllib.parse import quote

from pipeline.errors import ConflictError, DatasetError, NotFoundError, OptionError
from pipeline.hub import cache, client
from pipeline.hub.card import Card, parse_card
from pipeline.hub.repo import DatasetRef, Secret

_PINNED: set[cache.Key] = set()
"""The branches that this process has asked for: who asks twice wants to know anew."""
_CARD = "README.md"
_BUCKET_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file at a commit: `size` in bytes; hashes in hex, `None` where the Hub stores the file in git itself.

    `oid` is git's own, of the file or of what stands for it there; `None` where there is no git.
    """

    path: str
    size: int
    sha256: str | None = None
    xet_hash: str | None = None
    oid: str | None = None

    @property
    def content_id(self) -> str:
        """What names the content for ever: the Xet hash, else the sha256, else the path."""
        return self.xet_hash or self.sha256 or self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitInfo:
    """A commit of a branch's history: its full sha, and when it was made, in UTC."""

    sha: str
    title: str
    date: datetime
    authors: tuple[str, ...]


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

    With `ttl_s`, an answer that a process of this machine got less than so many seconds ago is as good. Who asks for the second
    time wants to know anew: then only an answer that somebody asked for in the meantime is.
    """
    if ref.revision and re.fullmatch(r"[0-9a-f]{40}", ref.revision):
        return ref
    if ttl_s <= 0:
        return replace(ref, revision=_ask_commit(ref, token))
    key = _branch_key(ref, token)
    since = time.time() - (0 if key in _PINNED else ttl_s)
    _PINNED.add(key)
    with cache.only_one(key):
        sha = _commit_asked(cache.load(key), since)
        if sha is None:
            asked_at = time.time()
            sha = _ask_commit(ref, token)
            cache.store(key, json.dumps({"sha": sha, "asked_at": asked_at}).encode())
    return replace(ref, revision=sha)


def pin_at(ref: DatasetRef, token: Secret | None, when: datetime) -> DatasetRef:
    """The same ref at the last commit of its branch that was there at `when`.

    Raises NotFoundError when the branch had none yet, OptionError for a bucket.
    """
    first = None
    for one in list_commits(ref, token):
        first = one.date
        if first <= when:
            return replace(ref, revision=one.sha)
    since = f"; its first commit is of {first.isoformat()}" if first else ""
    raise NotFoundError(f"{ref}: no commit is as old as {when.isoformat()}{since}")


def list_commits(ref: DatasetRef, token: Secret | None) -> Iterator[CommitInfo]:
    """The commits of the ref's branch, newest first, asked for as they are needed. Raises OptionError for a bucket."""
    if ref.kind == "buckets":
        raise OptionError(f"'hf://{ref}' is a bucket, which has no history: neither commits nor a timestamp to read at")
    url = ref.api_url(f"commits/{quote(ref.revision or 'main', safe='')}")
    for entry in client.get_pages(url, token, about=str(ref)):
        authors = tuple(str(one.get("user", "")) for one in entry.get("authors") or ())
        date = datetime.fromisoformat(entry["date"])
        yield CommitInfo(sha=entry["id"], title=str(entry.get("title") or ""), date=date, authors=authors)


def forget_branch(ref: DatasetRef, token: Secret | None) -> None:
    """Let no process be served what a branch was before the commit that we just made."""
    cache.drop(_branch_key(ref, token))


def list_files(
    ref: DatasetRef,
    token: Secret | None,
    *,
    ttl_s: float = 0.0,
    meanwhile: Callable[[DatasetRef], object] | None = None,
) -> Listing:
    """All files of a ref's commit, with its card parsed; `ttl_s` as in `pin`. While the Hub lists a commit that this machine does
    not know, `meanwhile` gets it ready to be read, in a thread that is not waited for.

    Raises NotFoundError or AccessError.
    """
    pinned = pin(ref, token, ttl_s=ttl_s)
    assert pinned.revision is not None
    key = _listing_key(pinned, token)
    content = cache.load(key)
    if content is None:
        with cache.only_one(key):
            content = cache.load(key)
            if content is None:
                if meanwhile is not None:
                    threading.Thread(target=_try, args=(meanwhile, pinned), daemon=True).start()
                content = _ask_files(pinned, token)
                cache.store(key, content)
    kept = json.loads(content)
    files = tuple(
        DataFile(path=path, size=size, sha256=sha, xet_hash=xet, oid=oid) for path, size, sha, xet, oid in kept["files"]
    )
    return Listing(ref=pinned, files=files, card=parse_card(kept["card"], about=str(pinned)))


def _try(meanwhile: Callable[[DatasetRef], object], pinned: DatasetRef) -> None:
    """Getting ready may fail: what goes wrong is met again, and reported, by who reads."""
    with suppress(DatasetError, OSError, RuntimeError):
        meanwhile(pinned)


def _branch_key(ref: DatasetRef, token: Secret | None) -> cache.Key:
    return "branch", cache.owner(token), ref.endpoint, ref.full_name, ref.revision or "main"


def _listing_key(pinned: DatasetRef, token: Secret | None) -> cache.Key:
    return "listing", cache.owner(token), pinned.endpoint, pinned.full_name, pinned.revision or ""


def _commit_asked(content: bytes | None, since: float) -> str | None:
    """The commit that an entry tells, if it was asked for after `since`."""
    if content is None:
        return None
    kept = json.loads(content)
    return str(kept["sha"]) if since <= kept["asked_at"] <= time.time() else None


def _ask_commit(ref: DatasetRef, token: Secret | None) -> str:
    if ref.kind == "buckets":
        content = _ask_bucket(ref, token)
        cache.store(_listing_key(replace(ref, revision=_digest(content)), token), content)
        return _digest(content)
    url = ref.api_url(f"revision/{quote(ref.revision or 'main', safe='')}")
    return str(client.get_json(url, token, "sha", about=str(ref))["sha"])


def _ask_files(pinned: DatasetRef, token: Secret | None) -> bytes:
    """A commit's files and card as they are kept: JSON, a list per file."""
    if pinned.kind == "buckets":
        content = _ask_bucket(pinned, token)
        if _digest(content) != pinned.revision:
            raise NotFoundError(f"{pinned}: the bucket has changed since it was listed; open it again")
        return content
    url = pinned.api_url(f"tree/{pinned.revision}?recursive=true&expand=false")
    with ThreadPoolExecutor(1) as pool:
        card = pool.submit(_ask_card, pinned, token)
        entries = client.get_pages(url, token, about=str(pinned))
        files = [_as_kept(entry) for entry in entries if entry["type"] == "file"]
        return json.dumps({"files": files, "card": card.result()}).encode()


def _ask_bucket(ref: DatasetRef, token: Secret | None) -> bytes:
    """A bucket's files and card; listed again when somebody writes the card in between."""
    for _ in range(_BUCKET_TRIES):
        entries = client.get_pages(ref.api_url("tree?recursive=true"), token, about=str(ref))
        files = sorted((_as_kept(entry) for entry in entries if entry["type"] == "file"), key=itemgetter(0))
        content_hash = next((xet_hash for path, _, _, xet_hash, _ in files if path == _CARD), None)
        if content_hash is None:
            return json.dumps({"files": files, "card": ""}).encode()
        try:
            response = client.get(ref.file_url(_CARD), token, about=f"{ref}/{_CARD}")
        except NotFoundError:
            continue
        if content_hash in [one.headers.get("x-xet-hash") for one in (*response.history, response)]:
            return json.dumps({"files": files, "card": response.text}).encode()
    raise ConflictError(f"{ref}: {_CARD} changed each time the bucket was listed; try again later")


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=20).hexdigest()


def _ask_card(pinned: DatasetRef, token: Secret | None) -> str:
    try:
        return client.get(pinned.file_url(_CARD), token, about=f"{pinned}/{_CARD}").text
    except NotFoundError:
        return ""


def _as_kept(entry: dict[str, Any]) -> tuple[str, int, str | None, str | None, str | None]:
    lfs = entry.get("lfs") or {}
    return entry["path"], lfs.get("size", entry["size"]), lfs.get("oid"), entry.get("xetHash"), entry.get("oid")
