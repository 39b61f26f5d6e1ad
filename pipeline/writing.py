"""Rows -> files in storage -> one commit. The two halves of every write: what a task does, and what the driver does.

A task stores its rows (`store_split`) and hands receipts to the driver; nothing is visible. The driver publishes all receipts
(`publish`) in one commit that also brings the card and the transaction's id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from pipeline.hub.card import SplitInfo, split_info
from pipeline.hub.commit import Change, Committed, commit
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.resolver import Snapshot
from pipeline.hub.split import Mode, SplitWrite, check_unchanged, existing_files, split_change
from pipeline.hub.upload import ShardReceipt, Upload, UploadStream
from pipeline.parquet.features import Features
from pipeline.parquet.footer import read_footers
from pipeline.parquet.layout import Layout
from pipeline.parquet.writer import FileWriter, SplitWriter, WrittenFile
from pipeline.storage import FileRef


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSizes:
    """When a file ends and the next begins; bytes are those really written."""

    max_rows: int | None = None
    max_bytes: int | None = None


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
    """Files into a repo's Xet storage, in one upload session."""

    def __init__(self, ref: DatasetRef, token: Secret | None) -> None:
        self._upload = Upload(ref, token)
        self._open: dict[int, UploadStream] = {}
        self._written: list[WrittenFile] = []

    def open(
        self, path: str, schema: pa.Schema, *, layout: Layout, features: Features | None, identity: str = ""
    ) -> FileWriter:
        stream = self._upload.open(path)
        writer = FileWriter(stream, schema, layout=layout, features=features, identity=identity)
        self._open[id(writer)] = stream
        return writer

    def end(self, writer: FileWriter) -> None:
        self._written.append(writer.close())
        self._open.pop(id(writer)).close()

    def finish(self) -> list[ShardReceipt]:
        stored = self._upload.finish()
        return [
            ShardReceipt(file=file, rows=written.rows, num_bytes=written.num_bytes)
            for file, written in zip(stored, self._written, strict=True)
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
    at_least_one: bool = False,
) -> list[ShardReceipt]:
    """Store a stream of batches as Parquet files; `name` begins their paths until the commit gives them their own.

    Without rows there are no files, unless `at_least_one` asks for an empty one. Raises TransferError, AccessError.
    """
    store: HubStore | None = None

    def open_file(index: int) -> FileWriter:
        nonlocal store
        store = store or HubStore(ref, token)
        return store.open(f"{name}-{index:05d}", schema, layout=layout, features=features)

    def end_file(writer: FileWriter) -> None:
        assert store is not None
        store.end(writer)

    split = SplitWriter(
        open_file, end_file, row_group_bytes=layout.row_group_bytes, max_rows=sizes.max_rows, max_bytes=sizes.max_bytes
    )
    try:
        for batch in batches:
            split.write(batch)
        split.close(schema, at_least_one=at_least_one)
        return store.finish() if store else []
    finally:
        if store:
            store.abort()


def publish(
    ref: DatasetRef,
    token: Secret | None,
    write: SplitWrite,
    receipts: Sequence[ShardReceipt],
    *,
    planned: Sequence[DataFile],
    message: str,
    check: Callable[[Listing], None] | None = None,
) -> Committed:
    """Make the receipts a split, in one commit. `planned` are the split's files when the write began.

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

    return commit(ref, token, build, message=message, transaction=write.transaction)


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
