"""A branch's commits with what each did: from our own records, and from the files where somebody else made the commit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from pipeline.errors import NotFoundError, OptionError
from pipeline.hub.changes import compare
from pipeline.hub.listing import CommitInfo, DataFile, Listing, list_commits, list_files, pin_at
from pipeline.hub.patterns import is_visible
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.transactions import Record, read_records

_CARD = "README.md"
_SHA = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A commit, and the `record` of what it did, with `None` for what is not known.

    Of others' commits only files and bytes are, which count what is new or other than before.
    """

    commit: CommitInfo
    record: Record

    def values(self) -> dict[str, Any]:
        """The entry as JSON has it."""
        one = self.record
        return {
            "sha": self.commit.sha,
            "date": self.commit.date.isoformat(),
            "title": self.commit.title,
            "authors": list(self.commit.authors),
            "config": one.config,
            "split": one.split,
            "mode": one.mode,
            "rows": one.rows,
            "files": one.files,
            "bytes": one.bytes,
            "new_bytes": one.new_bytes,
            "writer": one.writer,
            "query": one.query,
            "batch": one.batch,
        }


def read_history(ref: DatasetRef, token: Secret | None, limit: int | None = None) -> Iterator[HistoryEntry]:
    """The last `limit` commits (all, for `None`) of the ref's branch, newest first.

    Raises NotFoundError, AccessError, OptionError for a bucket.
    """
    commits = iter(list_commits(ref, token))
    commit = next(commits, None)
    if commit is None:
        return
    head = list_files(replace(ref, revision=commit.sha), token)
    records = {record.parent: record for record in read_records(head, token)}
    for parent in islice(chain(commits, [None]), limit):
        record = records.get(parent.sha) if parent else None
        if record is None or record.mode is None:
            record = _told_by_files(ref, token, commit, parent)
        yield HistoryEntry(commit=commit, record=record)
        if parent is None:
            return
        commit = parent


def find_commit(ref: DatasetRef, token: Secret | None, wanted: str) -> str:
    """The full sha of a commit in the branch's history, by its sha (7 digits or more) or as the last one at a time (ISO 8601).

    Raises OptionError for what is neither, NotFoundError when the history has no such commit.
    """
    if _SHA.fullmatch(wanted):
        for one in list_commits(ref, token):
            if one.sha.startswith(wanted):
                return one.sha
        if not wanted.isdigit():  # 20260131 is a day too
            raise NotFoundError(
                f"{ref}: no commit {wanted!r} in the history of {ref.revision or 'main'}; "
                f"see `pipeline history {ref.repo_id}`"
            )
    try:
        when = datetime.fromisoformat(wanted)
    except ValueError as err:
        raise OptionError(
            f"option 'to' must be a commit (7 digits of its sha or more) or a time such as 2026-01-31T12:00, got {wanted!r}"
        ) from err
    pinned = pin_at(ref, token, when if when.tzinfo else when.replace(tzinfo=UTC)).revision
    assert pinned is not None
    return pinned


def _told_by_files(ref: DatasetRef, token: Secret | None, commit: CommitInfo, parent: CommitInfo | None) -> Record:
    now = _data(list_files(replace(ref, revision=commit.sha), token))
    was = _data(list_files(replace(ref, revision=parent.sha), token)) if parent else []
    found = compare(was, now)
    came = [*found.added, *found.rewritten]
    return Record(files=len(came), bytes=sum(file.size for file in came))


def _data(listing: Listing) -> list[DataFile]:
    """The files that may hold rows: neither the card nor what is hidden."""
    return [file for file in listing.files if file.path != _CARD and is_visible(file.path)]
