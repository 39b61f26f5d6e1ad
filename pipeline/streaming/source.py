"""What a stream reads: the files of a pinned split, the columns of them, and which rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.dataset as pads

from pipeline.errors import OptionError, RecipeError
from pipeline.hub.listing import list_files, pin_at
from pipeline.hub.ranges import Transport, file_refs
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.resolver import DataFiles, Snapshot, select_split
from pipeline.hub.xet import storage_of
from pipeline.parquet.dataset import choose, stored_schema
from pipeline.parquet.features import Features, features_of, from_yaml, narrow_feature, with_features
from pipeline.predicate import Predicate, filter_batch, parse_predicate
from pipeline.storage import FileRef
from pipeline.streaming.reading import Wanted
from pipeline.streaming.state import identity_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where rows come from: the dataset, which of its files (as in `load_dataset`), at which time, over which transport."""

    ref: DatasetRef
    token: Secret | None
    data_files: DataFiles | None = None
    data_dir: str | None = None
    timestamp: datetime | None = None
    ref_ttl_s: float = 0.0
    transport: Transport = "auto"

    def snapshot(self) -> Snapshot:
        """Pin the commit and find the files of the split."""
        ref = self.ref if self.timestamp is None else pin_at(self.ref, self.token, self.timestamp)
        listing = list_files(ref, self.token, ttl_s=self.ref_ttl_s, meanwhile=self._connect)
        return select_split(listing, ref, data_files=self.data_files, data_dir=self.data_dir)

    def _connect(self, pinned: DatasetRef) -> None:
        """Get the token of the repo's storage."""
        if self.transport != "http":
            storage_of(pinned, self.token).connect()


def parse_timestamp(text: str | datetime) -> datetime:
    """A time as ISO 8601; UTC unless it says otherwise. Raises OptionError."""
    try:
        found = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise OptionError(f"timestamp must be a time such as '2026-11-01T12:00:00Z', got {text!r}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A pinned split. `known` are the columns that a file may have, `None` when columns were chosen."""

    about: str
    identity: dict[str, str]
    files: tuple[FileRef, ...]
    token: Secret | None
    schema: pa.Schema
    features: Features | None
    wanted: Wanted
    known: tuple[str, ...] | None


def open_source(origin: Origin, columns: Sequence[str] | None, where: str | pads.Expression | None) -> Source:
    """Pin the commit and find the schema.

    Raises NotFoundError, AccessError, OptionError, SchemaError, RecipeError for a filter that does not fit the columns.
    """
    if isinstance(columns, str):
        raise OptionError(f"columns must be a list of names, got {columns!r}; write [{columns!r}]")
    if columns is not None and (not columns or len(set(columns)) < len(columns)):
        raise OptionError(f"columns must be different names, at least one, got {list(columns)!r}")
    snapshot, token = origin.snapshot(), origin.token
    files = file_refs(snapshot, origin.transport)
    card = from_yaml(snapshot.features or ())
    # A filter may name any column, so all that the card knows are looked for.
    known = list(columns) if columns is not None and where is None else list(card)
    stored = stored_schema(files, [*known, *(name for name in columns or () if name not in known)], token)
    predicate = _predicate(where, stored)
    schema = stored if columns is None else choose(stored, columns, snapshot.rows_url)
    extra = [name for name in (predicate.columns if predicate else ()) if name not in schema.names]
    for name in predicate.columns if predicate else ():
        if name in schema.names and schema.field(name).type != stored.field(name).type:
            raise OptionError(
                f"columns may not name a part of {name!r}, which the filter reads; name {name!r} as a whole"
            )
    read = pa.schema([*schema, *(stored.field(name) for name in extra)], stored.metadata)
    return Source(
        about=snapshot.rows_url,
        identity=identity_of(snapshot),
        files=files,
        token=token,
        schema=schema,
        features=_features(stored, card, schema),
        wanted=Wanted(schema=read, predicate=predicate, columns=tuple(schema.names) if extra else None),
        known=tuple(stored.names) if columns is None else None,
    )


def _features(stored: pa.Schema, card: Features, chosen: pa.Schema) -> Features | None:
    """The features that the first file carries, else those of the card, else those of the types."""
    metadata = stored.metadata or {}
    found = features_of(stored if b"huggingface" in metadata else with_features(stored, card))
    return None if found is None else {field.name: narrow_feature(found[field.name], field.type) for field in chosen}


def _predicate(where: str | pads.Expression | None, schema: pa.Schema) -> Predicate | None:
    if where is None:
        return None
    if isinstance(where, str):
        return parse_predicate(where, schema, "filter")
    if not isinstance(where, pads.Expression):
        raise OptionError(f"filter must be a SQL condition or a pyarrow Expression, got {where!r}")
    _try(where, schema, schema.names)
    # Arrow does not tell which columns an expression reads: those that it cannot be computed without.
    needed = [name for name in schema.names if not _works(where, schema, [one for one in schema.names if one != name])]
    return Predicate(sql=str(where), expression=where, columns=tuple(sorted(needed)))


def _works(where: pads.Expression, schema: pa.Schema, names: Sequence[str]) -> bool:
    try:
        _try(where, schema, names)
    except RecipeError:
        return False
    return True


def _try(where: pads.Expression, schema: pa.Schema, names: Sequence[str]) -> None:
    """Compute it over no rows of these columns."""
    empty = pa.schema([schema.field(name) for name in names]).empty_table()
    batch = pa.RecordBatch.from_arrays([pa.array([], one.type) for one in empty.schema], schema=empty.schema)
    filter_batch(batch, Predicate(sql=str(where), expression=where, columns=tuple(names)))
