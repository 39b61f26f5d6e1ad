"""JSON lines and JSON lists as rows, with the schema that `datasets` gives them.

Types are pyarrow's, told by the first 10 MB of the first file that has a row; parts without one type are Json. Lines that are not
packed are cut by ranges of bytes, so that a large file is many tasks. Two things differ from `datasets` on purpose: a `field` is
read as a file is (there by pandas, which takes `date` and `..._at` for times), and agent traces are rows like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import json as pajson

from pipeline.errors import CorruptFileError, SchemaError
from pipeline.formats.batches import bounded
from pipeline.formats.choices import a_string, an_encoding, chosen, handler, is_utf8, or_none
from pipeline.formats.fitting import check_names, fit
from pipeline.formats.json_lines import is_list, json_blocks
from pipeline.formats.json_mixed import Path, add_path, encode_lines, json_paths, mixed_paths, path_in_error, with_json
from pipeline.formats.lines import plan_lines
from pipeline.formats.opening import one_line, packing_of, peek
from pipeline.formats.tasks import FileTask
from pipeline.hub.repo import Secret
from pipeline.parquet.features import features_of, with_features
from pipeline.storage import FileRef

_INFER_BYTES = 10 << 20
_PEEK_BYTES = 64
_CHECKS = {
    "field": or_none(a_string),
    "encoding": or_none(an_encoding),
    "encoding_errors": or_none(handler),
    "on_mixed_types": lambda value: value in ("use_json", None),
}
_REFUSED = {"newlines_in_values": None, "features": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonFormat:
    """Which part of a file is its rows, in which encoding, and whether parts of mixed types are kept as JSON."""

    field: str | None = None
    encoding: str = "utf-8"
    encoding_errors: str = "strict"
    keeps_mixed: bool = True

    def infer(self, files: Sequence[FileRef], token: Secret | None) -> pa.Schema | None:
        """The schema of the first file that has rows, `None` where none has."""
        for file in files:
            for block in self._blocks(FileTask(file=file), token, _INFER_BYTES):
                if block.strip():
                    return self._infer(block, file.uri)
        return None

    def plan(self, files: Sequence[FileRef], token: Secret | None, target_bytes: int) -> list[FileTask]:
        """Tasks of about so many bytes: parts of a file where its lines are rows, else whole files."""
        return plan_lines(files, target_bytes, lambda file: self._is_cuttable(file, token))

    def read(
        self, task: FileTask, schema: pa.Schema, token: Secret | None, names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """The rows, as the columns of these names. Raises SchemaError, CorruptFileError."""
        paths = json_paths(features_of(schema) or {})
        wanted = pa.schema([schema.field(name) for name in names])
        line = 1
        for block in self._blocks(task, token):
            about = task.file.uri
            if not block.strip():
                continue
            rows = _parse_as(_encoded(block, paths, about), schema, about, line if not task.start else None)
            for batch in bounded(rows):
                yield fit(batch, schema, wanted, about)
            line += block.count(b"\n")

    def _blocks(self, task: FileTask, token: Secret | None, block_bytes: int = 4 << 20) -> Iterator[bytes]:
        return json_blocks(
            task,
            token,
            field=self.field,
            encoding=self.encoding,
            errors=self.encoding_errors,
            block_bytes=block_bytes,
        )

    def _is_cuttable(self, file: FileRef, token: Secret | None) -> bool:
        if self.field is not None or not is_utf8(self.encoding) or self.encoding_errors != "strict":
            return False
        head = peek(file, token, _PEEK_BYTES)
        return packing_of(head) is None and not is_list(head)

    def _infer(self, block: bytes, about: str) -> pa.Schema:
        rows: list[Any] = []
        with suppress(ValueError):
            rows = [json.loads(line) for line in block.splitlines() if line.strip()]
        paths = mixed_paths(rows) if self.keeps_mixed else []
        while True:
            try:
                schema = _parse(_encoded(block, paths, about)).schema
                break
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
                path = path_in_error(str(err), rows) if self.keeps_mixed else None
                if path is None or path in paths:
                    raise _no_json(err, block, about, 1) from err
                paths = add_path(paths, path)
        features = features_of(schema)
        return with_features(schema, with_json(features, paths) if features is not None else None)


def json_format(reading: Mapping[str, Any]) -> JsonFormat:
    """What a card says of JSON files, in the words of `datasets`. Raises OptionError for what cannot be honoured."""
    given = chosen(reading, _CHECKS, _REFUSED)
    return JsonFormat(
        field=given.get("field"),
        encoding=given.get("encoding") or "utf-8",
        encoding_errors=given.get("encoding_errors") or "strict",
        keeps_mixed=given.get("on_mixed_types", "use_json") == "use_json",
    )


def _parse(block: bytes, schema: pa.Schema | None = None) -> pa.Table:
    options = pajson.ReadOptions(use_threads=False, block_size=len(block) + 1)
    how = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error" if schema else "infer")
    return pajson.read_json(pa.BufferReader(block), read_options=options, parse_options=how)


def _parse_as(block: bytes, schema: pa.Schema, about: str, line: int | None) -> pa.Table:
    """The rows of a block: read as this schema, or else as what they are, to be cast."""
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _parse(block, schema.remove_metadata())
    try:
        found = _parse(block)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
        raise _no_json(err, block, about, line) from err
    check_names(found.column_names, schema, about)
    return found


def _encoded(block: bytes, paths: Sequence[Path], about: str) -> bytes:
    try:
        return encode_lines(block, paths)
    except ValueError as err:
        raise CorruptFileError(f"{about}: is no JSON: {one_line(err)}; expected an object per line") from err


def _no_json(err: Exception, block: bytes, about: str, line: int | None) -> SchemaError | CorruptFileError:
    """pyarrow's error about a block, that begins in this line, as ours."""
    said = one_line(err)
    row = re.search(r" in row (\d+)", said)
    said = re.sub(r"^JSON parse error: | in row \d+$", "", said)
    column = re.match(r"Column\(/([^)]*)\) changed from (\S+) to (\S+)", said)
    number = _bad_line(block) if not column else int(row[1]) if row else None
    where = f", line {line + number}" if line is not None and number is not None else ""
    if column:
        return SchemaError(
            f"{about}{where}: column {column[1]!r} was {column[2]} and is {column[3]} here; expected one type"
        )
    return CorruptFileError(
        f"{about}{where}: is no JSON that can be read: {said}; expected an object per line, or one list"
    )


def _bad_line(block: bytes) -> int | None:
    """The first line that is no object: pyarrow tells of another one at times."""
    for number, line in enumerate(block.split(b"\n")):
        try:
            if line.strip() and not isinstance(json.loads(line), dict):
                return number
        except ValueError:
            return number
    return None
