"""Pinned splits as Spark tasks of about the same size, each read through the prefetching scan.

Of Parquet a task is a run of row groups; of other formats it is files, or parts of them where they can be cut.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from pipeline.errors import SchemaError
from pipeline.formats.rows import RowSource, plan_rows, read_rows
from pipeline.hub.ranges import file_refs
from pipeline.hub.resolver import Snapshot
from pipeline.parquet.conform import conform
from pipeline.parquet.dataset import scan_as
from pipeline.parquet.footer import read_footers
from pipeline.parquet.plan import SizedTask, balance, measure
from pipeline.parquet.prune import FileFilter, kept_row_groups
from pipeline.parquet.task import ScanTask, whole_file
from pipeline.predicate import Predicate, filter_batch
from pipeline.sizes import format_bytes
from pipeline.storage import FileRef
from spark_datasource.dataset import SPLIT, Dataset
from spark_datasource.schemas import arrow_schema, as_declared, declared_schema

log = logging.getLogger(__name__)

_MIN_PARTITION_BYTES = 4 << 20
_PARTITIONS = 16
_OPEN_BYTES = 128 << 10  # that come while a request for a tiny file is waited for
_WIDE_COLUMNS = 10
_WIDE_BYTES = 1 << 30
_hinted: set[str] = set()


@dataclass
class Part(InputPartition):
    """What one task reads of a split: `ScanTask`s of Parquet, or tasks of another format."""

    split: str
    tasks: tuple[Any, ...]


class HuggingFaceReader(DataSourceReader):
    """Reads the columns of `schema`; Spark pickles it to the executors."""

    def __init__(self, dataset: Dataset, schema: StructType) -> None:
        self._dataset = dataset
        self._schema = schema
        self._seen: pa.Schema | None = None

    def partitions(self) -> Sequence[InputPartition]:
        snapshots = self._dataset.splits()
        self._check_columns(snapshots)
        return self.plan(snapshots) or [Part(split="", tasks=())]

    def plan(self, snapshots: Sequence[Snapshot]) -> list[Part]:
        """The tasks that read these files of splits; none where statistics rule out all rows."""
        source = self._dataset.source
        return self._plan_parquet(snapshots) if source is None else self._plan_other(snapshots, source)

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, Part)
        wanted, declared, dataset = arrow_schema(self._schema), declared_schema(self._schema), self._dataset
        truncate_ns = dataset.options.truncate_ns
        for batch in self._rows(partition):
            found = _with_split(batch, partition.split) if dataset.several else batch
            same = found.schema.equals(wanted)
            plain = found if same else conform(found, wanted, dataset.about, truncate_ns=truncate_ns)
            yield as_declared(plain, declared, dataset.about)

    def _plan_parquet(self, snapshots: Sequence[Snapshot]) -> list[Part]:
        options, read = self._dataset.options, self._read_schema()
        columns = read.names
        files = [(one.ref.split or "", file) for one in snapshots for file in file_refs(one, options.transport)]
        footers = read_footers([file for _, file in files], options.token)
        tasks: dict[str, list[SizedTask]] = {}
        unread: dict[str, str] = {}
        for (split, file), footer in zip(files, footers, strict=True):
            unread.update(dict.fromkeys(self._unknown(footer.schema()), file.uri))
            tasks.setdefault(split, []).append(measure(self._matching(whole_file(file, footer), read), columns))
        sizes = sum(task.size for found in tasks.values() for task in found)
        self._hint(sizes)
        self._tell_unread(unread)
        wanted = -(-(sizes + _OPEN_BYTES * len(files)) // _PARTITIONS)
        target = min(options.partition_bytes, max(_MIN_PARTITION_BYTES, wanted))
        runs = ((split, run) for split, found in tasks.items() for run in balance(found, target, _OPEN_BYTES))
        return [Part(split=split, tasks=run) for split, run in runs]

    def _plan_other(self, snapshots: Sequence[Snapshot], source: RowSource) -> list[Part]:
        options = self._dataset.options
        total = sum(file.size for one in snapshots for file in one.files)
        target = min(options.partition_bytes, max(_MIN_PARTITION_BYTES, total // _PARTITIONS))
        found: list[Part] = []
        for snapshot in snapshots:
            tasks = plan_rows(source, snapshot, options.token, target, options.transport)
            found += [Part(split=snapshot.ref.split or "", tasks=run) for run in _packed(tasks, target)]
        return found

    def _rows(self, part: Part) -> Iterator[pa.RecordBatch]:
        """The rows in the types that files have, with the columns that the condition needs."""
        dataset, read, where = self._dataset, self._read_schema(), self._dataset.predicate
        options = dataset.options
        if dataset.source is None:
            yield from scan_as(part.tasks, read, options.token, options.scan, where, truncate_ns=options.truncate_ns)
            return
        names = [name for name in read.names if name in dataset.arrow.names]
        for task in part.tasks:
            for batch in read_rows(dataset.source, task, options.token, names):
                kept = filter_batch(batch, where) if where else batch
                if kept.num_rows:
                    yield kept

    def _read_schema(self) -> pa.Schema:
        """What is read of files: the columns that Spark wants, and those of the condition, in the types that it was made for."""
        stored, needed = self._dataset.arrow, _columns(self._dataset.predicate)
        wanted = [one for one in arrow_schema(self._schema) if not (self._dataset.several and one.name == SPLIT)]
        fields = [stored.field(one.name) if one.name in needed else one for one in wanted]
        return pa.schema([*fields, *(stored.field(name) for name in needed if name not in self._schema.names)])

    def _matching(self, task: ScanTask, read: pa.Schema) -> ScanTask:
        """The task without the row groups that statistics rule out."""
        if self._dataset.predicate is None:
            return task
        about = FileFilter(footer=task.footer, schema=read, predicate=self._dataset.predicate)
        return replace(task, row_groups=tuple(kept_row_groups(about, task.row_groups)))

    def _check_columns(self, snapshots: Sequence[Snapshot]) -> None:
        """A column that the user's own schema names and no file has would be null throughout: more likely a slip."""
        dataset = self._dataset
        known = dict.fromkeys([*dataset.arrow.names, *([SPLIT] if dataset.several else [])])
        missing = [name for name in self._schema.names if name not in known]
        if missing and dataset.source is None:
            files: list[FileRef] = [file for one in snapshots for file in file_refs(one, dataset.options.transport)]
            footers = read_footers(files, dataset.options.token)
            known |= dict.fromkeys(name for footer in footers for name in footer.schema().names)
        for name in missing:
            if name not in known:
                raise SchemaError(f"{dataset.about}: no column {name!r}; it has {', '.join(map(repr, known))}")

    def _unknown(self, schema: pa.Schema) -> set[str]:
        """The columns of a file that the dataset's schema, and the user's own, do not have."""
        if schema is self._seen:
            return set()
        self._seen = schema
        return set(schema.names).difference(self._dataset.arrow.names, self._schema.names)

    def _tell_unread(self, unread: Mapping[str, str]) -> None:
        """The schema is the first file's, with what the card adds: say once what that leaves out."""
        about = self._dataset.about
        if not unread or self._dataset.options.columns is not None or f"{about} unread" in _hinted:
            return
        _hinted.add(f"{about} unread")
        name, uri = next(iter(unread.items()))
        log.warning(
            "%s: column %r of %s is in neither the first file nor the card, and is not read; name it with .schema(...)",
            about,
            name,
            uri,
        )

    def _hint(self, num_bytes: int) -> None:
        """Spark prunes no columns of Python data sources: say so once where it costs much."""
        options = self._dataset.options
        narrowed = options.columns is not None or self._dataset.predicate is not None
        narrowed = narrowed or len(self._schema.names) < len(self._dataset.arrow.names)
        wide = len(self._schema.names) >= _WIDE_COLUMNS or num_bytes >= _WIDE_BYTES
        if narrowed or not wide or self._dataset.about in _hinted:
            return
        _hinted.add(self._dataset.about)
        log.warning(
            "%s: every query of this DataFrame reads all %d columns (%s); name those that you need with the option 'columns' "
            "or .schema(...), and rows with 'where'",
            self._dataset.about,
            len(self._schema.names),
            format_bytes(num_bytes),
        )


def _packed(tasks: Iterable[Any], target_bytes: int) -> Iterator[tuple[Any, ...]]:
    """Consecutive tasks together until they have about so many bytes."""
    held: list[Any] = []
    size = 0
    for task in tasks:
        if held and size + task.size > target_bytes:
            yield tuple(held)
            held, size = [], 0
        held.append(task)
        size += task.size
    if held:
        yield tuple(held)


def _with_split(batch: pa.RecordBatch, split: str) -> pa.RecordBatch:
    column = pa.repeat(pa.scalar(split, pa.string()), batch.num_rows)
    return pa.RecordBatch.from_arrays([*batch.columns, column], names=[*batch.schema.names, SPLIT])


def _columns(predicate: Predicate | None) -> tuple[str, ...]:
    return predicate.columns if predicate else ()
