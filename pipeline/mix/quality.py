"""How well a mix is shuffled, from the runs of its sources, as stored and as a consumer with a shuffle buffer sees it.

The measures:

* chi2/dof of a window of W rows: over sources s with share p of all rows, the sum of (count - W p)^2 / (W p), divided by
  the number of sources less one, averaged over all full windows. 1 is what independent draws give; blocks of B rows in
  random order give about B; less than 1 is better than random.
* adjacency excess: (P(same source as the row before) - sum p^2) / (1 - sum p^2). 0 is ideal.

As stored, all rows count, at a cost that grows with runs and windows, not rows. Behind the buffer, a mix of more than
`MAX_ROWS` rows is seen through `SEGMENTS` stretches or fewer, at equal distances, that have that many rows together.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

WINDOWS = (64, 512, 4096)
MAX_ROWS = 2_000_000
SEGMENTS = 16
MAX_CHI2_64 = 2.0
MAX_ADJACENCY = 0.01
MIN_ADJACENCY_ROWS = 10_000  # of fewer, chance alone makes an excess of about that

Run = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """chi2/dof by window of 64, 512 and 4,096 rows, and adjacency excess. None: too few rows, or one source."""

    chi2_64: float | None
    chi2_512: float | None
    chi2_4096: float | None
    adjacency: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Both views of a mix, and the size of the buffer behind which the second was seen."""

    rows: int
    sources: int
    buffer_rows: int
    stored: Measures
    buffered: Measures

    @property
    def meets_gate(self) -> bool:
        """Whether a buffered consumer sees chi2/dof(64) <= 2 and adjacency excess <= 0.01. What has no measure passes, and the
        adjacency of too few rows.
        """
        chi2, adjacency = self.buffered.chi2_64, self.buffered.adjacency
        if adjacency is None or self.rows < MIN_ADJACENCY_ROWS:
            adjacency = 0.0
        return (chi2 is None or chi2 <= MAX_CHI2_64) and adjacency <= MAX_ADJACENCY


def measure_quality(
    runs: Sequence[Run], sources: int, buffer_rows: int = 1000, seed: int = 0, *, max_rows: int = MAX_ROWS
) -> Quality:
    """Both views of a mix whose rows come in runs (source index, rows), in stored order."""
    shares = _shares(runs, sources)
    buffered = [
        behind_buffer(part, buffer_rows, seed + n) for n, part in enumerate(_stretches(runs, buffer_rows, max_rows))
    ]
    return Quality(
        rows=sum(rows for _, rows in runs),
        sources=sources,
        buffer_rows=buffer_rows,
        stored=_measures([runs], shares),
        buffered=_measures(buffered, shares),
    )


def chi2_per_dof(runs: Sequence[Run], sources: int, window: int) -> float | None:
    """chi2/dof of source counts per full window. None: no full window, or rows of fewer than two sources."""
    return _chi2([runs], _shares(runs, sources), window)


def adjacency_excess(runs: Sequence[Run], sources: int) -> float | None:
    """How much likelier than by chance a row's source is that of the row before. None as in `chi2_per_dof`."""
    return _adjacency([runs], _shares(runs, sources))


def behind_buffer(runs: Iterable[Run], rows: int = 1000, seed: int = 0) -> list[Run]:
    """The runs that leave a shuffle buffer: filled first, then each row in swaps one out, the rest leaves shuffled.

    This is what `datasets` does with one input shard; with ten it gives slightly better numbers.
    """
    draw = random.Random(seed).random  # noqa: S311  (a simulation with a named seed)
    buffer: list[int] = []
    seen: list[int] = []
    for source, count in runs:
        for _ in range(count):
            if len(buffer) < rows:
                buffer.append(source)
                continue
            place = int(draw() * rows)
            seen.append(buffer[place])
            buffer[place] = source
    while buffer:
        place = int(draw() * len(buffer))
        buffer[place], buffer[-1] = buffer[-1], buffer[place]
        seen.append(buffer.pop())
    return [(source, sum(1 for _ in group)) for source, group in groupby(seen)]


def _shares(runs: Sequence[Run], sources: int) -> list[float]:
    """Each source's share of all rows."""
    counts = [0] * sources
    for source, rows in runs:
        counts[source] += rows
    whole = sum(counts)
    return [count / whole if whole else 0.0 for count in counts]


def _measures(parts: Sequence[Sequence[Run]], shares: Sequence[float]) -> Measures:
    by_window = [_chi2(parts, shares, window) for window in WINDOWS]
    chi2_64, chi2_512, chi2_4096 = by_window
    return Measures(chi2_64=chi2_64, chi2_512=chi2_512, chi2_4096=chi2_4096, adjacency=_adjacency(parts, shares))


def _chi2(parts: Sequence[Sequence[Run]], shares: Sequence[float], window: int) -> float | None:
    """The mean over the full windows of each part; as counts sum to W, chi2 is the sum of count^2 / (W p), less W."""
    freedom = sum(share > 0 for share in shares) - 1
    scores = [_window_scores(runs, shares, window) for runs in parts]
    windows = sum(count for count, _ in scores)
    if freedom < 1 or not windows:
        return None
    return (sum(total for _, total in scores) / windows - window) / freedom


def _window_scores(runs: Sequence[Run], shares: Sequence[float], window: int) -> tuple[int, float]:
    """The number of full windows, and the sum over them of count^2 / (W p)."""
    windows, total, room = 0, 0.0, window
    counts: dict[int, int] = {}
    for source, rows in runs:
        left = rows
        if room == window and left >= window:
            windows += left // window
            total += left // window * (window / shares[source])
            left %= window
        while left:
            took = min(room, left)
            counts[source] = counts.get(source, 0) + took
            room, left = room - took, left - took
            if room == 0:
                windows += 1
                total += sum(count * count / (window * shares[s]) for s, count in counts.items())
                counts, room = {}, window
    return windows, total


def _adjacency(parts: Sequence[Sequence[Run]], shares: Sequence[float]) -> float | None:
    chance = sum(share * share for share in shares)
    pairs = same = 0
    for runs in parts:
        before = None
        for source, rows in runs:
            if rows:
                pairs += rows - (before is None)
                same += rows - (before != source)
                before = source
    several = sum(share > 0 for share in shares) > 1
    return (same / pairs - chance) / (1 - chance) if pairs and several else None


def _stretches(runs: Sequence[Run], buffer_rows: int, max_rows: int) -> list[list[Run]]:
    """The runs of the stretches to simulate: the whole if it is small. Each has some ten times the buffer's rows."""
    whole = sum(rows for _, rows in runs)
    segments = max(2, min(SEGMENTS, max_rows // (10 * buffer_rows)))
    if whole <= max_rows:
        return [list(runs)]
    length = max_rows // segments
    starts = [(whole - length) * n // (segments - 1) for n in range(segments)]
    parts: list[list[Run]] = [[] for _ in starts]
    position = n = 0
    for source, rows in runs:
        end = position + rows
        while n < segments and starts[n] < end:
            begin, stop = max(position, starts[n]), min(end, starts[n] + length)
            if stop > begin:
                parts[n].append((source, stop - begin))
            if starts[n] + length > end:
                break
            n += 1
        position = end
    return parts
