"""Which files the commits of a branch bring to a stream: each commit is looked at once, and remembered as a slice.

A commit that only adds files brings these. What only compacted brings nothing. What deletes or rewrites files contradicts rows
that were read already: the stream stops before it, unless the user said to pass over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from pipeline.errors import NotFoundError
from pipeline.hub.any_format import resolve_any
from pipeline.hub.changes import CommitChange, changes_between
from pipeline.hub.listing import DataFile, Listing, list_commits, list_files
from spark_datasource.read_options import StreamReadOptions
from spark_datasource.stream_offsets import Offset, Slice


class Commits:
    """The commits of the branch that a stream follows, from one that it knows on. Kept in memory: files that are unread."""

    def __init__(self, options: StreamReadOptions) -> None:
        self._options = options
        self._base = self._tip = ""
        self._slices: list[Slice] = []
        self._own: Slice | None = None

    def unread(self, start: Offset, tip: str) -> list[Slice]:
        """What came after `start` up to the commit `tip`, which must descend from it; oldest first.

        Raises NotFoundError when the start's commit is not in the history any more.
        """
        if not start.commit:
            return [self._snapshot(tip)]
        rest = [] if start.files is None else [self._slice_of(start).after(start.files)]
        return [*rest, *self._later(start.commit, tip)]

    def _later(self, start: str, tip: str) -> list[Slice]:
        """The slices of the commits after `start` up to `tip`; those before are forgotten."""
        if start == tip:
            return []
        places = {one.commit: i + 1 for i, one in enumerate(self._slices)}
        if start != self._base and start not in places:
            self._begin(start)
        else:
            self._base, self._slices = start, self._slices[places.get(start, 0) :]
        ends = [i + 1 for i, one in enumerate(self._slices) if one.commit == tip]
        if ends:
            return self._slices[: ends[0]]
        self._extend(tip)
        return list(self._slices)

    def _begin(self, start: str) -> None:
        self._base = self._tip = start
        self._slices = []

    def _extend(self, tip: str) -> None:
        try:
            self._slices += self._changes(self._tip, tip)
        except NotFoundError:
            # What was seen of the branch may be gone from it while the stream's own commit is not.
            if self._tip == self._base:
                raise
            self._begin(self._base)
            self._slices += self._changes(self._base, tip)
        self._tip = tip

    def _changes(self, start: str | None, end: str) -> list[Slice]:
        found = changes_between(self._options.read.ref, self._options.read.token, start, end, select=self._select)
        slices = [slice_of(change, self._options) for change in found]
        return [one for one in slices if one.files or one.refused]

    def _slice_of(self, offset: Offset) -> Slice:
        """All that an offset's own commit brings."""
        known = self._own
        if known is None or (known.commit, known.snapshot) != (offset.commit, offset.snapshot):
            known = self._snapshot(offset.commit) if offset.snapshot else self._additions(offset.commit)
            self._own = known
        return known

    def _additions(self, commit: str) -> Slice:
        read = self._options.read
        parents = islice(list_commits(replace(read.ref, revision=commit), read.token), 1, 2)
        found = self._changes(next((one.sha for one in parents), None), commit)
        return found[-1] if found else Slice(commit=commit, files=())

    def _snapshot(self, commit: str) -> Slice:
        read = self._options.read
        listing = list_files(replace(read.ref, revision=commit), read.token)
        return Slice(commit=commit, files=tuple(self._select(listing)), snapshot=True)

    def _select(self, listing: Listing) -> Sequence[DataFile]:
        read = self._options.read
        found = resolve_any(listing, read.ref, data_files=read.data_files, data_dir=read.data_dir)
        return next(iter(found.wanted.values())).files


_DELETED = "set option 'ignoreDeletes' to true to pass over commits that only delete, 'ignoreChanges' for those that rewrite too"
_CHANGED = "set option 'ignoreChanges' to true to read what is written anew as new rows, and to pass over deletions"


def slice_of(change: CommitChange, options: StreamReadOptions) -> Slice:
    """What a commit brings to a stream with these options, or why it cannot be passed."""
    sha = change.commit.sha
    new = (*change.added, *change.rewritten)
    if not change.rows_changed or (options.ignore_deletes and not new):
        return Slice(commit=sha, files=())
    if change.only_adds or options.ignore_changes:
        return Slice(commit=sha, files=new)
    if new:
        why = _refusal("replaces", (*change.rewritten, *change.removed), _CHANGED)
    else:
        why = _refusal("deletes", change.removed, _DELETED)
    about = f"{options.read.ref.repo_id}: commit {sha[:8]} ({change.commit.title[:60]!r})"
    return Slice(commit=sha, files=(), refused=f"{about} {why}")


def _refusal(did: str, files: Sequence[DataFile], ways: str) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return (
        f"{did} {files[0].path!r}{more}, so rows that the stream has read are there no longer; "
        f"{ways}, or start again with another checkpoint"
    )
