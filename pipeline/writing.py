"""Rows -> files in storage: the first half of every write, which tasks do. Nothing is visible.

A task stores its rows (`store_split`) and hands receipts to the driver, which publishes all of them (publishing.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from pipeline.hub.commit import check_limits
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.upload import ShardReceipt, Upload
from pipeline.hub.upload_stream import UploadStream
from pipeline.parquet.features import Features
from pipeline.parquet.layout import Layout
from pipeline.parquet.partitions import PartitionedWriter
from pipeline.parquet.writer import FileWriter, SplitWriter, WrittenFile


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSizes:
    """When a file ends and the next begins; bytes are those really written."""

    max_rows: int | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRows:
    """What a task stored, and the seconds it took: to make files of rows, and to send them, which goes on meanwhile."""

    receipts: tuple[ShardReceipt, ...] = ()
    encoding_s: float = 0.0
    uploading_s: float = 0.0


class ShardStore(Protocol):
    """Where Parquet files are stored, one after the other, until a commit makes them visible."""

    def prime(self, names: Iterable[str], read: Callable[[str], bytes]) -> None:
        """Look at files on the Hub before those that have much in common with them; `read` gives their first bytes."""
        ...

    def open(
        self, path: str, schema: pa.Schema, *, layout: Layout, features: Features | None, identity: str = ""
    ) -> FileWriter:
        """Begin a file."""
        ...

    def end(self, writer: FileWriter) -> None:
        """End a file that `open` began."""
        ...

    def finish(self) -> list[ShardReceipt]:
        """Wait until all files are in storage; their receipts, in the order they were begun."""
        ...

    def abort(self) -> None:
        """Give up what is not finished."""
        ...


class HubStore:
    """Files into a repo's Xet storage, in one upload session. `waited_s` is how long ended files were waited for.

    `min_chunks_per_range` is that of `Upload`.
    """

    def __init__(self, ref: DatasetRef, token: Secret | None, *, min_chunks_per_range: float | None = None) -> None:
        self._upload = Upload(ref, token, min_chunks_per_range=min_chunks_per_range)
        self._open: dict[int, UploadStream] = {}
        self._written: dict[str, WrittenFile] = {}
        self.waited_s = 0.0

    @property
    def uploading_s(self) -> float:
        """Seconds for which files were sent."""
        return self._upload.busy_s

    def prime(self, names: Iterable[str], read: Callable[[str], bytes]) -> None:
        self._upload.prime(names, read)

    def open(
        self, path: str, schema: pa.Schema, *, layout: Layout, features: Features | None, identity: str = ""
    ) -> FileWriter:
        stream = self._upload.open(path)
        writer = FileWriter(stream, schema, layout=layout, features=features, identity=identity)
        self._open[id(writer)] = stream
        return writer

    def end(self, writer: FileWriter) -> None:
        stream = self._open.pop(id(writer))
        self._written[stream.path] = writer.close()
        stream.close()
        self.waited_s += stream.waited_s

    def finish(self) -> list[ShardReceipt]:
        stored = self._upload.finish()
        return [
            ShardReceipt(file=file, rows=written.rows, num_bytes=written.num_bytes)
            for file, written in ((file, self._written[file.path]) for file in stored)
        ]

    def abort(self) -> None:
        self._upload.abort()


def store_split(
    ref: DatasetRef,
    token: Secret | None,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    *,
    name: str,
    layout: Layout,
    features: Features | None,
    sizes: FileSizes,
    partition_columns: Sequence[str] = (),
    at_least_one: bool = False,
) -> StoredRows:
    """Store a stream of batches as Parquet files; `name` begins their paths until the commit gives them their own.

    With `partition_columns` each file has rows of one value, which its receipt's folder tells. Without rows there are no files,
    unless `at_least_one` asks for an empty one.
    Raises TransferError, AccessError, OptionError for more files than one commit takes.
    """
    files = _SplitFiles(ref, token, name, schema, layout=layout, features=features, sizes=sizes)
    split: SplitWriter | PartitionedWriter = files.open_split("")
    if partition_columns:
        split = PartitionedWriter(partition_columns, files.open_split, max_bytes=layout.row_group_bytes)
    clock = _Clock()
    try:
        for batch in batches:
            with clock:
                split.write(batch)
        with clock:
            split.close(schema, at_least_one=at_least_one)
        return files.finish(clock.seconds)
    finally:
        files.abort()


class _SplitFiles:
    """The files of one task: stored in one session, which begins with the first of them."""

    def __init__(
        self,
        ref: DatasetRef,
        token: Secret | None,
        name: str,
        schema: pa.Schema,
        *,
        layout: Layout,
        features: Features | None,
        sizes: FileSizes,
    ) -> None:
        self._ref, self._token, self._name, self._schema = ref, token, name, schema
        self._layout, self._features, self._sizes = layout, features, sizes
        self._store: HubStore | None = None
        self._folders: list[str] = []

    def open_split(self, folder: str) -> SplitWriter:
        """The writer of a folder's files."""
        return SplitWriter(
            lambda _: self._open(folder),
            self._end,
            row_group_bytes=self._layout.row_group_bytes,
            row_group_rows=self._layout.row_group_rows,
            max_rows=self._sizes.max_rows,
            max_bytes=self._sizes.max_bytes,
        )

    def finish(self, seconds: float) -> StoredRows:
        """Wait until all is stored that was made in so many seconds."""
        if self._store is None:
            return StoredRows(encoding_s=seconds)
        stored = zip(self._store.finish(), self._folders, strict=True)
        return StoredRows(
            receipts=tuple(replace(receipt, folder=folder) for receipt, folder in stored),
            encoding_s=seconds - self._store.waited_s,
            uploading_s=self._store.uploading_s,
        )

    def abort(self) -> None:
        """Give up what is not finished."""
        if self._store:
            self._store.abort()

    def _open(self, folder: str) -> FileWriter:
        self._folders.append(folder)
        check_limits(str(self._ref), files=len(self._folders))
        self._store = self._store or HubStore(self._ref, self._token)
        path = f"{self._name}-{len(self._folders):05d}"
        return self._store.open(path, self._schema, layout=self._layout, features=self._features)

    def _end(self, writer: FileWriter) -> None:
        assert self._store is not None
        self._store.end(writer)


class _Clock:
    """How long what it stands around took, in all."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun
