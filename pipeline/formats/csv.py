"""CSV and TSV files as rows, with the schema and values that `datasets` gives them by way of pandas.

A file is one task: where a row begins is not known before everything in front of it was read. Types are told by the first
10,000 rows (or 32 MB) of the first file that has some; every later value must be of its type. Two things differ from `datasets`
on purpose, which reads each 10,000 rows by themselves: a string stays what is written (`01` does not become `1`), and a bool is
no number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import SchemaError
from pipeline.formats.batches import MOST_ROWS, bounded
from pipeline.formats.choices import a_bool, a_char, a_string, an_encoding, chosen, handler, or_none, strings
from pipeline.formats.csv_rows import Dialect
from pipeline.formats.csv_text import text_batches
from pipeline.formats.csv_values import FALSE_VALUES, NA_VALUES, TRUE_VALUES, UnfitError, convert, infer_type
from pipeline.formats.fitting import check_names, labels_of
from pipeline.formats.opening import one_line
from pipeline.formats.tasks import FileTask, whole_files
from pipeline.hub.repo import Secret
from pipeline.storage import FileRef

_MOST_INFERRED = 32 << 20
_CHECKS = {
    "sep": a_char,
    "delimiter": or_none(a_char),
    "names": or_none(strings),
    "column_names": or_none(strings),
    "header": lambda value: value in ("infer", 0, None) and not isinstance(value, bool),
    "skiprows": or_none(lambda value: isinstance(value, int) and value >= 0),
    "quoting": lambda value: value in (0, 1, 3),
    "quotechar": or_none(a_char),
    "doublequote": a_bool,
    "escapechar": or_none(a_char),
    "skipinitialspace": a_bool,
    "na_values": or_none(lambda value: a_string(value) or strings(value)),
    "keep_default_na": a_bool,
    "na_filter": a_bool,
    "true_values": or_none(strings),
    "false_values": or_none(strings),
    "encoding": or_none(an_encoding),
    "encoding_errors": or_none(handler),
}
_REFUSED = {
    "index_col": None,
    "usecols": None,
    "prefix": None,
    "mangle_dupe_cols": True,
    "converters": None,
    "nrows": None,
    "skip_blank_lines": True,
    "thousands": None,
    "decimal": ".",
    "lineterminator": None,
    "comment": None,
    "dialect": None,
    "error_bad_lines": True,
    "on_bad_lines": "error",
    "skipfooter": 0,
    "features": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFormat:
    """CSV in one dialect, and the words in it that are true and false."""

    dialect: Dialect
    true: tuple[str, ...] = TRUE_VALUES
    false: tuple[str, ...] = FALSE_VALUES

    def infer(self, files: Sequence[FileRef], token: Secret | None) -> pa.Schema | None:
        """The schema of the first file that has rows, of the names alone where none has; `None` where there is no header."""
        for file in files:
            parts: list[pa.RecordBatch] = []
            for batch in text_batches(file, self.dialect, token):
                parts.append(batch)
                if (
                    sum(part.num_rows for part in parts) >= MOST_ROWS
                    or sum(part.nbytes for part in parts) >= _MOST_INFERRED
                ):
                    break
            if parts:
                head = pa.Table.from_batches(parts).slice(0, MOST_ROWS).combine_chunks()
                found = [infer_type(column.combine_chunks(), self.true, self.false) for column in head.columns]
                return pa.schema(list(zip(head.column_names, found, strict=True)))
        return None

    def plan(self, files: Sequence[FileRef], token: Secret | None, target_bytes: int) -> list[FileTask]:  # noqa: ARG002
        """One task per file."""
        return whole_files(files)

    def read(
        self, task: FileTask, schema: pa.Schema, token: Secret | None, names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """The rows, as the columns of these names. Raises SchemaError, CorruptFileError."""
        labels = labels_of(schema)
        wanted = pa.schema([schema.field(name) for name in names])
        rows = 0
        for batch in text_batches(task.file, self.dialect, token):
            check_names(batch.schema.names, schema, task.file.uri)
            arrays = [self._column(batch, field, labels.get(field.name), task.file.uri, rows) for field in wanted]
            rows += batch.num_rows
            if not arrays:
                yield batch.select([])
            else:
                yield from bounded(pa.RecordBatch.from_arrays(arrays, schema=wanted))

    def _column(
        self, batch: pa.RecordBatch, field: pa.Field, labels: list[str] | None, about: str, rows: int
    ) -> pa.Array:
        index = batch.schema.get_field_index(field.name)
        if index < 0:
            return pa.nulls(batch.num_rows, field.type)
        said = f"{about}: column {field.name!r} is {field.type}"
        try:
            return convert(batch.column(index), field, labels, self.true, self.false)
        except UnfitError as err:
            raise SchemaError(
                f"{said}, but row {rows + err.index + 1} has {err}; name its type in README.md ('dataset_info')"
            ) from err
        except pa.ArrowInvalid as err:
            raise SchemaError(f"{said}, and a value after row {rows} does not fit: {one_line(err)}") from err


def csv_format(reading: Mapping[str, Any]) -> CsvFormat:
    """What a card says of CSV files, in the words of `datasets` and pandas. Raises OptionError for what cannot be honoured."""
    given = chosen({**reading, **_as_none(reading)}, _CHECKS, _REFUSED)
    names = given.get("column_names") or given.get("names")
    header = given.get("header", "infer")
    missing = given.get("na_values") or []
    missing = [missing] if isinstance(missing, str) else missing
    na_values = (*(NA_VALUES if given.get("keep_default_na", True) else ()), *missing)
    dialect = Dialect(
        sep=given.get("delimiter") or given.get("sep", ","),
        quote=None if given.get("quoting") == 3 else given.get("quotechar", '"'),
        doublequote=given.get("doublequote", True),
        escape=given.get("escapechar"),
        skip_initial_space=given.get("skipinitialspace", False),
        header=header == 0 or (header == "infer" and names is None),
        names=tuple(names) if names is not None else None,
        skip_rows=given.get("skiprows") or 0,
        na_values=na_values if given.get("na_filter", True) else (),
        encoding=given.get("encoding") or "utf-8",
        encoding_errors=given.get("encoding_errors") or "strict",
    )
    return CsvFormat(
        dialect=dialect,
        true=(*TRUE_VALUES, *(given.get("true_values") or ())),
        false=(*FALSE_VALUES, *(given.get("false_values") or ())),
    )


def _as_none(reading: Mapping[str, Any]) -> dict[str, Any]:
    """No index column, said in another way."""
    return {"index_col": None} if reading.get("index_col") is False else {}
