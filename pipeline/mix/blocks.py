"""Blocks: runs of consecutive rows of one file, which a mix keeps together. Many of them, in little memory.

A million blocks take 25 MB as columns; one block at a time is a `Block`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from pipeline.mix.sources import OpenSource

_CODES = "iiqqb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows [start, start + rows) of a file, counted over the rows that its source keeps. The row groups of a `copied` block go
    into the mix as they are: it is made of whole ones.
    """

    source: int
    file: int
    start: int
    rows: int
    copied: bool = False

    @property
    def end(self) -> int:
        """The row after the last."""
        return self.start + self.rows


class Blocks(Sequence[Block]):
    """Blocks as five columns: 25 bytes each, whether in memory or pickled. Slices, and what `take` gives, are Blocks again."""

    __slots__ = ("copied", "file", "rows", "source", "start")

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.source, self.file, self.start, self.rows, self.copied = (array(code) for code in _CODES)
        for block in blocks:
            values = block.source, block.file, block.start, block.rows, block.copied
            for column, value in zip(self.columns(), values, strict=True):
                column.append(value)

    def columns(self) -> tuple[array[int], ...]:
        """The fields of all blocks: source, file, start, rows, copied."""
        return self.source, self.file, self.start, self.rows, self.copied

    def take(self, places: Sequence[int]) -> Blocks:
        """The blocks at these places, in this order."""
        return of_columns(array(column.typecode, map(column.__getitem__, places)) for column in self.columns())

    def cut(self, rows: int) -> Blocks:
        """The same blocks, of the last one only its first rows. A part of a block is never copied."""
        found = self[:]
        if found.rows[-1] != rows:
            found.rows[-1], found.copied[-1] = rows, 0
        return found

    def runs(self) -> Iterator[tuple[int, int]]:
        """(source, rows) of each block."""
        return zip(self.source, self.rows, strict=True)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> Blocks: ...
    def __getitem__(self, index: int | slice) -> Block | Blocks:
        if isinstance(index, slice):
            return of_columns(column[index] for column in self.columns())
        return _block(*(column[index] for column in self.columns()))

    def __iter__(self) -> Iterator[Block]:
        return map(_block, *self.columns())

    def __add__(self, other: Blocks) -> Blocks:
        return of_columns(mine + theirs for mine, theirs in zip(self.columns(), other.columns(), strict=True))

    def __mul__(self, times: int) -> Blocks:
        return of_columns(column * times for column in self.columns())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocks) and self.columns() == other.columns()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} blocks of {sum(self.rows)} rows>"

    def __reduce__(self) -> tuple[Any, ...]:
        return of_columns, (self.columns(),)


def of_columns(columns: Iterable[array[int]]) -> Blocks:
    """The blocks whose fields these are, as `Blocks.columns` gives them."""
    found = Blocks()
    found.source, found.file, found.start, found.rows, found.copied = columns
    return found


def joined(parts: Iterable[Blocks]) -> Blocks:
    """The blocks of all, one after the other."""
    found = Blocks()
    for part in parts:
        for mine, theirs in zip(found.columns(), part.columns(), strict=True):
            mine.extend(theirs)
    return found


def block_name(source: OpenSource, block: Block) -> str:
    """What names a block by its content, in whatever mix: its file's content, its rows, and how they are changed."""
    name = f"{source.files[block.file].name}:{block.start}:{block.rows}"
    return name if block.copied else f"{name}:{source.transform.fingerprint}"


def block_names(sources: Sequence[OpenSource], blocks: Blocks) -> Iterator[str]:
    """The names of all of them."""
    return (block_name(sources[block.source], block) for block in blocks)


def _block(source: int, file: int, start: int, rows: int, copied: int) -> Block:
    return Block(source=source, file=file, start=start, rows=rows, copied=bool(copied))
