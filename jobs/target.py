"""Where a mix goes, a repo, a bucket or a folder: looked at before anything is built."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import ConflictError, NotFoundError, SchemaError
from pipeline.folder import check_folder, folder_refs, list_folder
from pipeline.hub.bucket import list_target, target_refs
from pipeline.hub.ledger import Ledger, open_ledger
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.ranges import open_file
from pipeline.hub.repo import DatasetRef, Secret, find_token, normalise_endpoint, parse_ref
from pipeline.hub.split import Mode, check_only_parquet, existing_files
from pipeline.hub.transactions import read_text
from pipeline.mix.provenance import FILE_NAME, known_blocks
from pipeline.mix.recipe import Recipe
from pipeline.mix.schema import keep_features
from pipeline.mix.sources import OpenSource
from pipeline.parquet.features import Features, features_of, from_yaml
from pipeline.parquet.footer import read_footer
from pipeline.permutation import digest
from pipeline.sizes import counted
from pipeline.staging import FolderLedger, FolderStore
from pipeline.storage import FileRef
from pipeline.writing import HubStore, ShardStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A repo, a bucket or a folder. `planned` are the files that each split of the mix has now, `refs` the same to read from.

    `head` is the commit that it has now, `new` a repo that does not exist yet; `features` are those that the card tells of the
    mix's config; `records` what is remembered of the mixes that its splits are made of, `block_tables` where their blocks are
    from; `min_chunks` is hf_xet's limit of fragmentation.
    """

    ref: DatasetRef | None
    folder: Path | None
    token: Secret | None
    mode: Mode
    planned: Mapping[str, tuple[DataFile, ...]]
    refs: tuple[FileRef, ...]
    head: str | None
    new: bool
    features: Features
    records: tuple[Mapping[str, Any], ...] = ()
    block_tables: tuple[FileRef, ...] = ()
    min_chunks: float | None = None

    @property
    def has_rows(self) -> bool:
        """Whether one of the mix's splits has files."""
        return any(self.planned.values())

    @property
    def state(self) -> str | None:
        """What names what is in it now: its commit, or where there are none, a hash of the files of the mix's splits."""
        if self.ref is not None and self.ref.kind == "datasets":
            return self.head
        files = sorted(
            (split, file.path, file.size, file.content_id) for split, found in self.planned.items() for file in found
        )
        return digest((repr(files),), 16).hex()

    def store(self, plan_id: str) -> ShardStore:
        """A place for a task's files."""
        if self.folder is not None:
            return FolderStore(self.folder, plan_id)
        assert self.ref is not None
        return HubStore(self.ref, self.token, min_chunks_per_range=self.min_chunks)

    def ledger(self, plan_id: str) -> Ledger:
        """What is stored of a plan already."""
        if self.folder is not None:
            return FolderLedger(self.folder, plan_id)
        assert self.ref is not None
        return open_ledger(self.ref, self.token, plan_id)

    def known_blocks(self) -> frozenset[str]:
        """The names of the blocks that the mixes in it have, which are stored."""

        def content(file: FileRef) -> bytes:
            reader = open_file(file, self.token)
            try:
                return bytes(reader.read(0, file.size))
            finally:
                reader.close()

        return known_blocks(map(content, self.block_tables))

    def holds(self, plan_id: str) -> bool:
        """Whether the target has what this plan makes, in every split."""
        held = {record.get("split") for record in self.records if record.get("plan_id") == plan_id}
        return bool(held) and held >= self.planned.keys()


def open_target(recipe: Recipe, endpoint: str | None, mode: Mode | None) -> Target:
    """Look at the target.

    Raises ConflictError for a folder of somebody else's files, SchemaError for one with data in other formats, SetupError for a
    folder that cannot be one. Whether it may have rows, `check_mode` says.
    """
    token = find_token(normalise_endpoint(endpoint))
    folder = Path(recipe.target).absolute() if recipe.target.startswith(("/", ".")) else None
    ref = None if folder else parse_ref(recipe.target, endpoint=endpoint)
    listing = _list_target(ref, folder, token)
    planned: dict[str, tuple[DataFile, ...]] = {}
    refs: tuple[FileRef, ...] = ()
    if listing is not None:
        check_only_parquet(listing)
        if folder and mode is not Mode.APPEND:
            _check_ours(recipe.target, listing)
        planned = {split: existing_files(listing, recipe.config, split) for split in split_names(recipe)}
        files = tuple(file for found in planned.values() for file in found)
        refs = folder_refs(folder, files) if folder else target_refs(listing, files)
    info = (listing.card.info(recipe.config) if listing else None) or {}
    return Target(
        ref=ref,
        folder=folder,
        token=token,
        mode=mode or Mode.OVERWRITE,
        planned=planned,
        refs=refs,
        head=listing.commit if listing and ref else None,
        new=listing is None,
        features=from_yaml(info.get("features") or ()),
        records=_read_records(recipe, listing, folder, token, planned) if listing else (),
        block_tables=_block_tables(recipe, listing) if listing and not folder else (),
    )


def split_names(recipe: Recipe) -> list[str]:
    """The splits that a recipe makes."""
    return [name for name, _ in recipe.splits] or [recipe.split]


def check_mode(recipe: Recipe, target: Target, mode: Mode | None) -> None:
    """Raises ConflictError when a split has rows and `mode` does not say what to do with them."""
    if mode is None and target.has_rows:
        raise ConflictError(not_empty(recipe, target))


def not_empty(recipe: Recipe, target: Target) -> str:
    """What to say of a target that has rows."""
    split, files = next((split, files) for split, files in target.planned.items() if files)
    return (
        f"target {recipe.target!r} has {counted(len(files), 'file')} in split {split!r} of config {recipe.config!r}; "
        "pass --overwrite to replace them, or --append to add to them"
    )


def _list_target(ref: DatasetRef | None, folder: Path | None, token: Secret | None) -> Listing | None:
    """What the target has now; `None` for a repo that does not exist."""
    if folder is not None:
        check_folder(folder)
        return list_folder(folder)
    assert ref is not None
    try:
        return list_target(ref, token)
    except NotFoundError:
        return None


def _read_records(
    recipe: Recipe,
    listing: Listing,
    folder: Path | None,
    token: Secret | None,
    planned: Mapping[str, Sequence[DataFile]],
) -> tuple[Mapping[str, Any], ...]:
    """The records of the builds whose files are all there still."""
    found = []
    for split, files in planned.items():
        key = "sha256" if all(file.sha256 for file in files) else "size"  # buckets and folders tell no hashes
        there = Counter(str(getattr(file, key)) for file in files)
        for file in listing.files:
            if not file.path.startswith(f".pipeline/writes/{recipe.config}/{split}/"):
                continue
            text = (
                (folder / file.path).read_text("utf-8", "replace") if folder else read_text(listing, file.path, token)
            )
            record = _record(text)
            if record is not None and Counter(str(one.get(key)) for one in record["files"]) <= there:
                found.append(record)
    return tuple(found)


def _record(text: str | None) -> Mapping[str, Any] | None:
    """A build's record; `None` for what is none, or was damaged: then nothing is known of the build."""
    try:
        record = json.loads(text or "{}")
    except ValueError:
        return None
    files = record.get("files") if isinstance(record, dict) else None
    is_one = bool(files) and isinstance(files, list) and all(isinstance(one, dict) for one in files)
    return record if is_one else None


def _block_tables(recipe: Recipe, listing: Listing) -> tuple[FileRef, ...]:
    below = f"mix/{recipe.config}/"
    tables = [file for file in listing.files if file.path.startswith(below) and file.path.endswith(f"/{FILE_NAME}")]
    return target_refs(listing, tables)


def _check_ours(target: str, listing: Listing) -> None:
    """Raises ConflictError for a folder with Parquet files and no card that names any: they are somebody's, not a dataset."""
    found = [file.path for file in listing.files if file.path.endswith(".parquet")]
    if found and not listing.card.configs:
        raise ConflictError(
            f"target {target!r} holds {len(found)} Parquet files ({found[0]!r}) that no README.md there names, and they would "
            "be replaced; choose an empty folder, or pass --append to add to them"
        )


def check_sources(target: Target, sources: Sequence[OpenSource]) -> None:
    """Raises ConflictError when an overwrite would delete files that the mix is made of."""
    if target.folder is None or target.mode is not Mode.OVERWRITE:
        return
    doomed = {os.path.realpath(target.folder / file.path) for files in target.planned.values() for file in files}
    for source in sources:
        for file in source.files:
            if file.file.endpoint is None and os.path.realpath(file.file.uri) in doomed:
                raise ConflictError(
                    f"target {str(target.folder)!r}: --overwrite would delete {file.file.uri!r}, which source {source.name!r} "
                    "reads; choose another folder"
                )


def check_append(target: Target, schema: pa.Schema, features: Features | None) -> Features | None:
    """The features to append with: those that the split has for its columns.

    Raises SchemaError, naming the columns, when the mix does not have those of the split that it is added to.
    """
    if target.mode is not Mode.APPEND or not target.refs:
        return features
    existing = read_footer(target.refs[0], target.token).schema()
    differences = [f"{name!r} is new" for name in schema.names if name not in existing.names]
    differences += [f"{name!r} is missing" for name in existing.names if name not in schema.names]
    differences += [
        f"{column.name!r} is {column.type}, there it is {existing.field(column.name).type}"
        for column in schema
        if column.name in existing.names and column.type != existing.field(column.name).type
    ]
    if differences:
        raise SchemaError(
            f"the mix's columns are not those of the split that it is appended to: {', '.join(differences)}; "
            "change 'columns', or pass --overwrite"
        )
    return keep_features((features_of(existing) or {}) | target.features or None, features, schema)
