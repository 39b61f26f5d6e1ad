"""A ref -> a Snapshot: the commit, and which files make which config and split.

Configs come from the card; without a card, file names and folders tell the split, by the rules of `datasets`
(`data/train-00000-of-00002.parquet`, then `.../test/...`, then `...-test.parquet`, then all is `train`): the first rule
that finds a file is the one that holds.
Patterns of a card stay inside their repo: an absolute path, a `..` or another scheme is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import NotFoundError
from pipeline.hub.card import ConfigEntry
from pipeline.hub.formats import PARQUET, formats_of
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.patterns import compile_pattern, escape_pattern, is_plain
from pipeline.hub.repo import DatasetRef, Secret

_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARDED = re.compile(r"data/([^/]*)-\d{5}-of-\d{5}[^/]*\.[^/]*")
# Between a split's word and the rest of a name; `datasets` has the same.
_SEP = "[-._ 0-9]"
_NOT_DATA = frozenset(
    ("README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dummy_data.zip", "dataset_dict.json")
)


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


def resolve(ref: DatasetRef, token: Secret | None) -> Snapshot:
    """The data files of the ref's split (default: `train`) in its config (default: the card's own).

    Raises NotFoundError, listing what exists, for an unknown config or split.
    """
    listing = list_files(ref, token)
    config = pick_config(listing, ref.config)
    splits = splits_of(listing, config)
    split = ref.split or ("train" if "train" in splits else next(iter(splits), "train"))
    if split not in splits:
        formats = [] if splits else other_formats(listing, config)
        known = f"its data is {' and '.join(formats)}, and only Parquet can be read" if formats else _those(splits)
        raise NotFoundError(f"{listing.ref}: no split {split!r} in config {config.name!r}; {known}")
    if not splits[split]:
        raise NotFoundError(
            f"{listing.ref}: split {split!r} of config {config.name!r} has no files; check its patterns in README.md"
        )
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
    """Split name -> its files in path order; none for a split whose patterns match nothing."""
    about = str(listing.ref)
    if not config.data_files:
        return _infer_splits(listing.files, config.data_dir or "", about)
    return {split: match_files(listing.files, patterns, about=about) for split, patterns in config.data_files}


def other_formats(listing: Listing, config: ConfigEntry) -> list[str]:
    """The formats of a config without `data_files`, where the most common is not Parquet: `datasets` takes that one for all."""
    if config.data_files:
        return []
    splits = _infer_splits(listing.files, config.data_dir or "", str(listing.ref), endings=("",))
    found = formats_of(file.path for files in splits.values() for file in files)
    return found if found[:1] != [PARQUET] else []


def match_files(files: Iterable[DataFile], patterns: Iterable[str], *, about: str) -> tuple[DataFile, ...]:
    """The files that the patterns name, in path order; hidden ones and `__folders__` only where a pattern spells them out."""
    compiled = {pattern: compile_pattern(pattern, about=about) for pattern in patterns}
    # A card may name thousands of files one by one: these are looked up, not matched one against each other.
    globs = [(pattern, matcher) for pattern, matcher in compiled.items() if not is_plain(pattern)]
    found = [
        file
        for file in files
        if file.path in compiled
        or any(matcher.fullmatch(file.path) and _is_asked_for(file.path, one) for one, matcher in globs)
    ]
    return tuple(sorted(found, key=lambda file: file.path))


def _is_asked_for(path: str, pattern: str) -> bool:
    """Whether a path that matches is also meant: as many hidden parts and `__folders__` as the pattern names itself."""

    def special(text: str) -> tuple[int, int]:
        parts = [part for part in text.split("/") if part != "."]
        return sum(part.startswith(".") for part in parts), sum(part.startswith("__") for part in parts[:-1])

    name = path.rsplit("/", 1)[-1]
    return special(path) == special(pattern) and (name not in _NOT_DATA or name == pattern.rsplit("/", 1)[-1])


def _infer_splits(
    files: Sequence[DataFile], data_dir: str, about: str, endings: Sequence[str] = (".parquet",)
) -> dict[str, tuple[DataFile, ...]]:
    compile_pattern(data_dir, about=about)
    prefix = f"{data_dir}/" if data_dir else ""
    data = [f for f in files if any(f.path.endswith(ending) for ending in endings)]
    inside = {file.path.removeprefix(prefix): file for file in data if file.path.startswith(prefix)}
    sharded = {found[1] for path in inside if (found := _SHARDED.fullmatch(path))}
    if sharded:
        names = [split for split in _SPLIT_WORDS if split in sharded]
        names += sorted(sharded.difference(names))
        digits = "[0-9]" * 5
        rules = [{name: [f"data/{escape_pattern(name)}-{digits}-of-{digits}*.*"] for name in names}]
    else:
        rules = [
            {split: [one for word in words for one in rule(word)] for split, words in _SPLIT_WORDS.items()}
            for rule in (_in_folders, _in_names)
        ]
    for rule in [*rules, {"train": ["**"]}]:
        splits = {
            split: match_files(data, [f"{escape_pattern(prefix)}{one}" for one in patterns], about=about)
            for split, patterns in rule.items()
        }
        if any(splits.values()):
            return {split: found for split, found in splits.items() if found}
    return {}


def _in_folders(word: str) -> list[str]:
    return [f"**/{name}/**" for name in (word, f"{word}{_SEP}*", f"*{_SEP}{word}", f"*{_SEP}{word}{_SEP}*")]


def _in_names(word: str) -> list[str]:
    return [f"**/{word}{_SEP}*", f"**/*{_SEP}{word}{_SEP}*"]


def _those(names: Iterable[str]) -> str:
    known = ", ".join(repr(name) for name in names)
    return f"those that exist: {known}" if known else "it has none yet"
