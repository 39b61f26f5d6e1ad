"""CSV as columns of text, cut into rows as pandas cuts them.

pyarrow does it, ten times as fast as Python, where a file has nothing that it takes for an error or reads otherwise than pandas:
short rows (missing values at the end), one column (blank lines), a quote that does not end, an encoding. From the first such
place on the `csv` module does it, from which pandas' tokenizer was made; errors come from there alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import csv as pacsv

from pipeline.errors import CorruptFileError
from pipeline.formats.batches import MOST_BYTES, MOST_ROWS
from pipeline.formats.csv_rows import CsvRows, Dialect
from pipeline.formats.opening import opened
from pipeline.hub.repo import Secret
from pipeline.storage import FileRef

_BLOCK_BYTES = 1 << 20  # of 4 MB, a worker would hold 150 MB more, and be no faster
_TAIL_BYTES = 64 << 10


def text_batches(file: FileRef, dialect: Dialect, token: Secret | None) -> Iterator[pa.RecordBatch]:
    """A CSV file as batches of string columns, missing values null; none for a file without rows.

    Raises CorruptFileError, with the line, for what is no CSV.
    """
    done = 0
    if dialect.is_for_arrow:
        with opened(file, token) as stream:
            found = _by_arrow(stream, dialect)
            while (batch := _next_or_none(found)) is not None:
                if batch is False:
                    break
                done += batch.num_rows
                yield batch
            else:
                return
    with opened(file, token) as stream:
        yield from _by_python(stream, dialect, file.uri, done)


def _next_or_none(found: Iterator[pa.RecordBatch]) -> Any:
    """The next batch, `None` at the end, `False` where somebody else has to look."""
    try:
        return next(found, None)
    except (pa.ArrowInvalid, csv.Error, UnicodeDecodeError):
        return False


def _by_arrow(stream: BinaryIO, dialect: Dialect) -> Iterator[pa.RecordBatch]:
    """Raises pa.ArrowInvalid where this is not the way."""
    raw: list[bytes] = []

    def read_lines() -> Iterator[str]:
        for line in iter(stream.readline, b""):
            raw[:] = [*raw, line] if found.begun else [line]
            yield line.decode()

    found = CsvRows(read_lines(), dialect)
    names, first = found.head()
    if len(names) < 2:
        raise pa.ArrowInvalid("blank lines")
    quote = dialect.quote or '"'
    counted = _Counted(stream, b"".join(raw) if first is not None else b"", quote.encode())
    try:
        batches = pacsv.open_csv(pa.PythonFile(counted, "r"), **_options(dialect, names))
    except pa.ArrowInvalid:
        if counted.size:
            raise
        return  # no row
    last: str | None = None
    for batch in batches:
        if batch.num_rows:
            last = batch.column(batch.num_columns - 1)[batch.num_rows - 1].as_py()
        for start in range(0, batch.num_rows, MOST_ROWS):
            yield batch.slice(start, MOST_ROWS)
    opening = (dialect.quote or "") + (last or "").replace(quote, quote * 2 if dialect.doublequote else quote)
    ends_open = counted.tail.endswith((opening if last else dialect.sep + opening).encode())
    if dialect.quote and (counted.quotes % 2 or ends_open):
        raise pa.ArrowInvalid("a quote that does not end")


def _options(dialect: Dialect, names: list[str]) -> dict[str, Any]:
    """What pyarrow is to know: every column is text."""
    return {
        "read_options": pacsv.ReadOptions(column_names=names, use_threads=False, block_size=_BLOCK_BYTES),
        "parse_options": pacsv.ParseOptions(
            delimiter=dialect.sep,
            quote_char=dialect.quote or False,
            double_quote=dialect.doublequote,
            escape_char=dialect.escape or False,
            newlines_in_values=True,
        ),
        "convert_options": pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=list(dialect.na_values),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    }


def _by_python(stream: BinaryIO, dialect: Dialect, about: str, done: int) -> Iterator[pa.RecordBatch]:
    """The rows after those that are done."""
    text = io.TextIOWrapper(stream, dialect.encoding, dialect.encoding_errors, newline="")
    found = CsvRows(iter(text), dialect)
    try:
        names, first = found.head()
        rows = found.rows(first, len(names), about)
        for _ in islice(rows, done):
            pass
        missing = frozenset(dialect.na_values)
        while part := _some(rows):
            columns = zip(*part, strict=True)
            arrays = [pa.array([None if one in missing else one for one in column], pa.string()) for column in columns]
            yield pa.RecordBatch.from_arrays(arrays, names=names)
    except csv.Error as err:
        raise CorruptFileError(f"{about}: line {found.number} is no CSV ({err}); mend it") from err
    except UnicodeDecodeError as err:
        raise CorruptFileError(
            f"{about}: after line {found.number} there is text that is not {dialect.encoding} ({err.reason}); "
            "mend it, or name its 'encoding' in README.md"
        ) from err
    finally:
        text.detach()


def _some(rows: Iterator[Sequence[str | None]]) -> list[Sequence[str | None]]:
    """The next rows: as many as make a batch."""
    found = []
    size = 0
    for row in rows:
        found.append(row)
        size += sum(len(one) for one in row if one is not None)
        if len(found) >= MOST_ROWS or size >= MOST_BYTES:
            break
    return found


class _Counted(io.RawIOBase):
    """A stream after some bytes; counts the quotes in it, and keeps its end."""

    def __init__(self, stream: BinaryIO, head: bytes, quote: bytes) -> None:
        self._stream, self._head, self._quote = stream, head, quote
        self.quotes = self.size = 0
        self.tail = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found, self._head = (self._head or self._stream.read(size)), b""
        self.quotes += found.count(self._quote)
        self.size += len(found)
        self.tail = (self.tail + found[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        return found
