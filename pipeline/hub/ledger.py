"""What a build has stored so far, kept where it goes: so that a build that was killed goes on, on any machine, on any day.

A stored file that no commit names is in nobody's list. So stored shards are committed to a branch of the plan's own, which no
reader of the repo looks at, or put at hidden paths of a bucket. All that a receipt says and a listing does not is in the file's
name: to read a ledger is to list a folder, and two builds of one plan cannot disagree.

    pipeline-build-<16 digits of the plan's id>:.pipeline/builds/<id>/<key>.<rows>-<bytes>-<new>-<prevented>.<sha256>.parquet

A receipt is a hint: it counts only while the Hub still has the file. Who drops a ledger drops those that nobody has saved to for
a week, too: their plans will not be built any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote

from pipeline.errors import ConflictError, NotFoundError, TransferError
from pipeline.hub import client, retry
from pipeline.hub.bucket import add_files, remove_files
from pipeline.hub.commit import send_lines, stored_line
from pipeline.hub.listing import list_commits
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.upload import ShardReceipt, StoredFile

_NAME = re.compile(r"(?P<key>.+)\.(?P<numbers>\d+(?:-\d+){3})\.(?P<sha256>[0-9a-f]{64})\.parquet")
_BRANCH = "pipeline-build-"
_BRANCH_DIGITS = 16
_OWN_BRANCH = re.compile(rf"{_BRANCH}[0-9a-f]{{{_BRANCH_DIGITS}}}")
_BUILDS = ".pipeline/builds/"
_KEPT = timedelta(days=7)
_ASKED_AT_ONCE = 1_000


class Ledger(Protocol):
    """The receipts of one plan's shards, by a key such as `train/00012`."""

    def load(self) -> dict[str, ShardReceipt]:
        """Those whose files are still there. Raises AccessError, TransferError."""
        ...

    def save(self, receipts: Mapping[str, ShardReceipt]) -> None:
        """Remember more of them: one call, however many. Raises AccessError, TransferError."""
        ...

    def drop(self) -> None:
        """Forget all of them, and what other plans left long ago; none is fine. Raises AccessError, TransferError."""
        ...


def open_ledger(ref: DatasetRef, token: Secret | None, plan_id: str) -> Ledger:
    """The ledger of a plan for a dataset or a bucket; nothing is made before the first receipt is saved."""
    if ref.kind == "buckets":
        return BucketLedger(ref, token, plan_id)
    return BranchLedger(ref, token, plan_id)


class BranchLedger:
    """Shards in commits of a branch of a dataset. To save costs one call, at first three; to load two, and one per 1,000."""

    def __init__(self, ref: DatasetRef, token: Secret | None, plan_id: str) -> None:
        self._ref = replace(ref, revision=f"{_BRANCH}{plan_id[:_BRANCH_DIGITS]}", path="")
        self._token = token
        self._folder = f"{_BUILDS}{plan_id}"

    def load(self) -> dict[str, ShardReceipt]:
        found = {}
        for path, entry in _listed(self._ref, self._token, f"tree/{self._ref.revision}/{quote(self._folder)}"):
            receipt = _receipt(path, entry, (entry.get("lfs") or {}).get("size", entry["size"]))
            if receipt is not None and receipt.file.sha256 == (entry.get("lfs") or {}).get("oid"):
                found[_key(path, self._folder)] = receipt
        known = self._known(receipt.file for receipt in found.values())
        return {key: receipt for key, receipt in found.items() if receipt.file.sha256 in known}

    def save(self, receipts: Mapping[str, ShardReceipt]) -> None:
        lines = [stored_line(file) for file in _files(receipts, self._folder)]
        if not lines:
            return
        header = {"key": "header", "value": {"summary": f"Keep {len(lines)} shards of a build", "description": ""}}

        def commit() -> None:
            try:
                send_lines(self._ref, self._token, [header, *lines])
            except NotFoundError:
                client.ensure_branch(self._ref, self._token)
                send_lines(self._ref, self._token, [header, *lines])

        _again(commit)

    def drop(self) -> None:
        self._delete(self._ref)
        refs = client.get_json(self._ref.api_url("refs"), self._token, "branches", about=self._ref.repo_id)
        for branch in refs["branches"]:
            other = replace(self._ref, revision=branch["name"])
            if _OWN_BRANCH.fullmatch(branch["name"]):
                last = next(list_commits(other, self._token), None)
                if last is not None and _is_old(last.date):
                    self._delete(other)

    def _delete(self, ref: DatasetRef) -> None:
        def delete() -> None:
            with suppress(NotFoundError):
                client.send("DELETE", ref.api_url(f"branch/{ref.revision}"), self._token, about=str(ref))

        _again(delete)

    def _known(self, files: Iterable[StoredFile]) -> set[str]:
        """The sha256 of those that the repo still has the content of: it asks for no upload of them."""
        wanted = [{"oid": file.sha256, "size": file.size} for file in files]
        url = f"{self._ref.endpoint}/datasets/{self._ref.repo_id}.git/info/lfs/objects/batch"
        known: set[str] = set()
        for start in range(0, len(wanted), _ASKED_AT_ONCE):
            body = {"operation": "upload", "transfers": ["basic"], "objects": wanted[start : start + _ASKED_AT_ONCE]}
            headers = {"accept": "application/vnd.git-lfs+json", "content-type": "application/vnd.git-lfs+json"}
            said = client.send("POST", url, self._token, about=str(self._ref), json=body, headers=headers).json()
            known |= {one["oid"] for one in said["objects"] if not one.get("actions") and not one.get("error")}
        return known


class BucketLedger:
    """Shards at hidden paths of a bucket, below its ref's path."""

    def __init__(self, ref: DatasetRef, token: Secret | None, plan_id: str) -> None:
        self._ref, self._token = replace(ref, path=""), token
        self._builds = f"{ref.path}/{_BUILDS}" if ref.path else _BUILDS
        self._folder = f"{self._builds}{plan_id}"

    def load(self) -> dict[str, ShardReceipt]:
        found = ((path, _receipt(path, entry, entry["size"])) for path, entry in self._entries(f"{self._folder}/"))
        return {_key(path, self._folder): receipt for path, receipt in found if receipt is not None}

    def save(self, receipts: Mapping[str, ShardReceipt]) -> None:
        add_files(self._ref, self._token, {file.path: file for file in _files(receipts, self._folder)})

    def drop(self) -> None:
        gone = [
            path
            for path, entry in self._entries(self._builds)
            if path.startswith(f"{self._folder}/") or _is_old(datetime.fromisoformat(entry["uploadedAt"]))
        ]
        remove_files(self._ref, self._token, gone)

    def _entries(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return _listed(self._ref, self._token, f"tree/{quote(prefix, safe='')}")


def _is_old(date: datetime) -> bool:
    return datetime.now(UTC) - date > _KEPT


def _key(path: str, folder: str) -> str:
    name = _NAME.fullmatch(path)
    assert name is not None
    return name["key"].removeprefix(f"{folder}/")


def _files(receipts: Mapping[str, ShardReceipt], folder: str) -> list[StoredFile]:
    """Stored files at the paths that tell their receipts; without those that are copies, for which nothing was done."""
    found = []
    for key, receipt in receipts.items():
        file = receipt.file
        numbers = f"{receipt.rows}-{receipt.num_bytes}-{file.new_bytes}-{file.prevented_bytes}"
        if file.origin is None:
            found.append(replace(file, path=f"{folder}/{key}.{numbers}.{file.sha256}.parquet"))
    return found


def _receipt(path: str, entry: Mapping[str, Any], size: int) -> ShardReceipt | None:
    """What a path and its entry in a listing tell; `None` for a file that is none of ours."""
    name = _NAME.fullmatch(path)
    if name is None:
        return None
    rows, num_bytes, new_bytes, prevented = map(int, name["numbers"].split("-"))
    file = StoredFile(
        path=path,
        sha256=name["sha256"],
        xet_hash=entry.get("xetHash") or "",
        size=size,
        new_bytes=new_bytes,
        prevented_bytes=prevented,
    )
    return ShardReceipt(file=file, rows=rows, num_bytes=num_bytes)


def _listed(ref: DatasetRef, token: Secret | None, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The files of a folder, none when it or its branch is not there."""
    try:
        for entry in client.get_pages(ref.api_url(f"{what}?recursive=true"), token, about=str(ref)):
            if entry["type"] == "file":
                yield entry["path"], entry
    except NotFoundError:
        return


def _again(act: Callable[[], None]) -> None:
    """Do what may be done twice, until it is known to be done."""
    for tries in range(1, retry.TRIES + 1):
        try:
            act()
        except (TransferError, ConflictError):
            if tries == retry.TRIES:
                raise
            retry.wait(tries)
        else:
            return
