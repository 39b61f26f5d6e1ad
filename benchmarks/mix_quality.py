"""Figures of shuffle quality, by the planner alone: no row is read for them."""

from __future__ import annotations

from collections.abc import Iterator

from mix_data import IMAGE_BYTES
from mix_table import Bench, Seen

from pipeline.mix.cutting import BlockSize, cut_file
from pipeline.mix.files import SourceFile
from pipeline.mix.order import apportion, interleave
from pipeline.mix.quality import MAX_ADJACENCY, MAX_CHI2_64, Measures, measure_quality
from pipeline.storage import FileRef

_ROWS = 1_000_000
_SEEDS = (1, 2, 3)


def quality(bench: Bench) -> Iterator[Seen]:
    """Sources of Zipf's sizes in the default blocks for images, the worst of some seeds."""
    rows = int(_ROWS * bench.scale)
    for sources in (8, 185):
        for kind, (low, high) in IMAGE_BYTES.items():
            size = BlockSize().rows_in(_file(rows, (low + high) // 2))
            counts = apportion([1 / (number + 1) for number in range(sources)], rows)
            found = [_measure(counts, size, seed) for seed in _SEEDS]
            worst = max(found, key=lambda one: one[1].chi2_64 or 0)
            met = all((one.chi2_64 or 0) <= MAX_CHI2_64 and (one.adjacency or 0) <= MAX_ADJACENCY for _, one in found)
            yield Seen(
                figure=f"shuffle quality, {sources} Zipf sources, {kind} images in default blocks (at most {size} rows)",
                seen=f"behind a 1,000-row buffer {_told(worst[1])}; as stored {_told(worst[0])}",
                target=f"chi2/dof(64) <= {MAX_CHI2_64:g}, adjacency <= {MAX_ADJACENCY:g}",
                met=met,
            )


def _measure(counts: list[int], size: int, seed: int) -> tuple[Measures, Measures]:
    """As stored, and behind a buffer of 1,000 rows."""
    blocks = [[rows for _, rows, _ in cut_file([count], [False], size, size)] for count in counts]
    runs = [(source, rows) for source, cuts in enumerate(blocks) for rows in cuts]
    names = [str(source) for source in range(len(counts))]
    runs = [runs[place] for place in interleave([*map(len, blocks)], seed, names)]
    told = measure_quality(runs, len(counts), seed=seed)
    return told.stored, told.buffered


def _file(rows: int, row_bytes: int) -> SourceFile:
    file = FileRef(uri="nowhere", size=rows * row_bytes, content_id="nowhere")
    return SourceFile(
        file=file, name="nowhere", rows=(rows,), kept=(rows,), sizes=(rows * row_bytes,), padded=False, shape=0
    )


def _told(measures: Measures) -> str:
    chi2 = [f"{one:.2f}" for one in (measures.chi2_64, measures.chi2_512, measures.chi2_4096) if one is not None]
    adjacency = "" if measures.adjacency is None else f", adjacency {measures.adjacency:.4f}"
    return f"chi2/dof {'/'.join(chi2)}{adjacency}"
