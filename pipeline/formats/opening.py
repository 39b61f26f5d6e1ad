"""A data file as a stream of what is in it: fetched ahead in blocks, unpacked where it is packed.

Whether a file is packed is told by its first bytes, as `datasets` tells it, not by its name. What damage looks like to the many
libraries below becomes one error that names the file.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pyarrow as pa

from pipeline.errors import CorruptFileError, DatasetError
from pipeline.hub.files import open_ref
from pipeline.hub.repo import Secret
from pipeline.storage import FileRef

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PREFETCH_BYTES = 8 << 20
_BUFFER_BYTES = 1 << 20
_HEAD_BYTES = 10
_ZIP = b"PK\x03\x04"
_BZ2_BLOCK = bytes.fromhex("314159265359")
_MAGIC = {"gzip": b"\x1f\x8b", "xz": b"\xfd7zXZ\x00", "zstd": b"\x28\xb5\x2f\xfd", "lz4": b"\x04\x22\x4d\x18"}
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, UnicodeError, pa.ArrowInvalid, OSError)


def packing_of(head: bytes) -> str | None:
    """How a file that begins like this is packed: gzip, bz2, xz, zstd, lz4; `None` for one that is not."""
    if head[:3] == b"BZh" and head[4:10] == _BZ2_BLOCK:
        return "bz2"
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), None)


def peek(file: FileRef, token: Secret | None, num_bytes: int = _HEAD_BYTES) -> bytes:
    """The first bytes of a file, as it is stored."""
    if not file.size:
        return b""
    with open_ref(file, token, 0) as stream:
        return stream.read(min(num_bytes, file.size))


@contextmanager
def opened(file: FileRef, token: Secret | None) -> Iterator[BinaryIO]:
    """A file's content, unpacked. What goes wrong with the content inside is raised as `damage` says.

    Raises CorruptFileError for a ZIP archive.
    """
    with damage(file.uri), ExitStack() as stack:
        stored = stack.enter_context(open_ref(file, token, _PREFETCH_BYTES))
        head = stored.peek(_HEAD_BYTES)[:_HEAD_BYTES] if file.size else b""
        if head.startswith(_ZIP):
            raise CorruptFileError(f"{file.uri}: is a ZIP archive, which cannot be read; unpack it on the Hub")
        packing = packing_of(head)
        yield cast("BinaryIO", stored if packing is None else stack.enter_context(unpack(stored, packing)))


def unpack(stored: BinaryIO | io.BufferedReader, packing: str) -> io.BufferedReader:
    """What is in a packed stream."""
    source: Any
    if packing == "gzip":
        source = gzip.GzipFile(fileobj=stored, mode="rb")
    elif packing == "bz2":
        source = bz2.BZ2File(stored)
    elif packing == "xz":
        source = lzma.LZMAFile(stored)  # noqa: SIM115 - closed by the buffer around it
    else:
        source = _ArrowUnpacked(stored, packing)
    return io.BufferedReader(source, _BUFFER_BYTES)


@contextmanager
def damage(name: str) -> Iterator[None]:
    """Raises CorruptFileError, naming the file, for what content inside raises when it is not what it should be."""
    try:
        yield
    except _DAMAGE as err:
        if isinstance(err, DatasetError) or getattr(err, "errno", None) is not None:
            raise  # an error of the network or the machine
        raise CorruptFileError(
            f"{name}: is damaged or not what its name says ({one_line(err)}); write it again"
        ) from err


def one_line(err: Exception) -> str:
    """What an error says, shortened."""
    return (str(err) or type(err).__name__).replace("\n", " ")[:200]


class _ArrowUnpacked(io.RawIOBase):
    """What pyarrow unpacks, as a file of Python's."""

    def __init__(self, stored: Any, packing: str) -> None:
        self._unpacked = pa.CompressedInputStream(pa.PythonFile(stored, "r"), packing)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        found = self._unpacked.read(len(view))
        view[: len(found)] = found
        return len(found)
