"""The row groups of a split's files, numbered through: how many rows and bytes each has, and tasks to scan them.

The table is small (two numbers per row group) and travels to workers. Counting parses every footer, 2 ms for 100 row groups of
20 columns, so the table of many files is kept on this machine's disk, for other ranks and for later jobs: it is a pure function
of the files' contents. Tasks carry the footers of their own row groups alone, cut from whole ones that are read when they are
needed, of which the last 16 MiB stay.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import SchemaError
from pipeline.hub import cache
from pipeline.hub.repo import Secret
from pipeline.parquet.footer import Footer, read_footers
from pipeline.parquet.parsed import Recent
from pipeline.parquet.task import Extents, ScanTask, find_extents
from pipeline.storage import FileRef

FEW_FILES = 16  # their footers are read in the time of one
_RECENT_BYTES = 16 << 20
_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable:
    """Rows and uncompressed bytes per row group, in file order; `first` is each file's first number, and the end.

    `total` are the rows of all; `columns` are all files' columns, each with the number of the first file that has it.
    """

    rows: array[int]
    sizes: array[int]
    first: array[int]
    columns: Mapping[str, int]
    total: int

    def locate(self, number: int) -> tuple[int, int]:
        """The file, and the row group in it."""
        file = bisect_right(self.first, number) - 1
        return file, number - self.first[file]

    def to_bytes(self) -> bytes:
        """As it is kept on this machine."""
        head = json.dumps([self.total, len(self.rows), dict(self.columns)]).encode() + b"\n"
        return head + self.rows.tobytes() + self.sizes.tobytes() + self.first.tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> GroupTable:
        """The table that was kept."""
        head, _, numbers = content.partition(b"\n")
        total, groups, columns = json.loads(head)
        held = array("q", numbers)
        return cls(
            rows=held[:groups],
            sizes=held[groups : 2 * groups],
            first=held[2 * groups :],
            columns=columns,
            total=total,
        )


class Footers:
    """The footers of a split, read when they are asked for."""

    def __init__(self, files: Sequence[FileRef], token: Secret | None, known: Sequence[str] | None) -> None:
        self._files = files
        self._token = token
        self._known = known
        self._recent: Recent[int, Footer] = Recent(_RECENT_BYTES)
        self._extents: dict[int, Extents] = {}

    def table(self) -> GroupTable:
        """Count the row groups of all files. Raises SchemaError for a column that was not known before."""
        key = self._key()
        table = self._load(key)
        if table is None and key is not None:
            with cache.only_one(key):
                table = self._load(key)
                if table is None:
                    table = self._count()
                    cache.store(key, table.to_bytes())
        table = table or self._count()
        self._check(table.columns)
        return table

    def task(self, file: int, group: int, footer: Footer | None = None) -> ScanTask:
        """The task that scans a row group, of the file's footer if that is at hand."""
        footer = footer or self.read([file])[0]
        if file not in self._extents:
            self._extents[file] = find_extents(self._files[file], footer, self._token)
        return self._extents[file].task(self._files[file], footer, group)

    def read(self, numbers: Sequence[int]) -> list[Footer]:
        """The footers of these files, many at once."""
        found = {number: footer for number in numbers if (footer := self._recent.get(number))}
        missing = [number for number in numbers if number not in found]
        for number, footer in zip(missing, read_footers([self._files[i] for i in missing], self._token), strict=True):
            self._recent.put(number, footer, len(footer.raw))
            found[number] = footer
        return [found[number] for number in numbers]

    def check(self, number: int, footer: Footer) -> None:
        """Raise SchemaError when a file that was not counted has a column that was not known before."""
        self._check(dict.fromkeys(footer.schema().names, number))

    def _count(self) -> GroupTable:
        rows, sizes, first = array("q"), array("q"), array("q", [0])
        columns: dict[str, int] = {}
        for start in range(0, len(self._files), _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, len(self._files)))
            for number, footer in zip(numbers, self.read(numbers), strict=True):
                for name in footer.schema().names:
                    columns.setdefault(name, number)
                for found, counted in zip((rows, sizes), footer.counts(), strict=True):
                    found.extend(counted)
                first.append(len(rows))
        return GroupTable(rows=rows, sizes=sizes, first=first, columns=columns, total=sum(rows))

    def _key(self) -> cache.Key | None:
        """What the table of these files is kept under; `None` where it is counted in no time, or may change."""
        if len(self._files) <= FEW_FILES or not all(file.is_hashed for file in self._files):
            return None
        state = hashlib.blake2b(digest_size=32)
        for file in self._files:
            state.update(f"{file.endpoint} {file.content_id} {file.size}\n".encode())
        return "groups", cache.owner(self._token), self._files[0].endpoint or "", state.hexdigest()

    def _load(self, key: cache.Key | None) -> GroupTable | None:
        content = cache.load(key) if key else None
        return GroupTable.from_bytes(content) if content else None

    def _check(self, columns: Mapping[str, int]) -> None:
        """Where all columns are wanted, none may be left out unsaid."""
        for name, number in columns.items():
            if self._known is not None and name not in self._known:
                raise SchemaError(
                    f"{self._files[number].uri}: column {name!r} is neither in the split's first file nor in the features of "
                    "its card; choose columns, or add it to the card"
                )
