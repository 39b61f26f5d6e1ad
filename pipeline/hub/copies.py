"""Whole files of other repos, copied by the Hub itself: no byte of them is moved.

A file that is only copied is stored already, in the repo that it comes from. Before a commit names it, the Hub is asked to let
the target hold it too. For a bucket the same is one line of the batch that adds it (bucket.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.errors import NotFoundError, OptionError
from pipeline.hub import client
from pipeline.hub.listing import DataFile
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.upload import Origin, ShardReceipt, StoredFile

_AT_ONCE = 1_000


def copied_shard(repo_id: str, file: DataFile, *, rows: int, num_bytes: int) -> ShardReceipt:
    """The receipt of a file that a dataset has. Raises OptionError for one that is not in Xet storage, which cannot be copied."""
    if file.sha256 is None or file.xet_hash is None:
        raise OptionError(
            f"{repo_id}/{file.path}: not in Xet storage, so the Hub cannot copy it; read and write its rows"
        )
    stored = StoredFile(
        path=file.path,
        sha256=file.sha256,
        xet_hash=file.xet_hash,
        size=file.size,
        origin=Origin(repo_id=repo_id, path=file.path),
    )
    return ShardReceipt(file=stored, rows=rows, num_bytes=num_bytes)


def bring_copies(ref: DatasetRef, token: Secret | None, files: Iterable[StoredFile]) -> None:
    """Let a dataset hold those of the files that others have; again changes nothing.

    Raises NotFoundError for files that their repos do not have, or not for this token, AccessError, TransferError.
    """
    wanted: dict[str, dict[str, StoredFile]] = {}
    for file in files:
        if file.origin is not None and file.origin.repo_id != ref.repo_id:
            wanted.setdefault(file.origin.repo_id, {})[file.sha256] = file
    for repo_id, found in wanted.items():
        few = list(found.values())
        for start in range(0, len(few), _AT_ONCE):
            _duplicate(ref, token, repo_id, few[start : start + _AT_ONCE])


def _duplicate(ref: DatasetRef, token: Secret | None, repo_id: str, files: list[StoredFile]) -> None:
    url = f"{ref.endpoint}/api/datasets/{repo_id}/lfs-files/duplicate"
    listed = [
        {"xetHash": file.xet_hash, "sha256": file.sha256, "filename": file.origin.path if file.origin else file.path}
        for file in files
    ]
    body = {"target": {"type": "dataset", "name": ref.repo_id}, "files": listed}
    failed = client.send("POST", url, token, about=repo_id, json=body).json().get("failed")
    if failed:
        name, reason = failed[0].get("filename") or failed[0].get("sha256"), failed[0].get("error")
        raise NotFoundError(
            f"{repo_id}/{name} and {len(failed) - 1} other files: the Hub did not copy them to {ref.repo_id} ({reason}); "
            "plan again, or read and write their rows"
        )
