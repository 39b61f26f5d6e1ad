"""WebDataset archives as rows, with the schema and values that `datasets` gives them: a sample is a row, an archive is a task.

A column is a field of the first samples; then come `__key__` and `__url__`. Text, numbers and JSON are what they mean, media
have their bytes and a path, anything else stays bytes. What `datasets` would decode and we cannot (arrays, tensors) is refused.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from pipeline.errors import CorruptFileError, SchemaError
from pipeline.formats.batches import MOST_BYTES
from pipeline.formats.choices import chosen
from pipeline.formats.fitting import check_names, fit
from pipeline.formats.json_mixed import encode_value
from pipeline.formats.opening import damage, one_line, unpack
from pipeline.formats.tasks import FileTask, whole_files
from pipeline.formats.webdataset import KEY, located_samples
from pipeline.hub.files import open_ref
from pipeline.hub.formats import endings_of
from pipeline.hub.repo import Secret
from pipeline.parquet.features import Features, features_of, with_features
from pipeline.storage import FileRef

URL = "__url__"
_EXAMPLES = 5
_ROWS = 1000
_TEXTS = ("txt", "text", "transcript")
_NUMBERS = ("cls", "cls2", "index", "inx", "id")
_JSON = ("json", "jsn")
_UNREAD = ("ten", "tb", "mp", "msg", "npy", "npz", "cbor", "pth")
_PACKED = {"gz": "gzip", "bz2": "bz2", "xz": "xz", "zst": "zstd", "lz4": "lz4"}
_MEDIA = {
    **dict.fromkeys((*endings_of("images"), "h5", "hdf", "mpg", "mpeg"), "Image"),
    **dict.fromkeys(endings_of("audio"), "Audio"),
    **dict.fromkeys(("mkv", "mp4", "avi", "mov"), "Video"),
    **dict.fromkeys(("glb", "ply", "stl"), "Mesh"),
}
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)
_STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True, slots=True, kw_only=True)
class TarFormat:
    """Nothing to choose."""

    def infer(self, files: Sequence[FileRef], token: Secret | None) -> pa.Schema | None:
        """The schema of the first samples of the first archive that has some. Raises SchemaError where they differ in fields."""
        for file in files:
            rows = list(islice(_rows(FileTask(file=file), token), _EXAMPLES)) if file.size else []
            if rows:
                return _infer(rows, file.uri)
        return None

    def plan(self, files: Sequence[FileRef], token: Secret | None, target_bytes: int) -> list[FileTask]:  # noqa: ARG002
        """One task per archive."""
        return whole_files(files)

    def read(
        self, task: FileTask, schema: pa.Schema, token: Secret | None, names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """The rows, as the columns of these names. Raises SchemaError, CorruptFileError."""
        wanted = pa.schema([schema.field(name) for name in names])
        media = _media_of(features_of(schema) or {})
        part: list[dict[str, Any]] = []
        held = 0
        for row in _rows(task, token):
            check_names(
                [name for name in row if name not in (KEY, URL)], schema, f"{task.file.uri}: sample {row[KEY]!r}"
            )
            size = sum(len(value) for value in row.values() if isinstance(value, bytes | str))
            if part and (held + size > MOST_BYTES or len(part) >= _ROWS):
                yield _batch(part, schema, wanted, media, task.file.uri)
                part, held = [], 0
            part.append(row)
            held += size
        if part:
            yield _batch(part, schema, wanted, media, task.file.uri)


def tar_format(reading: Mapping[str, Any]) -> TarFormat:
    """Raises OptionError for what a card says and cannot be honoured."""
    chosen(reading, {}, {"features": None})
    return TarFormat()


def _rows(task: FileTask, token: Secret | None) -> Iterator[dict[str, Any]]:
    """Samples with their fields decoded, `__key__` and `__url__` last."""
    about = task.file.uri
    with damage(about), open_ref(task.file, token) as stream:
        for sample, _ in located_samples(stream, about=about, lower=False):
            key = sample.pop(KEY)
            if not str(key).rpartition("/")[2].startswith("__"):
                fields = {name: _decode(name, value, f"{about}: sample {key!r}") for name, value in sample.items()}
                yield {**fields, KEY: key, URL: about}


def _decode(field: str, content: Any, about: str) -> Any:
    """A field as its ending says."""
    *_, before, last = ["", *field.lower().split(".")]
    if last in _PACKED:
        with damage(f"{about}: {field!r}"):
            content = unpack(io.BytesIO(content), _PACKED[last]).read()
        last = before
    if last in _UNREAD:
        raise SchemaError(f"{about} has {field!r}, and fields '.{last}' cannot be read; publish the dataset as Parquet")
    try:
        if last in _TEXTS:
            return content.decode()
        if last in _NUMBERS:
            return int(content)
        return json.loads(content) if last in _JSON else content
    except ValueError as err:
        raise CorruptFileError(f"{about}: {field!r} is not what its name says ({one_line(err)}); mend it") from err


def _infer(rows: Sequence[dict[str, Any]], about: str) -> pa.Schema:
    for row in rows:
        if row.keys() != rows[0].keys():
            different = sorted(row.keys() ^ rows[0].keys())
            raise SchemaError(
                f"{about}: samples {rows[0][KEY]!r} and {row[KEY]!r} differ in {different!r:.80}; "
                "expected the same fields in the first samples, named alike"
            )
    try:
        schema = pa.concat_tables([pa.Table.from_pylist([row]) for row in rows], promote_options="default").schema
    except _UNFIT as err:
        raise SchemaError(f"{about}: the fields of the first samples are of different types: {one_line(err)}") from err
    kinds = {name: kind for name in rows[0] if (kind := _MEDIA.get(name.rsplit(".", 1)[-1].lower()))}
    schema = pa.schema([pa.field(one.name, _STRUCT) if one.name in kinds else one for one in schema])
    features = features_of(schema)
    named = {name: {"_type": kind} for name, kind in kinds.items()}
    return with_features(schema, {**features, **named} if features is not None else None)


def _media_of(features: Features) -> set[str]:
    return {name for name, one in features.items() if isinstance(one, Mapping) and one.get("_type") in _MEDIA.values()}


def _batch(
    rows: Sequence[dict[str, Any]], schema: pa.Schema, wanted: pa.Schema, media: set[str], about: str
) -> pa.RecordBatch:
    if not len(wanted):
        return pa.RecordBatch.from_pylist([{KEY: ""}] * len(rows)).select([])
    features = features_of(schema) or {}
    arrays = []
    for field in wanted:
        values = [row.get(field.name) for row in rows]
        if field.name in media:
            values = [
                None if value is None else {"bytes": value, "path": f"{row[KEY]}.{field.name}"}
                for row, value in zip(rows, values, strict=True)
            ]
        if isinstance(features.get(field.name), Mapping) and features[field.name].get("_type") == "Json":
            values = [encode_value(value) for value in values]
        arrays.append(_array(values, field, f"{about}: samples {rows[0][KEY]!r} to {rows[-1][KEY]!r}"))
    return fit(pa.RecordBatch.from_arrays(arrays, names=wanted.names), schema, wanted, about)


def _array(values: list[Any], field: pa.Field, about: str) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except _UNFIT:
        try:
            return pa.array(values)
        except _UNFIT as err:
            raise SchemaError(f"{about}: field {field.name!r} is not {field.type} throughout: {one_line(err)}") from err
