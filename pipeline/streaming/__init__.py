"""A dataset -> an iterator for training: shuffled, shared among ranks and workers, resumed exactly where it stood.

An epoch is one global sequence of rows, a pure function of (seed, epoch). Every worker of every rank reads a contiguous share of
it, and a state says how much of each share was taken, so a job may go on with other ranks and workers and see each row once.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyarrow.dataset import Expression

from pipeline.hub.repo import find_token, parse_ref
from pipeline.streaming.formats import Format
from pipeline.streaming.interleave import Interleaved, interleave
from pipeline.streaming.iterable import Stream
from pipeline.streaming.options import StreamOptions
from pipeline.streaming.rows import Rows
from pipeline.streaming.seats import find_rank
from pipeline.streaming.shares import Remainder
from pipeline.streaming.source import open_source

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
    token: str | None = None,
    endpoint: str | None = None,
) -> Stream:
    """The rows of a split as an iterable, which is a torch IterableDataset too.

    `dataset` is `ns/name` or `hf://datasets/ns/name[@revision]`; `split` is `train` unless given; only `columns` are fetched, and
    those that `filter` reads, a SQL condition or a pyarrow Expression. Every row has the same columns: one that a file lacks
    is None there. The commit is pinned here, before the first row.

    With `shuffle`, row groups of all files come in an order that depends on `seed` and epoch alone, and rows are permuted among
    about `shuffle_rows` of them, at most 256 MB. Rank `rank` of `world_size` reads an equal share of each epoch: the `remainder`
    is left out ("drop") or filled up with rows that come twice ("pad"). The ranks are those of torch.distributed, or of the
    environment (RANK, WORLD_SIZE), unless given.

    `format` is "python" (a dict per row), "numpy" or "torch" (the same, as arrays), or "arrow" (record batches). With
    `batch_rows`, items are batches of so many rows, the last of a share may be short: dicts of columns, or record batches.
    Media are decoded unless `decode` is false or the format is "arrow".

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
    )
    ref = parse_ref(dataset, revision=revision, config=config, split=split, endpoint=endpoint)
    source = open_source(ref, find_token(ref.endpoint, token), columns, filter)
    return Stream(Rows.open(source, options))
