"""What building a plan will upload, source by source, before anything is read.

Measured with hf_xet 1.8 and its own settings (the figures are shares of new bytes, footers included). Bytes deduplicate where
they are in Xet storage already, in runs that are long enough: the client refuses what would fragment files.

aligned    copied from files in the layout `blocks`: a run starts and ends where a chunk does.
unaligned  copied from other files: about one chunk is new at each end of a run.
encoded    full, but for blocks that an earlier build of the target had, and those that come again.
rows       full, below about 0.5 MB a row; above, some chunks of a row are found again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING

from pipeline.mix.blocks import Block, block_name
from pipeline.mix.cutting import mean_row_bytes, row_bytes
from pipeline.parquet.layout import PAD_BYTES, leaves
from pipeline.sizes import format_bytes

if TYPE_CHECKING:
    from pipeline.mix.files import SourceFile
    from pipeline.mix.plan import Plan

# (bytes of a run, share of it that is new). Rows of 20 to 60 KB in blocks of 1, 2 and 4; of 100 to 300 KB in 1, 2, 4 and 8.
ALIGNED = ((40e3, 0.66), (80e3, 0.55), (160e3, 0.09), (250e3, 0.012), (400e3, 0.006), (800e3, 0.0035), (1.6e6, 0.0015))
# Single rows of 40 and 200 KB, and row groups of 256 to 16,384 rows of text.
UNALIGNED = ((40e3, 0.976), (200e3, 0.75), (321e3, 0.515), (632e3, 0.211), (1.25e6, 0.109), (5e6, 0.024), (18e6, 0.006))
LARGE_ROW_BYTES = 500_000
_LARGE_ROW_SHARE = 0.25  # 12 to 25 %, by the writer of the source
_CONSTANT_BYTES = PAD_BYTES + 200  # a pad of the block's own, and a small chunk
_CHUNK_FOOTER_BYTES = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a source's rows take in the mix, what of it is new to the Hub, and why, in a few words."""

    bytes_written: int
    bytes_new: int
    reason: str


def new_share(curve: Sequence[tuple[float, float]], run_bytes: float) -> float:
    """The share of a run of bytes that is new, along the curve on logarithmic scales; level before it, 1/bytes after it."""
    places = [place for place, _ in curve]
    at = bisect_left(places, run_bytes)
    if at == 0:
        return curve[0][1]
    if at == len(curve):
        return curve[-1][1] * places[-1] / run_bytes
    (low, before), (high, after) = curve[at - 1], curve[at]
    part = log(run_bytes / low) / log(high / low)
    return exp(log(before) + part * log(after / before))


def predict(plan: Plan, known: frozenset[str] = frozenset()) -> tuple[Prediction, ...]:
    """What each source takes; `known` are the names of the blocks that earlier builds of the target had."""
    if not plan.blocks:
        return tuple(_predict_rows(plan, number) for number in range(len(plan.sources)))
    tallies = [_Tally(plan, number, known) for number in range(len(plan.sources))]
    copies = set(plan.verbatim.values())
    for run in _runs(plan):
        tallies[run[0].source].add(run, verbatim=(run[0].source, run[0].file) in copies)
    return tuple(tally.prediction() for tally in tallies)


def _predict_rows(plan: Plan, number: int) -> Prediction:
    source, rows = plan.sources[number], plan.draws[number].rows
    row = mean_row_bytes(source)
    written = round(rows * row)
    if not source.on_hub:
        share, reason = 1.0, "not in this Hub's storage"
    elif row >= LARGE_ROW_BYTES:
        share, reason = _LARGE_ROW_SHARE, f"rows shuffled, {format_bytes(row)} each"
    else:
        share, reason = 1.0, f"rows shuffled, {format_bytes(row)} each: too small to deduplicate"
    return Prediction(bytes_written=written, bytes_new=round(written * share), reason=reason)


def _runs(plan: Plan) -> Iterator[list[Block]]:
    """Blocks that follow each other in the mix and in their file with nothing between them: one run of bytes."""
    plain = plan.recipe.source_column is None and plan.recipe.source_row_column is None
    bare = [plain and not source.transform.constants for source in plan.sources]
    run: list[Block] = []
    for block in plan.blocks:
        last = run[-1] if run else block
        follows = (last.source, last.file, last.end) == (block.source, block.file, block.start)
        if run and not (follows and bare[block.source] and last.copied and block.copied):
            yield run
            run = []
        run.append(block)
    if run:
        yield run


class _Tally:
    """The bytes of one source, as its runs go by."""

    def __init__(self, plan: Plan, number: int, known: frozenset[str]) -> None:
        self._source, self._known = plan.sources[number], known
        self._repeats = plan.draws[number].rows > plan.draws[number].base
        self._seen: set[tuple[int, int, int]] = set()
        self._rows = [row_bytes(file) for file in self._source.files]
        self._footer = _CHUNK_FOOTER_BYTES * len(leaves(plan.schema))
        added = plan.recipe.source_column is not None or bool(self._source.transform.constants)
        self._added = _CONSTANT_BYTES if added else 0
        self._written = self._new = 0.0
        self._by_reason: dict[str, float] = {}

    def add(self, run: list[Block], *, verbatim: bool) -> None:
        size = sum(block.rows for block in run) * self._rows[run[0].file]
        new, reason = (0.0, "whole files, copied by the Hub") if verbatim else self._new_of(run, size)
        extra = 0 if verbatim else len(run) * self._footer
        self._written += size + extra + (0 if verbatim else len(run) * (self._added or PAD_BYTES))
        self._new += new + extra
        self._by_reason[reason] = self._by_reason.get(reason, 0.0) + size

    def _new_of(self, run: list[Block], size: float) -> tuple[float, str]:
        block, file = run[0], self._source.files[run[0].file]
        aligned, again = new_share(ALIGNED, size) * size, self._again(run)
        if self._known and all(block_name(self._source, one) in self._known for one in run):
            return aligned, "as built before"
        if block.copied and self._source.on_hub:
            if file.padded:
                return aligned + len(run) * self._added, "copied raw, same layout"
            new = new_share(UNALIGNED, size) * size + len(run) * (self._added or PAD_BYTES)
            return min(
                new, aligned if again else new
            ), f"copied raw, row groups of {format_bytes(sum(file.sizes) / len(file.sizes))}"
        reason = "copied raw, but not in this Hub's storage" if block.copied else f"re-encoded: {self._why(file)}"
        return aligned if again else size + len(run) * PAD_BYTES, reason

    def _again(self, run: list[Block]) -> bool:
        """Whether these blocks came before; the first time is remembered."""
        if not self._repeats:
            return False
        keys = {(block.file, block.start, block.rows) for block in run}
        again = keys <= self._seen
        self._seen |= keys
        return again

    def _why(self, file: SourceFile) -> str:
        is_left_out = not self._source.exact or file.kept != file.rows
        return self._source.copies[file.shape] or (
            "rows are left out" if is_left_out else "row groups are cut into blocks"
        )

    def prediction(self) -> Prediction:
        """The sums; the reason is that of most bytes, with their share where there are others."""
        reasons = sorted(self._by_reason, key=lambda reason: -self._by_reason[reason])
        reason = reasons[0] if reasons else "no rows"
        if len(reasons) > 1:
            share = self._by_reason[reason] / sum(self._by_reason.values())
            reason = f"{share:.0%} {reason}; {reasons[1]}"
        return Prediction(bytes_written=round(self._written), bytes_new=round(self._new), reason=reason)
