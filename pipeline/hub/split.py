"""Receipts -> the change that makes them a split: file names, deletions, the card. Pure: a listing in, a `Change` out.

Append adds files and renames none; overwrite replaces the files of this config and split and of no other. The first files
of a split are named as `push_to_hub` names them; later ones carry the transaction, so that writers never collide.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pipeline.errors import ConflictError, NotFoundError, OptionError, SchemaError
from pipeline.hub.card import Card, ConfigEntry, SplitInfo, update_config, update_info, update_section
from pipeline.hub.card_features import merge_features
from pipeline.hub.commit import Change
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.patterns import escape_pattern
from pipeline.hub.resolver import match_files, other_formats, pick_config, splits_of
from pipeline.hub.transactions import Record
from pipeline.hub.upload import ShardReceipt

_SPLIT = re.compile(r"\w+(?:\.\w+)*")
_CONFIG = re.compile(r"[^<>:/\\|?*\s.][^<>:/\\|?*]*")


class Mode(StrEnum):
    """What happens to the rows that the split has."""

    APPEND = "append"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitWrite:
    """What is written where. `features` is the card's YAML form.

    `section` is Markdown for the card, `record` a text for machines; both tell of this write, next to those that it adds to.
    `data_dir` is the folder of the files, "" for the repo itself, instead of `data` or the config's name.
    `writer` names the program; `query` and `batch` are those of a streaming sink. They are remembered with the transaction.
    """

    config: str
    split: str
    mode: Mode
    transaction: str
    features: Sequence[Any] | None
    section: str | None = None
    record: str | None = None
    unique_names: bool = False
    data_dir: str | None = None
    writer: str | None = None
    query: str | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        check_names(self.config, self.split)


def check_names(config: str, split: str) -> None:
    """Raises OptionError for what a config or a split cannot be called."""
    if not _SPLIT.fullmatch(split):
        raise OptionError(f"option 'split' must be words joined by dots, got {split!r}; use letters, digits and _")
    if not _CONFIG.fullmatch(config):
        raise OptionError(f"option 'config' must be a folder's name, got {config!r}; it holds none of <>:/\\|?*")
    if config == "data":
        raise OptionError("option 'config' is 'data', the folder of config 'default'; give it another name")


def config_splits(listing: Listing, config: str) -> dict[str, tuple[DataFile, ...]]:
    """The config's splits and their files; none when there is no such config yet."""
    try:
        return splits_of(listing, pick_config(listing, config))
    except NotFoundError:
        return {}


def existing_files(listing: Listing, config: str, split: str) -> tuple[DataFile, ...]:
    """The files that the split has now; none when config or split do not exist."""
    return config_splits(listing, config).get(split, ())


def check_only_parquet(listing: Listing) -> None:
    """Raises SchemaError when a repo without `configs` in its card has its rows in another format: our card would hide them."""
    if not listing.card.configs:
        _check_format(listing, ConfigEntry(name="default", data_files=()))


def _check_format(listing: Listing, config: ConfigEntry) -> None:
    if formats := other_formats(listing, config):
        raise SchemaError(
            f"{listing.ref.repo_id}: its data is {' and '.join(formats)}, and only Parquet splits can be added to; "
            "convert it to Parquet first, or write to another repo"
        )


def split_change(
    listing: Listing, write: SplitWrite, receipts: Sequence[ShardReceipt], before: SplitInfo | None
) -> Change:
    """The one commit that publishes the receipts. `before` is the size of what an append adds to."""
    old = existing_files(listing, write.config, write.split)
    kept = old if write.mode is Mode.APPEND else ()
    shared = {file.path for _, _, files in _elsewhere(listing, write) for file in files}
    replaced = {file.path for file in old} - shared if not kept else set()
    taken = {file.path for file in listing.files} - replaced
    paths = _paths(write, receipts, fresh=not kept and not write.unique_names, taken=taken)
    files = tuple(replace(receipt.file, path=path) for receipt, path in zip(receipts, paths, strict=True))
    gone = replaced.difference(paths)
    deletions = tuple(file.path for file in old if file.path in gone)
    rows = sum(receipt.rows for receipt in receipts) + (before.num_examples if before and kept else 0)
    num_bytes = sum(receipt.num_bytes for receipt in receipts) + (before.num_bytes if before and kept else 0)
    after = {file.path: file for file in listing.files if file.path not in gone}
    after |= {file.path: DataFile(path=file.path, size=file.size) for file in files}
    card = _keep_others(listing, _with_entry(listing, write), write, paths)
    card = _with_split(card, write, list(after.values()), kept=[file.path for file in kept], paths=paths)
    card = update_info(
        card,
        write.config,
        _features(listing, write),
        {write.split: SplitInfo(num_examples=rows, num_bytes=num_bytes)},
        download_size=_config_size(card, write.config, list(after.values()), str(listing.ref)),
    )
    card = update_section(card, f"{write.config}/{write.split}", write.section, keep=bool(kept))
    records = f".pipeline/writes/{write.config}/{write.split}/"
    texts = {f"{records}{write.transaction}.json": write.record} if write.record is not None else {}
    forgotten = () if kept else tuple(file.path for file in listing.files if file.path.startswith(records))
    return Change(
        files=files,
        texts={**texts, "README.md": card.text()},
        deletions=(*deletions, *forgotten),
        record=_transaction(write, receipts),
    )


def _transaction(write: SplitWrite, receipts: Sequence[ShardReceipt]) -> Record:
    """What the repo remembers of a write."""
    return Record(
        config=write.config,
        split=write.split,
        mode=write.mode.value,
        rows=sum(receipt.rows for receipt in receipts),
        files=len(receipts),
        bytes=sum(receipt.file.size for receipt in receipts),
        new_bytes=sum(receipt.file.new_bytes for receipt in receipts),
        writer=write.writer,
        query=write.query,
        batch=write.batch,
    )


def check_unchanged(listing: Listing, config: str, split: str, planned: Sequence[DataFile]) -> None:
    """Raises ConflictError when the split's files are not those that an overwrite was planned against."""
    if existing_files(listing, config, split) != tuple(planned):
        raise ConflictError(
            f"{listing.ref.repo_id}: split {split!r} of config {config!r} was changed by another writer since this "
            "overwrite began; look at it, then run again"
        )


def _features(listing: Listing, write: SplitWrite) -> Sequence[Any] | None:
    """The config's features: those that its other rows have, and those of columns that are new."""
    splits = config_splits(listing, write.config)
    others = [one for one, files in splits.items() if files and (one != write.split or write.mode is Mode.APPEND)]
    info = listing.card.info(write.config)
    if not others or not info or not info.get("features"):
        return write.features
    return merge_features(info["features"], write.features, config=write.config)


def _elsewhere(listing: Listing, write: SplitWrite) -> Iterator[tuple[ConfigEntry, str, tuple[DataFile, ...]]]:
    """The splits that are not written: config, name, files."""
    for entry in listing.card.configs or (ConfigEntry(name="default", data_files=()),):
        for split, files in splits_of(listing, entry).items():
            if (entry.name, split) != (write.config, write.split):
                yield entry, split, files


def folder_of(config: str, data_dir: str | None) -> str:
    """The folder of a split's files, with a slash; empty for the repo itself."""
    folder = data_dir if data_dir is not None else "data" if config == "default" else config
    return f"{folder}/" if folder else ""


def file_path(folder: str, split: str, receipt: ShardReceipt, name: str) -> str:
    """Where a file goes: the folders of partition columns are in one of the split's name."""
    return f"{folder}{split}/{receipt.folder}{name}" if receipt.folder else f"{folder}{name}"


def _paths(write: SplitWrite, receipts: Sequence[ShardReceipt], *, fresh: bool, taken: Collection[str]) -> list[str]:
    """Where the new files go: the shortest names that no file has which stays."""
    folder, count = folder_of(write.config, write.data_dir), len(receipts)
    names = [f"-{write.transaction[:8]}", f"-{write.transaction}"]
    paths: list[str] = []
    for unique in ["", *names] if fresh else names:
        paths = [
            file_path(folder, write.split, receipt, f"{write.split}{unique}-{i:05d}-of-{count:05d}.parquet")
            for i, receipt in enumerate(receipts)
        ]
        if not any(path in taken for path in paths):
            return paths
    raise ConflictError(f"{paths[0]}: the file exists; run again")


def _exactly(files: Iterable[DataFile]) -> list[str]:
    """The patterns that match these files and no others, ever."""
    return [escape_pattern(file.path) for file in files]


def _with_entry(listing: Listing, write: SplitWrite) -> Card:
    """The card with what file names told so far of the config written down, for our entry hides it."""
    card = listing.card
    names = card.configs or (ConfigEntry(name="default", data_files=()),)
    told = next((entry for entry in names if entry.name == write.config or not card.configs), None)
    if told is None or told.data_files:
        return card
    _check_format(listing, told)
    splits = splits_of(listing, told)
    return (
        update_config(card, told.name, {split: _exactly(files) for split, files in splits.items()}) if splits else card
    )


def _keep_others(listing: Listing, card: Card, write: SplitWrite, paths: Sequence[str]) -> Card:
    """The card in which no split but ours has the new files: one whose patterns would match them names its files of now."""
    grown = replace(listing, card=card, files=(*listing.files, *(DataFile(path=path, size=0) for path in paths)))
    new = set(paths)
    growing: dict[str, list[str]] = {}
    for entry, split, files in _elsewhere(grown, write):
        if not new.isdisjoint(file.path for file in files):
            growing.setdefault(entry.name, []).append(split)
    for entry in card.configs:
        if splits := growing.get(entry.name):
            before = splits_of(listing, entry)
            names = splits if entry.data_files else list(before)
            exact = {split: _exactly(before.get(split, ())) for split in names}
            others = [split for split, _ in entry.data_files if split not in exact]
            if any(exact.values()) or others or entry.name == write.config:
                card = update_config(card, entry.name, exact)
    return card


def _with_split(
    card: Card, write: SplitWrite, after: Sequence[DataFile], *, kept: Sequence[str], paths: Sequence[str]
) -> Card:
    """The card in which the split's patterns match exactly what it keeps and what is new, of the files that there are after."""
    entry = next((entry for entry in card.configs if entry.name == write.config), None)
    patterns = dict(entry.data_files).get(write.split, ()) if entry and kept else ()
    folder = escape_pattern(folder_of(write.config, write.data_dir))
    flat, deep = f"{folder}{write.split}-*", f"{folder}{write.split}/**/{write.split}-*"
    wanted = {*kept, *paths}
    for more in ((), (flat,), (deep,), (flat, deep)):
        tried = tuple(dict.fromkeys((*patterns, *more)))
        if tried and {file.path for file in match_files(after, tried, about=write.config)} == wanted:
            return update_config(card, write.config, {write.split: tried})
    exact = dict.fromkeys((*patterns, *map(escape_pattern, paths)))
    return update_config(card, write.config, {write.split: tuple(exact)})


def _config_size(card: Card, config: str, files: Sequence[DataFile], about: str) -> int:
    entry = next(entry for entry in card.configs if entry.name == config)
    patterns = [pattern for _, patterns in entry.data_files for pattern in patterns]
    return sum(file.size for file in match_files(files, patterns, about=about))
