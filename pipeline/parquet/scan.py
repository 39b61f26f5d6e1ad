"""Row groups of files -> record batches, in order, fetched ahead of who consumes them.

A footer tells every byte range beforehand. The ranges of the next row groups are fetched by a few threads while the current
one is decoded; a row group larger than the budget is read piece by piece instead. Of columns that were not asked for, only those
that are smaller than a hole between two wanted ones are fetched.
"""

from __future__ import annotations

import io
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import parquet as pq

from pipeline.errors import CorruptFileError, DatasetError, SchemaError
from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret
from pipeline.parquet.footer import DECODING, Footer, RowGroup, one_line
from pipeline.storage import FileRef, RangeReader

_HOLE_BYTES = 1 << 20
_BLOCK_BYTES = 16 << 20
_PIECE_BYTES = 4 << 20
_OPEN_FILES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTask:
    """Some row groups of one file: the unit that Spark tasks, stream workers and mix builders read."""

    file: FileRef
    footer: Footer
    row_groups: tuple[int, ...]

    def groups(self) -> list[RowGroup]:
        """The footer's row groups that this task reads."""
        all_groups = self.footer.row_groups()
        return [all_groups[index] for index in self.row_groups]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How far to read ahead, in bytes and requests, and how large batches get."""

    prefetch_bytes: int = 64 << 20
    prefetch_requests: int = 8
    batch_rows: int = 10_000
    batch_bytes: int = 16 << 20


def whole_file(file: FileRef, footer: Footer) -> ScanTask:
    """A task for all row groups of a file."""
    return ScanTask(file=file, footer=footer, row_groups=tuple(range(footer.metadata().num_row_groups)))


def scan(
    tasks: Iterable[ScanTask],
    token: Secret | None,
    columns: Sequence[str] | None = None,
    options: ScanOptions | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of the tasks as batches, in order, with these top-level columns (all for `None`) in this order.

    Raises SchemaError for a column that a file lacks, CorruptFileError naming file and row group for bytes that are not
    Parquet, and what `open_file` raises.
    """
    named = ((task, columns) for task in tasks)
    return (batch for _, batch in scan_each(named, token, options))


def scan_each(
    tasks: Iterable[tuple[ScanTask, Sequence[str] | None]], token: Secret | None, options: ScanOptions | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """As `scan`, for tasks with columns of their own; each batch comes with its task's position."""
    options = options or ScanOptions()
    for fetch, data in _fetch_ahead(tasks, token, options):
        for batch in _decode(fetch, data, options):
            yield fetch.position, batch if fetch.columns is None else batch.select(list(fetch.columns))


def _decode(fetch: _Fetch, data: pa.NativeFile, options: ScanOptions) -> Iterator[pa.RecordBatch]:
    task, group = fetch.task, fetch.group
    row_bytes = max(1, group.num_bytes // max(1, group.rows))
    rows = max(1, min(options.batch_rows, options.batch_bytes // row_bytes))
    columns = None if fetch.columns is None else list(fetch.columns)
    try:
        metadata = task.footer.metadata()
        file = pq.ParquetFile(data, metadata=metadata, buffer_size=_PIECE_BYTES, pre_buffer=False, **DECODING)
        yield from file.iter_batches(batch_size=rows, row_groups=[group.index], columns=columns, use_threads=False)
    except DatasetError:
        raise
    except (OSError, pa.ArrowException) as err:
        raise CorruptFileError(f"{task.file.uri}: row group {group.index} cannot be read ({one_line(err)})") from err


def _check_columns(task: ScanTask, columns: Sequence[str] | None) -> None:
    known = task.footer.schema().names
    for column in columns or ():
        if column not in known:
            raise SchemaError(f"{task.file.uri}: no column {column!r}; it has {', '.join(map(repr, known))}")


@dataclass(slots=True, kw_only=True)
class _Fetch:
    """A row group on its way: `size` is what it holds of the budget, `last` that its task has no other one."""

    position: int
    task: ScanTask
    columns: Sequence[str] | None
    group: RowGroup
    size: int
    reader: RangeReader
    last: bool
    pieces: list[Future[tuple[int, bytes]]]

    def open(self) -> pa.NativeFile:
        """A file to decode the row group from; waits for its pieces."""
        pieces = [piece.result() for piece in self.pieces]
        return pa.PythonFile(SparseFile(self.task.file.size, pieces, self.reader), mode="r")


class _Readers:
    """Open files, shared by the tasks that read them; those that nobody needs now are kept while they are few."""

    def __init__(self, token: Secret | None) -> None:
        self._token = token
        self._open: dict[str, RangeReader] = {}
        self._users: Counter[str] = Counter()

    def take(self, file: FileRef) -> RangeReader:
        """A reader of the file, until it is given back."""
        if file.uri not in self._open:
            for uri in [uri for uri in self._open if not self._users[uri]][: len(self._open) - _OPEN_FILES + 1]:
                self._open.pop(uri).close()
            self._open[file.uri] = open_file(file, self._token)
        self._users[file.uri] += 1
        return self._open[file.uri]

    def give_back(self, file: FileRef) -> None:
        """Say that one who took it needs it no more."""
        self._users[file.uri] -= 1

    def close(self) -> None:
        """Close all."""
        for reader in self._open.values():
            reader.close()


def _fetch_ahead(
    tasks: Iterable[tuple[ScanTask, Sequence[str] | None]], token: Secret | None, options: ScanOptions
) -> Iterator[tuple[_Fetch, pa.NativeFile]]:
    """Each row group with a file to read it from; the next ones are being fetched within the budget.

    A row group larger than the whole budget holds none of it: it is read while it is decoded.
    """
    waiting: deque[_Fetch] = deque()
    held = 0
    pool = ThreadPoolExecutor(options.prefetch_requests, thread_name_prefix="scan")
    readers = _Readers(token)
    groups = _groups(tasks, readers, options.prefetch_bytes)
    try:
        upcoming = next(groups, None)
        while upcoming or waiting:
            while upcoming and (not waiting or 0 < upcoming.size <= options.prefetch_bytes - held):
                ranges = merge_ranges(upcoming.group.ranges(upcoming.columns)) if upcoming.size else []
                upcoming.pieces = [pool.submit(_fetch, upcoming.reader, start, end) for start, end in ranges]
                waiting.append(upcoming)
                held += upcoming.size
                upcoming = next(groups, None)
            fetch = waiting.popleft()
            yield fetch, fetch.open()
            held -= fetch.size
            if fetch.last:
                readers.give_back(fetch.task.file)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        readers.close()


def _groups(tasks: Iterable[tuple[ScanTask, Sequence[str] | None]], readers: _Readers, budget: int) -> Iterator[_Fetch]:
    for position, (task, columns) in enumerate(tasks):
        _check_columns(task, columns)
        groups = task.groups()
        if not groups:
            continue
        reader = readers.take(task.file)
        for group in groups:
            size = group.size(columns)
            yield _Fetch(
                position=position,
                task=task,
                columns=columns,
                group=group,
                size=size if size <= budget else 0,
                reader=reader,
                last=group is groups[-1],
                pieces=[],
            )


def _fetch(reader: RangeReader, start: int, end: int) -> tuple[int, bytes]:
    return start, reader.read(start, end)


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted ranges with neighbours joined over small holes, and large ones cut, so that several requests share the work."""
    merged: list[tuple[int, int]] = []
    for start, end in ranges:
        if merged and start - merged[-1][1] <= _HOLE_BYTES and end - merged[-1][0] <= _BLOCK_BYTES:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    pieces: list[tuple[int, int]] = []
    for start, end in merged:
        count = max(1, -(-(end - start) // _BLOCK_BYTES))
        step = -(-(end - start) // count) if end > start else 1
        pieces += [(at, min(at + step, end)) for at in range(start, max(end, start + 1), step)]
    return pieces


class SparseFile(io.RawIOBase):
    """A file of which some pieces are here; the rest is read when it is asked for."""

    def __init__(self, size: int, pieces: Sequence[tuple[int, bytes]], reader: RangeReader) -> None:
        super().__init__()
        self._size = size
        self._pieces = sorted(pieces)
        self._reader = reader
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        start, self._at = self._at, max(end, self._at)
        return self._read(start, end) if end > start else b""

    def _read(self, start: int, end: int) -> bytes:
        parts: list[bytes] = []
        for begin, data in self._pieces:
            stop = begin + len(data)
            if stop <= start or begin >= end:
                continue
            if begin > start:
                parts.append(self._reader.read(start, begin))
                start = begin
            taken = min(stop, end)
            parts.append(data[start - begin : taken - begin])
            start = taken
        if start < end:
            parts.append(self._reader.read(start, end))
        return parts[0] if len(parts) == 1 else b"".join(parts)
