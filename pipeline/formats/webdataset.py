"""WebDataset: a TAR archive as a stream of samples.

Files that stand next to each other and have one name up to its first dot are a sample: `a/0001.jpg`, `a/0001.seg.png` and
`a/0001.json` are the sample `a/0001` with the fields `jpg`, `seg.png` and `json`. Folders, hidden files, links and names
without a dot are no part of any (https://github.com/webdataset/webdataset, `base_plus_ext` and `group_by_keys`).

Headers are read here one after the other, with `tarfile` for what is in one, because its own iteration takes damage for
the end, keeps every header, and cannot begin in the middle.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.errors import CorruptFileError

Sample = dict[str, str | bytes]

KEY = "__key__"
_NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]*)", re.DOTALL)
_GZIP = b"\x1f\x8b"
_BLOCK = 512
_PIECE = 1 << 20
_LARGE = 1 << 28
_PAX = re.compile(rb"(\d{1,9}) ([^=]+)=")
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in the archive, whose data comes next in the stream; `end` is where the member after it begins."""

    name: str
    size: int
    end: int
    is_file: bool


def samples(file: BinaryIO, *, about: str = "", start: int = 0) -> Iterator[Sample]:
    """The samples of a TAR archive, plain or gzip: `__key__`, and the bytes of each field by its extension in small letters.

    `about` names the archive in messages. `start` is a place that `located_samples` gave.
    Raises CorruptFileError for an archive that is damaged or cut short, and for a sample with two files of one field.
    """
    return (sample for sample, _ in located_samples(file, about=about, start=start))


def located_samples(
    file: BinaryIO, *, about: str = "", start: int = 0, lower: bool = True
) -> Iterator[tuple[Sample, int]]:
    """Each sample with the place of the next one, in bytes of the archive as it is unpacked. It raises as `samples`.

    Unless `lower`, fields keep their capitals.
    """
    name = about or str(getattr(file, "name", "the archive"))
    try:
        yield from _group(_open(file, start), start, name, lower=lower)
    except (tarfile.HeaderError, EOFError, zlib.error, gzip.BadGzipFile) as err:
        raise CorruptFileError(f"{name}: is damaged or cut short ({err}); write it again") from err


def _open(file: BinaryIO, start: int) -> BinaryIO:
    """The archive at this place. A plain one is not read before it, a packed one has to be."""
    file.seek(0)
    packed = file.read(len(_GZIP)) == _GZIP
    file.seek(0 if packed else start)
    if not packed:
        return file
    opened = io.BufferedReader(gzip.GzipFile(fileobj=file, mode="rb"), _PIECE)
    opened.seek(start)
    return opened


def _group(file: BinaryIO, start: int, about: str, *, lower: bool) -> Iterator[tuple[Sample, int]]:
    sample: Sample = {}
    end = start
    for member in _members(file, start):
        found = _NAME.fullmatch(member.name) if member.is_file else None
        if found is None:
            file.seek(_filled(member.size), io.SEEK_CUR)
            continue
        key, field = found[1], found[2].lower() if lower else found[2]
        if sample and sample[KEY] != key:
            yield sample, end
            sample = {}
        if field in sample or field == KEY:
            raise CorruptFileError(f"{about}: sample {key!r} has two files {field!r}; expected one of each name")
        sample[KEY] = key
        sample[field] = _read(file, member.size)
        end = member.end
    if sample:
        yield sample, end


def _members(file: BinaryIO, at: int) -> Iterator[_Member]:
    """The members from here to the end mark; whoever takes one reads its data and what fills its last block."""
    name: str | None = None
    size: int | None = None
    while any(block := file.read(_BLOCK)) or not block:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        at += _BLOCK
        if info.type in _EXTENSIONS:  # tells of the member after it
            content = _read(file, _checked(info.size, _PIECE))
            at += _filled(info.size)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
            elif info.type == tarfile.XHDTYPE:
                name, size = _read_pax(content, name)
            continue
        if info.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.HeaderError("a sparse file, which cannot be read")
        found = _checked(info.size if size is None else size)
        if info.type in tarfile.SUPPORTED_TYPES and not info.isreg():
            found = 0  # whatever its header says
        at += _filled(found)
        yield _Member(name or info.name, found, at, info.isreg())
        name = size = None


def _read_pax(content: bytes, name: str | None) -> tuple[str | None, int | None]:
    """The path and the size of a pax header (records of `length key=value`), where it has them."""
    size, at = None, 0
    while found := _PAX.match(content, at):
        end = at + int(found[1])
        value = content[found.end() : end - 1]
        if found[2] == b"path":
            name = value.decode("utf-8", "surrogateescape")
        elif found[2] == b"size" and value.isdigit():
            size = int(value)
        elif found[2].startswith(b"GNU.sparse"):
            raise tarfile.HeaderError("a sparse file, which cannot be read")
        if end <= found.end():
            raise tarfile.HeaderError("a pax header with a wrong length")
        at = end
    return name, size


def _read(file: BinaryIO, size: int) -> bytes:
    """A member's data, and past what fills its last block; in pieces, for a damaged header may ask for any size."""
    pieces = []
    left = size
    while left:
        piece = file.read(min(left, _LARGE))
        if not piece:
            raise EOFError(f"{left} of {size} bytes are missing")
        pieces.append(piece)
        left -= len(piece)
    file.seek(-size % _BLOCK, io.SEEK_CUR)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _checked(size: int, most: int | None = None) -> int:
    if size < 0 or (most is not None and size > most):
        raise tarfile.HeaderError(f"a member of {size} bytes")
    return size


def _filled(size: int) -> int:
    """The bytes that a member's data takes, in whole blocks."""
    return -(-size // _BLOCK) * _BLOCK
