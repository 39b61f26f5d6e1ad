"""Rows of files in any format but Parquet: one interface for all of them.

    resolved = resolve_any(list_files(ref, token), ref)         # hub/any_format.py: which files, in which format
    source = open_rows(resolved, token)                         # the schema
    tasks = plan_rows(source, snapshot, token, target_bytes)    # what workers read
    batches = read_rows(source, task, token, columns)           # in a worker

A `RowSource` and its tasks are plain data: they pickle, and hold no client and no token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from pipeline.errors import NotFoundError, OptionError, SchemaError
from pipeline.formats.arrow import arrow_format
from pipeline.formats.csv import csv_format
from pipeline.formats.folder import audio_format, image_format
from pipeline.formats.json import json_format
from pipeline.formats.tar import tar_format
from pipeline.formats.tasks import Task
from pipeline.formats.text import text_format
from pipeline.formats.types import schema_of
from pipeline.hub.any_format import Resolved
from pipeline.hub.ranges import Transport, file_refs
from pipeline.hub.repo import Secret
from pipeline.hub.resolver import Snapshot
from pipeline.parquet.features import Features, features_of, from_yaml
from pipeline.storage import FileRef


class FileFormat(Protocol):
    """How the files of a format are read; a frozen value with what a card chose."""

    def infer(self, files: Sequence[FileRef], token: Secret | None) -> pa.Schema | None:
        """The schema that `datasets` would tell from files, the first of which with rows counts; `None` where none has."""
        ...

    def plan(self, files: Sequence[FileRef], token: Secret | None, target_bytes: int) -> Sequence[Any]:
        """All rows of files as tasks of at most about so many stored bytes where a file can be cut."""
        ...

    def read(
        self, task: Any, schema: pa.Schema, token: Secret | None, names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """A task's rows as the columns of the schema that are named."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """What reads a config's files: the format's choices and the schema, which has the features in its metadata."""

    name: str
    format: FileFormat
    schema: pa.Schema

    @property
    def features(self) -> Features | None:
        """Column -> feature as JSON has it; `None` where a type has none."""
        return features_of(self.schema)


_FORMATS: Mapping[str, Callable[[Mapping[str, Any]], FileFormat]] = {
    "csv": csv_format,
    "json": json_format,
    "text": text_format,
    "arrow": arrow_format,
    "webdataset": tar_format,
    "images": image_format,
    "audio": audio_format,
}


def open_rows(resolved: Resolved, token: Secret | None, transport: Transport = "auto") -> RowSource:
    """The schema of a resolved config that is not Parquet: the card's, else that of its first file with rows.

    Raises OptionError for a way of reading that the card asks for and is not supported, NotFoundError where there is no row to
    tell a schema from, CorruptFileError, SchemaError.
    """
    if resolved.format not in _FORMATS:
        raise OptionError(f"format {resolved.format!r} is not read here; expected one of {', '.join(_FORMATS)}")
    format = _FORMATS[resolved.format](resolved.reading)
    about = next(iter(resolved.wanted.values())).rows_url
    if resolved.features:
        schema = schema_of(from_yaml(resolved.features), about)
    else:
        found = format.infer(_all_files(resolved, transport), token)
        if found is None:
            raise NotFoundError(
                f"{about}: no file has a row, which its columns could be told from; name them in README.md"
            )
        schema = found
    return RowSource(name=resolved.format, format=format, schema=schema)


def plan_rows(
    source: RowSource, snapshot: Snapshot, token: Secret | None, target_bytes: int, transport: Transport = "auto"
) -> Sequence[Task]:
    """All rows of a split, in order, as tasks of at most about `target_bytes` of stored bytes where files can be cut.

    Small files are a task each: who wants them together reads several tasks.
    """
    return source.format.plan(file_refs(snapshot, transport), token, target_bytes)


def read_rows(
    source: RowSource, task: Task, token: Secret | None, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """A task's rows as batches of exactly the source's schema, or of these columns of it, in this order.

    Batches have at most 10,000 rows, and about 16 MB. Without columns they have rows alone.
    Raises SchemaError, naming file and column, for values that do not fit; CorruptFileError, NotFoundError, TransferError.
    """
    names = source.schema.names if columns is None else list(columns)
    for name in names:
        if source.schema.get_field_index(name) < 0:
            raise SchemaError(f"no column {name!r}; it has {', '.join(map(repr, source.schema.names))}")
    return source.format.read(task, source.schema, token, names)


def _all_files(resolved: Resolved, transport: Transport) -> list[FileRef]:
    """The files of all splits: a config has one schema, which its first split tells."""
    ref = next(iter(resolved.wanted.values())).ref
    return [file for files in resolved.splits.values() for file in file_refs(Snapshot(ref=ref, files=files), transport)]
