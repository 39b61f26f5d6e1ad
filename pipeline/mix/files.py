"""A source's files: what planning needs of their footers, and no more.

Ten thousand footers can take gigabytes, so they are read some at a time, and of each only the rows and sizes of its row groups
are kept. Files of one Parquet schema share one footer without row groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import SchemaError
from pipeline.formats.tasks import Task
from pipeline.hub.repo import Secret
from pipeline.parquet.conform import shared_type
from pipeline.parquet.features import Features, features_of
from pipeline.parquet.footer import Footer, read_footers
from pipeline.parquet.layout import is_padded
from pipeline.storage import FileRef

_AT_A_TIME = 256
_SAMPLED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of a source.

    `name` names its content. `rows` are those of its row groups, `kept` those that the source's conditions keep once they are
    counted, `sizes` the bytes of the columns that are read, as the first row groups tell. `padded` files have the layout
    `blocks`. `shape` says which of the source's Parquet schemas it has.

    Of a file in another format, `tasks` read it, each in the place of a row group; their `rows` are 0 until they are counted.
    """

    file: FileRef
    name: str
    rows: tuple[int, ...]
    kept: tuple[int, ...]
    sizes: tuple[int, ...]
    padded: bool
    shape: int
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The files of a source before it is known which columns are read: for each, the bytes of a column per uncompressed byte."""

    files: tuple[SourceFile, ...]
    shapes: tuple[Footer, ...]
    shares: tuple[Mapping[str, float], ...]

    @property
    def features(self) -> Features:
        """What the first file knows of the columns."""
        return features_of(self.shapes[0].schema()) or {}

    def sized(self, columns: Collection[str]) -> tuple[SourceFile, ...]:
        """The files with the sizes of these columns."""
        return tuple(
            _sized(file, sum(share.get(column, 0.0) for column in columns))
            for file, share in zip(self.files, self.shares, strict=True)
        )

    def schema(self) -> pa.Schema:
        """The columns of all files, each with a type that holds every file's; required only where it is in all.

        Raises SchemaError naming the first file that does not fit.
        """
        found: dict[str, pa.Field] = {}
        for shape, footer in enumerate(self.shapes):
            columns = footer.schema()
            for column in columns:
                known = found.get(column.name)
                merged = shared_type([column.type] if known is None else [known.type, column.type])
                if merged is None:
                    first = next(file for file in self.files if file.shape == shape)
                    raise SchemaError(
                        f"{first.file.uri}: column {column.name!r} is {column.type}, but {found[column.name].type} in the files "
                        "before"
                    )
                nullable = column.nullable or (shape > 0 if known is None else known.nullable)
                found[column.name] = pa.field(column.name, merged, nullable)
            absent = found.keys() - set(columns.names)
            found |= {name: found[name].with_nullable(True) for name in absent}
        return pa.schema(list(found.values()))


def take_inventory(files: Sequence[FileRef], token: Secret | None) -> Inventory:
    """Read the files' footers. Raises what `read_footers` raises."""
    shapes: dict[bytes, int] = {}
    kept: list[Footer] = []
    found, shares = [], []
    for start in range(0, len(files), _AT_A_TIME):
        some = files[start : start + _AT_A_TIME]
        for file, footer in zip(some, read_footers(some, token), strict=True):
            shape = shapes.setdefault(footer.shape, len(kept))
            if shape == len(kept):
                kept.append(footer.only([]))
            found.append(_source_file(file, footer, shape))
            shares.append(_shares(footer))
    return Inventory(files=tuple(found), shapes=tuple(kept), shares=tuple(shares))


def _source_file(file: FileRef, footer: Footer, shape: int) -> SourceFile:
    rows, num_bytes = footer.counts()
    first = [footer.row_group(position) for position in range(min(_SAMPLED, len(rows)))]
    return SourceFile(
        file=file,
        name=footer.name,
        rows=tuple(rows),
        kept=tuple(rows),
        sizes=tuple(num_bytes),
        padded=is_padded(first),
        shape=shape,
    )


def _shares(footer: Footer) -> dict[str, float]:
    """The stored bytes of each column per uncompressed byte, as the first row groups have it."""
    groups = [footer.row_group(position) for position in range(min(_SAMPLED, footer.metadata().num_row_groups))]
    whole = sum(group.num_bytes for group in groups) or 1
    stored: Counter[str] = Counter()
    for group in groups:
        for chunk in group.chunks:
            stored[chunk.column] += chunk.end - chunk.start
    return {column: size / whole for column, size in stored.items()}


def _sized(file: SourceFile, share: float) -> SourceFile:
    return SourceFile(
        file=file.file,
        name=file.name,
        rows=file.rows,
        kept=file.kept,
        sizes=tuple(max(1, round(size * share)) for size in file.sizes),
        padded=file.padded,
        shape=file.shape,
    )
