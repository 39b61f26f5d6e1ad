"""A dataset -> an iterator for training: pinned when it starts, read row group by row group ahead of the consumer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, overload

import pyarrow as pa

from pipeline.errors import OptionError, SchemaError
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import Secret, find_token, parse_ref
from pipeline.hub.resolver import resolve
from pipeline.parquet.dataset import choose, scan_as, stored_schema
from pipeline.parquet.footer import read_footer
from pipeline.parquet.scan import ScanTask, whole_file
from pipeline.storage import FileRef


@overload
def stream(
    dataset: str,
    *,
    split: str | None = ...,
    config: str | None = ...,
    revision: str | None = ...,
    columns: Sequence[str] | None = ...,
    format: Literal["python"] = ...,
    token: str | None = ...,
    endpoint: str | None = ...,
) -> Iterator[dict[str, Any]]: ...


@overload
def stream(
    dataset: str,
    *,
    split: str | None = ...,
    config: str | None = ...,
    revision: str | None = ...,
    columns: Sequence[str] | None = ...,
    format: Literal["arrow"],
    token: str | None = ...,
    endpoint: str | None = ...,
) -> Iterator[pa.RecordBatch]: ...


def stream(
    dataset: str,
    *,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    columns: Sequence[str] | None = None,
    format: Literal["python", "arrow"] = "python",
    token: str | None = None,
    endpoint: str | None = None,
) -> Iterator[Any]:
    """The rows of a split in stored order: dicts of Python values, or record batches with `format="arrow"`.

    `dataset` is `ns/name` or `hf://datasets/ns/name[@revision]`; `split` is `train` unless given; only `columns` are fetched.
    Every row has the same columns: one that a file lacks is None there. The commit is pinned here, before the first row.
    Raises NotFoundError, AccessError, OptionError, SchemaError here; CorruptFileError, TransferError, and SchemaError for a
    file that does not fit the first one while iterating.
    """
    if format not in ("python", "arrow"):
        raise OptionError(f"format must be 'python' or 'arrow', got {format!r}")
    if isinstance(columns, str):
        raise OptionError(f"columns must be a list of names, got {columns!r}; write [{columns!r}]")
    ref = parse_ref(dataset, revision=revision, config=config, split=split, endpoint=endpoint)
    secret = find_token(ref.endpoint, token)
    snapshot = resolve(ref, secret)
    files = file_refs(snapshot)
    known = [str(feature["name"]) for feature in snapshot.features or ()]
    schema = stored_schema(files, known if columns is None else columns, secret)
    if columns is not None:
        schema = choose(schema, columns, snapshot.rows_url)
    tasks = (_task(file, secret, schema if columns is None else None) for file in files)
    batches = scan_as(tasks, schema, secret)
    return batches if format == "arrow" else (row for batch in batches for row in batch.to_pylist())


def _task(file: FileRef, token: Secret | None, whole: pa.Schema | None) -> ScanTask:
    """A file to scan. Raises SchemaError when all columns are wanted and it has one that is not in the schema."""
    footer = read_footer(file, token)
    known = footer.schema().names if whole is None else whole.names
    for name in footer.schema().names:
        if name not in known:
            raise SchemaError(
                f"{file.uri}: column {name!r} is neither in the split's first file nor in the features of its card; "
                "choose columns, or add it to the card"
            )
    return whole_file(file, footer)
