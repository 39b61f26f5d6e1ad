"""What a stream counts while it is read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pipeline.storage import Meter


@dataclass(slots=True, kw_only=True)
class StreamStats:
    """Counted in this process: `rows` yielded, `wait_s` spent until the next rows were there, and what was asked for."""

    rows: int = 0
    wait_s: float = 0.0
    meter: Meter = field(default_factory=Meter)

    @property
    def bytes_fetched(self) -> int:
        """Bytes of ranges that came, from wherever; footers were read when the stream was opened."""
        return self.meter.bytes_fetched

    @property
    def bytes_used(self) -> int:
        """Bytes of the column chunks that were wanted."""
        return self.meter.bytes_used

    @property
    def requests(self) -> Counter[str]:
        """Ranges by where they came from (`xet`, `http`, `disk`, `file`), and `resolve` for signed addresses."""
        return Counter(self.meter.requests)
