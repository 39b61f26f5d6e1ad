"""Folders of images or audio as rows, with the schema that `datasets` gives them: a file is a row, its bytes and name a column.

Folders' names are labels where each file lies in a folder as deep as the others' and there are several. Where there are
metadata files (`metadata.csv`, `.jsonl`, `.parquet`) their rows are the rows, and their `file_name` is the file. Both are read
when tasks are planned, so that a task is a list of files with what is known of them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import types

from pipeline.errors import NotFoundError, OptionError, SchemaError
from pipeline.formats.batches import MOST_BYTES, MOST_ROWS
from pipeline.formats.choices import a_bool, chosen, or_none
from pipeline.formats.csv import csv_format
from pipeline.formats.fitting import fit
from pipeline.formats.json import JsonFormat
from pipeline.formats.tasks import FileTask, MediaTask
from pipeline.hub.formats import METADATA_NAMES, endings_of
from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret
from pipeline.parquet.dataset import scan_as
from pipeline.parquet.features import features_of, with_features
from pipeline.parquet.footer import read_footers
from pipeline.parquet.task import whole_file
from pipeline.storage import FileRef

LABEL = "label"
_NAME, _NAMES = "file_name", "file_names"
_STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_IN_FLIGHT = 8
_CHECKS = {"drop_labels": or_none(a_bool), "drop_metadata": or_none(a_bool)}
_REFUSED = {"metadata_filenames": None, "filters": None, "features": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFormat:
    """The media column's name and feature, and what of folders and metadata is left out."""

    column: str
    feature: str
    endings: tuple[str, ...]
    drop_labels: bool | None = None
    drop_metadata: bool | None = None

    def infer(self, files: Sequence[FileRef], token: Secret | None) -> pa.Schema | None:
        """The schema of all splits' files; `None` where there is no media file."""
        media, metadata = self._sort(files)
        if metadata and not self.drop_metadata:
            return self._infer_metadata(metadata[0], token)
        if not media:
            return None
        features: dict[str, Any] = {self.column: {"_type": self.feature}}
        fields = [pa.field(self.column, _STRUCT)]
        labels = sorted({_label(file) for file in media})
        told = self.drop_labels is False or (
            self.drop_labels is None and len(labels) > 1 and len({file.uri.count("/") for file in media}) == 1
        )
        if told and not metadata:
            features[LABEL] = {"names": labels, "_type": "ClassLabel"}
            fields.append(pa.field(LABEL, pa.int64()))
        return with_features(pa.schema(fields), features)

    def plan(self, files: Sequence[FileRef], token: Secret | None, target_bytes: int) -> list[MediaTask]:
        """Tasks of about so many bytes of media, and at most 10,000 rows."""
        media, metadata = self._sort(files)
        if not metadata or self.drop_metadata:
            labels = pa.RecordBatch.from_arrays([pa.array(list(map(_label, media)), pa.string())], names=[LABEL])
            return list(_cut(labels, {self.column: media}, target_bytes))
        known = {file.uri: file for file in media}
        tasks: list[MediaTask] = []
        for file in metadata:
            schema, batches = _read_metadata(file, token)
            names = self._media_names(schema, file.uri)
            for batch in batches:
                found = {
                    column: [
                        _find(name, file, known) for name in batch.column(batch.schema.get_field_index(own)).to_pylist()
                    ]
                    for own, column in names.items()
                }
                rows = batch.select([name for name in batch.schema.names if name not in names])
                tasks += _cut(rows, found, target_bytes)
        return tasks

    def read(
        self, task: MediaTask, schema: pa.Schema, token: Secret | None, names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """The rows, as the columns of these names; files of other columns are not fetched. Raises SchemaError."""
        wanted = pa.schema([schema.field(name) for name in names])
        media = {column: files for column, files in task.files if column in names}
        rows = task.rows.select([name for name in task.rows.schema.names if name in names])
        with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="media") as pool:
            for start, end in _runs(list(media.values()), task.rows.num_rows, MOST_BYTES):
                part = rows.slice(start, end - start)
                arrays = [*part.columns, *(_fetch(files[start:end], token, pool) for files in media.values())]
                if not arrays:
                    yield task.rows.slice(start, end - start).select([])
                    continue
                batch = pa.RecordBatch.from_arrays(arrays, names=[*part.schema.names, *media])
                yield fit(batch, schema, wanted, _about(task))

    def _sort(self, files: Sequence[FileRef]) -> tuple[list[FileRef], list[FileRef]]:
        """Media files and metadata files. Raises OptionError for a packed one."""
        metadata = [file for file in files if posixpath.basename(file.uri) in METADATA_NAMES]
        media = []
        for file in files:
            if file.uri.lower().endswith(self.endings):
                media.append(file)
            elif file not in metadata:
                raise OptionError(
                    f"{file.uri}: is packed, or no {self.column}; choose files that are with 'data_files'"
                )
        endings = {posixpath.splitext(file.uri)[1] for file in metadata}
        if len(endings) > 1:
            raise SchemaError(
                f"{metadata[0].uri}: metadata files have different endings, {sorted(endings)}; expected one"
            )
        return media, metadata

    def _infer_metadata(self, file: FileRef, token: Secret | None) -> pa.Schema:
        schema, _ = _read_metadata(file, token)
        names = self._media_names(schema, file.uri)
        told = features_of(schema)
        fields, features = [], {}
        for field in schema:
            name = names.get(field.name, field.name)
            fields.append(pa.field(name, _STRUCT) if field.name in names else field)
            features[name] = {"_type": self.feature} if field.name in names else (told or {}).get(name)
        return with_features(pa.schema(fields), features if told is not None else None)

    def _media_names(self, schema: pa.Schema, about: str) -> dict[str, str]:
        """Column with names of files -> media column. Raises SchemaError where there is none, or one that cannot be read."""
        found = {}
        for field in schema:
            is_name = field.name == _NAME or field.name.endswith(f"_{_NAME}")
            if is_name and (types.is_string(field.type) or types.is_large_string(field.type)):
                found[field.name] = field.name[: -len(f"_{_NAME}")] or self.column
            elif field.name == _NAMES or field.name.endswith(f"_{_NAMES}") or _has_name(field.type):
                raise SchemaError(f"{about}: column {field.name!r} has several files per row, which cannot be read")
        if not found:
            shown = ", ".join(map(repr, schema.names))
            raise SchemaError(f"{about}: has no column 'file_name', which tells each row's file; it has {shown}")
        return found


def image_format(reading: Mapping[str, Any]) -> FolderFormat:
    """What a card says of a folder of images. Raises OptionError for what cannot be honoured."""
    endings = tuple(f".{ending}" for ending in endings_of("images"))
    return FolderFormat(column="image", feature="Image", endings=endings, **chosen(reading, _CHECKS, _REFUSED))


def audio_format(reading: Mapping[str, Any]) -> FolderFormat:
    """What a card says of a folder of audio files. Raises OptionError for what cannot be honoured."""
    endings = tuple(f".{ending}" for ending in endings_of("audio"))
    return FolderFormat(column="audio", feature="Audio", endings=endings, **chosen(reading, _CHECKS, _REFUSED))


def _label(file: FileRef) -> str:
    """The name of the folder that a file is in."""
    return posixpath.basename(posixpath.dirname(file.uri))


def _about(task: MediaTask) -> str:
    return next((file.uri for _, files in task.files for file in files if file is not None), "a folder of media")


def _has_name(kind: pa.DataType) -> bool:
    """Whether a struct, at any depth, names files."""
    return any(
        kind.field(index).name in (_NAME, _NAMES) or _has_name(kind.field(index).type)
        for index in range(kind.num_fields)
    )


def _read_metadata(file: FileRef, token: Secret | None) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """A metadata file's schema and rows."""
    if file.uri.endswith(".parquet"):
        (footer,) = read_footers([file], token)
        schema = footer.schema()
        return schema, scan_as([whole_file(file, footer)], schema, token)
    format = csv_format({}) if file.uri.endswith(".csv") else JsonFormat(keeps_mixed=False)
    found = format.infer([file], token)
    if found is None:
        raise SchemaError(f"{file.uri}: has no row; expected one for each file")
    return found, format.read(FileTask(file=file), found, token, found.names)


def _find(name: str | None, metadata: FileRef, known: Mapping[str, FileRef]) -> FileRef | None:
    """The file that a row names, relative to the metadata file."""
    if name is None:
        return None
    path = posixpath.normpath(name.replace("\\", "/"))
    if "://" in name or path.startswith(("/", "../")) or path == "..":
        raise OptionError(f"{metadata.uri}: file_name {name!r} leaves its folder; expected a path inside it")
    uri = posixpath.join(posixpath.dirname(metadata.uri), path)
    if uri not in known:
        raise NotFoundError(
            f"{metadata.uri}: file_name {name!r} is no file of the split; expected a path from its folder"
        )
    return known[uri]


def _cut(rows: pa.RecordBatch, media: Mapping[str, Sequence[FileRef | None]], target_bytes: int) -> Iterator[MediaTask]:
    for start, end in _runs(list(media.values()), rows.num_rows, target_bytes):
        # Taken, not sliced: a slice pickles with all that it is a slice of.
        part = rows.take(pa.array(range(start, end)))
        files = tuple((column, tuple(found[start:end])) for column, found in media.items())
        yield MediaTask(rows=part, files=files)


def _runs(media: Sequence[Sequence[FileRef | None]], rows: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Runs of rows whose files are at most so many bytes, or one row."""
    start = held = 0
    for row in range(rows):
        size = sum(file.size for files in media if (file := files[row]) is not None)
        if row > start and (held + size > most_bytes or row - start >= MOST_ROWS):
            yield start, row
            start, held = row, 0
        held += size
    if rows > start:
        yield start, rows


def _fetch(files: Sequence[FileRef | None], token: Secret | None, pool: ThreadPoolExecutor) -> pa.Array:
    """Files as Image and Audio are stored: bytes and the file's name."""

    def fetch(file: FileRef | None) -> dict[str, Any] | None:
        if file is None:
            return None
        reader = open_file(file, token)
        try:
            return {"bytes": reader.read(0, file.size), "path": posixpath.basename(file.uri)}
        finally:
            reader.close()

    return pa.array(list(pool.map(fetch, files)), _STRUCT)
