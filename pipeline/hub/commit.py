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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from pipeline.errors import ConflictError, OptionError, TransferError
from pipeline.hub import client
from pipeline.hub.copies import bring_copies
from pipeline.hub.listing import Listing, forget_branch, list_files
from pipeline.hub.repo import DatasetRef, Secret, check_writable
from pipeline.hub.transactions import TRANSACTIONS, Record, read_records, write_records
from pipeline.hub.upload import StoredFile

FILES_MAX = 25_000
"""How many stored files the Hub takes in one commit, and next, how many bytes of others (huggingface_hub's `create_commit`)."""
TEXT_BYTES_MAX = 1_000_000_000
_CONFLICT_TRIES = 100
_TRANSFER_TRIES = 6
_FILES_PER_S = 100  # of one commit, at the least, before we stop waiting for its answer

Build = Callable[[Listing], "Change"]
"""Makes a change of a branch's head; it is asked again for each head that it has to be made on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a commit does: stored files are added, texts and bytes written, paths deleted; and the `record` of it, for later."""

    files: tuple[StoredFile, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict)
    deletions: tuple[str, ...] = ()
    record: Record = field(default_factory=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A commit that holds the change: its own, or, when it was `repeated`, a later head of the branch.

    `pr_url` is the page of its pull request, where it is in one.
    """

    sha: str
    repeated: bool = False
    pr_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A commit's title, and what it says below."""

    title: str
    description: str = ""


def check_limits(about: str, *, files: int, text_bytes: int = 0) -> None:
    """Raises OptionError for more stored files, or more bytes of other ones, than the Hub takes in one commit."""
    if files > FILES_MAX:
        raise OptionError(
            f"{about}: one commit takes at most {FILES_MAX:,} files, got {files:,}; write fewer, larger ones: "
            "from fewer tasks (coalesce), without or with larger limits of rows and bytes per file"
        )
    if text_bytes > TEXT_BYTES_MAX:
        raise OptionError(
            f"{about}: one commit takes at most {TEXT_BYTES_MAX:,} bytes of files that are not in large storage, "
            f"got {text_bytes:,}; commit them in several"
        )


def commit(
    ref: DatasetRef, token: Secret | None, build: Build, *, message: str, transaction: str, description: str = ""
) -> Committed:
    """Commit what `build` makes of the branch's head; again on a new head as often as others commit first.

    A transaction that is already in the branch is not committed again. Raises what `build` raises, ConflictError when the
    branch never stood still, TransferError when the Hub could not be reached, OptionError for more than the Hub takes at once.
    """
    check_writable(ref)
    conflicts = failures = 0
    brought: set[str] = set()
    while True:
        try:
            listing = list_files(ref, token)
            done = read_records(listing, token)
            if any(one.id == transaction for one in done):
                return Committed(sha=listing.commit, repeated=True)
            change = build(listing)
            change = replace(change, record=replace(change.record, id=transaction, parent=listing.commit))
        except TransferError:
            failures += 1
            if failures >= _TRANSFER_TRIES:
                raise
            _wait(failures)
            continue
        try:
            bring_copies(ref, token, (file for file in change.files if file.sha256 not in brought))
            brought |= {file.sha256 for file in change.files}
            return Committed(sha=_send(ref, token, change, done, Message(title=message, description=description)))
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


def _send(ref: DatasetRef, token: Secret | None, change: Change, done: Sequence[Record], message: Message) -> str:
    texts = {**change.texts, TRANSACTIONS: write_records([*done, change.record])}
    contents = {**change.contents, **{path: text.encode() for path, text in texts.items()}}
    check_limits(str(ref), files=len(change.files), text_bytes=sum(map(len, contents.values())))
    header = {"summary": message.title, "description": message.description, "parentCommit": change.record.parent}
    lines: list[dict[str, object]] = [{"key": "header", "value": header}]
    lines += [_content_line(path, content) for path, content in contents.items()]
    lines += [stored_line(file) for file in change.files]
    lines += [{"key": "deletedFile", "value": {"path": path}} for path in change.deletions]
    sha = send_lines(ref, token, lines)
    forget_branch(ref, token)
    return sha


def send_lines(ref: DatasetRef, token: Secret | None, lines: Sequence[Mapping[str, object]]) -> str:
    """Commit a header and operations to the ref's branch, once; the commit's sha. Raises what `client.send` raises."""
    response = client.send(
        "POST",
        ref.api_url(f"commit/{quote(ref.revision or 'main', safe='')}"),
        token,
        about=str(ref),
        content="\n".join(json.dumps(line) for line in lines).encode(),
        headers={"content-type": "application/x-ndjson"},
        timeout=client.TIMEOUT_S + len(lines) / _FILES_PER_S,
    )
    return str(response.json()["commitOid"])


def stored_line(file: StoredFile) -> dict[str, object]:
    """The line that names a stored file at its path."""
    return {
        "key": "lfsFile",
        "value": {"path": file.path, "algo": "sha256", "oid": file.sha256, "size": file.size},
    }


def _content_line(path: str, content: bytes) -> dict[str, object]:
    encoded = base64.b64encode(content).decode()
    return {"key": "file", "value": {"content": encoded, "path": path, "encoding": "base64"}}


def _wait(tries: int, base_s: float = 0.5) -> None:
    time.sleep(min(30.0, base_s * 2**tries) * (0.5 + random.random() / 2))  # noqa: S311 - jitter, not a secret
