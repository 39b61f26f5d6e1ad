"""Files into a bucket, which has no commits: what is new is added under names of its own, then what it replaces is removed.

Readers may see both in between, and what a killed job had added stays until the split is overwritten: so one writer at a time.
Every call may be sent again: to add a file that is there, or to remove one that is not, changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from pipeline.errors import DatasetError, TransferError
from pipeline.hub import client, retry
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.upload import StoredFile

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


def replace_files(
    ref: DatasetRef, token: Secret | None, added: Mapping[str, StoredFile], removed: Sequence[str]
) -> None:
    """Add stored files at their paths, then remove those paths of `removed` that none was added at.

    Raises TransferError or AccessError; then nothing was removed but what could be of what this call had added.
    """
    there = {file.path: file.xet_hash for file in list_files(ref, token).files}
    missing = {path: file for path, file in added.items() if there.get(path) != file.xet_hash}
    now_ms = int(time.time() * 1000)
    adding: list[_Line] = [
        {"type": "addFile", "path": path, "xetHash": file.xet_hash, "mtime": now_ms} for path, file in missing.items()
    ]
    try:
        _send_all(ref, token, adding)
    except DatasetError:
        with suppress(DatasetError):
            _send_all(ref, token, _removals(path for path in missing if path not in there))
        raise
    _send_all(ref, token, _removals(path for path in removed if path in there and path not in added))


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
