"""What a comparison of two datasets finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.audit.settings import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A split at a commit: rows, files, their bytes."""

    rows: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChanges:
    """Files by content: those on both sides, those that came (and their bytes), those that went.

    `uploaded` are the bytes that storage did not have yet, as the commits in between say; `None` where they do not.
    """

    kept: int
    new: int
    gone: int
    bytes_new: int
    uploaded: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChange:
    """The rows of a source and their share of the split, before and after; `None` where it is not known, or was no source."""

    source: str
    rows_before: int | None
    rows_after: int | None
    share_before: float | None
    share_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockChanges:
    """Blocks by name: those on both sides (of them `moved` to another shard or row), those that came, those that went."""

    kept: int
    moved: int
    added: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitDiff:
    """How one split differs. A side without the split is `None`; `columns` and `settings` are those that differ."""

    config: str
    split: str
    before: Side | None
    after: Side | None
    files: FileChanges
    columns: tuple[Setting, ...]
    sources: tuple[SourceChange, ...]
    settings: tuple[Setting, ...]
    blocks: BlockChanges | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDiff:
    """Both sides by name and commit, and how each split differs that either has."""

    before: str
    after: str
    splits: tuple[SplitDiff, ...]

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"before": self.before, "after": self.after, "splits": [asdict(one) for one in self.splits]}
