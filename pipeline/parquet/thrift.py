"""The least of Thrift's compact protocol that a footer needs: where a struct's fields stand, and what the plain ones hold.

Values are found by their byte extents and stay in the bytes that they came with, so a footer can be cut and spliced without
being written anew. Every loop eats at least one byte per turn and every length is checked against what is left, so absurd
bytes end in CorruptFileError in linear time.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from pipeline.errors import CorruptFileError

# Kinds of values. In a field's header 1 and 2 are true and false with no byte after it; in a list they take a byte each.
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(1, 14)
_FIXED = {TRUE: 0, FALSE: 0, BYTE: 1, DOUBLE: 8, UUID: 16}
_INTEGERS = (I16, I32, I64)
_MOST_NESTED = 32
_NUMBER = re.compile(rb"[\x80-\xff]{0,9}+[\x00-\x7f]")
_ONE_BYTE = [bytes([byte]) for byte in range(256)]


class Field(NamedTuple):
    """A value: its kind, its first byte and its end."""

    kind: int
    start: int
    end: int


def fields(
    raw: bytes, at: int, until: int | None = None, depth: int = 0, after: int = 0
) -> tuple[dict[int, Field], int]:
    """The fields of the struct that starts at `at`, by their ids in file order, and the struct's end.

    With `until` only those before that field, and where its value starts; with `after`, `at` is the end of that field. Raises
    CorruptFileError, as all here do, for bytes that are no such thing.
    """
    found: dict[int, Field] = {}
    last, size, match = after, len(raw), _flat_field().match
    while header := raw[at] if at < size else _byte(raw, at):
        first = at + 1
        if delta := header >> 4:
            last += delta
        else:
            number, first = varint(raw, first)
            last = _signed(number)
        if last in found:
            raise CorruptFileError(f"a Thrift struct has its field {last} twice, at byte {first}")
        if last == until:
            return found, first
        flat = match(raw, at)
        at = flat.end() if flat else skip(raw, first, header & 15, depth)
        found[last] = Field(header & 15, first, at)
    return found, at + 1


def items(raw: bytes, field: Field, *kinds: int) -> list[Field]:
    """The elements of a list whose elements are of one of these kinds."""
    kind, count, at = list_header(raw, _expect(field, LIST).start)
    if count and kind not in kinds:
        raise CorruptFileError(f"a Thrift list at byte {at} holds kind {kind}, expected {kinds[0]}")
    found = []
    for _ in range(count):
        end = _skip_element(raw, at, kind, 0)
        found.append(Field(kind, at, end))
        at = end
    return found


def integer(raw: bytes, field: Field) -> int:
    """A whole number of 16, 32 or 64 bits."""
    return _signed(varint(raw, _expect(field, *_INTEGERS).start)[0])


def binary(raw: bytes, field: Field) -> bytes:
    """A string's bytes."""
    length, at = varint(raw, _expect(field, BINARY).start)
    return raw[at : at + length]


def integers(raw: bytes, field: Field) -> list[int]:
    """A list of whole numbers."""
    return [integer(raw, item) for item in items(raw, field, *_INTEGERS)]


def binaries(raw: bytes, field: Field) -> list[bytes]:
    """A list of strings, as bytes."""
    return [binary(raw, item) for item in items(raw, field, BINARY)]


def booleans(raw: bytes, field: Field) -> list[bool]:
    """A list of booleans."""
    return [raw[item.start] == TRUE for item in items(raw, field, TRUE, FALSE)]


def write_integer(value: int) -> bytes:
    """A whole number, as `integer` reads it."""
    return _write_varint(value << 1 if value >= 0 else ~(value << 1))


def write_list_header(kind: int, count: int) -> bytes:
    """What stands before a list's elements."""
    return bytes([count << 4 | kind]) if count < 15 else bytes([0xF0 | kind]) + _write_varint(count)


def write_binary(value: bytes) -> bytes:
    """A string, as `binary` reads it."""
    return _write_varint(len(value)) + value


def write_struct(values: Mapping[int, tuple[int, bytes]]) -> bytes:
    """A struct of these fields: by rising id, the kind and the bytes of each value."""
    written, last = [], 0
    for number, (kind, value) in values.items():
        delta = number - last
        written.append(_ONE_BYTE[delta << 4 | kind] if 0 < delta < 16 else _ONE_BYTE[kind] + write_integer(number))
        written.append(value)
        last = number
    written.append(b"\0")
    return b"".join(written)


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """A number of at most 64 bits without a sign, and its end."""
    if (value := _byte(raw, at)) < 128:
        return value, at + 1
    value = 0
    for shift in range(0, 70, 7):
        byte = _byte(raw, at)
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise CorruptFileError(f"a Thrift number is longer than 64 bits, at byte {at}")


def skip(raw: bytes, at: int, kind: int, depth: int = 0) -> int:
    """The end of a field's value of this kind."""
    if kind in _INTEGERS:
        number = _NUMBER.match(raw, at)
        return number.end() if number else varint(raw, at)[1]
    if kind in _FIXED:
        return _checked(raw, at, _FIXED[kind])
    if kind == BINARY:
        length, at = varint(raw, at)
        return _checked(raw, at, length)
    if depth >= _MOST_NESTED:
        raise CorruptFileError(f"Thrift values are nested more than {_MOST_NESTED} deep, at byte {at}")
    if kind == STRUCT:
        flat = _flat_struct().match(raw, at)
        return flat.end() if flat else fields(raw, at, depth=depth + 1)[1]
    if kind in (LIST, SET):
        return _skip_list(raw, at, depth)
    if kind == MAP:
        return _skip_map(raw, at, depth)
    raise CorruptFileError(f"Thrift knows no kind {kind} of value, at byte {at}")


def _skip_list(raw: bytes, at: int, depth: int) -> int:
    kind, count, at = list_header(raw, at)
    for _ in range(count):
        at = _skip_element(raw, at, kind, depth + 1)
    return at


def _skip_map(raw: bytes, at: int, depth: int) -> int:
    count, at = varint(raw, at)
    if not count:
        return at
    kinds = _byte(raw, at)
    at += 1
    for _ in range(count):
        at = _skip_element(raw, _skip_element(raw, at, kinds >> 4, depth + 1), kinds & 15, depth + 1)
    return at


def _skip_element(raw: bytes, at: int, kind: int, depth: int) -> int:
    return _checked(raw, at, 1) if kind in (TRUE, FALSE) else skip(raw, at, kind, depth)


def list_header(raw: bytes, at: int) -> tuple[int, int, int]:
    """The elements' kind, their count, the first one's first byte."""
    header = _byte(raw, at)
    count, at = (header >> 4, at + 1) if header < 0xF0 else varint(raw, at + 1)
    return header & 15, count, at


def _expect(field: Field, *kinds: int) -> Field:
    if field.kind not in kinds:
        raise CorruptFileError(f"a Thrift value at byte {field.start} is of kind {field.kind}, expected {kinds[0]}")
    return field


def _byte(raw: bytes, at: int) -> int:
    if at >= len(raw):
        raise CorruptFileError(f"Thrift bytes end in the middle of a value, at byte {at}")
    return raw[at]


def _checked(raw: bytes, at: int, length: int) -> int:
    """The end of so many bytes, if they are there."""
    if length > len(raw) - at:
        raise CorruptFileError(f"a Thrift value of {length} bytes does not fit into the {len(raw) - at} that are left")
    return at + length


def _signed(number: int) -> int:
    return number >> 1 ^ -(number & 1)


def _write_varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


@cache
def _flat_struct() -> re.Pattern[bytes]:
    """Matches exactly a struct of short values, at most two structs deep, such as nearly every Parquet ColumnChunk is.

    Walking a footer of 100,000 column chunks field by field takes seconds in Python, this 0.2 s. What it does not match is
    walked. Each choice is decided by its first byte and is never taken back, so that it is linear too.
    """
    short, _, middle = _flat_values()
    return re.compile(_one_of([*short, _header(STRUCT) + middle]) + rb"*+\x00", re.DOTALL)


@cache
def _flat_field() -> re.Pattern[bytes]:
    """Matches a field, its header too, that could stand in such a struct."""
    short, lists, middle = _flat_values()
    return re.compile(_one_of([*short, lists, _header(STRUCT) + middle]), re.DOTALL)


@cache
def _flat_values() -> tuple[list[bytes], bytes, bytes]:
    """Patterns of short fields, of lists, and of a struct's value of such fields, lists and structs of them."""
    number = _NUMBER.pattern
    text = _one_of(_texts(range(first, first + 8)) for first in range(0, 128, 8))
    numbers = _list_of(I32, number, 14), _list_of(I64, number, 14)
    short = [_header(*_INTEGERS) + number, _header(BINARY) + text, _header(TRUE, FALSE), _header(DOUBLE) + b".{8}"]
    inner = _one_of([*short, _header(LIST) + _one_of(numbers)]) + rb"*+\x00"
    lists = _header(LIST) + _one_of([*numbers, _list_of(BINARY, text, 4), _list_of(STRUCT, inner, 5)])
    return short, lists, _one_of([*short, lists, _header(STRUCT) + inner]) + rb"*+\x00"


def _header(*kinds: int) -> bytes:
    """The header of a field of one of these kinds, whose id is at most 15 more than the one before."""
    return b"[" + b"".join(_escaped(delta << 4 | kind) for kind in kinds for delta in range(1, 16)) + b"]"


def _list_of(kind: int, element: bytes, most: int) -> bytes:
    return _one_of(_escaped(n << 4 | kind) + b"(?:%b){%d}" % (element, n) for n in range(most + 1))


def _texts(lengths: range) -> bytes:
    some = b"(?=[%b-%b])" % (_escaped(lengths[0]), _escaped(lengths[-1]))
    return some + _one_of(_escaped(n) + b".{%d}" % n for n in lengths)


def _one_of(choices: Iterable[bytes]) -> bytes:
    return b"(?:" + b"|".join(choices) + b")"


def _escaped(byte: int) -> bytes:
    return rb"\x%02x" % byte
