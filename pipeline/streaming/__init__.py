"""A dataset -> an iterator for training: shuffled, shared among ranks and workers, resumed exactly where it stood.

An epoch is one global sequence of rows, a pure function of (seed, epoch). Every worker of every rank reads a contiguous share of
it, and a state says how much of each share was taken, so a job may go on with other ranks and workers and see each row once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyarrow.dataset import Expression

from pipeline.hub.ranges import Transport
from pipeline.hub.repo import find_token, parse_ref
from pipeline.hub.resolver import DataFiles
from pipeline.parquet.task import ScanOptions
from pipeline.streaming.formats import Format
from pipeline.streaming.interleave import Interleaved, interleave
from pipeline.streaming.iterable import Stream
from pipeline.streaming.options import StreamOptions
from pipeline.streaming.rows import Rows
from pipeline.streaming.seats import find_rank
from pipeline.streaming.shares import Remainder
from pipeline.streaming.source import Origin, open_source, parse_timestamp

_DEFAULT = ScanOptions()

__all__ = ["Interleaved", "Stream", "interleave", "stream"]


def stream(
    dataset: str,
    *,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    columns: Sequence[str] | None = None,
    filter: str | Expression | None = None,  # noqa: A002 - what everybody calls it
    shuffle: bool = False,
    seed: int = 0,
    shuffle_rows: int = 10_000,
    batch_rows: int | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    remainder: Remainder = "drop",
    decode: bool = True,
    format: Format = "python",
    data_files: DataFiles | None = None,
    data_dir: str | None = None,
    timestamp: str | datetime | None = None,
    ref_ttl_s: float = 30.0,
    transport: Transport = "auto",
    prefetch_bytes: int = _DEFAULT.prefetch_bytes,
    prefetch_requests: int = _DEFAULT.prefetch_requests,
    block_bytes: int = _DEFAULT.block_bytes,
    hole_bytes: int = _DEFAULT.hole_bytes,
    cache_bytes: int = _DEFAULT.cache_bytes,
    token: str | None = None,
    endpoint: str | None = None,
) -> Stream:
    """The rows of a split as an iterable, which is a torch IterableDataset too.

    `dataset` is `ns/name` or `hf://datasets/ns/name[@revision]`; `split` is `train` unless given; only `columns` are fetched, and
    those that `filter` reads, a SQL condition or a pyarrow Expression. Every row has the same columns: one that a file lacks
    is None there. The commit is pinned here, before the first row.

    With `shuffle`, row groups of all files come in an order that depends on `seed` and epoch alone, and rows are permuted among
    about `shuffle_rows` of them, at most 128 MB and, of 100,000 rows or more, a thousandth of the epoch. Rank `rank` of
    `world_size` reads an equal share of each epoch: the `remainder` is left out ("drop") or filled up with rows that come twice
    ("pad"). The ranks are those of torch.distributed, or of the environment (RANK, WORLD_SIZE), unless given.

    `format` is "python" (a dict per row), "numpy" or "torch" (the same, as arrays), or "arrow" (record batches). With
    `batch_rows`, items are batches of so many rows, the last of a share may be short: dicts of columns, or record batches.
    Media are decoded unless `decode` is false or the format is "arrow".

    `data_files` and `data_dir` are those of `load_dataset`. With `timestamp` (ISO 8601) the commit is the last one of that time.
    Processes of this machine that start within `ref_ttl_s` seconds share one answer to what commit a branch is.
    `transport` is "auto", "xet" or "http". `prefetch_bytes` are held or on their way besides the row group in hand, by
    `prefetch_requests` at a time, in blocks of up to `block_bytes` over holes of at most `hole_bytes`; `cache_bytes` of what was
    fetched stay on this machine's disk for later epochs.

    Raises NotFoundError, AccessError, OptionError, SchemaError, RecipeError here; CorruptFileError, TransferError, and
    SchemaError for a file that does not fit the first one, here or while iterating.
    """
    rank, world_size = find_rank(rank, world_size)
    options = StreamOptions(
        shuffle=shuffle,
        seed=seed,
        shuffle_rows=shuffle_rows,
        batch_rows=batch_rows,
        rank=rank,
        world_size=world_size,
        remainder=remainder,
        decode=decode,
        format=format,
        scan=ScanOptions(
            prefetch_bytes=prefetch_bytes,
            prefetch_requests=prefetch_requests,
            block_bytes=block_bytes,
            hole_bytes=hole_bytes,
            cache_bytes=cache_bytes,
        ),
    )
    ref = parse_ref(dataset, revision=revision, config=config, split=split, endpoint=endpoint)
    origin = Origin(
        ref=ref,
        token=find_token(ref.endpoint, token),
        data_files=data_files,
        data_dir=data_dir,
        timestamp=None if timestamp is None else parse_timestamp(timestamp),
        ref_ttl_s=ref_ttl_s,
        transport=transport,
    )
    return Stream(Rows.open(open_source(origin, columns, filter), options))
