"""In which order the column chunks of a block go into its file.

Copied chunks keep the order of their source, so that storage finds the run whole. A marker stands between them and the constants
that join them, so that the run ends as it does in its source; where a source has such a marker, the copy has it too.

parquet-mr takes the first column of the schema for the beginning of a row group, and half the row group's size further for its
middle: that must lie in the file, or Spark's tasks lose the row group. So this column comes first where it would else lie in the
second half, or be a constant; again with a marker, behind which the rest begins as in its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.parquet.layout import MARKER
from pipeline.parquet.rowgroup_copy import CopiedGroup, Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A row group to write: chunks that lie in this order in their file, and the chunks of constants."""

    rows: int
    parts: Sequence[Part]
    constants: Sequence[Part] = ()


def arranged(groups: Sequence[Group]) -> Iterator[tuple[int, Part] | None]:
    """The chunks of row groups that lie side by side, each with the place of its row group; `None` stands for a marker."""
    ahead = any(_first_lies_late(group) for group in groups)
    sections: list[list[tuple[int, Part] | None]] = [[], [], []]
    for place, group in enumerate(groups):
        every = [*group.parts, *group.constants]
        sections[0] += [(place, part) for part in every if ahead and part.leaf == 0]
        run = [part for part in group.parts if not (ahead and part.leaf == 0)]
        sections[1] += _with_markers(place, run)
        sections[2] += [(place, part) for part in group.constants if not (ahead and part.leaf == 0)]
    for number, section in enumerate(filter(None, sections)):
        if number:
            yield None
        yield from section


def _first_lies_late(group: Group) -> bool:
    before = 0
    for part in group.parts:
        if part.leaf == 0:
            return 2 * before > sum(one.chunk.end - one.chunk.start for one in group.parts)
        before += part.chunk.end - part.chunk.start
    return bool(group.parts)


def _with_markers(place: int, run: Sequence[Part]) -> Iterator[tuple[int, Part] | None]:
    end = 0
    for part in run:
        if part.chunk.start - end == len(MARKER):
            yield None
        end = part.chunk.end
        yield place, part


def joined(groups: Iterable[CopiedGroup]) -> Iterator[list[CopiedGroup]]:
    """Row groups of one file in runs of those between which nothing lies."""
    run: list[CopiedGroup] = []
    for group in groups:
        if run and run[-1].end != group.start:
            yield run
            run = []
        run.append(group)
    if run:
        yield run
