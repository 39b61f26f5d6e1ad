"""Pieces -> what the user iterates over: rows or batches, as Python values, Arrow, numpy or torch.

Each item comes with the position behind its last row, so that what was yielded is what a state counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from pyarrow import types

from pipeline.streaming.reading import Piece

Format = Literal["python", "arrow", "numpy", "torch"]
FORMATS: tuple[Format, ...] = ("python", "arrow", "numpy", "torch")
Item = tuple[Any, int]
Columns = dict[str, Any]

_ROWS_AT_ONCE = 1024  # rows become Python objects by so many, however large the batch is


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What items look like. `media` are the features to decode; `batch_rows` makes batches of rows."""

    format: Format
    batch_rows: int | None
    media: Mapping[str, Any]


def shape_items(pieces: Iterable[Piece], shape: Shape) -> Iterator[Item]:
    """The items: dicts, a row each or a batch each, or record batches."""
    if shape.batch_rows is not None:
        pieces = rebatch(pieces, shape.batch_rows)
    if shape.format == "arrow":
        return ((piece.batch, piece.ends[-1]) for piece in pieces if len(piece.ends))
    columns = _columns(shape)
    if shape.batch_rows is not None:
        return ((columns(piece.batch), piece.ends[-1]) for piece in pieces)
    return _rows(pieces, columns, shape)


def rebatch(pieces: Iterable[Piece], rows: int) -> Iterator[Piece]:
    """Pieces of exactly so many rows, but for the last one."""
    held: list[Piece] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece.ends)
        if count < rows:
            continue
        whole = _join(held)
        done = count - count % rows
        for start in range(0, done, rows):
            yield _cut(whole, start, start + rows)
        held, count = [_cut(whole, done, count)] if count > done else [], count - done
    if count:
        yield _join(held)


def _join(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    batch = pa.concat_batches([piece.batch for piece in pieces])
    return Piece(batch=batch, ends=[end for piece in pieces for end in piece.ends])


def _cut(piece: Piece, start: int, end: int) -> Piece:
    return Piece(batch=piece.batch.slice(start, end - start), ends=piece.ends[start:end])


def _rows(pieces: Iterable[Piece], columns: Callable[[pa.RecordBatch], Columns], shape: Shape) -> Iterator[Item]:
    plain = shape.format == "python" and not shape.media
    at_once = 1 if shape.media else _ROWS_AT_ONCE  # a decoded picture is ten times its bytes
    for piece in pieces:
        for start in range(0, len(piece.ends), at_once):
            cut = _cut(piece, start, start + at_once)
            if plain:
                yield from zip(cut.batch.to_pylist(), cut.ends, strict=True)
            else:
                found = columns(cut.batch)
                for row, end in enumerate(cut.ends):
                    yield {name: values[row] for name, values in found.items()}, end


def _columns(shape: Shape) -> Callable[[pa.RecordBatch], Columns]:
    """A function from a batch to its columns in the format."""
    convert = {"python": _python, "numpy": _numpy, "torch": _torch}[shape.format]
    if not shape.media:
        return lambda batch: {name: convert(batch.column(name)) for name in batch.schema.names}
    from pipeline.streaming.decode import row_decoder

    decode = row_decoder(shape.media)
    finish = {"python": lambda value: value, "numpy": _as_numpy, "torch": _as_torch}[shape.format]

    def columns(batch: pa.RecordBatch) -> Columns:
        media = [name for name in batch.schema.names if name in shape.media]
        rows = [decode(row) for row in batch.select(media).to_pylist()]
        found = {name: [finish(row[name]) for row in rows] for name in media}
        return {name: found[name] if name in found else convert(batch.column(name)) for name in batch.schema.names}

    return columns


def _python(column: pa.Array) -> list[Any]:
    return list(column.to_pylist())


def _numpy(column: pa.Array) -> Any:
    """An array per column: of numbers where they are, stacked where lists are equally long, of objects else."""
    import numpy as np

    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return column.to_numpy(zero_copy_only=False)
    if column.null_count == 0:
        lengths = set(column.value_lengths().to_pylist())
        if len(lengths) == 1:
            inner = _numpy(column.flatten())
            return inner.reshape(len(column), *lengths, *inner.shape[1:])
    found = np.empty(len(column), dtype=object)
    for row, values in enumerate(column):
        found[row] = None if values.values is None else _numpy(values.values)
    return found


def _torch(column: pa.Array) -> Any:
    return _as_tensor(_numpy(column))


def _as_tensor(values: Any) -> Any:
    """A tensor of numbers, a list of what holds none."""
    import numpy as np
    import torch

    if not isinstance(values, np.ndarray):
        return values
    if values.dtype.kind in "biuf":
        return torch.from_numpy(values if values.flags.writeable else values.copy())
    return [_as_tensor(value) for value in values]


def _as_numpy(value: Any) -> Any:
    """A decoded medium with its pictures as arrays, at any depth."""
    if isinstance(value, dict):
        return {key: _as_numpy(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_numpy(one) for one in value]
    if hasattr(value, "__array_interface__"):
        import numpy as np

        return np.asarray(value)
    return value


def _as_torch(value: Any) -> Any:
    """The same as tensors; a picture has its channels first, as torchvision expects it."""
    if isinstance(value, dict):
        return {key: _as_torch(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_torch(one) for one in value]
    is_picture = hasattr(value, "getbands")
    array = _as_numpy(value)
    if is_picture:
        array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return _as_tensor(array)
