"""What changed between two datasets, or two commits of one: from listings, footers and what builds left of themselves.

No row is read. Files are the same where their content is, whatever they are called. Of mixes it is also told how the shares of
sources, the recipe and the blocks differ; a block is the same where its name is, which names the rows that it holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.audit.diff_values import BlockChanges, DatasetDiff, FileChanges, Side, SourceChange, SplitDiff
from pipeline.audit.inspect import Published, PublishedSplit, find_published
from pipeline.audit.mixes import MixWrite, read_table, read_writes
from pipeline.audit.settings import changed_settings, settings_of
from pipeline.errors import NotFoundError
from pipeline.hub.changes import compare
from pipeline.hub.listing import Listing, list_commits, list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.resolver import Snapshot
from pipeline.hub.transactions import read_records
from pipeline.parquet.footer import read_footers

_SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")
_FOOTERS_AT_ONCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A dataset at a commit: the listing and its splits."""

    listing: Listing
    published: Published

    @property
    def name(self) -> str:
        """`ns/name@sha`."""
        return f"{self.listing.ref.repo_id}@{self.listing.commit}"

    def split(self, key: tuple[str, str]) -> PublishedSplit | None:
        """A split by config and name."""
        return next((one for one in self.published.splits if (one.config, one.split) == key), None)


def open_version(ref: DatasetRef, token: Secret | None) -> Version:
    """Look up a dataset at a branch, a tag or a commit, of whose sha 7 digits will do. Raises NotFoundError, AccessError."""
    listing = _listed(replace(ref, config=None, split=None), token)
    return Version(listing=listing, published=find_published(listing.ref, token))


def _listed(ref: DatasetRef, token: Secret | None) -> Listing:
    try:
        return list_files(ref, token)
    except NotFoundError:
        begin = ref.revision or ""
        commits = list_commits(replace(ref, revision=None), token) if _SHORT_SHA.fullmatch(begin) else ()
        sha = next((one.sha for one in commits if one.sha.startswith(begin)), None)
        if sha is None:
            raise
        return list_files(replace(ref, revision=sha), token)


def diff_versions(
    before: Version,
    after: Version,
    token: Secret | None,
    *,
    config: str | None = None,
    split: str | None = None,
    on_files: Callable[[int], object] = lambda _: None,
) -> DatasetDiff:
    """How the splits differ (of all configs, unless one is named); `on_files` is told how many more footers are read.

    Raises NotFoundError when neither side has such a split, CorruptFileError, AccessError, TransferError.
    """
    every = [(one.config, one.split) for version in (before, after) for one in version.published.splits]
    keys = [key for key in dict.fromkeys(every) if config in (None, key[0]) and split in (None, key[1])]
    if not keys:
        known = ", ".join(f"{name}/{part}" for name, part in dict.fromkeys(every)) or "none"
        raise NotFoundError(
            f"{before.name} and {after.name}: no split {split or '*'!r} of config {config or '*'!r}; those that exist: {known}"
        )
    splits = [_diff_split(before, after, key, token, on_files) for key in keys]
    return DatasetDiff(before=before.name, after=after.name, splits=tuple(splits))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a split of a version."""

    split: PublishedSplit | None
    side: Side | None
    columns: Mapping[str, str]
    writes: tuple[MixWrite, ...]


def _diff_split(
    before: Version, after: Version, key: tuple[str, str], token: Secret | None, on_files: Callable[[int], object]
) -> SplitDiff:
    old, new = _known(before, key, token, on_files), _known(after, key, token, on_files)
    return SplitDiff(
        config=key[0],
        split=key[1],
        before=old.side,
        after=new.side,
        files=_file_changes(before, after, old, new, token),
        columns=changed_settings(old.columns, new.columns) if old.side and new.side else (),
        sources=_source_changes(_rows_by_source(old.writes), _rows_by_source(new.writes)),
        settings=changed_settings(*(settings_of([one.record for one in side.writes]) for side in (old, new))),
        blocks=_block_changes(_blocks(before, old, token), _blocks(after, new, token)),
    )


def _known(version: Version, key: tuple[str, str], token: Secret | None, on_files: Callable[[int], object]) -> _Known:
    one = version.split(key)
    if one is None:
        return _Known(split=None, side=None, columns={}, writes=())
    refs = file_refs(Snapshot(ref=version.listing.ref, files=one.files))
    rows, types = 0, dict[str, dict[str, None]]()
    for start in range(0, len(refs), _FOOTERS_AT_ONCE):
        footers = read_footers(refs[start : start + _FOOTERS_AT_ONCE], token)
        on_files(len(footers))
        for footer in footers:
            rows += footer.rows
            for column in footer.schema():
                types.setdefault(column.name, {})[str(column.type)] = None
    return _Known(
        split=one,
        side=Side(rows=rows, files=len(refs), bytes=sum(file.size for file in one.files)),
        columns={name: " / ".join(kinds) for name, kinds in types.items()},
        writes=read_writes(version.listing, *key, token),
    )


def _file_changes(before: Version, after: Version, old: _Known, new: _Known, token: Secret | None) -> FileChanges:
    now = new.split.files if new.split else ()
    found = compare(old.split.files if old.split else (), now)
    came = [*found.added, *found.rewritten]
    return FileChanges(
        kept=len(now) - len(came),
        new=len(came),
        gone=len(found.removed) + len(found.rewritten),
        bytes_new=sum(file.size for file in came),
        uploaded=_uploaded(before, after, new.split, token),
    )


def _uploaded(before: Version, after: Version, one: PublishedSplit | None, token: Secret | None) -> int | None:
    """What the commits of the one after say that they brought, where the one before does not know them."""
    if one is None:
        return None
    known = {record.id for record in read_records(before.listing, token)}
    sizes = [
        record.new_bytes
        for record in read_records(after.listing, token)
        if record.id not in known and (record.config, record.split) == (one.config, one.split)
    ]
    return sum(size for size in sizes if size is not None) if sizes and None not in sizes else None


def _rows_by_source(writes: Iterable[MixWrite]) -> dict[str, int]:
    rows: Counter[str] = Counter()
    for write in writes:
        rows.update({source["name"]: int(source["drawn"]) for source in write.record["sources"] if "drawn" in source})
    return rows


def _source_changes(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[SourceChange, ...]:
    whole_before, whole_after = sum(before.values()), sum(after.values())
    return tuple(
        SourceChange(
            source=name,
            rows_before=before.get(name),
            rows_after=after.get(name),
            share_before=before[name] / max(1, whole_before) if name in before else None,
            share_after=after[name] / max(1, whole_after) if name in after else None,
        )
        for name in dict.fromkeys([*before, *after])
    )


def _blocks(version: Version, known: _Known, token: Secret | None) -> pa.Table | None:
    """The split's blocks; `None` where not all of its builds were in an order of blocks."""
    tables = [write.blocks for write in known.writes]
    if not tables or None in tables:
        return None
    found = [read_table(version.listing, table, token, ("shard", "row", "name")) for table in tables if table]
    return pa.concat_tables(found)


def _block_changes(before: pa.Table | None, after: pa.Table | None) -> BlockChanges | None:
    if before is None or after is None:
        return None
    kept = _common(before["name"], after["name"])
    in_place = _common(_places(before), _places(after))
    return BlockChanges(kept=kept, moved=kept - in_place, added=after.num_rows - kept, removed=before.num_rows - kept)


def _places(blocks: pa.Table) -> pa.ChunkedArray:
    """Each block's name with where it stands."""
    parts = (blocks["name"].cast(pa.string()), blocks["shard"].cast(pa.string()), blocks["row"].cast(pa.string()))
    return pc.binary_join_element_wise(*parts, " ")


def _common(before: pa.ChunkedArray, after: pa.ChunkedArray) -> int:
    """How many values are in both, each as often as it is in both."""
    old, new = _counts(before), _counts(after)
    places = pc.index_in(new["values"], value_set=old["values"])
    found = pc.is_valid(places)
    both = pc.min_element_wise(new["counts"].filter(found), old["counts"].take(places.filter(found)))
    return pc.sum(both).as_py() or 0


def _counts(values: pa.ChunkedArray) -> pa.Table:
    found = values.cast(pa.string()).value_counts()
    return pa.table({"values": found.field("values"), "counts": found.field("counts")})
