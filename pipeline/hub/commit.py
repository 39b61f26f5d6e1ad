"""One commit: all of a change, or none of it, exactly once.

A change is built on a listing of the head and sent with that head as its parent. If somebody committed meanwhile, it is built
again on the new head. If the answer was lost, the head is looked at for the transaction's id, which travels in the same commit
under `.pipeline/`: commit messages can be squashed away, files cannot. We send the documented ndjson ourselves, because
huggingface_hub's `create_commit` has no public way to name files that are stored already.
"""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from pipeline.errors import ConflictError, CorruptFileError, NotFoundError, TransferError
from pipeline.hub import client
from pipeline.hub.listing import Listing, forget_branch, list_files
from pipeline.hub.repo import DatasetRef, Secret, check_writable
from pipeline.hub.upload import StoredFile

TRANSACTIONS = ".pipeline/transactions.json"
_REMEMBERED = 1_000
_CONFLICT_TRIES = 40
_TRANSFER_TRIES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a commit does: stored files are added, texts written, paths deleted."""

    files: tuple[StoredFile, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    deletions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A commit that holds the change: its own, or, when it was `repeated`, a later head of the branch."""

    sha: str
    repeated: bool = False


def commit(
    ref: DatasetRef, token: Secret | None, build: Callable[[Listing], Change], *, message: str, transaction: str
) -> Committed:
    """Commit what `build` makes of the branch's head; again on a new head as often as others commit first.

    A transaction that is already in the branch is not committed again. Raises what `build` raises, ConflictError when the
    branch never stood still, TransferError when the Hub could not be reached.
    """
    check_writable(ref)
    conflicts = failures = 0
    while True:
        try:
            listing = list_files(ref, token)
            done = _transactions(listing, token)
            if any(one["id"] == transaction for one in done):
                return Committed(sha=listing.commit, repeated=True)
            change = build(listing)
        except TransferError:
            failures += 1
            if failures >= _TRANSFER_TRIES:
                raise
            _wait(failures)
            continue
        try:
            return Committed(sha=_send(ref, token, listing, change, message, transaction, done))
        except ConflictError:
            conflicts += 1
            if conflicts >= _CONFLICT_TRIES:
                raise
            _wait(min(conflicts, 4), 0.1)
        except TransferError:
            failures += 1
            if failures >= _TRANSFER_TRIES:
                raise
            _wait(failures)


def _send(
    ref: DatasetRef,
    token: Secret | None,
    listing: Listing,
    change: Change,
    message: str,
    transaction: str,
    done: list[dict[str, str]],
) -> str:
    done = [*done, {"id": transaction, "parent": listing.commit}][-_REMEMBERED:]
    texts = {**change.texts, TRANSACTIONS: json.dumps(done, indent=0) + "\n"}
    header = {"summary": message, "description": "", "parentCommit": listing.commit}
    lines: list[dict[str, object]] = [{"key": "header", "value": header}]
    lines += [_text_line(path, text) for path, text in texts.items()]
    lines += [_stored_line(file) for file in change.files]
    lines += [{"key": "deletedFile", "value": {"path": path}} for path in change.deletions]
    url = ref.api_url(f"commit/{quote(ref.revision or 'main', safe='')}")
    response = client.send(
        "POST",
        url,
        token,
        about=str(ref),
        content="\n".join(json.dumps(line) for line in lines).encode(),
        headers={"content-type": "application/x-ndjson"},
    )
    forget_branch(ref, token)
    return str(response.json()["commitOid"])


def _stored_line(file: StoredFile) -> dict[str, object]:
    return {
        "key": "lfsFile",
        "value": {"path": file.path, "algo": "sha256", "oid": file.sha256, "size": file.size},
    }


def _text_line(path: str, text: str) -> dict[str, object]:
    content = base64.b64encode(text.encode()).decode()
    return {"key": "file", "value": {"content": content, "path": path, "encoding": "base64"}}


def read_text(listing: Listing, path: str, token: Secret | None) -> str | None:
    """A small file at the listing's commit; `None` when there is none."""
    if not any(file.path == path for file in listing.files):
        return None
    try:
        return client.get(listing.ref.file_url(path), token, about=f"{listing.ref}/{path}").text
    except NotFoundError:
        return None


def _transactions(listing: Listing, token: Secret | None) -> list[dict[str, str]]:
    text = read_text(listing, TRANSACTIONS, token)
    try:
        done = json.loads(text) if text else []
        return [{"id": one["id"], "parent": one["parent"]} for one in done]
    except (ValueError, KeyError, TypeError) as err:
        raise CorruptFileError(
            f"{listing.ref}/{TRANSACTIONS}: not what we wrote; delete the file, then run again"
        ) from err


def _wait(tries: int, base_s: float = 0.5) -> None:
    time.sleep(min(30.0, base_s * 2**tries) * (0.5 + random.random() / 2))  # noqa: S311 - jitter, not a secret
