"""The options of a stream, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from pipeline.errors import OptionError
from pipeline.parquet.task import ScanOptions
from pipeline.streaming.formats import FORMATS, Format
from pipeline.streaming.order import SHUFFLE_BYTES, Order
from pipeline.streaming.shares import Remainder

# What a user may set of a scan, and the least that it may be.
_SCAN = (("prefetch_bytes", 0), ("prefetch_requests", 1), ("block_bytes", 1), ("hole_bytes", 0), ("cache_bytes", 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How rows are ordered, shared and shaped. Raises OptionError for a value that cannot be."""

    shuffle: bool = False
    seed: int = 0
    shuffle_rows: int = 10_000
    shuffle_bytes: int = SHUFFLE_BYTES
    batch_rows: int | None = None
    rank: int = 0
    world_size: int = 1
    remainder: Remainder = "drop"
    decode: bool = True
    format: Format = "python"
    scan: ScanOptions = field(default_factory=ScanOptions)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise OptionError(f"format must be {_listed(FORMATS)}, got {self.format!r}")
        if self.remainder not in get_args(Remainder):
            raise OptionError(f"remainder must be {_listed(get_args(Remainder))}, got {self.remainder!r}")
        check_whole("seed", self.seed)
        check_whole("shuffle_rows", self.shuffle_rows, 1)
        if self.batch_rows is not None:
            check_whole("batch_rows", self.batch_rows, 1)
        for name, least in _SCAN:
            check_whole(name, getattr(self.scan, name), least)

    def order(self, epoch: int) -> Order:
        """The order of an epoch."""
        return Order(
            shuffle=self.shuffle,
            seed=self.seed,
            epoch=epoch,
            shuffle_rows=self.shuffle_rows,
            shuffle_bytes=self.shuffle_bytes,
        )


def check_whole(name: str, value: Any, least: int | None = None) -> None:
    """Raise OptionError unless it is a whole number, and not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionError(f"{name} must be a whole number, got {value!r}")
    if least is not None and value < least:
        raise OptionError(f"{name} must be at least {least}, got {value}")


def _listed(values: tuple[str, ...]) -> str:
    *others, last = map(repr, values)
    return f"{', '.join(others)} or {last}"
