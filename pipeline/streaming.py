"""A dataset -> an iterator for training: pinned when it starts, read row group by row group ahead of the consumer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, overload

import pyarrow as pa

from pipeline.errors import OptionError
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import find_token, parse_ref
from pipeline.hub.resolver import resolve
from pipeline.parquet.footer import read_footer
from pipeline.parquet.scan import scan, whole_file


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
    The commit is pinned here, before the first row. Raises NotFoundError, AccessError, OptionError here; SchemaError,
    CorruptFileError and TransferError while iterating.
    """
    if format not in ("python", "arrow"):
        raise OptionError(f"format must be 'python' or 'arrow', got {format!r}")
    ref = parse_ref(dataset, revision=revision, config=config, split=split, endpoint=endpoint)
    secret = find_token(ref.endpoint, token)
    files = file_refs(resolve(ref, secret))
    tasks = (whole_file(file, read_footer(file, secret)) for file in files)
    batches = scan(tasks, secret, columns)
    return batches if format == "arrow" else (row for batch in batches for row in batch.to_pylist())
