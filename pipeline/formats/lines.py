"""Lines of a file by ranges of its bytes: each line belongs to the range in which it begins, so ranges can be cut anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import BinaryIO

from pipeline.formats.tasks import FileTask, whole_files
from pipeline.storage import FileRef

BLOCK_BYTES = 4 << 20
_ASKED_AT_ONCE = 16


def plan_lines(files: Sequence[FileRef], target_bytes: int, is_cuttable: Callable[[FileRef], bool]) -> list[FileTask]:
    """Tasks of at most about so many bytes: ranges of a file that may be cut, other files as a whole.

    Only files that are larger are asked about, several at once, for that takes a request each.
    """
    whole = whole_files(files)
    large = [task.file for task in whole if task.size > target_bytes]
    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="peek") as pool:
        cuttable = {file.uri for file, can in zip(large, pool.map(is_cuttable, large), strict=True) if can}
    return [
        FileTask(file=task.file, start=start, end=end)
        for task in whole
        for start, end in (cut_ranges(task.size, target_bytes) if task.file.uri in cuttable else [(0, None)])
    ]


def cut_ranges(size: int, target_bytes: int) -> list[tuple[int, int]]:
    """A file of so many bytes as ranges [start, end) of about the same size, none much above the target."""
    count = max(1, -(-size // max(target_bytes, 1)))
    bounds = [size * number // count for number in range(count + 1)]
    return list(pairwise(bounds))


def line_blocks(
    stream: BinaryIO, start: int = 0, end: int | None = None, block_bytes: int = BLOCK_BYTES
) -> Iterator[bytes]:
    r"""The lines that begin in [start, end), in blocks of whole lines: about `block_bytes`, or one line if it is longer.

    Lines end with "\n". A stream that is read from its beginning to its end need not be seekable.
    """
    at = start
    if start:
        stream.seek(start - 1)
        at += len(stream.readline()) - 1
    while end is None or at < end:
        block = stream.read(block_bytes if end is None else min(block_bytes, end - at))
        if not block:
            return
        if not block.endswith(b"\n"):
            block += stream.readline()
        at += len(block)
        yield block
