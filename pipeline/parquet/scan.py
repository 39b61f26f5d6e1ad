"""Row groups of files -> record batches, in order, fetched ahead of who consumes them.

A footer tells every byte range beforehand. Neighbouring ranges are merged into blocks, across row groups too, and several
blocks are on their way while a row group is decoded, in a thread of its own, and while the consumer works on what it has. A row
group's first rows are decoded while its last ones come; one that is larger than the budget is read piece by piece instead. Of
columns that were not asked for, only those that are smaller than a hole between two wanted ones are fetched.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing

import pyarrow as pa
from pyarrow import parquet as pq

from pipeline.ahead import one_ahead
from pipeline.errors import CorruptFileError, DatasetError
from pipeline.hub.repo import Secret
from pipeline.parquet.blocks import SparseFile
from pipeline.parquet.decoded import decoded_bytes
from pipeline.parquet.fetch import Fetch, Readers, fetch_ahead, fetches_of
from pipeline.parquet.footer import one_line
from pipeline.parquet.parsed import DECODING
from pipeline.parquet.task import ScanOptions, ScanTask, Task
from pipeline.storage import Meter

# Steps in which a column is read: of pieces that are here, small ones are not copied twice; otherwise each is a request.
_STEP_BYTES, _REQUEST_BYTES = 64 << 10, 4 << 20


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
    tasks: Iterable[Task],
    token: Secret | None,
    options: ScanOptions | None = None,
    meter: Meter | None = None,
    readers: Readers | None = None,
) -> Generator[tuple[int, pa.RecordBatch], None, None]:
    """As `scan`, for tasks with columns of their own; each batch comes with its task's position.

    Closing it, or the `readers` from another thread, gives up what is on its way.
    """
    options = options or ScanOptions()
    readers = readers or Readers(token, meter or Meter(), options.cache_bytes)
    yield from one_ahead(_decoded(tasks, readers, options), "decode", readers.close)


def fetch_groups(
    fetches: Iterable[Fetch], token: Secret | None, options: ScanOptions
) -> Generator[tuple[Fetch, SparseFile], None, None]:
    """Row groups for who wants their bytes, each with a file that has them; `decode_group` gives their rows."""
    readers = Readers(token, Meter(), options.cache_bytes)
    try:
        yield from fetch_ahead(fetches, readers, options)
    finally:
        readers.close()


def _decoded(
    tasks: Iterable[Task], readers: Readers, options: ScanOptions
) -> Generator[tuple[int, pa.RecordBatch], None, None]:
    with closing(fetch_ahead(fetches_of(tasks), readers, options)) as fetches:
        for fetch, data in fetches:
            readers.meter.use(fetch.size)
            try:
                for batch in decode_group(fetch, data, options):
                    yield fetch.position, batch if fetch.columns is None else batch.select(_names(fetch))
            except CorruptFileError:
                readers.forget(fetch.task.file, data)
                raise


def decode_group(fetch: Fetch, data: SparseFile, options: ScanOptions) -> Iterator[pa.RecordBatch]:
    """A row group's rows, out of a file that has its bytes. Raises CorruptFileError naming file and row group."""
    task, group = fetch.task, fetch.group
    num_bytes = decoded_bytes(task.footer, group, group.select(fetch.columns))
    rows = max(1, min(options.batch_rows, options.batch_bytes * max(1, group.rows) // max(1, num_bytes)))
    rows_came = 0
    try:
        metadata = task.footer.metadata()
        columns = _leaves(fetch, metadata)
        file = pq.ParquetFile(
            pa.PythonFile(data, mode="r"),
            metadata=metadata,
            # What comes in one piece is handed over as it is; the rest is read in steps, so that nothing is joined or waited for
            # too soon. Arrow's own threads are not used: one that still holds our bytes when Python ends aborts the program.
            pre_buffer=False,
            buffer_size=_buffer_size(data),
            page_checksum_verification=True,  # of pages that carry one: 3.6 GB/s; a flipped bit is a wrong value otherwise
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


def _buffer_size(data: SparseFile) -> int:
    pieces = len(data.extents())
    return 0 if pieces == 1 else _STEP_BYTES if pieces else _REQUEST_BYTES


def _names(fetch: Fetch) -> list[str]:
    """The top-level columns of what was asked for, in its order."""
    chunks = fetch.group.chunks
    top = dict.fromkeys(chunk.column for chunk in chunks)
    names = (
        [name] if name in top else [chunk.column for chunk in chunks if f"{chunk.path}.".startswith(f"{name}.")]
        for name in fetch.columns or ()
    )
    return list(dict.fromkeys(name for found in names for name in found))


def _leaves(fetch: Fetch, metadata: pq.FileMetaData) -> list[str] | None:
    """What pyarrow is asked for: whole columns by name, parts of nested ones by the path that the file has for them."""
    if fetch.columns is None:
        return None
    top = {chunk.column for chunk in fetch.group.chunks}
    if top.issuperset(fetch.columns):
        return list(fetch.columns)
    return [metadata.schema.column(i).path for i in fetch.group.select(fetch.columns)]
