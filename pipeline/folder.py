"""A local folder as a target: the same files, card and layout as on the Hub, readable with `load_dataset("./folder")`.

A folder has no commits. New files have unique names and come into place first, the card that names them is replaced in one step
after them, what it named before is removed then; what a stop in between leaves does not count (`unfinished.py`). One writer at a
time. A build's staged files are in a folder of its own, with a ledger of those that are finished: they stay until all is
published, a build that died goes on with them, and what nobody goes on with is cleared away.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.errors import SetupError
from pipeline.hub.card import SplitInfo, parse_card
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.repo import DatasetRef
from pipeline.hub.split import SplitWrite, existing_files
from pipeline.hub.splits import CARD, NOTHING, Beside, SplitFiles, splits_change
from pipeline.hub.upload import ShardReceipt
from pipeline.publishing import split_size
from pipeline.staging import STAGED, remove_staged, writing
from pipeline.storage import FileRef
from pipeline.unfinished import NOTE, left_over, note_down, publication

_OURS = (f"{STAGED}/", NOTE)


def check_folder(folder: Path) -> None:
    """Raises SetupError when files cannot be put there; makes nothing."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problem = "may not be written to" if nearest.is_dir() else "is not a folder"
        raise SetupError(f"target {str(folder)!r}: {str(nearest)!r} {problem}; choose another folder")


def list_folder(folder: Path) -> Listing:
    """The folder as a listing of a repo, without what a stopped publication left; an absent one is empty."""
    hidden = left_over(folder)
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {name: path for name, path in found.items() if not name.startswith(_OURS) and name not in hidden}
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return Listing(
        ref=DatasetRef(repo_id=str(folder), endpoint="", revision="folder"),
        files=tuple(DataFile(path=name, size=path.stat().st_size) for name, path in files.items()),
        card=parse_card(text, about=str(folder)),
    )


def folder_refs(folder: Path, files: Sequence[DataFile]) -> tuple[FileRef, ...]:
    """A folder's files as refs that ranges are read from."""
    return tuple(FileRef(uri=str(folder / file.path), size=file.size, content_id=file.path) for file in files)


def publish_folder(folder: Path, write: SplitWrite, receipts: Sequence[ShardReceipt]) -> None:
    """Make staged files a split of the folder: `publish_splits_to_folder` of one, with nothing beside it."""
    publish_splits_to_folder(folder, [(write, receipts)])


def publish_splits_to_folder(folder: Path, splits: Sequence[SplitFiles], beside: Beside = NOTHING) -> None:
    """Make staged files splits of the folder, with what is published beside them.

    Stopped at any point, it can be done again. Raises ConflictError while another process publishes there, SetupError.
    """
    with writing(folder), publication(folder) as note:
        _publish(folder, splits, beside, note)


def _publish(folder: Path, splits: Sequence[SplitFiles], beside: Beside, note: Path) -> None:
    listing = list_folder(folder)
    named = [
        (replace(write, unique_names=bool(existing_files(listing, write.config, write.split))), receipts)
        for write, receipts in splits
    ]
    change = splits_change(listing, named, beside, partial(_size, folder))
    staged = [Path(receipt.file.path) for _, receipts in splits for receipt in receipts]
    contents = {**change.contents, **{path: text.encode() for path, text in change.texts.items() if path != CARD}}
    card = change.texts[CARD].encode()
    there = {file.path for file in listing.files}
    sizes = {file.path: file.size for file in change.files} | {path: len(content) for path, content in contents.items()}
    note_down(note, {path: size for path, size in sizes.items() if path not in there}, change.deletions, card)
    for source, file in zip(staged, change.files, strict=True):
        _put(source, folder / file.path)
    for path, content in {**contents, CARD: card}.items():
        _replace_content(folder / path, content)
    for path in change.deletions:
        (folder / path).unlink(missing_ok=True)
    for place in {path.parent for path in staged}:
        remove_staged(place)


def _put(staged: Path, target: Path) -> None:
    """A staged file in its place; it stays staged too where a file can have two names."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(staged, target)
    except OSError:
        staged.replace(target)


def _size(folder: Path, listing: Listing, write: SplitWrite) -> SplitInfo | None:
    files = existing_files(listing, write.config, write.split)
    return split_size(listing, write.config, write.split, folder_refs(folder, files), None)


def _replace_content(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_bytes(content)
    temporary.replace(path)
