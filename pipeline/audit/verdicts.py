"""What a verification finds, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where rows are not those of the plan: the shard and its first such row. `block` counts in the split. `None`: not known."""

    shard: int
    row: int | None
    block: int | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVerdict:
    """A source's rows that were compared, and the first that differ, if any."""

    source: str
    rows: int
    difference: Difference | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitVerdict:
    """What was found of one build of a split: `method` says how rows were compared, `problems` what is wrong beside them,
    `notes` what is not wrong but worth knowing.
    """

    config: str
    split: str
    shards: int
    method: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    sources: tuple[SourceVerdict, ...]

    @property
    def equal(self) -> bool:
        """Whether all files and rows are what they should be."""
        return not self.problems and all(one.difference is None for one in self.sources)

    @property
    def rows(self) -> int:
        """How many rows were compared."""
        return sum(one.rows for one in self.sources)

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "rows": self.rows, "equal": self.equal}
