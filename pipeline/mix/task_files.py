"""A source's files in any format but Parquet: what a row group is there, is here a task of reading.

Nothing in such files tells how many rows they have, so these are counted before anything is planned; only folders of media have a
row for each file. Names follow from content alone, so that blocks and splits stay what they are while a source grows. How content
is read, and so what its rows are, is in the source's fingerprint.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import pyarrow as pa

from pipeline.formats.rows import RowSource, open_rows, plan_rows
from pipeline.formats.tasks import FileTask, MediaTask, Task
from pipeline.hub.any_format import Resolved
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import Secret
from pipeline.mix.files import SourceFile
from pipeline.parquet.conform import plain_type
from pipeline.parquet.features import Features
from pipeline.parquet.footer import Footer
from pipeline.permutation import digest
from pipeline.storage import FileRef

_TASK_BYTES = 16 << 20
_MEDIA_TASK_BYTES = 256 << 10  # at most a block of 16 large rows, which then is read without its neighbours
_MEDIA_TASKS = 256
_VERSION = "1"  # of how files are cut into tasks
_URL = "__url__"  # WebDataset's column of where an archive lies, commit and all


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInventory:
    """What `Inventory` is for Parquet: the files of a source before it is known which columns are read, and what reads them."""

    reader: RowSource
    files: tuple[SourceFile, ...]
    shapes: tuple[Footer, ...] = ()

    @property
    def features(self) -> Features:
        """What is known of the columns."""
        return self.reader.features or {}

    def schema(self) -> pa.Schema:
        """The columns of all files, in the types that a mix has."""
        return pa.schema([pa.field(column.name, plain_type(column.type)) for column in self.reader.schema])

    def sized(self, columns: Collection[str]) -> tuple[SourceFile, ...]:
        """The files with the bytes to read for these columns: all of them, but for media that are not among these."""
        return tuple(replace(file, sizes=tuple(_size(task, columns) for task in file.tasks)) for file in self.files)

    def is_counted(self) -> bool:
        """Whether the tasks tell how many rows there are."""
        return all(isinstance(task, MediaTask) for file in self.files for task in file.tasks)


def take_tasks(resolved: Resolved, token: Secret | None) -> TaskInventory:
    """The files of the split that is wanted, each with the tasks that read it; of media, a run of files is one.

    Raises what `open_rows` raises, and planning a format.
    """
    reader = open_rows(resolved, token)
    (snapshot,) = resolved.wanted.values()
    target = _MEDIA_TASK_BYTES if resolved.format in ("images", "audio") else _TASK_BYTES
    tasks = plan_rows(reader, snapshot, token, target)
    refs = file_refs(snapshot)
    contents = {
        ref.uri: file.sha256 or file.xet_hash or file.oid or ref.uri
        for ref, file in zip(refs, snapshot.files, strict=True)
    }
    of_files = groupby((task for task in tasks if isinstance(task, FileTask)), key=lambda task: task.file)
    found = [_of_file(file, contents[file.uri], list(run)) for file, run in of_files]
    media = [task for task in tasks if isinstance(task, MediaTask)]
    runs = (media[at : at + _MEDIA_TASKS] for at in range(0, len(media), _MEDIA_TASKS))
    found += [_of_media(run, contents, refs[0]) for run in runs]
    return TaskInventory(reader=reader, files=tuple(found))


def reading_print(reader: RowSource, files: Sequence[SourceFile], columns: Collection[str]) -> str:
    """A hash of all that decides, besides their content, which rows files have, and what is in these columns of them."""
    places = [file.file.uri for file in files] if _URL in columns else []
    said = (_VERSION, _TASK_BYTES, _MEDIA_TASK_BYTES, repr(reader.format), repr(reader.features), *places)
    return digest((*said, *(f"{column.name} {column.type}" for column in reader.schema)), 16).hex()


def _of_file(file: FileRef, content: str, tasks: Sequence[FileTask]) -> SourceFile:
    return _source_file(file, digest(("file", content), 16).hex(), tasks, [0] * len(tasks))


def _of_media(tasks: Sequence[MediaTask], contents: Mapping[str, str], fallback: FileRef) -> SourceFile:
    """A run of media files, known as its first one; there is none where metadata name none."""
    files = [file for task in tasks for _, found in task.files for file in found]
    first = next((file for file in files if file is not None), fallback)
    own = [None if file is None else (posixpath.basename(file.uri), contents[file.uri]) for file in files]
    known = [(task.rows.schema.names, task.rows.to_pylist()) for task in tasks]
    name = digest(("media", repr(own), repr(known)), 16).hex()
    return _source_file(first, name, tasks, [task.rows.num_rows for task in tasks])


def _source_file(file: FileRef, name: str, tasks: Sequence[Task], rows: Sequence[int]) -> SourceFile:
    counts = tuple(rows)
    sizes = tuple(task.size for task in tasks)
    return SourceFile(
        file=file, name=name, rows=counts, kept=counts, sizes=sizes, padded=False, shape=0, tasks=tuple(tasks)
    )


def _size(task: Task, columns: Collection[str]) -> int:
    if isinstance(task, FileTask):
        return max(1, task.size)
    media = (file for column, files in task.files if column in columns for file in files)
    size = int(task.rows.nbytes) + sum(file.size for file in media if file is not None)
    return max(1, size)
