"""The core: datasets as lists of Parquet files at a commit. It knows nothing of Spark, and imports nothing until it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.hub.files import open_path as open  # noqa: A004 - what everybody calls it
    from pipeline.streaming import interleave, stream
    from pipeline.streaming.tars import samples

__all__ = ["interleave", "open", "samples", "stream"]

_WHERE = {
    "interleave": ("pipeline.streaming", "interleave"),
    "open": ("pipeline.hub.files", "open_path"),
    "samples": ("pipeline.streaming.tars", "samples"),
    "stream": ("pipeline.streaming", "stream"),
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        module, found = _WHERE[name]
        return getattr(import_module(module), found)
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
