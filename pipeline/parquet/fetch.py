"""Row groups on their way: merged into runs, several runs ahead of who decodes them, within a budget of bytes."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import lru_cache
from weakref import WeakSet

from pipeline.errors import SchemaError
from pipeline.hub.range_cache import CachedReader, Room
from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret
from pipeline.parquet.blocks import Piece, SparseFile, merge_ranges
from pipeline.parquet.footer import Footer, RowGroup
from pipeline.parquet.task import ScanOptions, ScanTask, Task
from pipeline.storage import FileRef, Meter, RangeReader

_OPEN_FILES = 32
_QUEUED = 4  # runs that wait for each of the requests at a time: of tiny files, thousands would fit into the budget
# Row groups that follow each other are this close: the pad between two blocks has 8,320 bytes.
_GAP_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
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
    fetches: list[Fetch]
    size: int
    pieces: list[Piece] = field(default_factory=list)

    def open(self) -> SparseFile:
        """A file to decode the row groups from, while its pieces come."""
        return SparseFile(self.fetches[0].task.file.size, self.pieces, self.reader)

    def coming(self) -> list[Future[bytes]]:
        """What is on its way, or came."""
        return [piece.data for piece in self.pieces]


_UNDER_WAY: WeakSet[Readers] = WeakSet()


def _give_up_all() -> None:
    """At the end of the program nobody waits for ranges any more, but their threads are waited for."""
    for readers in list(_UNDER_WAY):
        readers.close()


# Called before the threads of pools are joined, as `concurrent.futures` itself does it; `atexit` comes after that.
threading._register_atexit(_give_up_all)  # type: ignore[attr-defined]  # noqa: SLF001


class Readers:
    """Open files, shared by the tasks that read them; those that nobody needs now are kept while they are few."""

    def __init__(self, token: Secret | None, meter: Meter, cache_bytes: int) -> None:
        self.meter = meter
        self._token = token
        self._room = Room(cache_bytes) if cache_bytes else None
        self._open: dict[str, RangeReader] = {}
        self._users: Counter[str] = Counter()
        self._closed = False
        _UNDER_WAY.add(self)

    def take(self, file: FileRef) -> RangeReader:
        """A reader of the file, until it is given back."""
        if file.uri not in self._open:
            for uri in [uri for uri in self._open if not self._users[uri]][: max(0, len(self._open) - _OPEN_FILES + 1)]:
                self._open.pop(uri).close()
            reader = open_file(file, self._token, self.meter)
            if self._room and file.is_hashed:
                reader = CachedReader(reader, file, self._token, self._room, self.meter)
            self._open[file.uri] = reader
            if self._closed:
                self._open[file.uri].close()
        self._users[file.uri] += 1
        return self._open[file.uri]

    def give_back(self, file: FileRef) -> None:
        """Say that one who took it needs it no more."""
        self._users[file.uri] -= 1

    def forget(self, file: FileRef, data: SparseFile) -> None:
        """Keep nothing on the disk of what could not be decoded."""
        reader = self._open.get(file.uri)
        if isinstance(reader, CachedReader):
            for start, end in data.extents():
                reader.forget(start, end)

    def close(self) -> None:
        """Close all, and what is opened after this."""
        self._closed = True
        for reader in list(self._open.values()):
            reader.close()


def fetch_ahead(
    fetches: Iterable[Fetch], readers: Readers, options: ScanOptions
) -> Generator[tuple[Fetch, SparseFile], None, None]:
    """Each row group with a file to read it from; the next ones are being fetched within the budget."""
    waiting: deque[_Run] = deque()
    pool = ThreadPoolExecutor(options.prefetch_requests, thread_name_prefix="fetch")
    runs = _runs(fetches, readers, options)
    upcoming = next(runs, None)
    most_runs = options.prefetch_requests * _QUEUED

    def fill(most_bytes: int, after: Sequence[Future[bytes]] = ()) -> None:
        nonlocal upcoming
        held = sum(run.size for run in waiting)
        while upcoming and (not waiting or 0 < upcoming.size <= most_bytes - held) and len(waiting) < most_runs:
            _start(upcoming, pool, options, after)
            waiting.append(upcoming)
            held += upcoming.size
            upcoming = next(runs, None)

    try:
        # The first rows do not share the network with later ones.
        fill(min(options.block_bytes, options.prefetch_bytes))
        first = waiting[0].coming() if waiting else []
        while waiting:
            run = waiting.popleft()
            fill(options.prefetch_bytes, first)
            first = []
            data = run.open()
            for fetch in run.fetches:
                yield fetch, data
            readers.give_back(run.fetches[0].task.file)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start(run: _Run, pool: ThreadPoolExecutor, options: ScanOptions, after: Sequence[Future[bytes]]) -> None:
    if not run.size:
        return
    ranges = (one for fetch in run.fetches for one in fetch.ranges)
    for start, end in merge_ranges(ranges, options.hole_bytes, options.block_bytes):
        data = pool.submit(_fetch, run.reader, start, end, after)
        run.pieces.append(Piece(start=start, end=end, data=data))


def _fetch(reader: RangeReader, start: int, end: int, after: Sequence[Future[bytes]]) -> bytes:
    """A range, asked for when what it must come `after` is here; that was given to the threads before it."""
    wait(after)
    return reader.read(start, end)


def _runs(fetches: Iterable[Fetch], readers: Readers, options: ScanOptions) -> Iterator[_Run]:
    """Row groups that follow each other in a file, together up to a block; the first one alone, for who waits for it."""
    run: _Run | None = None
    is_first = True
    for fetch in fetches:
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


def _continues(run: _Run, fetch: Fetch, size: int, options: ScanOptions) -> bool:
    if options.cache_bytes:  # a range is found again under the same ends
        return False
    before = run.fetches[-1]
    most = min(options.block_bytes, options.prefetch_bytes)
    if not size or not run.size or fetch.task.file != before.task.file or run.size + size > most:
        return False
    return 0 <= fetch.ranges[0][0] - before.ranges[-1][1] <= min(options.hole_bytes, _GAP_BYTES)


def fetches_of(tasks: Iterable[Task]) -> Iterator[Fetch]:
    """The row groups of tasks, with the byte ranges of their columns. Raises SchemaError for a column that a file lacks."""
    for position, (task, columns) in enumerate(tasks):
        if columns:
            _check_columns(task.file.uri, task.footer, tuple(columns))
        for group in task.groups():
            yield Fetch(
                position=position,
                task=task,
                columns=columns,
                group=group,
                ranges=group.ranges(columns),
            )


@lru_cache(maxsize=1024)
def _check_columns(uri: str, footer: Footer, columns: tuple[str, ...]) -> None:
    names = footer.schema().names
    groups = footer.row_groups()
    for column in columns:
        if column not in names and not (groups and groups[0].select([column])):
            raise SchemaError(f"{uri}: no column {column!r}; it has {', '.join(map(repr, names))}")
