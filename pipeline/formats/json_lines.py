"""JSON files as blocks of JSON lines, whatever they are: lines already, one list of objects or strings, a list in a field.

A list is cut into its elements while it is read, so no more is held than a block and the element at its end.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from pipeline.errors import CorruptFileError
from pipeline.formats.choices import is_utf8
from pipeline.formats.lines import BLOCK_BYTES, line_blocks
from pipeline.formats.opening import opened
from pipeline.formats.tasks import FileTask
from pipeline.hub.repo import Secret

_BOM = b"\xef\xbb\xbf"
_BLANK = " \t\r\n"
_PEEK_BYTES = 64
_PIECE = 1 << 20
_MOST_CHARS = 512 << 20


def json_blocks(
    task: FileTask,
    token: Secret | None,
    *,
    field: str | None,
    encoding: str,
    errors: str,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[bytes]:
    """A task's rows as UTF-8 lines of JSON, in blocks of about so many bytes. Raises CorruptFileError."""
    with opened(task.file, token) as stream:
        if task.start or task.end is not None:
            yield from line_blocks(stream, task.start, task.end, block_bytes)
            return
        head = stream.peek(_PEEK_BYTES) if isinstance(stream, io.BufferedReader) else b""
        if field is not None or is_list(head):
            text = io.TextIOWrapper(stream, "utf-8-sig" if is_utf8(encoding) else encoding, errors)
            try:
                found = _Window(text, task.file.uri)
                yield from _joined(found.rows_of(field), block_bytes)
            finally:
                text.detach()
        else:
            yield from _as_utf8(stream, encoding, errors, block_bytes)


def is_list(head: bytes) -> bool:
    """Whether a file that begins like this is one list, whose lines are no rows."""
    return head.removeprefix(_BOM).lstrip()[:1] == b"["


def _as_utf8(stream: BinaryIO, encoding: str, errors: str, block_bytes: int) -> Iterator[bytes]:
    if is_utf8(encoding) and errors == "strict":
        yield from line_blocks(stream, block_bytes=block_bytes)
        return
    text = io.TextIOWrapper(stream, encoding, errors)
    try:
        while part := text.read(block_bytes):
            yield (part + text.readline()).encode()
    finally:
        text.detach()


def _joined(rows: Iterable[str], block_bytes: int) -> Iterator[bytes]:
    block: list[str] = []
    size = 0
    for row in rows:
        block.append(row)
        size += len(row)
        if size >= block_bytes:
            yield "\n".join(block).encode()
            block, size = [], 0
    if block:
        yield "\n".join(block).encode()


class _Window:
    """A part of a JSON text, the place in it, and more of it when that is needed."""

    def __init__(self, text: io.TextIOWrapper, about: str) -> None:
        self._file, self._about = text, about
        self._text, self._at, self._ended = "", 0, False
        self._decode = json.JSONDecoder().raw_decode

    def rows_of(self, field: str | None) -> Iterator[str]:
        """The elements of the list, or of the one in a field, each as a line with an object."""
        if field is not None:
            self._seek_field(field)
        where = "the file" if field is None else f"field {field!r}"
        if self._next_char() != "[":
            raise self._wrong(f"{where} is no list of objects")
        self._at += 1
        are_objects: bool | None = None
        while self._next_char() != "]":
            value, text = self._value()
            is_object = isinstance(value, dict)
            if are_objects is None:
                are_objects = is_object
            if is_object is not are_objects:
                raise self._wrong(f"an element of {where} is {text[:40]!r}, expected objects throughout, or none")
            line = text.replace("\n", " ").replace("\r", " ")
            yield line if is_object else f'{{"text": {line}}}'
            self._separator("]")

    def _seek_field(self, field: str) -> None:
        if self._next_char() != "{":
            raise self._wrong(f"the file is no object, of which field {field!r} was to be read")
        self._at += 1
        while self._next_char() != "}":
            key, text = self._value()
            if not isinstance(key, str) or self._next_char() != ":":
                raise self._wrong(f"{text[:40]!r} stands where a field was expected")
            self._at += 1
            if key == field:
                return
            self._value()
            self._separator("}")
        raise self._wrong(f"the file has no field {field!r}")

    def _separator(self, end: str) -> None:
        sign = self._next_char()
        if sign == ",":
            self._at += 1
        elif sign != end:
            raise self._wrong(f"{sign!r} stands where ',' or {end!r} was expected")

    def _next_char(self) -> str:
        """The next character that is no blank, without taking it."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                raise self._wrong("the text ends too early")

    def _value(self) -> tuple[Any, str]:
        self._next_char()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as err:
                if not self._more():
                    raise self._wrong(err.msg) from err
                continue
            if end == len(self._text) and self._more():
                continue  # a number may go on
            text = self._text[self._at : end]
            self._at = end
            return value, text

    def _more(self) -> bool:
        if self._ended:
            return False
        rest = self._text[self._at :]
        if len(rest) > _MOST_CHARS:
            raise self._wrong(f"an element is damaged, or longer than {_MOST_CHARS} characters")
        piece = self._file.read(max(_PIECE, len(rest)))
        self._text, self._at, self._ended = rest + piece, 0, not piece
        return bool(piece)

    def _wrong(self, what: str) -> CorruptFileError:
        return CorruptFileError(
            f"{self._about}: is no JSON that can be read: {what}; expected JSON lines or a list of objects"
        )
