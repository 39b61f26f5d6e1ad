"""Print how well a published dataset is shuffled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs import console
from pipeline.audit.inspect import find_published
from pipeline.audit.mix_quality import SplitQuality, measure_split
from pipeline.errors import NotFoundError
from pipeline.hub.listing import list_files
from pipeline.hub.repo import find_token, parse_ref
from pipeline.mix.quality import MAX_ADJACENCY, MAX_CHI2_64, Measures
from pipeline.mix.told import few_rows
from pipeline.sizes import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The quality of a dataset's splits at a commit."""

    dataset: str
    commit: str
    splits: tuple[SplitQuality, ...]

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"dataset": self.dataset, "commit": self.commit, "splits": [one.values() for one in self.splits]}


def measure(
    dataset: str,
    *,
    config: str | None,
    split: str | None,
    revision: str | None,
    endpoint: str | None,
    source_column: str | None,
) -> Measured:
    """Measure a dataset's splits, with a progress bar over files. Raises what `find_published` and `measure_split` raise."""
    ref = parse_ref(dataset, revision=revision, config=config, split=split, endpoint=endpoint)
    token = find_token(ref.endpoint)
    published = find_published(ref, token)
    if not published.files:
        raise NotFoundError(f"{published.ref}: no Parquet files with rows; choose a dataset that has some")
    listing = list_files(published.ref, token)
    with console.progress(published.files, "sources", "file") as bar:
        found = [
            measure_split(listing, one, token, source_column=source_column, on_files=bar.update)
            for one in published.splits
        ]
    return Measured(dataset=listing.ref.repo_id, commit=listing.commit, splits=tuple(found))


def show(measured: Measured, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        console.say_json(measured.values())
        return
    console.say(f"{measured.dataset}@{measured.commit[:8]}")
    for one in measured.splits:
        console.say()
        _split(one)


def _split(one: SplitQuality) -> None:
    quality = one.quality
    sources = counted(quality.sources, "source")
    console.say(
        f"config {one.config}, split {one.split}: {counted(quality.rows, 'row')} of {sources}, by {one.seen_in}"
    )
    console.say()
    console.table(
        ("seen", "chi2/dof in 64 rows", "in 512", "in 4,096", "adjacency excess"),
        [
            ("as stored", *_cells(quality.stored)),
            (f"behind a buffer of {quality.buffer_rows:,} rows", *_cells(quality.buffered)),
            ("independent draws", "1", "1", "1", "0"),
        ],
    )
    console.say()
    gate = f"chi2/dof at most {MAX_CHI2_64:g} in 64 rows, adjacency excess at most {MAX_ADJACENCY:g}{few_rows(quality.rows)}"
    if quality.buffered.chi2_64 is None:
        console.say("gate: too few rows or sources to judge")
    else:
        console.say(f"gate: {'met' if quality.meets_gate else 'NOT met'} (behind the buffer: {gate})")


def _cells(measures: Measures) -> tuple[str, ...]:
    chi2 = (measures.chi2_64, measures.chi2_512, measures.chi2_4096)
    return (*("-" if one is None else f"{one:.2f}" for one in chi2), _signed(measures.adjacency))


def _signed(adjacency: float | None) -> str:
    return "-" if adjacency is None else f"{adjacency:.4f}"
