"""A text that ends a chunk in Xet storage wherever it stands: whether ours still does, and another one if not.

Xet cuts where a rolling hash over the last 64 bytes matches, so the 64 bytes before any cut that came about by itself are such
a text. Where storage cuts shows in what it does not know yet: `measure(data)` stores data and gives its bytes that were new.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator

from pipeline.parquet.layout import MARKER, pad

Measure = Callable[[bytes], int]
_PREFIXES = (70_001, 33_333)
_TAIL_BYTES = 600_000
_TEXT_BYTES = 4_000_000
_TRIES = 16
_LETTERS = (string.ascii_letters + string.digits).encode()


def working_marker(measure: Measure) -> bytes:
    """The marker for pads: ours while storage cuts at it, which takes 30 ms to see, else one that it does cut at.

    The same one on every machine with the same hf_xet. Ours, too, when there is none: then blocks cost more to upload, no more.
    """
    if ends_chunks(measure, MARKER):
        return MARKER
    return next((found for found in _candidates(measure) if ends_chunks(measure, found)), MARKER)


def ends_chunks(measure: Measure, marker: bytes) -> bool:
    """Whether what is behind a pad with this marker is known to storage after any prefix."""
    rng = random.Random(marker)  # noqa: S311  # the same everywhere
    tail = pad(rng.randbytes(16), marker) + rng.randbytes(_TAIL_BYTES)
    new = [measure(rng.randbytes(size) + tail) - size for size in _PREFIXES]
    return new[-1] <= len(tail) - _TAIL_BYTES


def _candidates(measure: Measure) -> Iterator[bytes]:
    """What stands before cuts in a long text: where its beginning, with an end that is new, begins to be new."""
    rng = random.Random("marker")  # noqa: S311
    text = bytes(rng.choices(_LETTERS, k=_TEXT_BYTES))
    measure(text)
    for number in range(1, _TRIES + 1):
        known = text[: number * _TEXT_BYTES // _TRIES]
        cut = len(known) + _TAIL_BYTES - measure(known + rng.randbytes(_TAIL_BYTES))
        if cut >= len(MARKER):
            yield text[cut - len(MARKER) : cut]
