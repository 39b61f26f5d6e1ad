"""What a build left of itself in a repo: its record, and for an order of blocks the table of where each one came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pyarrow as pa

from pipeline.errors import CorruptFileError
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import Secret
from pipeline.hub.resolver import Snapshot
from pipeline.hub.transactions import read_text
from pipeline.parquet.footer import read_footer
from pipeline.parquet.scan import scan
from pipeline.parquet.task import whole_file

_BLOCKS = "blocks.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class MixWrite:
    """One build of a split: the `path` of its record, what that says, and its table of blocks (`None` for an order of rows)."""

    path: str
    record: Mapping[str, Any]
    blocks: DataFile | None


def read_writes(listing: Listing, config: str, split: str, token: Secret | None) -> tuple[MixWrite, ...]:
    """The builds that made a split: one, then those that were appended to it; none when it is no mix.

    Raises CorruptFileError for a record that is not what we wrote.
    """
    folder, reports = f".pipeline/writes/{config}/{split}/", f"mix/{config}/{split}/"
    beside = {file.path: file for file in listing.files if file.path.startswith(reports)}
    found = []
    for path in [file.path for file in listing.files if file.path.startswith(folder) and file.path.endswith(".json")]:
        record = _read_record(listing, path, token)
        if record.get("sources"):
            own = f"{reports}{path.removeprefix(folder).removesuffix('.json')}/"  # that of what was appended
            appended = any(name.startswith(own) for name in beside)
            table = beside.get(f"{own if appended else reports}{_BLOCKS}")
            found.append((appended, MixWrite(path=path, record=record, blocks=table)))
    return tuple(write for _, write in sorted(found, key=itemgetter(0)))


def _read_record(listing: Listing, path: str, token: Secret | None) -> Mapping[str, Any]:
    try:
        record = json.loads(read_text(listing, path, token) or "{}")
        if all(isinstance(source["name"], str) for source in record.get("sources") or ()):
            return dict(record)
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise CorruptFileError(f"{listing.ref}/{path}: not the record of a build that we wrote; build the mix again")


def read_table(listing: Listing, file: DataFile, token: Secret | None, columns: Sequence[str]) -> pa.Table:
    """Columns of a small Parquet file of the repo. Raises what `scan` raises."""
    (ref,) = file_refs(Snapshot(ref=listing.ref, files=(file,)))
    footer = read_footer(ref, token)
    schema = pa.schema([footer.schema().field(name) for name in columns if name in footer.schema().names])
    return pa.Table.from_batches(scan([whole_file(ref, footer)], token, columns), schema)
