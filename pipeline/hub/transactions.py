"""What was committed before, as the repo itself remembers it: the last 1,000 transactions, in a file that every commit brings.

Commit messages can be squashed away, and a lost answer leaves none to look at; a file of the head is neither. From it a repeated
transaction is recognised, a streaming query learns which batch it committed last, and the history learns what a commit did.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from pipeline.errors import CorruptFileError, NotFoundError
from pipeline.hub import client
from pipeline.hub.listing import Listing, list_files
from pipeline.hub.repo import DatasetRef, Secret

TRANSACTIONS = ".pipeline/transactions.json"
_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one transaction did; `parent` is the commit that it was made on. What is not known is `None`.

    `mode` is append, overwrite, compact or revert; `rows` and `files` are those written, `bytes` the files' size, `new_bytes`
    what of it was not in storage yet; `query` and `batch` are those of a streaming sink.
    """

    id: str = ""
    parent: str = ""
    config: str | None = None
    split: str | None = None
    mode: str | None = None
    rows: int | None = None
    files: int | None = None
    bytes: int | None = None
    new_bytes: int | None = None
    writer: str | None = None
    query: str | None = None
    batch: int | None = None


_TYPES = {one.name: int if "int" in str(one.type) else str for one in fields(Record)}


def read_text(listing: Listing, path: str, token: Secret | None) -> str | None:
    """A small file at the listing's commit; `None` when there is none."""
    if not any(file.path == path for file in listing.files):
        return None
    try:
        return client.get(listing.ref.file_url(path), token, about=f"{listing.ref}/{path}").text
    except NotFoundError:
        return None


def read_records(listing: Listing, token: Secret | None) -> list[Record]:
    """The transactions that a commit remembers, oldest first; none where nothing was written by us.

    Raises CorruptFileError when the file is not what we wrote.
    """
    text = read_text(listing, TRANSACTIONS, token)
    try:
        return [_parse(one) for one in json.loads(text)] if text else []
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise CorruptFileError(
            f"{listing.ref}/{TRANSACTIONS}: not what we wrote; delete the file, then run again"
        ) from err


def write_records(records: Sequence[Record]) -> str:
    """The file's text: the last 1,000, and before them the newest of each query that is not among them."""
    first = max(0, len(records) - _REMEMBERED)
    newest = {record.query: index for index, record in enumerate(records) if record.query is not None}
    kept = [records[index] for index in sorted({*newest.values(), *range(first, len(records))})]
    values = [{name: value for name, value in asdict(record).items() if value is not None} for record in kept]
    return json.dumps(values, indent=0) + "\n"


def last_batch(records: Iterable[Record], query: str) -> int | None:
    """The number of the last batch that a streaming query committed, `None` for none."""
    return max((one.batch for one in records if one.query == query and one.batch is not None), default=None)


def batch_committed(ref: DatasetRef, token: Secret | None, query: str, batch: int) -> bool:
    """Whether the branch has this batch of this query, or a later one, already: then it must not be committed again."""
    last = last_batch(read_records(list_files(ref, token), token), query)
    return last is not None and batch <= last


def _parse(one: Mapping[str, Any]) -> Record:
    """A record; what a later version wrote besides is left out. Raises KeyError or TypeError for what is none."""
    known = {name: one[name] for name in _TYPES if one.get(name) is not None} | {
        "id": one["id"],
        "parent": one["parent"],
    }
    for name, value in known.items():
        if not isinstance(value, _TYPES[name]):
            raise TypeError(name)
    return Record(**known)
