"""The core: datasets as lists of Parquet files at a commit. It knows nothing of Spark, and imports nothing until it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.streaming import interleave, stream

__all__ = ["interleave", "stream"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from pipeline import streaming

        return getattr(streaming, name)
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
