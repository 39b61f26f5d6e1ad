"""What one Spark task, or any other worker, reads: small, frozen, picklable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.storage import FileRef


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTask:
    """The rows that begin in the bytes [start, end) of a file; all of them without an `end`."""

    file: FileRef
    start: int = 0
    end: int | None = None

    @property
    def size(self) -> int:
        """Bytes as stored."""
        return (self.file.size if self.end is None else self.end) - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaTask:
    """Rows that are media files and what is known of them: `files` of each media column, `None` where a row has none."""

    rows: pa.RecordBatch
    files: tuple[tuple[str, tuple[FileRef | None, ...]], ...]

    @property
    def size(self) -> int:
        """Bytes as stored."""
        return sum(file.size for _, files in self.files for file in files if file is not None)


Task = FileTask | MediaTask


def whole_files(files: Sequence[FileRef]) -> list[FileTask]:
    """A task for each file that is not empty."""
    return [FileTask(file=file) for file in files if file.size]
