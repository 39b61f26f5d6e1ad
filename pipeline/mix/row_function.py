"""A function of the user's over record batches, `module:function`, from the recipe's folder or from what is installed.

A module of the recipe's folder travels as text and is run under a name of its own: executors need not have the file, and what
runs is what the plan was made with, whatever the file says by then. It may import what lies beside it only where that is, too.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any

import pyarrow as pa

from pipeline.errors import DatasetError, RecipeError
from pipeline.parquet.conform import conform

_MESSAGE_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFunction:
    """`name` is `module:function`, `source` the name of the mix's source, for messages.

    `code` is the module's text, None for an installed module; `schema` is what it returns.
    """

    name: str
    source: str
    folder: str
    code: str | None
    fingerprint: str
    schema: pa.Schema

    def __call__(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """What the function returns for rows, in `schema`. Raises `RecipeError` in one line, whatever it does."""
        made = self.run(rows)
        if sorted(made.schema.names) != sorted(self.schema.names):
            raise self.error(
                f"returned the columns {_listed(made.schema)}, but {_listed(self.schema)} for no rows; "
                "return the same columns for any rows"
            )
        try:
            return conform(made, self.schema, "what it returned")
        except DatasetError as err:
            raise self.error(f"returned other types than for no rows: {err}") from err

    def run(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """What the function returns for rows, as it is."""
        try:
            function = _load(self.name, self.folder, self.code)
        except Exception as err:  # a module of the user's may raise anything
            raise self.error(f"cannot be imported: {_told(err)}") from err
        try:
            made = function(rows)
        except Exception as err:  # as may a function
            raise self.error(f"failed: {_told(err)}") from err
        if not isinstance(made, pa.RecordBatch):
            raise self.error(f"returned a {type(made).__name__}; return a pyarrow.RecordBatch")
        return made

    def error(self, problem: str) -> RecipeError:
        return RecipeError(f"source {self.source!r}: function {self.name!r} {problem}")


def bind_function(name: str, *, source: str, folder: str, schema: pa.Schema) -> RowFunction:
    """The function, run once over no rows of a schema, so that it is known what it returns.

    Raises `RecipeError` when it cannot be imported or run, or returns a column without a type.
    """
    file = _file_of(name.partition(":")[0], Path(folder))
    code = None if file is None else file.read_text(encoding="utf-8")
    unbound = RowFunction(
        name=name, source=source, folder=folder, code=code, fingerprint=_fingerprint(name, code), schema=pa.schema([])
    )
    made = unbound.run(pa.RecordBatch.from_pylist([], schema))
    given = {column.name for column in schema if pa.types.is_null(column.type)}
    untyped = [column.name for column in made.schema if pa.types.is_null(column.type) and column.name not in given]
    if untyped:
        raise unbound.error(
            f"gives column {untyped[0]!r} no type when there are no rows; make it with pa.array(values, type)"
        )
    if not made.schema.names:
        raise unbound.error("returned no columns; return a pyarrow.RecordBatch that has some")
    returned = pa.schema([pa.field(column.name, column.type) for column in made.schema])
    return RowFunction(
        name=name, source=source, folder=folder, code=code, fingerprint=unbound.fingerprint, schema=returned
    )


def _file_of(module: str, folder: Path) -> Path | None:
    """The module's file below the recipe's folder, if it is there."""
    path = folder.joinpath(*module.split("."))
    found = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in found if file.is_file()), None)


def _fingerprint(name: str, code: str | None) -> str:
    """Of the module's text, for functions call each other; of an installed module's file."""
    if code is None:
        try:
            spec = importlib.util.find_spec(name.partition(":")[0])
        except (ImportError, ValueError):
            spec = None
        code = Path(spec.origin).read_bytes().hex() if spec and spec.has_location and spec.origin else ""
    return hashlib.sha256(f"{name}\n{code}".encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _load(name: str, folder: str, code: str | None) -> Callable[[pa.RecordBatch], Any]:
    module_name, _, function_name = name.partition(":")
    module = importlib.import_module(module_name) if code is None else _run_module(module_name, folder, code)
    function: Callable[[pa.RecordBatch], Any] = getattr(module, function_name)
    return function


def _run_module(name: str, folder: str, code: str) -> ModuleType:
    """A module made of its text, known under a name that no other text has."""
    if folder not in sys.path and Path(folder).is_dir():
        sys.path.append(folder)
    unique = f"_mix_{hashlib.sha256(code.encode()).hexdigest()[:16]}_{name.replace('.', '_')}"
    module = ModuleType(unique)
    module.__file__ = str(Path(folder, *name.split(".")).with_suffix(".py"))
    module.__package__ = name.rpartition(".")[0]
    sys.modules[unique] = module  # dataclasses look their module up there
    exec(compile(code, module.__file__, "exec"), module.__dict__)  # noqa: S102  (the user asked for it: --allow-code)
    return module


def _told(err: Exception) -> str:
    return shorten(f"{type(err).__name__}: {' '.join(str(err).split())}", _MESSAGE_CHARACTERS, placeholder=" ...")


def _listed(schema: pa.Schema) -> str:
    return ", ".join(schema.names[:20]) or "none"
