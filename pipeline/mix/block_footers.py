"""The footers that blocks are read with: a shard's blocks can lie in thousands of files, of which they need few row groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from pipeline.errors import CorruptFileError
from pipeline.hub.repo import Secret
from pipeline.mix.blocks import Block
from pipeline.mix.files import SourceFile
from pipeline.mix.plan import Plan, groups_of
from pipeline.parquet.footer import Footer, read_footers
from pipeline.storage import is_changed

_AT_A_TIME = 64


def read_block_footers(plan: Plan, blocks: Sequence[Block], token: Secret | None) -> dict[str, Footer]:
    """The footers of the blocks' Parquet files by URI, of each only the row groups that the blocks are in.

    Raises CorruptFileError for a file that is another one than was planned with.
    """
    ends = group_ends(plan, blocks)
    wanted: dict[str, tuple[SourceFile, set[int]]] = {}
    for block in blocks:
        file = plan.sources[block.source].files[block.file]
        if not file.tasks:
            _, groups = wanted.setdefault(file.file.uri, (file, set()))
            groups.update(range(*groups_of(ends[block.source, block.file], block)))
    found: dict[str, Footer] = {}
    every = list(wanted.values())
    for start in range(0, len(every), _AT_A_TIME):
        some = every[start : start + _AT_A_TIME]
        footers = read_footers([file.file for file, _ in some], token)
        for (file, groups), footer in zip(some, footers, strict=True):
            if footer.name != file.name or is_changed(file.file):
                raise CorruptFileError(f"{file.file.uri}: is not the file that was planned with; make a new plan")
            found[file.file.uri] = footer.only(sorted(groups))
    return found


def group_ends(plan: Plan, blocks: Iterable[Block]) -> dict[tuple[int, int], list[int]]:
    """Where the row groups of the blocks' files end, by source and file, counted over kept rows."""
    places = dict.fromkeys((block.source, block.file) for block in blocks)
    return {(source, file): list(accumulate(plan.sources[source].files[file].kept)) for source, file in places}
