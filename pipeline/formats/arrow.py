"""Arrow files as rows: IPC streams, which `datasets` writes, and IPC files. A file is one task, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.formats.batches import bounded
from pipeline.formats.choices import chosen
from pipeline.formats.fitting import fit
from pipeline.formats.opening import opened
from pipeline.formats.tasks import FileTask, whole_files
from pipeline.hub.repo import Secret
from pipeline.parquet.conform import plain_type
from pipeline.parquet.features import features_of, with_features
from pipeline.storage import FileRef

_FILE_MAGIC = b"ARROW1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrowFormat:
    """Nothing to choose."""

    def infer(self, files: Sequence[FileRef], token: Secret | None) -> pa.Schema | None:
        """The first file's schema, with the features in its metadata; views, dictionaries and extensions as what they hold."""
        for file in files:
            if file.size:
                with _batches(file, token) as (schema, _):
                    plain = pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])
                    return with_features(plain, features_of(schema))
        return None

    def plan(self, files: Sequence[FileRef], token: Secret | None, target_bytes: int) -> list[FileTask]:  # noqa: ARG002
        """One task per file."""
        return whole_files(files)

    def read(
        self, task: FileTask, schema: pa.Schema, token: Secret | None, names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """The rows, as the columns of these names. Raises SchemaError, CorruptFileError."""
        wanted = pa.schema([schema.field(name) for name in names])
        with _batches(task.file, token) as (_, found):
            for batch in found:
                batch.validate(full=True)
                for part in bounded(batch):
                    yield fit(part, schema, wanted, task.file.uri)


def arrow_format(reading: Mapping[str, Any]) -> ArrowFormat:
    """Raises OptionError for what a card says and cannot be honoured."""
    chosen(reading, {}, {"features": None})
    return ArrowFormat()


@contextmanager
def _batches(file: FileRef, token: Secret | None) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    with opened(file, token) as stream:
        is_file = stream.peek(len(_FILE_MAGIC)).startswith(_FILE_MAGIC)  # type: ignore[attr-defined]
        source = pa.PythonFile(stream, "r")
        if not is_file:
            with pa.ipc.open_stream(source) as reader:
                yield reader.schema, iter(reader)
            return
        with pa.ipc.open_file(source) as reader:
            yield reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type without views, dictionaries and extensions; any other as it is, names of list elements too."""
    plain = plain_type(kind)
    return kind if pa.types.is_nested(kind) and plain.equals(kind) else plain
