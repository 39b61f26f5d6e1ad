"""Where a mix goes, a repo or a folder: looked at before anything is built, published to in the end."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.errors import ConflictError, NotFoundError, SchemaError
from pipeline.folder import FolderStore, check_folder, folder_refs, list_folder, publish_folder, staging
from pipeline.hub import client
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef, Secret, check_writable, find_token, normalise_endpoint, parse_ref
from pipeline.hub.resolver import Snapshot
from pipeline.hub.split import Mode, SplitWrite, check_only_parquet, existing_files
from pipeline.hub.upload import ShardReceipt
from pipeline.mix import report
from pipeline.mix.plan import Plan
from pipeline.mix.recipe import Recipe
from pipeline.mix.schema import keep_features
from pipeline.mix.sources import OpenSource, repos_of
from pipeline.parquet.features import Features, features_of, from_yaml, to_yaml
from pipeline.parquet.footer import read_footer
from pipeline.sizes import counted
from pipeline.storage import FileRef
from pipeline.writing import HubStore, ShardStore, publish


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A repo or a folder. `planned` are the files that the mix's split has now, `refs` the same to read from.

    `new` is a repo that does not exist yet; `features` are those that the card tells of the mix's config; `run` names this run.
    """

    ref: DatasetRef | None
    folder: Path | None
    token: Secret | None
    mode: Mode
    planned: tuple[DataFile, ...]
    refs: tuple[FileRef, ...]
    new: bool
    features: Features
    run: str

    def store(self) -> ShardStore:
        """A place for a task's files."""
        if self.folder is not None:
            return FolderStore(self.folder, self.run)
        assert self.ref is not None
        return HubStore(self.ref, self.token)

    def staging(self) -> AbstractContextManager[None]:
        """What a build must be inside of: at its end, nothing unpublished is left on this machine."""
        return staging(self.folder, self.run) if self.folder is not None else nullcontext()


def open_target(recipe: Recipe, endpoint: str | None, mode: Mode | None) -> Target:
    """Look at the target.

    Raises ConflictError when its split has rows and `mode` does not say what to do with them, or when it is a folder of
    somebody else's files; SchemaError for one with data in other formats; SetupError for a folder that cannot be one.
    """
    token = find_token(normalise_endpoint(endpoint))
    folder = Path(recipe.target).absolute() if recipe.target.startswith(("/", ".")) else None
    ref = None if folder else parse_ref(recipe.target, endpoint=endpoint)
    listing = _list_target(ref, folder, token)
    planned: tuple[DataFile, ...] = ()
    refs: tuple[FileRef, ...] = ()
    if listing is not None:
        check_only_parquet(listing)
        if folder and mode is not Mode.APPEND:
            _check_ours(recipe.target, listing)
        planned = existing_files(listing, recipe.config, recipe.split)
        refs = folder_refs(folder, planned) if folder else file_refs(Snapshot(ref=listing.ref, files=planned))
    if planned and mode is None:
        raise ConflictError(not_empty(recipe, planned))
    info = (listing.card.info(recipe.config) if listing else None) or {}
    return Target(
        ref=ref,
        folder=folder,
        token=token,
        mode=mode or Mode.OVERWRITE,
        planned=planned,
        refs=refs,
        new=listing is None,
        features=from_yaml(info.get("features") or ()),
        run=uuid.uuid4().hex,
    )


def _list_target(ref: DatasetRef | None, folder: Path | None, token: Secret | None) -> Listing | None:
    """What the target has now; `None` for a repo that does not exist."""
    if folder is not None:
        check_folder(folder)
        return list_folder(folder)
    assert ref is not None
    check_writable(ref)
    try:
        return list_files(ref, token)
    except NotFoundError:
        return None


def not_empty(recipe: Recipe, planned: Sequence[DataFile]) -> str:
    """What to say of a target that has rows."""
    return (
        f"target {recipe.target!r} has {counted(len(planned), 'file')} in split {recipe.split!r} of config {recipe.config!r}; "
        "pass --overwrite to replace them, or --append to add to them"
    )


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
    doomed = {os.path.realpath(target.folder / file.path) for file in target.planned}
    for source in sources:
        for file in source.files:
            if file.endpoint is None and os.path.realpath(file.uri) in doomed:
                raise ConflictError(
                    f"target {str(target.folder)!r}: --overwrite would delete {file.uri!r}, which source {source.name!r} "
                    "reads; choose another folder"
                )


def private_source(recipe: Recipe, target: Target, endpoint: str | None) -> str | None:
    """The name of a source that is a private repo, where that makes the mix private: in a new repo, unless the recipe says."""
    if target.ref is None or not target.new or recipe.private is not None:
        return None
    for source in recipe.sources:
        for ref in repos_of(source, endpoint):
            if client.get(ref.api_url(), target.token, about=ref.repo_id).json().get("private"):
                return source.name
    return None


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


def publish_mix(plan: Plan, target: Target, receipts: Sequence[ShardReceipt]) -> str | None:
    """Make the receipts the mix's split; the commit, `None` for a folder."""
    recipe = plan.recipe
    write = SplitWrite(
        config=recipe.config,
        split=recipe.split,
        mode=target.mode,
        transaction=uuid.uuid4().hex,
        features=to_yaml(plan.features) if plan.features is not None else None,
        section=report.card_section(plan, receipts),
        record=json.dumps(report.state(plan, receipts), indent=2) + "\n",
        writer="pipeline build-mix",
    )
    if target.folder is not None:
        publish_folder(target.folder, write, receipts)
        return None
    assert target.ref is not None
    message = f"Mix {plan.rows} rows of {len(plan.sources)} sources, seed {recipe.seed}"
    return publish(target.ref, target.token, write, receipts, planned=target.planned, message=message).sha
