"""A ref -> a Snapshot: the commit, and which files make which config and split.

One request pins the commit, one (paged) lists it, one reads the card. Configs come from the card; without a card, file
names and folders tell the split, as `datasets` reads them (`train-00000-of-00002.parquet`, `data/test/...`).
Patterns of a card stay inside their repo: an absolute path, a `..` or another scheme is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from pipeline.errors import NotFoundError, OptionError
from pipeline.hub import client
from pipeline.hub.card import Card, ConfigEntry, parse_card
from pipeline.hub.repo import DatasetRef, Secret

_HIDDEN = re.compile(r"(?:^|/)[._]")
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARD = re.compile(r"(?:^|/)([\w.]+?)-\d{5,}-of-\d{5,}[^/]*$")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One split of one config, pinned: `ref.revision` is a commit sha. `features` is the card's, `None` when it has none."""

    ref: DatasetRef
    files: tuple[DataFile, ...]
    features: tuple[Any, ...] | None = None

    @property
    def rows_url(self) -> str:
        """What a person reads: `ns/name@sha`, shortened."""
        return f"{self.ref.repo_id}@{(self.ref.revision or '')[:8]}"


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


def resolve(ref: DatasetRef, token: Secret | None) -> Snapshot:
    """The data files of the ref's split (default: `train`) in its config (default: the card's own).

    Raises NotFoundError, listing what exists, for an unknown config or split.
    """
    listing = list_files(ref, token)
    config = pick_config(listing, ref.config)
    splits = splits_of(listing, config)
    split = ref.split or ("train" if "train" in splits else next(iter(splits), "train"))
    if split not in splits:
        raise NotFoundError(f"{listing.ref}: no split {split!r} in config {config.name!r}; {_those(splits)}")
    info = listing.card.info(config.name)
    features = tuple(info["features"]) if info and info.get("features") else None
    pinned = replace(listing.ref, config=config.name, split=split)
    return Snapshot(ref=pinned, files=splits[split], features=features)


def pick_config(listing: Listing, name: str | None) -> ConfigEntry:
    """The card's config of this name, its default one for `None`; without a card, one that holds what file names tell."""
    configs = listing.card.configs
    if not configs:
        if name not in (None, "default"):
            raise NotFoundError(f"{listing.ref}: no config {name!r}; {_those(['default'])}")
        return ConfigEntry(name="default", data_files=())
    if name is None:
        defaults = [config for config in configs if config.default or config.name == "default"]
        if not defaults and len(configs) > 1:
            names = [config.name for config in configs]
            raise NotFoundError(
                f"{listing.ref}: option 'config' is needed, for no config is the default; {_those(names)}"
            )
        return (defaults or list(configs))[0]
    for config in configs:
        if config.name == name:
            return config
    raise NotFoundError(f"{listing.ref}: no config {name!r}; {_those([config.name for config in configs])}")


def splits_of(listing: Listing, config: ConfigEntry) -> dict[str, tuple[DataFile, ...]]:
    """Split name -> its files in path order; a split whose pattern matches nothing is left out."""
    if not config.data_files:
        return _infer_splits(listing.files, config.data_dir)
    splits: dict[str, tuple[DataFile, ...]] = {}
    for split, patterns in config.data_files:
        matchers = [compile_pattern(pattern, about=str(listing.ref)) for pattern in patterns]
        found = [file for file in listing.files if any(matcher.fullmatch(file.path) for matcher in matchers)]
        splits[split] = tuple(sorted(found, key=lambda file: file.path))
    return splits


def compile_pattern(pattern: str, *, about: str) -> re.Pattern[str]:
    """A glob of a card (`*`, `?`, `**`, `[abc]`, `{a,b}`) as a regular expression over paths in the repo.

    Raises OptionError for a pattern that would leave the repo.
    """
    parts = pattern.split("/")
    if "://" in pattern or pattern.startswith("/") or ".." in parts or "\\" in pattern:
        raise OptionError(f"{about}: pattern {pattern!r} leaves the repo; expected a path inside it")
    body = "".join(_translate_glob(pattern.removeprefix("./")))
    return re.compile(body, re.DOTALL)


def _translate_glob(pattern: str) -> Iterable[str]:
    plain = {"**/": r"(?:[^/]+/)*", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    for piece in re.findall(r"\*\*/?|\*|\?|\[[^\]]+\]|\{[^}]*\}|.", pattern, re.DOTALL):
        if piece in plain:
            yield plain[piece]
        elif piece[0] == "[" and len(piece) > 1:
            inner = piece[1:-1].replace("\\", r"\\")
            yield f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
        elif piece[0] == "{" and len(piece) > 1:
            yield "(?:" + "|".join(re.escape(choice) for choice in piece[1:-1].split(",")) + ")"
        else:
            yield re.escape(piece)


def _infer_splits(files: tuple[DataFile, ...], data_dir: str | None) -> dict[str, tuple[DataFile, ...]]:
    prefix = f"{data_dir.strip('/')}/" if data_dir else ""
    data = sorted(
        (f for f in files if f.path.startswith(prefix) and f.path.endswith(".parquet") and not _HIDDEN.search(f.path)),
        key=lambda file: file.path,
    )
    splits: dict[str, list[DataFile]] = {}
    for file in data:
        splits.setdefault(_split_in_name(file.path.removeprefix(prefix)) or "train", []).append(file)
    return {split: tuple(found) for split, found in splits.items()}


def _split_in_name(path: str) -> str | None:
    if sharded := _SHARD.search(path):
        return sharded[1]
    words = set(re.split(r"[^a-z0-9]+", path.lower()))
    for split, names in _SPLIT_WORDS.items():
        if words.intersection(names):
            return split
    return None


def _data_file(entry: dict[str, Any]) -> DataFile:
    lfs = entry.get("lfs") or {}
    return DataFile(
        path=entry["path"],
        size=lfs.get("size", entry["size"]),
        sha256=lfs.get("oid"),
        xet_hash=entry.get("xetHash"),
    )


def _those(names: Iterable[str]) -> str:
    known = ", ".join(repr(name) for name in names)
    return f"those that exist: {known}" if known else "it has none yet"
