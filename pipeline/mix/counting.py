"""How many rows of each row group a mix can draw: runs of row groups are read (`survey_run`), and brought together (`conclude`).

Which of several equal rows stays is decided when all are known, by the order of sources, files and rows, whoever read them when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import accumulate

import pyarrow as pa

from pipeline.errors import CorruptFileError
from pipeline.hub.repo import Secret
from pipeline.mix.reading import Groups, group_rows, read_tasks
from pipeline.mix.row_keys import row_keys
from pipeline.mix.select import Kept, keep_first, select_rows
from pipeline.mix.sources import OpenSource
from pipeline.mix.survey import Found, Run, Survey
from pipeline.parquet.conform import conform
from pipeline.parquet.footer import read_footer
from pipeline.parquet.scan import scan_each
from pipeline.parquet.task import ScanTask
from pipeline.predicate import filter_batch


def survey_run(survey: Survey, run: Run, token: Secret | None) -> Found:
    """Read a run. Raises CorruptFileError for a file that is not the one that was opened, and what reading raises."""
    source = survey.sources[run.source]
    read = _row_groups if source.reader is None else read_tasks
    rows: list[int] = []
    kept: list[int] = []
    keys: list[bytes] = []
    with closing(read(source, run.file, range(run.start, run.end), token)) as groups:
        for group, batches in groups:
            rows.append(0)
            kept.append(0)
            for batch in _rows(source, run.file, group, _tallied(batches, rows), survey.keys):
                kept[-1] += batch.num_rows
                if survey.keys is not None:
                    keys.append(row_keys(conform(batch, survey.keys, f"source {source.name!r}")))
    return Found(kept=tuple(kept), keys=b"".join(keys), rows=() if source.reader is None else tuple(rows))


def _row_groups(source: OpenSource, number: int, groups: range, token: Secret | None) -> Groups:
    file = source.files[number]
    footer = read_footer(file.file, token)
    if footer.name != file.name:
        raise CorruptFileError(f"{file.file.uri}: is not the file that was opened; make a new plan")
    task = ScanTask(file=file.file, footer=footer.only(groups), row_groups=tuple(groups))
    with closing(scan_each([(task, source.columns_in(number))], token)) as scanned:
        batches = (batch for _, batch in scanned)
        for group in groups:
            yield group, _next_rows(batches, file.rows[group])


def _tallied(batches: Iterable[pa.RecordBatch], rows: list[int]) -> Iterator[pa.RecordBatch]:
    """The batches; their rows are added to the last count."""
    for batch in batches:
        rows[-1] += batch.num_rows
        yield batch


def _rows(
    source: OpenSource, file: int, group: int, batches: Iterator[pa.RecordBatch], keys: pa.Schema | None
) -> Iterator[pa.RecordBatch]:
    """The rows that are left of a row group. When they are only counted, those of a condition are not transformed."""
    transform = source.transform
    if keys is not None or transform.function is not None or transform.predicate is None:
        yield from group_rows(source, file, group, batches)
        return
    for batch in batches:
        whole = conform(batch, transform.read_schema, source.files[file].file.uri)
        yield filter_batch(whole, transform.predicate)


def _next_rows(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The next batches with so many rows: batches end where row groups end."""
    while rows > 0:
        batch = next(batches)
        rows -= batch.num_rows
        yield batch


def conclude(survey: Survey, sources: Sequence[OpenSource], found: Mapping[Run, Found]) -> list[OpenSource]:
    """The sources with what was found, and what `dedup_by` leaves of them.

    A source of which a run is missing has upper bounds still, and says so (`exact`); where rows are compared, so have all then.
    """
    runs = survey.runs()
    rows = [[list(file.rows) for file in source.files] for source in sources]
    kept = [[list(file.rows) for file in source.files] for source in sources]
    missing = set()
    for run in runs:
        if run not in found:
            missing.add(run.source)
            continue
        kept[run.source][run.file][run.start : run.end] = found[run].kept
        if found[run].rows:
            rows[run.source][run.file][run.start : run.end] = found[run].rows
    bounded = set(range(len(sources))) if missing and survey.keys is not None else missing
    counted = [
        replace(
            _with_counts(source, kept[number], rows[number]),
            exact=number not in bounded,
            counted=source.counted or number not in missing,
        )
        for number, source in enumerate(sources)
    ]
    if survey.keys is None or missing:
        return counted
    starts = [0, *accumulate(source.rows for source in counted)]
    first = keep_first(b"".join([found[run].keys for run in runs]), starts)
    return [_selected(source, first, number, starts[number]) for number, source in enumerate(counted)]


def _selected(source: OpenSource, first: Kept, number: int, start: int) -> OpenSource:
    kept = [file.kept for file in source.files]
    selection, left = select_rows(kept, first.marks, start, first.dropped[number])
    return replace(_with_counts(source, left), exact=True, selection=selection)


def _with_counts(
    source: OpenSource, kept: Sequence[Sequence[int]], rows: Sequence[Sequence[int]] | None = None
) -> OpenSource:
    """The source with what its row groups keep; `rows` are all of theirs, where they are not known already."""
    whole = rows if rows is not None else [file.rows for file in source.files]
    files = (
        replace(file, kept=tuple(left), rows=tuple(own))
        for file, left, own in zip(source.files, kept, whole, strict=True)
    )
    return replace(source, files=tuple(files), selection=None)
