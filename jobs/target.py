"""Where a mix goes, a repo or a folder: looked at before anything is built, published to in the end."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.errors import ConflictError, NotFoundError, SchemaError
from pipeline.folder import FolderStore, check_folder, folder_refs, list_folder, publish_folder
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef, Secret, find_token, normalise_endpoint, parse_ref
from pipeline.hub.resolver import DataFile, Listing, Snapshot, list_files
from pipeline.hub.split import Mode, SplitWrite, existing_files
from pipeline.hub.upload import ShardReceipt
from pipeline.mix import report
from pipeline.mix.plan import Plan
from pipeline.mix.recipe import Recipe
from pipeline.parquet.features import to_yaml
from pipeline.parquet.footer import read_footer
from pipeline.storage import FileRef
from pipeline.writing import HubStore, ShardStore, publish


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A repo or a folder. `planned` are the files that the mix's split has now, `refs` the same to read from."""

    ref: DatasetRef | None
    folder: Path | None
    token: Secret | None
    mode: Mode
    planned: tuple[DataFile, ...]
    refs: tuple[FileRef, ...]

    def store(self) -> ShardStore:
        """A place for a task's files."""
        if self.folder is not None:
            return FolderStore(self.folder)
        assert self.ref is not None
        return HubStore(self.ref, self.token)


def open_target(recipe: Recipe, endpoint: str | None, mode: Mode | None) -> Target:
    """Look at the target.

    Raises ConflictError when its split has rows and `mode` does not say what to do with them, SetupError for a folder that
    cannot be one.
    """
    token = find_token(normalise_endpoint(endpoint))
    ref: DatasetRef | None = None
    folder: Path | None = None
    listing: Listing | None
    if recipe.target.startswith(("/", ".")):
        folder = Path(recipe.target).absolute()
        check_folder(folder)
        listing = list_folder(folder)
    else:
        ref = parse_ref(recipe.target, endpoint=endpoint)
        try:
            listing = list_files(ref, token)
        except NotFoundError:
            listing = None
    planned = existing_files(listing, recipe.config, recipe.split) if listing else ()
    if planned and mode is None:
        raise ConflictError(
            f"target {recipe.target!r} has {len(planned)} files in split {recipe.split!r} of config {recipe.config!r}; "
            "pass --overwrite to replace them, or --append to add to them"
        )
    refs: tuple[FileRef, ...] = ()
    if listing and planned:
        refs = folder_refs(folder, planned) if folder else file_refs(Snapshot(ref=listing.ref, files=planned))
    return Target(ref=ref, folder=folder, token=token, mode=mode or Mode.OVERWRITE, planned=planned, refs=refs)


def check_append(target: Target, schema: pa.Schema) -> None:
    """Raises SchemaError, naming the columns, when the mix does not have those of the split that it is added to."""
    if target.mode is not Mode.APPEND or not target.refs:
        return
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
    )
    if target.folder is not None:
        publish_folder(target.folder, write, receipts)
        return None
    assert target.ref is not None
    message = f"Mix {plan.rows} rows of {len(plan.sources)} sources, seed {recipe.seed}"
    return publish(target.ref, target.token, write, receipts, planned=target.planned, message=message).sha
