"""Many small files of a split -> few larger ones, in one commit: what a table needs that is appended to often.

Neighbouring small files of a folder are read in order and written as one, which takes the path of the first of them; the others
go. So the order of rows stays, the card's patterns name what they named, and no other split sees a change. Content-defined
chunking makes the upload small: most of what is written is in storage already.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.errors import OptionError, SchemaError
from pipeline.hub import client
from pipeline.hub.commit import Change, check_limits, commit
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.replacement import check_replaceable, replace_files, shared_paths
from pipeline.hub.repo import DatasetRef, Secret, check_writable
from pipeline.hub.resolver import Snapshot, select_split
from pipeline.hub.transactions import Record
from pipeline.hub.upload import ShardReceipt
from pipeline.parquet.dataset import scan_as, stored_schema
from pipeline.parquet.features import Features, features_of, from_yaml
from pipeline.parquet.footer import Footer, read_footers
from pipeline.parquet.layout import Kind, Layout, is_padded, leaves
from pipeline.parquet.task import ScanTask, whole_file
from pipeline.parquet.writer import FileWriter, SplitWriter
from pipeline.writing import HubStore

TARGET_BYTES = 500_000_000
_LAYOUT = Layout(kind=Kind.EDITABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactOptions:
    """How large files get, in bytes; with fewer than `min_files` small ones to join nothing is done."""

    target_bytes: int = TARGET_BYTES
    min_files: int = 2
    writer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What was done: so many files became so many. Sizes in bytes; `new_bytes` is what was uploaded of what was written."""

    sha: str
    config: str
    split: str
    files_before: int
    files_after: int
    rows: int
    bytes_before: int
    bytes_after: int
    new_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Which neighbours become one file each, and how they are written."""

    snapshot: Snapshot
    groups: tuple[tuple[DataFile, ...], ...]
    schema: pa.Schema
    features: Features | None


def compact_split(
    ref: DatasetRef,
    token: Secret | None,
    options: CompactOptions | None = None,
    *,
    on_file: Callable[[int], object] = lambda _: None,
) -> Compacted | None:
    """Join the small files (less than half of the target) of the ref's split; `None` when there is nothing to join.

    Rows, their order, features and the card's counts stay. `on_file` is told how many files were read, as they are. What others
    append meanwhile is kept. Raises ConflictError when somebody changed the very files that are replaced, OptionError for a
    bucket and for a split that is made of blocks, SchemaError for files whose columns do not fit together.
    """
    options = options or CompactOptions()
    check_writable(ref)
    client.check_branch(ref, token)
    listing = list_files(ref, token)
    plan = _plan(listing, ref, token, options)
    if plan is None:
        return None
    receipts = _rewrite(ref, token, plan, on_file)
    return _publish(ref, token, plan, receipts, options)


def plan_groups(
    files: Sequence[DataFile], target_bytes: int, untouchable: Collection[str] = ()
) -> tuple[tuple[DataFile, ...], ...]:
    """Runs of two or more neighbours in one folder, each smaller than half of the target, of no more than the target together."""
    groups: list[list[DataFile]] = [[]]
    size = 0
    folder = None
    for file in files:
        small = file.size * 2 < target_bytes and file.path not in untouchable
        before, folder = folder, file.path.rpartition("/")[0]  # a folder may tell a value of all rows in it: `lang=en`
        if not small or size + file.size > target_bytes or folder != before:
            groups.append([])
            size = 0
        if small:
            groups[-1].append(file)
            size += file.size
    return tuple(tuple(group) for group in groups if len(group) > 1)


def _plan(listing: Listing, ref: DatasetRef, token: Secret | None, options: CompactOptions) -> _Plan | None:
    if options.target_bytes < 1 or options.min_files < 2:
        raise OptionError(
            f"{ref}: files can be joined into those of 1 byte or more, 2 or more at a time, "
            f"got {options.target_bytes} bytes and {options.min_files} files"
        )
    snapshot = select_split(listing, ref)
    assert snapshot.ref.config is not None
    assert snapshot.ref.split is not None
    shared = shared_paths(listing, snapshot.ref.config, snapshot.ref.split)
    groups = plan_groups(snapshot.files, options.target_bytes, shared)
    if sum(map(len, groups)) < options.min_files:
        return None
    check_limits(str(ref), files=len(groups))
    refs = file_refs(snapshot)
    told = from_yaml(snapshot.features) if snapshot.features else None
    footers = read_footers(refs, token)
    _check_layout(snapshot, footers)
    schema = _with_all_columns(stored_schema(refs, list(told or {}), token), snapshot, footers)
    return _Plan(snapshot=snapshot, groups=groups, schema=schema, features=_features(schema, told))


def _with_all_columns(schema: pa.Schema, snapshot: Snapshot, footers: Iterable[Footer]) -> pa.Schema:
    """The schema with every column that any file has. Raises SchemaError for a part of a nested one that it has no place for."""
    for file, footer in zip(snapshot.files, footers, strict=True):
        for column in footer.schema():
            index = schema.get_field_index(column.name)
            if index < 0:
                schema = schema.append(column)
            elif lost := sorted(_paths(column) - _paths(schema.field(index))):
                raise SchemaError(
                    f"{snapshot.rows_url}: {lost[0]!r} of {file.path!r} is not in the split's first file, and joined it would be "
                    "lost; write the split anew with one schema"
                )
    return schema


def _paths(column: pa.Field) -> set[str]:
    return {path for path, _, _ in leaves(pa.schema([column]))}


def _features(schema: pa.Schema, told: Features | None) -> Features | None:
    """Those of the files' columns: the card's, which may tell of more, such as one that folders tell."""
    known = (features_of(schema) or {}) | (told or {})
    return {name: known[name] for name in schema.names} if known.keys() >= set(schema.names) else None


def _check_layout(snapshot: Snapshot, footers: Iterable[Footer]) -> None:
    """Raises OptionError for files made of blocks: joined as rows they would lose what they were cut for."""
    for file, footer in zip(snapshot.files, footers, strict=True):
        if is_padded(footer.row_groups()):
            raise OptionError(
                f"{snapshot.rows_url}: {file.path!r} is made of blocks, for mixing, and is not joined row by row; "
                "build the mix again with larger shards"
            )


def _rewrite(
    ref: DatasetRef, token: Secret | None, plan: _Plan, on_file: Callable[[int], object]
) -> list[ShardReceipt]:
    """One stored file for each group, at the path of its first; no more than a row group is held."""
    store = HubStore(ref, token)
    try:
        for group in plan.groups:
            _write_one(store, plan, group, token)
            on_file(len(group))
        return store.finish()
    finally:
        store.abort()


def _write_one(store: HubStore, plan: _Plan, group: Sequence[DataFile], token: Secret | None) -> None:
    def open_file(_: int) -> FileWriter:
        return store.open(group[0].path, plan.schema, layout=_LAYOUT, features=plan.features)

    writer = SplitWriter(
        open_file, store.end, row_group_bytes=_LAYOUT.row_group_bytes, row_group_rows=_LAYOUT.row_group_rows
    )
    for batch in scan_as(_tasks(plan, group, token), plan.schema, token):
        writer.write(batch)
    writer.close(plan.schema, at_least_one=True)


def _tasks(plan: _Plan, group: Sequence[DataFile], token: Secret | None) -> Iterable[ScanTask]:
    refs = file_refs(replace(plan.snapshot, files=tuple(group)))
    return [whole_file(file, footer) for file, footer in zip(refs, read_footers(refs, token), strict=True)]


def _publish(
    ref: DatasetRef, token: Secret | None, plan: _Plan, receipts: Sequence[ShardReceipt], options: CompactOptions
) -> Compacted:
    config, split = plan.snapshot.ref.config or "", plan.snapshot.ref.split or ""
    old = [file for group in plan.groups for file in group]
    done = Compacted(
        sha="",
        config=config,
        split=split,
        files_before=len(old),
        files_after=len(receipts),
        rows=sum(receipt.rows for receipt in receipts),
        bytes_before=sum(file.size for file in old),
        bytes_after=sum(receipt.file.size for receipt in receipts),
        new_bytes=sum(receipt.file.new_bytes for receipt in receipts),
    )
    record = Record(
        config=config,
        split=split,
        mode="compact",
        rows=done.rows,
        files=done.files_after,
        bytes=done.bytes_after,
        new_bytes=done.new_bytes,
        writer=options.writer,
    )
    files = tuple(receipt.file for receipt in receipts)

    def build(listing: Listing) -> Change:
        check_replaceable(listing, config, split, old)
        return replace_files(listing, config, split, old=old, files=files, record=record)

    message = f"Compact {done.files_before} files of split {split} into {done.files_after}"
    committed = commit(ref, token, build, message=message, transaction=uuid.uuid4().hex)
    return replace(done, sha=committed.sha)
