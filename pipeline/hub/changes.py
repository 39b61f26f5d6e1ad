"""What each commit did to the files of one split: what a stream of commits reads, and what it must not overlook.

A commit's listing never changes, so each is asked for once and kept. Two of them next to each other tell which files came, went
or got other content; our own record of a commit (transactions.py) tells what no listing does: that it only compacted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pipeline.errors import NotFoundError
from pipeline.hub.listing import CommitInfo, DataFile, Listing, list_commits, list_files
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.resolver import select_split
from pipeline.hub.transactions import Record, read_records

_AT_ONCE = 8
Select = Callable[[Listing], Sequence[DataFile]]
"""The files of the split in a listing, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How files differ from what they were: `removed` as they were, all others as they are.

    `renamed` have the content that another path had, so there is nothing new in them.
    """

    added: tuple[DataFile, ...] = ()
    removed: tuple[DataFile, ...] = ()
    rewritten: tuple[DataFile, ...] = ()
    renamed: tuple[DataFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitChange:
    """What a commit did to a split.

    `mode` is append, overwrite, compact or revert where we made the commit, else `None`; `query` and `batch` are those of a
    streaming sink that made it.
    """

    commit: CommitInfo
    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]
    rewritten: tuple[DataFile, ...]
    renamed: tuple[DataFile, ...]
    mode: str | None = None
    query: str | None = None
    batch: int | None = None

    @property
    def rows_changed(self) -> bool:
        """Whether there are other rows than before: not when nothing came or went, nor when files were compacted."""
        return bool(self.added or self.removed or self.rewritten) and self.mode != "compact"

    @property
    def only_adds(self) -> bool:
        """Whether every row from before is there still, in the file where it was."""
        return not self.removed and not self.rewritten


def changes_between(
    ref: DatasetRef, token: Secret | None, start: str | None, end: str, *, select: Select | None = None
) -> list[CommitChange]:
    """What each commit after `start` (all, for `None`) up to `end` did to the ref's split, oldest first; both are full shas.

    `select` picks the files instead, and may raise NotFoundError where there are none yet. A commit that leaves the split alone
    is in the list too. Raises NotFoundError when `start` is not in the history of `end`, OptionError for a bucket.
    """
    if start == end:
        return []
    commits = _commits(ref, token, start, end)
    choose = select or (lambda listing: select_split(listing, ref).files)
    by_parent = {one.parent: one for one in read_records(list_files(replace(ref, revision=end), token), token)}
    old = _files(choose, list_files(replace(ref, revision=start), token)) if start else ()
    parent, changes = start or "", []
    for commit, listing in _listed(ref, token, commits):
        new = _files(choose, listing)
        found = compare(old, new)
        own = by_parent.get(parent) or (_own_record(listing, parent, token) if found != Difference() else Record())
        changes.append(_change(commit, found, own))
        old, parent = new, commit.sha
    return changes


def compare(old: Iterable[DataFile], new: Iterable[DataFile]) -> Difference:
    """How files differ from what they were; in the order in which they are given."""
    was = {file.path: file for file in old}
    now = {file.path: file for file in new}
    gone = [file for path, file in was.items() if path not in now]
    came = [file for path, file in now.items() if path not in was]
    moved = Counter(map(_content, gone)) & Counter(map(_content, came))
    added, renamed = _without(came, moved)
    removed, _ = _without(gone, moved)
    rewritten = [file for path, file in now.items() if path in was and not same_content(was[path], file)]
    return Difference(added=tuple(added), removed=tuple(removed), rewritten=tuple(rewritten), renamed=tuple(renamed))


def _without(files: Iterable[DataFile], moved: Counter[str]) -> tuple[list[DataFile], list[DataFile]]:
    """The files but those whose content is in `moved`, each as often as it is there; and those."""
    left, kept, taken = Counter(moved), [], []
    for file in files:
        if left[_content(file)] > 0:
            left[_content(file)] -= 1
            taken.append(file)
        else:
            kept.append(file)
    return kept, taken


def same_content(left: DataFile, right: DataFile) -> bool:
    """Whether two files at one path have the same bytes."""
    return left.size == right.size and _content(left) == _content(right)


def _content(file: DataFile) -> str:
    return file.sha256 or file.xet_hash or file.oid or file.path


def _commits(ref: DatasetRef, token: Secret | None, start: str | None, end: str) -> list[CommitInfo]:
    """Those after `start` up to `end`, oldest first."""
    found: list[CommitInfo] = []
    for one in list_commits(replace(ref, revision=end), token):
        if one.sha == start:
            return found[::-1]
        found.append(one)
    if start is None:
        return found[::-1]
    raise NotFoundError(
        f"{ref.repo_id}: commit {start[:8]} is not in the history of {end[:8]}, which was squashed or pushed anew; "
        "what came after it cannot be told: start again from a commit that is there"
    )


def _listed(
    ref: DatasetRef, token: Secret | None, commits: Sequence[CommitInfo]
) -> Iterator[tuple[CommitInfo, Listing]]:
    """The commits with their listings: a few are asked for at a time, and no more are held."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(commits), _AT_ONCE):
            few = commits[start : start + _AT_ONCE]
            yield from zip(
                few, pool.map(lambda one: list_files(replace(ref, revision=one.sha), token), few), strict=True
            )


def _files(choose: Select, listing: Listing) -> tuple[DataFile, ...]:
    try:
        return tuple(choose(listing))
    except NotFoundError:
        return ()


def _own_record(listing: Listing, parent: str, token: Secret | None) -> Record:
    """What the commit itself says that it did, for one that its branch has forgotten since."""
    return next((one for one in reversed(read_records(listing, token)) if one.parent == parent), Record())


def _change(commit: CommitInfo, found: Difference, record: Record) -> CommitChange:
    return CommitChange(
        commit=commit,
        added=found.added,
        removed=found.removed,
        rewritten=found.rewritten,
        renamed=found.renamed,
        mode=record.mode,
        query=record.query,
        batch=record.batch,
    )
