"""How well a published split is shuffled: from its table of blocks, else from the one column that names each row's source.

Neither needs the rows. The column is small, is fetched ahead, and is kept as runs of rows of one source (two numbers each).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.audit.inspect import PublishedSplit
from pipeline.audit.mixes import MixWrite, read_table, read_writes
from pipeline.errors import SchemaError
from pipeline.hub.card import split_info
from pipeline.hub.listing import Listing
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import Secret
from pipeline.hub.resolver import Snapshot
from pipeline.mix.quality import Quality, Run, measure_quality
from pipeline.parquet.footer import Footer, read_footers
from pipeline.parquet.scan import scan_each
from pipeline.parquet.task import whole_file
from pipeline.storage import FileRef

DEFAULT_COLUMN = "source"
_FOOTERS_AT_ONCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitQuality:
    """The quality of one split; `seen_in` says what told it, `rows_by_source` how many rows each source has."""

    config: str
    split: str
    seen_in: str
    rows_by_source: dict[str, int]
    quality: Quality

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "config": self.config,
            "split": self.split,
            "seen_in": self.seen_in,
            "rows_by_source": self.rows_by_source,
            **asdict(self.quality),
            "meets_gate": self.quality.meets_gate,
        }


@dataclass(slots=True)
class SourceRuns(Sequence[Run]):
    """Runs of rows of one source, in two arrays: a million rows in random order take 12 MB at most."""

    names: dict[str, int] = field(default_factory=dict)
    _sources: array[int] = field(default_factory=lambda: array("i"))
    _rows: array[int] = field(default_factory=lambda: array("q"))

    def add(self, sources: pa.Array, rows: pa.Array | None = None) -> None:
        """More runs: the names of their sources, and how many rows each has (one, for `None`)."""
        encoded = sources.dictionary_encode("encode")
        numbers = [self.names.setdefault(str(name), len(self.names)) for name in encoded.dictionary.to_pylist()]
        codes = pa.array(numbers, pa.int32()).take(encoded.indices)
        if rows is None:
            runs = pc.run_end_encode(codes, run_end_type=pa.int64())
            codes, ends = runs.values, [0, *runs.run_ends.to_pylist()]
            self._extend(codes.to_pylist(), [end - start for start, end in pairwise(ends)])
        else:
            self._extend(codes.to_pylist(), rows.to_pylist())

    def _extend(self, sources: list[int], rows: list[int]) -> None:
        if sources and len(self._sources) and self._sources[-1] == sources[0]:
            self._rows[-1] += rows[0]
            sources, rows = sources[1:], rows[1:]
        self._sources.extend(sources)
        self._rows.extend(rows)

    def rows_by_source(self) -> dict[str, int]:
        """Rows of each source, by name."""
        counts = [0] * len(self.names)
        for source, rows in self:
            counts[source] += rows
        return dict(zip(self.names, counts, strict=True))

    def __iter__(self) -> Iterator[Run]:
        return zip(self._sources, self._rows, strict=True)

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | Sequence[Run]:
        if isinstance(index, slice):
            return list(zip(self._sources[index], self._rows[index], strict=True))
        return self._sources[index], self._rows[index]


def measure_split(
    listing: Listing,
    one: PublishedSplit,
    token: Secret | None,
    *,
    source_column: str | None = None,
    on_files: Callable[[int], object] = lambda _: None,
) -> SplitQuality:
    """Measure a split; with `source_column` that column tells, whatever else there is. `on_files` is told how many more are done.

    Raises SchemaError, saying what to do, for files without the column, CorruptFileError, AccessError, TransferError.
    """
    writes = read_writes(listing, one.config, one.split, token)
    runs = None if source_column else _runs_of_blocks(listing, one, writes, token)
    seen_in = writes[0].blocks.path if runs is not None and writes[0].blocks else ""
    if runs is None:
        column = source_column or _recorded_column(writes)
        refs = file_refs(Snapshot(ref=listing.ref, files=one.files))
        runs = _runs_of_column(refs, token, column, f"{listing.ref.repo_id}, {one.config}/{one.split}", on_files)
        seen_in = f"column {column!r}"
    return SplitQuality(
        config=one.config,
        split=one.split,
        seen_in=seen_in,
        rows_by_source=runs.rows_by_source(),
        quality=measure_quality(runs, len(runs.names)),
    )


def _runs_of_blocks(
    listing: Listing, one: PublishedSplit, writes: Sequence[MixWrite], token: Secret | None
) -> SourceRuns | None:
    """The runs that the table of blocks tells; `None` without one, or when rows came or went since it was written."""
    if len(writes) != 1 or writes[0].blocks is None:
        return None
    blocks = read_table(listing, writes[0].blocks, token, ("source", "rows"))
    said = split_info(listing.card, one.config, one.split)
    if said is not None and said.num_examples != (pc.sum(blocks["rows"]).as_py() or 0):
        return None
    runs = SourceRuns()
    for batch in blocks.to_batches():
        runs.add(batch["source"], batch["rows"])
    return runs


def _recorded_column(writes: Iterable[MixWrite]) -> str:
    names = (write.record.get("source_column") for write in writes)
    return next((name for name in names if isinstance(name, str)), DEFAULT_COLUMN)


def _runs_of_column(
    files: Sequence[FileRef], token: Secret | None, column: str, about: str, on_files: Callable[[int], object]
) -> SourceRuns:
    runs = SourceRuns()
    for start in range(0, len(files), _FOOTERS_AT_ONCE):
        some = files[start : start + _FOOTERS_AT_ONCE]
        footers = read_footers(some, token)
        for footer in footers:
            _check_column(footer, column, about)
        tasks = [(whole_file(file, footer), [column]) for file, footer in zip(some, footers, strict=True)]
        done = 0
        for number, batch in scan_each(tasks, token):
            runs.add(batch.column(0))
            on_files(number - done)
            done = number
        on_files(len(some) - done)
    return runs


def _check_column(footer: Footer, column: str, about: str) -> None:
    schema = footer.schema()
    if column not in schema.names:
        raise SchemaError(
            f"{about}: no column {column!r} that names each row's source; name it with --source-column, "
            f"those that exist: {', '.join(map(repr, schema.names))}"
        )
    kind = schema.field(column).type
    if pa.types.is_nested(kind):
        raise SchemaError(f"{about}: column {column!r} is {str(kind)[:100]}; a column of names or numbers was expected")
