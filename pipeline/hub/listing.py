"""A ref -> its commit, and all files of that commit with its card.

One request pins a branch to a commit, one (paged) lists it, one reads the card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from pipeline.hub import client
from pipeline.hub.card import Card, parse_card
from pipeline.hub.repo import DatasetRef, Secret


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


def pin(ref: DatasetRef, token: Secret | None) -> DatasetRef:
    """The same ref with its branch or tag replaced by the commit it points to now: one request, none for a full sha."""
    if ref.revision and re.fullmatch(r"[0-9a-f]{40}", ref.revision):
        return ref
    url = ref.api_url(f"revision/{quote(ref.revision or 'main', safe='')}")
    return replace(ref, revision=client.get(url, token, about=str(ref)).json()["sha"])


def list_files(ref: DatasetRef, token: Secret | None) -> Listing:
    """All files of a ref's commit, with its card parsed.

    Raises NotFoundError or AccessError.
    """
    pinned = pin(ref, token)
    url = pinned.api_url(f"tree/{pinned.revision}?recursive=true&expand=false")
    entries = client.get_pages(url, token, about=str(pinned))
    files = tuple(_data_file(entry) for entry in entries if entry["type"] == "file")
    has_card = any(file.path == "README.md" for file in files)
    text = client.get(pinned.file_url("README.md"), token, about=f"{pinned}/README.md").text if has_card else ""
    return Listing(ref=pinned, files=files, card=parse_card(text, about=str(pinned)))


def _data_file(entry: dict[str, Any]) -> DataFile:
    lfs = entry.get("lfs") or {}
    return DataFile(
        path=entry["path"],
        size=lfs.get("size", entry["size"]),
        sha256=lfs.get("oid"),
        xet_hash=entry.get("xetHash"),
    )
