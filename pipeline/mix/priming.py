"""What lets an upload find what the Hub has of the files that blocks are copied from.

A machine that did not upload them does not know their chunks, and asks the Hub's index for the first one of a file only.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.hub.ranges import open_file
from pipeline.hub.repo import Secret
from pipeline.hub.upload import FIRST_BYTES
from pipeline.mix.blocks import Block
from pipeline.mix.files import SourceFile
from pipeline.mix.plan import Plan
from pipeline.parquet.layout import FIRST_CHUNK_BYTES
from pipeline.writing import ShardStore


def prime(plan: Plan, blocks: Iterable[Block], token: Secret | None, store: ShardStore) -> None:
    """Prime a store with the files of those blocks that are copied. Raises what reading and uploading raise."""
    copied = (block for block in blocks if block.copied and plan.sources[block.source].on_hub)
    found = (plan.sources[block.source].files[block.file] for block in copied)
    files = {file.file.uri: file for file in found}
    store.prime(files, lambda uri: _first_bytes(files[uri], token))


def _first_bytes(file: SourceFile, token: Secret | None) -> bytes:
    """Enough for the first chunk; of a file in blocks, whose first pad ends it, exactly that, so that nothing is stored."""
    reader = open_file(file.file, token)
    try:
        return bytes(reader.read(0, min(FIRST_CHUNK_BYTES if file.padded else FIRST_BYTES, file.file.size)))
    finally:
        reader.close()
