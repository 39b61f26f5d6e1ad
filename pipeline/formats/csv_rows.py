"""How a CSV file is written, and its rows as Python's `csv` module cuts them, which is as pandas does."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import CorruptFileError
from pipeline.formats.choices import is_utf8
from pipeline.formats.csv_values import NA_VALUES

_MOST_FIELD_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a file's rows are written. `header` is `None` where the first row is data; `names` are used instead of those in it."""

    sep: str = ","
    quote: str | None = '"'
    doublequote: bool = True
    escape: str | None = None
    skip_initial_space: bool = False
    header: bool = True
    names: tuple[str, ...] | None = None
    skip_rows: int = 0
    na_values: tuple[str, ...] = NA_VALUES
    encoding: str = "utf-8"
    encoding_errors: str = "strict"

    @property
    def is_for_arrow(self) -> bool:
        """Whether pyarrow can read it."""
        signs = f"{self.sep}{self.quote}{self.escape}"
        is_plain = is_utf8(self.encoding) and self.encoding_errors == "strict"
        return is_plain and signs.isascii() and not self.skip_initial_space

    def reader(self, lines: Iterable[str]) -> Any:
        """Rows of lines."""
        csv.field_size_limit(_MOST_FIELD_BYTES)
        return csv.reader(
            lines,
            delimiter=self.sep,
            quotechar=self.quote,
            quoting=csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL,
            doublequote=self.doublequote,
            escapechar=self.escape,
            skipinitialspace=self.skip_initial_space,
        )


class CsvRows:
    """Rows of lines, read lazily: no more lines are taken than those of the rows that are."""

    def __init__(self, lines: Iterator[str], dialect: Dialect) -> None:
        self._lines, self._dialect = lines, dialect
        self._reader = dialect.reader(self._take())
        self._last = ""
        self._ended = False
        self.number = 0
        self.begun = False
        """Whether a line was taken of the row that is being read."""

    def _take(self) -> Generator[str]:
        for line in self._lines:
            self._last, self.begun = line, True
            self.number += 1
            yield line if self.number > 1 else line.removeprefix("\ufeff")
        self._ended = True

    def head(self) -> tuple[list[str], list[str] | None]:
        """The columns' names, and the first row where it had to be looked at and is data."""
        dialect = self._dialect
        for _ in range(dialect.skip_rows):
            next(self._lines, None)
            self.number += 1
        if not dialect.header and dialect.names is not None:
            return list(dialect.names), None
        first: list[str] = []
        while self._is_blank(first):
            self.begun = False
            row = next(self._reader, None)
            if row is None:
                return list(dialect.names or ()), None
            first = row
        if not dialect.header:
            return [str(number) for number in range(len(first))], first
        return (unique_names(first) if dialect.names is None else list(dialect.names)), None

    def rows(self, first: list[str] | None, width: int, about: str) -> Iterator[Sequence[str | None]]:
        """Rows of so many fields: missing ones at the end of a row are null, blank lines are none."""
        if first is not None:
            yield [*first, *[None] * (width - len(first))]
        for row in self._reader:
            if self._ended:
                raise CorruptFileError(
                    f"{about}: the file ends in a quote, in the row at line {self.number}; it was cut short"
                )
            if self._is_blank(row):
                continue
            if len(row) > width:
                raise CorruptFileError(
                    f"{about}: line {self.number} has {len(row)} fields, expected {width}; quote what has a separator in it"
                )
            yield row if len(row) == width else [*row, *[None] * (width - len(row))]

    def _is_blank(self, row: Sequence[str]) -> bool:
        if len(row) != 1:
            return not row
        quote = self._dialect.quote
        return bool(row[0]) and not row[0].strip(" \t") and not (quote and quote in self._last)


def unique_names(names: Sequence[str]) -> list[str]:
    """A header's names as pandas has them: `a`, `a.1`, and `Unnamed: 2` where there is none."""
    named = [name or f"Unnamed: {number}" for number, name in enumerate(names)]
    counts: Counter[str] = Counter()
    found = []
    for old in named:
        name, count = old, counts[old]
        while count > 0:
            counts[old] = count + 1
            name = f"{old}.{count}"
            count = count + 1 if name in named else counts[name]
        counts[name] = count + 1
        found.append(name)
    return found
