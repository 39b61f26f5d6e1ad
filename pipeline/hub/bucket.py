"""Files into a bucket, which has no commits: what is new is added under names of its own, then what it replaces is removed.

Readers may see both in between, and what a killed job had added stays until the split is overwritten: so one writer at a time.
Every call may be sent again: to add a file that is there, or to remove one that is not, changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from pipeline.errors import DatasetError, TransferError
from pipeline.hub import client, retry
from pipeline.hub.card import parse_card
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.resolver import Snapshot
from pipeline.hub.transactions import read_text
from pipeline.hub.upload import StoredFile
from pipeline.storage import FileRef

_Line = dict[str, object]

_LINES = 1_000  # of one call
_TIMEOUT_S = 120.0


def create_bucket(ref: DatasetRef, token: Secret | None, *, private: bool | None = None) -> None:
    """Create the bucket; that it exists already is fine."""
    body = {} if private is None else {"visibility": "private" if private else "public"}
    client.ensure(ref.api_url(), token, about=ref.full_name, json=body)


def split_files(listing: Listing, folder: str, split: str) -> tuple[DataFile, ...]:
    """The split's Parquet files in a folder (its path with a slash, or nothing), and those below its own folder there."""
    flat, deep = f"{folder}{split}-", f"{folder}{split}/"

    def is_ours(path: str) -> bool:
        name = path.rsplit("/", 1)[-1]
        inside = path.startswith(deep) and name.startswith(f"{split}-")
        return path.endswith(".parquet") and (inside or (path.startswith(flat) and "/" not in path[len(flat) :]))

    return tuple(file for file in listing.files if is_ours(file.path))


def list_target(ref: DatasetRef, token: Secret | None) -> Listing:
    """What there is to publish to: a dataset's files, or those below the path of a bucket's ref, with their paths and card there.

    Raises NotFoundError, AccessError.
    """
    if ref.kind == "datasets" or not ref.path:
        return list_files(ref, token)
    listing = list_files(replace(ref, path=""), token)
    folder = f"{ref.path}/"
    files = tuple(
        replace(file, path=file.path.removeprefix(folder)) for file in listing.files if file.path.startswith(folder)
    )
    card = read_text(listing, f"{folder}README.md", token) or ""
    return Listing(ref=replace(listing.ref, path=ref.path), files=files, card=parse_card(card, about=str(ref)))


def target_refs(listing: Listing, files: Iterable[DataFile]) -> tuple[FileRef, ...]:
    """Files of a listing that `list_target` made, as refs that ranges are read from."""
    below = f"{listing.ref.path}/" if listing.ref.kind == "buckets" and listing.ref.path else ""
    whole = tuple(replace(file, path=below + file.path) for file in files)
    return file_refs(Snapshot(ref=replace(listing.ref, path=""), files=whole))


def replace_files(
    ref: DatasetRef, token: Secret | None, added: Mapping[str, StoredFile], removed: Sequence[str]
) -> None:
    """Add stored files at their paths, then remove those paths of `removed` that none was added at.

    Raises TransferError or AccessError; then nothing was removed but what could be of what this call had added.
    """
    there = {file.path: file.xet_hash for file in list_files(ref, token).files}
    missing = {path: file for path, file in added.items() if there.get(path) != file.xet_hash}
    try:
        add_files(ref, token, missing)
    except DatasetError:
        with suppress(DatasetError):
            _send_all(ref, token, _removals(path for path in missing if path not in there))
        raise
    remove_files(ref, token, (path for path in removed if path in there and path not in added))


def add_files(ref: DatasetRef, token: Secret | None, added: Mapping[str, StoredFile]) -> None:
    """Add stored files at their paths, in their order. Raises TransferError, AccessError."""
    now_ms = int(time.time() * 1000)
    _send_all(ref, token, [_addition(path, file, now_ms) for path, file in added.items()])


def remove_files(ref: DatasetRef, token: Secret | None, paths: Iterable[str]) -> None:
    """Remove what is at these paths, if anything. Raises TransferError, AccessError."""
    _send_all(ref, token, _removals(paths))


def _addition(path: str, file: StoredFile, now_ms: int) -> _Line:
    line: _Line = {"type": "addFile", "path": path, "xetHash": file.xet_hash, "mtime": now_ms}
    if file.origin is None:
        return line
    return line | {"type": "copyFile", "sourceRepoType": "dataset", "sourceRepoId": file.origin.repo_id}


def _removals(paths: Iterable[str]) -> list[_Line]:
    return [{"type": "deleteFile", "path": path} for path in paths]


def _send_all(ref: DatasetRef, token: Secret | None, lines: Sequence[_Line]) -> None:
    for start in range(0, len(lines), _LINES):
        content = "\n".join(map(json.dumps, lines[start : start + _LINES])).encode()
        for tries in range(1, retry.TRIES + 1):
            try:
                _send(ref, token, content)
            except TransferError:
                if tries == retry.TRIES:
                    raise
                retry.wait(tries)
            else:
                break


def _send(ref: DatasetRef, token: Secret | None, content: bytes) -> None:
    headers = {"content-type": "application/x-ndjson"}
    answer = client.send(
        "POST", ref.api_url("batch"), token, about=ref.full_name, content=content, headers=headers, timeout=_TIMEOUT_S
    ).json()
    if failed := answer.get("failed"):
        raise TransferError(
            f"{ref.full_name}: {failed[0]['path']!r} and {len(failed) - 1} other files were refused ({failed[0]['error']}); "
            "run again"
        )
