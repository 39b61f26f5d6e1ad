"""Where a stream stands, and how far the next micro-batch goes. Pure.

A stream is a row of slices, each the files that one commit brings. An offset is a commit and the number of its files that are
read; all that came before the commit is read too. Offsets are kept in checkpoints: what an old one says must stay readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import ConflictError, CorruptFileError
from pipeline.hub.listing import DataFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """A commit's sha, empty before there is any, and how many of its files are read, `None` for all.

    Its files are those that it added or, in a `snapshot`, all that were there: what a stream begins with.
    """

    commit: str = ""
    files: int | None = 0
    snapshot: bool = False

    def to_json(self) -> dict[str, Any]:
        """What Spark keeps; equal offsets are equal texts."""
        return {"commit": self.commit, "files": self.files, "snapshot": self.snapshot}


def parse_offset(value: Mapping[str, Any]) -> Offset:
    """An offset as Spark kept it. Raises CorruptFileError for one that is not ours."""
    commit, files, snapshot = value.get("commit"), value.get("files"), value.get("snapshot", False)
    if isinstance(commit, str) and isinstance(files, int | None) and isinstance(snapshot, bool):
        return Offset(commit=commit, files=files, snapshot=snapshot)
    raise CorruptFileError(
        f"the checkpoint's offset {dict(value)!r:.200} is not one of this format; start again with another checkpoint"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What a commit brings: its files after the `first` ones. `refused` says why the stream cannot go past it."""

    commit: str
    files: tuple[DataFile, ...]
    first: int = 0
    snapshot: bool = False
    refused: str | None = None

    def after(self, count: int) -> Slice:
        """All of a commit's files but the first so many."""
        return replace(self, files=self.files[count:], first=count)

    def before(self, count: int | None) -> Slice:
        """The slice up to so many of the commit's files, `None` for all."""
        return self if count is None else replace(self, files=self.files[: max(count - self.first, 0)])


def advance(start: Offset, unread: Iterable[Slice], max_files: int | None) -> Offset:
    """Where a micro-batch from `start` on ends: after all that is unread, or after `max_files`.

    It ends before a commit that cannot be passed. Raises ConflictError when that is the very next one.
    """
    end, left = start, max_files
    for one in unread:
        if one.refused is not None:
            if end == start:
                raise ConflictError(one.refused)
            return end
        if not one.files:
            continue
        if left is None or len(one.files) <= left:
            end = Offset(commit=one.commit, files=None, snapshot=one.snapshot)
            left = None if left is None else left - len(one.files)
        elif left:
            return Offset(commit=one.commit, files=one.first + left, snapshot=one.snapshot)
        if left == 0:
            return end
    return end


def up_to(unread: Sequence[Slice], end: Offset) -> list[Slice]:
    """The slices with files that a micro-batch which ends at `end` reads. Raises ConflictError for one that is refused."""
    batch = [one.before(end.files) if one.commit == end.commit else one for one in unread]
    for one in batch:
        if one.refused is not None:
            raise ConflictError(one.refused)
    return [one for one in batch if one.files]
