"""Rows -> files in storage -> one commit. The two halves of every write: what a task does, and what the driver does.

A task stores its rows (`store_split`) and hands receipts to the driver; nothing is visible. The driver publishes all receipts
(`publish`) in one commit that also brings the card and the transaction's id.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from pipeline.hub.bucket import replace_files
from pipeline.hub.card import SplitInfo, split_info
from pipeline.hub.commit import Change, Committed, check_limits, commit
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.pull_request import commit_as_pr
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.resolver import Snapshot
from pipeline.hub.split import Mode, SplitWrite, check_unchanged, existing_files, file_path, folder_of, split_change
from pipeline.hub.upload import ShardReceipt, Upload, UploadStream
from pipeline.parquet.features import Features
from pipeline.parquet.footer import read_footers
from pipeline.parquet.layout import Layout
from pipeline.parquet.partitions import PartitionedWriter
from pipeline.parquet.writer import FileWriter, SplitWriter, WrittenFile
from pipeline.storage import FileRef


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
    """Files into a repo's Xet storage, in one upload session. `waited_s` is how long ended files were waited for."""

    def __init__(self, ref: DatasetRef, token: Secret | None) -> None:
        self._upload = Upload(ref, token)
        self._open: dict[int, UploadStream] = {}
        self._written: dict[str, WrittenFile] = {}
        self.waited_s = 0.0

    @property
    def uploading_s(self) -> float:
        """Seconds for which files were sent."""
        return self._upload.busy_s

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


def publish(
    ref: DatasetRef,
    token: Secret | None,
    write: SplitWrite,
    receipts: Sequence[ShardReceipt],
    *,
    planned: Sequence[DataFile],
    message: str,
    check: Callable[[Listing], None] | None = None,
    description: str = "",
    create_pr: bool = False,
) -> Committed:
    """Make the receipts a split, in one commit. `planned` are the split's files when the write began.

    With `create_pr` the commit is a pull request to the branch, which must be `main`; otherwise it is on the branch.
    Raises ConflictError when an overwrite would lose what another writer added since; an append just comes after it, unless
    `check` of the head that it comes after raises.
    """

    def build(listing: Listing) -> Change:
        if write.mode is Mode.OVERWRITE:
            check_unchanged(listing, write.config, write.split, planned)
        if check:
            check(listing)
        before = hub_split_size(listing, write.config, write.split, token) if write.mode is Mode.APPEND else None
        return split_change(listing, write, receipts, before)

    send = commit_as_pr if create_pr else commit
    return send(ref, token, build, message=message, transaction=write.transaction, description=description)


def publish_to_bucket(
    ref: DatasetRef,
    token: Secret | None,
    write: SplitWrite,
    receipts: Sequence[ShardReceipt],
    *,
    planned: Sequence[DataFile],
) -> None:
    """Make the receipts files of a split; an overwrite then removes those that were `planned` against.

    Names follow from the transaction, so that to do it again changes nothing. Raises TransferError, AccessError.
    """
    folder = folder_of(write.config, write.data_dir)
    count, unique = len(receipts), write.transaction[:8]
    names = (f"{write.split}-{index:05d}-of-{count:05d}-{unique}.parquet" for index in range(count))
    added = {
        file_path(folder, write.split, receipt, name): receipt.file
        for receipt, name in zip(receipts, names, strict=True)
    }
    removed = [file.path for file in planned] if write.mode is Mode.OVERWRITE else []
    replace_files(ref, token, added, removed)


def hub_split_size(listing: Listing, config: str, split: str, token: Secret | None) -> SplitInfo | None:
    """The size of a split on the Hub, `None` when it has no files."""
    files = existing_files(listing, config, split)
    return split_size(listing, config, split, file_refs(Snapshot(ref=listing.ref, files=files)), token)


def split_size(
    listing: Listing, config: str, split: str, files: Sequence[FileRef], token: Secret | None
) -> SplitInfo | None:
    """A split's size: from the card, else from its files' footers; `None` when it has no files."""
    if not files:
        return None
    if known := split_info(listing.card, config, split):
        return known
    footers = read_footers(files, token)
    num_bytes = sum(group.num_bytes for footer in footers for group in footer.row_groups())
    return SplitInfo(num_examples=sum(footer.rows for footer in footers), num_bytes=num_bytes)
