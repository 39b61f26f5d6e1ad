"""Rows as their features mean them: an Image column gives pictures, an Audio column gives samples.

The one idea: features become a plan once, which has an entry for each column that changes and for no other; a row costs
what its media cost. A plan is made of plain functions, so it can be pickled to a worker.

It follows `datasets` 5.2 (`Features.decode_example`) and is tested against it, with these differences. Audio is a dict of
array, sampling_rate and path, as the decoder that `datasets` returns answers when it is used as one. A value that has a
path and no bytes stays: nothing is fetched here. Video, Pdf and Nifti stay as they are stored. All elements of a list
are decoded, whatever its first one is.

Relies on Pillow and soundfile (the extra `media`), and on soxr where audio has another rate than its feature says; each
is imported when the first value needs it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from io import BytesIO
from typing import Any

from pipeline.errors import CorruptFileError, SetupError

Row = dict[str, Any]
_Decode = Callable[[Any], Any]
_Plan = dict[str, _Decode]

_ORIENTATION = 0x0112  # EXIF's tag of that name, `PIL.ExifTags.Base.Orientation`


def needs_decoding(features: Mapping[str, Any] | None) -> bool:
    """Whether `decode_row` would change any column, with features as `pipeline.parquet.features` has them."""
    return bool(_plan(features or {}))


def decode_row(row: Row, features: Mapping[str, Any]) -> Row:
    """A new row with its media decoded, at any depth; see `row_decoder`, which is for many rows."""
    return row_decoder(features)(row)


def row_decoder(features: Mapping[str, Any]) -> Callable[[Row], Row]:
    """`decode_row` for these features, planned once.

    Image gives a `PIL.Image.Image`, upright and in the feature's mode. Audio gives a dict of array (float32 of shape
    `(samples,)`, the mean over the channels), sampling_rate (in Hz) and path. Json gives what its text says. ClassLabel stays
    a number, what is missing stays None, and a feature with `decode: false` stays bytes.

    The decoder raises CorruptFileError for bytes that are not what the feature says, SetupError where a library is missing.
    """
    return partial(_decode_fields, _plan(features))


def _plan(fields: Mapping[str, Any], prefix: str = "") -> _Plan:
    found = {name: _decoder(feature, prefix + name) for name, feature in fields.items()}
    return {name: decode for name, decode in found.items() if decode}


def _decoder(feature: Any, column: str) -> _Decode | None:
    """What decodes a feature's values, `None` where they stay as they are."""
    if isinstance(feature, list):
        feature = {"_type": "List", "feature": feature[0] if feature else None}
    if not isinstance(feature, Mapping):
        return None
    if _is_struct(feature):
        plan = _plan(feature, f"{column}.")
        return partial(_decode_fields, plan) if plan else None
    kind: str = feature["_type"]
    inner: Any = feature.get("feature")
    if kind == "Sequence" and _is_struct(inner):  # of `datasets` before 4, stored as a struct of lists
        return _decoder({name: {"_type": "List", "feature": one} for name, one in inner.items()}, column)
    if kind in ("List", "LargeList", "Sequence"):
        decode = _decoder(inner, column)
        return partial(_decode_list, decode) if decode else None
    if not feature.get("decode", True):
        return None
    if kind == "Image":
        return partial(_decode_image, column, feature.get("mode"))
    if kind == "Audio":
        return partial(_decode_audio, column, feature.get("sampling_rate"))
    return partial(_decode_json, column) if kind == "Json" else None


def _is_struct(feature: Any) -> bool:
    """A struct's features are its fields; one of them may be named `_type`, and is no string then."""
    return isinstance(feature, Mapping) and not isinstance(feature.get("_type"), str)


def _decode_fields(plan: _Plan, value: Row | None) -> Any:
    if value is None:
        return None
    return {**value, **{name: decode(value[name]) for name, decode in plan.items() if name in value}}


def _decode_list(decode: _Decode, value: Iterable[Any] | None) -> Any:
    return None if value is None else [decode(one) for one in value]


def _decode_image(column: str, mode: str | None, value: Any) -> Any:
    content = _bytes_of(value, column)
    if content is None:
        return value
    images, operations = _library("PIL.Image", column, "Pillow"), _library("PIL.ImageOps", column, "Pillow")
    with _translated(column, f"an image of mode {mode}" if mode else "an image", content):
        image = images.open(BytesIO(content))
        image.load()
        if image.getexif().get(_ORIENTATION) is not None:
            image = operations.exif_transpose(image)
        return image.convert(mode) if mode and mode != image.mode else image


def _decode_audio(column: str, wanted_hz: int | None, value: Any) -> Any:
    content = _bytes_of(value, column)
    if content is None:
        return value
    soundfile = _library("soundfile", column)
    with _translated(column, "audio", content):
        samples, rate_hz = soundfile.read(BytesIO(content), dtype="float32", always_2d=True)
    array = samples.mean(axis=1)
    if wanted_hz and wanted_hz != rate_hz:
        array = _resampler(column, rate_hz, wanted_hz)(array, rate_hz, wanted_hz)
    return {
        "array": array,
        "sampling_rate": wanted_hz or rate_hz,
        "path": value.get("path") if isinstance(value, Mapping) else None,
    }


def _decode_json(column: str, value: Any) -> Any:
    if not isinstance(value, str | bytes):
        return value
    with _translated(column, "JSON", value):
        return json.loads(value)


def _bytes_of(value: Any, column: str) -> bytes | None:
    """The bytes of a media value, `None` where it has none: it is null, a path alone, or decoded already."""
    if not isinstance(value, Mapping):
        return value if isinstance(value, bytes) else None
    content: bytes | None = value.get("bytes")
    if content is None and value.get("path", "") is None and "bytes" in value:
        raise CorruptFileError(f"column {column!r} has a value with neither bytes nor path; one of them is expected")
    return content


def _library(module: str, column: str, name: str = "") -> Any:
    try:
        return import_module(module)
    except (ImportError, OSError) as err:  # OSError: soundfile without its libsndfile
        raise SetupError(
            f"column {column!r} needs {name or module} to be decoded; pip install 'xet-pipeline[media]', or decode=False"
        ) from err


def _resampler(column: str, rate_hz: int, wanted_hz: int) -> Any:
    try:
        return import_module("soxr").resample
    except ImportError as err:
        raise SetupError(
            f"column {column!r} has audio of {rate_hz} Hz and its feature asks for {wanted_hz} Hz, which needs soxr; "
            "pip install soxr, or decode=False"
        ) from err


@contextmanager
def _translated(column: str, what: str, content: bytes | str) -> Iterator[None]:
    try:
        yield
    except Warning:  # the user's filter made an error of it, the file did not
        raise
    except Exception as err:  # Pillow's plugins raise what the bytes lead them to: OSError, SyntaxError, struct.error
        reason = " ".join(re.sub(r"\s*<_io\.BytesIO[^>]*>", "", str(err)).split()).rstrip(".")
        raise CorruptFileError(
            f"column {column!r} has {len(content)} bytes that cannot be decoded as {what}: {reason or type(err).__name__}; "
            "mend the file, or read it with decode=False"
        ) from err
