"""The files of a split as one table: one schema for all, and every file's rows in it.

Files may differ: a column that was added later is null in those before it, and types are cast where no value is lost. Which
columns there are is known from the first file and the card, so that a split of thousands of files need not be looked through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from pipeline.errors import SchemaError
from pipeline.hub.repo import Secret
from pipeline.parquet.conform import conform
from pipeline.parquet.footer import read_footer, read_footers
from pipeline.parquet.scan import scan_each
from pipeline.parquet.task import ScanTask
from pipeline.storage import FileRef

_AT_ONCE = 256


def stored_schema(files: Sequence[FileRef], known: Sequence[str], token: Secret | None) -> pa.Schema:
    """The schema of a split's first file, and after it the `known` columns that only other files have."""
    arrow = read_footer(files[0], token).schema()
    missing = [name for name in known if arrow.get_field_index(name) < 0]
    for start in range(1, len(files), _AT_ONCE) if missing else ():
        for footer in read_footers(files[start : start + _AT_ONCE], token):
            other = footer.schema()
            for name in [name for name in missing if other.get_field_index(name) >= 0]:
                arrow = arrow.append(other.field(name))
                missing.remove(name)
        if not missing:
            break
    return arrow


def choose(schema: pa.Schema, columns: Sequence[str], about: str) -> pa.Schema:
    """The schema of these columns. Raises SchemaError for one that is not there."""
    for name in columns:
        if schema.get_field_index(name) < 0:
            raise SchemaError(f"{about}: no column {name!r}; it has {', '.join(map(repr, schema.names))}")
    return pa.schema([schema.field(name) for name in columns])


def scan_as(tasks: Iterable[ScanTask], schema: pa.Schema, token: Secret | None) -> Iterator[pa.RecordBatch]:
    """The rows of the tasks as batches of exactly this schema; a column that a file lacks is null.

    Raises what `scan` raises, SchemaError for a value that does not fit.
    """
    uris: list[str] = []

    def own_columns() -> Iterator[tuple[ScanTask, list[str]]]:
        for task in tasks:
            uris.append(task.file.uri)
            own = set(task.footer.schema().names)
            yield task, [name for name in schema.names if name in own]

    for position, batch in scan_each(own_columns(), token):
        yield batch if batch.schema.equals(schema) else conform(batch, schema, uris[position])
