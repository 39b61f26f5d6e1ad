"""Row groups of files -> record batches, in order, fetched ahead of who consumes them.

A footer tells every byte range beforehand. Neighbouring ranges are merged into blocks, across row groups too, and several
blocks are on their way while a row group is decoded, in a thread of its own, and while the consumer works on what it has. A
row group larger than the budget is read piece by piece instead. Of columns that were not asked for, only those that are
smaller than a hole between two wanted ones are fetched.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache

import pyarrow as pa
from pyarrow import parquet as pq

from pipeline.ahead import one_ahead
from pipeline.errors import CorruptFileError, DatasetError, SchemaError
from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret
from pipeline.parquet.blocks import SparseFile, merge_ranges
from pipeline.parquet.footer import DECODING, Footer, RowGroup, one_line
from pipeline.storage import FileRef, Meter, RangeReader

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
        if self.footer.kept is None:
            every = self.footer.row_groups()
            return [every[index] for index in self.row_groups]
        by_index = {group.index: group for group in self.footer.row_groups()}
        return [by_index[index] for index in self.row_groups]

    def slim(self) -> ScanTask:
        """The same task with a footer of its own row groups alone, to be sent to where it runs."""
        return ScanTask(file=self.file, footer=self.footer.only(self.row_groups), row_groups=self.row_groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How far to read ahead, and how large batches get.

    `prefetch_bytes` are held or on their way besides the row group that is being decoded, by `prefetch_requests` at a time;
    ranges are merged up to `block_bytes` over holes of at most `hole_bytes`.
    """

    prefetch_bytes: int = 128 << 20
    prefetch_requests: int = 8
    block_bytes: int = 8 << 20
    hole_bytes: int = 128 << 10
    batch_rows: int = 10_000
    batch_bytes: int = 16 << 20


Task = tuple[ScanTask, Sequence[str] | None]


def whole_file(file: FileRef, footer: Footer) -> ScanTask:
    """A task for all row groups of a file."""
    return ScanTask(file=file, footer=footer, row_groups=tuple(group.index for group in footer.row_groups()))


def scan(
    tasks: Iterable[ScanTask],
    token: Secret | None,
    columns: Sequence[str] | None = None,
    options: ScanOptions | None = None,
    meter: Meter | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of the tasks as batches, in order, with these columns (all for `None`) in this order.

    A column is a top-level name, or a path into a nested one (`messages.role`): then the rest of it is not fetched. Raises
    SchemaError for a column that a file lacks, CorruptFileError naming file and row group for bytes that are not Parquet, and
    what `open_file` raises.
    """
    with closing(scan_each(((task, columns) for task in tasks), token, options, meter)) as found:
        for _, batch in found:
            yield batch


def scan_each(
    tasks: Iterable[Task], token: Secret | None, options: ScanOptions | None = None, meter: Meter | None = None
) -> Generator[tuple[int, pa.RecordBatch], None, None]:
    """As `scan`, for tasks with columns of their own; each batch comes with its task's position.

    Closing it gives up what is on its way.
    """
    options = options or ScanOptions()
    readers = _Readers(token, meter or Meter())
    yield from one_ahead(_decoded(tasks, readers, options), "decode", readers.close)


def _decoded(
    tasks: Iterable[Task], readers: _Readers, options: ScanOptions
) -> Generator[tuple[int, pa.RecordBatch], None, None]:
    with closing(_fetch_ahead(tasks, readers, options)) as fetches:
        for fetch, data in fetches:
            readers.meter.use(fetch.size)
            for batch in _decode(fetch, data, options):
                yield fetch.position, batch if fetch.columns is None else batch.select(_names(fetch))


def _decode(fetch: _Fetch, data: SparseFile, options: ScanOptions) -> Iterator[pa.RecordBatch]:
    task, group = fetch.task, fetch.group
    row_bytes = max(1, group.num_bytes // max(1, group.rows))
    rows = max(1, min(options.batch_rows, options.batch_bytes // row_bytes))
    rows_came = 0
    try:
        metadata = task.footer.metadata()
        columns = _leaves(fetch, metadata)
        file = pq.ParquetFile(
            pa.PythonFile(data, mode="r"),
            metadata=metadata,
            # What is here in one piece is handed over as it is; the rest is read in steps, so that nothing is joined.
            pre_buffer=data.is_one_piece,
            buffer_size=0 if data.is_one_piece else _PIECE_BYTES,
            **DECODING,
        )
        for batch in file.iter_batches(
            batch_size=rows, row_groups=[group.position], columns=columns, use_threads=False
        ):
            rows_came += batch.num_rows
            yield batch
    except DatasetError:
        raise
    except (OSError, pa.ArrowException) as err:
        raise CorruptFileError(f"{task.file.uri}: row group {group.index} cannot be read ({one_line(err)})") from err
    if rows_came != group.rows:
        raise CorruptFileError(f"{task.file.uri}: row group {group.index} has {rows_came} rows, not {group.rows}")


def _names(fetch: _Fetch) -> list[str]:
    """The top-level columns of what was asked for, in its order."""
    chunks = fetch.group.chunks
    top = dict.fromkeys(chunk.column for chunk in chunks)
    names = (
        [name] if name in top else [chunk.column for chunk in chunks if f"{chunk.path}.".startswith(f"{name}.")]
        for name in fetch.columns or ()
    )
    return list(dict.fromkeys(name for found in names for name in found))


def _leaves(fetch: _Fetch, metadata: pq.FileMetaData) -> list[str] | None:
    """What pyarrow is asked for: whole columns by name, parts of nested ones by the path that the file has for them."""
    if fetch.columns is None:
        return None
    top = {chunk.column for chunk in fetch.group.chunks}
    if top.issuperset(fetch.columns):
        return list(fetch.columns)
    return [metadata.schema.column(i).path for i in fetch.group.select(fetch.columns)]


@lru_cache(maxsize=1024)
def _check_columns(uri: str, footer: Footer, columns: tuple[str, ...]) -> None:
    names = footer.schema().names
    groups = footer.row_groups()
    for column in columns:
        if column not in names and not (groups and groups[0].select([column])):
            raise SchemaError(f"{uri}: no column {column!r}; it has {', '.join(map(repr, names))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fetch:
    """A row group to fetch."""

    position: int
    task: ScanTask
    columns: Sequence[str] | None
    group: RowGroup
    ranges: Sequence[tuple[int, int]]

    @property
    def size(self) -> int:
        """The bytes that are wanted of it."""
        return sum(end - start for start, end in self.ranges)


@dataclass(slots=True, kw_only=True)
class _Run:
    """Row groups of one file that lie together, fetched together; a run of none of the budget is read as it is decoded."""

    reader: RangeReader
    fetches: list[_Fetch]
    size: int
    pieces: list[Future[tuple[int, bytes]]] = field(default_factory=list)

    def open(self) -> SparseFile:
        """A file to decode the row groups from; waits for its pieces."""
        return SparseFile(self.fetches[0].task.file.size, [piece.result() for piece in self.pieces], self.reader)


class _Readers:
    """Open files, shared by the tasks that read them; those that nobody needs now are kept while they are few."""

    def __init__(self, token: Secret | None, meter: Meter) -> None:
        self.meter = meter
        self._token = token
        self._open: dict[str, RangeReader] = {}
        self._users: Counter[str] = Counter()
        self._closed = False

    def take(self, file: FileRef) -> RangeReader:
        """A reader of the file, until it is given back."""
        if file.uri not in self._open:
            for uri in [uri for uri in self._open if not self._users[uri]][: len(self._open) - _OPEN_FILES + 1]:
                self._open.pop(uri).close()
            self._open[file.uri] = open_file(file, self._token, self.meter)
            if self._closed:
                self._open[file.uri].close()
        self._users[file.uri] += 1
        return self._open[file.uri]

    def give_back(self, file: FileRef) -> None:
        """Say that one who took it needs it no more."""
        self._users[file.uri] -= 1

    def close(self) -> None:
        """Close all, and what is opened after this."""
        self._closed = True
        for reader in list(self._open.values()):
            reader.close()


def _fetch_ahead(
    tasks: Iterable[Task], readers: _Readers, options: ScanOptions
) -> Generator[tuple[_Fetch, SparseFile], None, None]:
    """Each row group with a file to read it from; the next ones are being fetched within the budget."""
    waiting: deque[_Run] = deque()
    pool = ThreadPoolExecutor(options.prefetch_requests, thread_name_prefix="fetch")
    runs = _runs(tasks, readers, options)
    upcoming = next(runs, None)

    def fill() -> None:
        nonlocal upcoming
        held = sum(run.size for run in waiting)
        while upcoming and (not waiting or 0 < upcoming.size <= options.prefetch_bytes - held):
            _start(upcoming, pool, options)
            waiting.append(upcoming)
            held += upcoming.size
            upcoming = next(runs, None)

    try:
        fill()
        while waiting:
            run = waiting.popleft()
            data = run.open()
            fill()
            for fetch in run.fetches:
                yield fetch, data
            readers.give_back(run.fetches[0].task.file)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start(run: _Run, pool: ThreadPoolExecutor, options: ScanOptions) -> None:
    if run.size:
        ranges = merge_ranges(
            (one for fetch in run.fetches for one in fetch.ranges), options.hole_bytes, options.block_bytes
        )
        run.pieces = [pool.submit(_fetch, run.reader, start, end) for start, end in ranges]


def _fetch(reader: RangeReader, start: int, end: int) -> tuple[int, bytes]:
    return start, reader.read(start, end)


def _runs(tasks: Iterable[Task], readers: _Readers, options: ScanOptions) -> Iterator[_Run]:
    """Row groups that follow each other in a file, together up to a block; the first one alone, for who waits for it."""
    run: _Run | None = None
    is_first = True
    for fetch in _fetches(tasks):
        size = fetch.size if fetch.size <= options.prefetch_bytes else 0
        if run and not is_first and _continues(run, fetch, size, options):
            run.fetches.append(fetch)
            run.size += size
            continue
        if run:
            yield run
            is_first = False
        run = _Run(reader=readers.take(fetch.task.file), fetches=[fetch], size=size)
    if run:
        yield run


def _continues(run: _Run, fetch: _Fetch, size: int, options: ScanOptions) -> bool:
    before = run.fetches[-1]
    most = min(options.block_bytes, options.prefetch_bytes)
    if not size or not run.size or fetch.task.file != before.task.file or run.size + size > most:
        return False
    return 0 <= fetch.ranges[0][0] - before.ranges[-1][1] <= options.hole_bytes


def _fetches(tasks: Iterable[Task]) -> Iterator[_Fetch]:
    for position, (task, columns) in enumerate(tasks):
        if columns:
            _check_columns(task.file.uri, task.footer, tuple(columns))
        for group in task.groups():
            yield _Fetch(
                position=position,
                task=task,
                columns=columns,
                group=group,
                ranges=group.ranges(columns),
            )
