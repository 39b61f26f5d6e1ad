r"""Text files as rows with one column: a line, a paragraph or a whole file each, as `datasets` cuts them.

Lines end with "\n", "\r\n" or "\r". A file that is not packed is cut by ranges of bytes, so that a large one is many tasks.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import CorruptFileError
from pipeline.formats.batches import bounded
from pipeline.formats.choices import a_bool, an_encoding, chosen, handler, is_utf8, or_none
from pipeline.formats.fitting import fit
from pipeline.formats.lines import BLOCK_BYTES, line_blocks, plan_lines
from pipeline.formats.opening import opened, packing_of, peek
from pipeline.formats.tasks import FileTask
from pipeline.hub.repo import Secret
from pipeline.storage import FileRef

_CHECKS = {
    "sample_by": lambda value: value in ("line", "paragraph", "document"),
    "keep_linebreaks": a_bool,
    "encoding": or_none(an_encoding),
    "encoding_errors": or_none(handler),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFormat:
    """What a row is, and how text is encoded."""

    sample_by: str = "line"
    keeps_breaks: bool = False
    encoding: str = "utf-8"
    encoding_errors: str = "strict"

    def infer(self, files: Sequence[FileRef], token: Secret | None) -> pa.Schema | None:  # noqa: ARG002
        """One string column."""
        return pa.schema([("text", pa.string())])

    def plan(self, files: Sequence[FileRef], token: Secret | None, target_bytes: int) -> list[FileTask]:
        """Tasks of about so many bytes: parts of a file where lines are rows, else whole files."""
        if self.sample_by == "document":
            return [FileTask(file=file) for file in files]  # an empty one is a row too
        can_be = self.sample_by == "line" and is_utf8(self.encoding)
        return plan_lines(files, target_bytes, lambda file: can_be and packing_of(peek(file, token)) is None)

    def read(
        self, task: FileTask, schema: pa.Schema, token: Secret | None, names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """The rows, as the columns of these names: the text is the schema's first. Raises CorruptFileError, SchemaError."""
        wanted = pa.schema([schema.field(name) for name in names])
        for rows in self._rows(task, token):
            table = pa.RecordBatch.from_arrays([pa.array(rows, pa.string())], names=schema.names[:1])
            for batch in bounded(table):
                yield fit(batch, schema, wanted, task.file.uri)

    def _rows(self, task: FileTask, token: Secret | None) -> Iterator[list[str]]:
        blocks = self._blocks(task, token)
        if self.sample_by == "document":
            yield ["".join(blocks)]
        elif self.sample_by == "paragraph":
            rest = ""
            for block in blocks:
                *found, rest = (rest + block).split("\n\n")
                yield [one for one in found if one]
            yield [rest] if rest else []
        else:
            for block in blocks:
                lines = block.split("\n")
                last = lines.pop()
                yield (
                    [*(f"{line}\n" for line in lines), last][: None if last else -1]
                    if self.keeps_breaks
                    else [
                        *lines,
                        *([last] if last else []),
                    ]
                )

    def _blocks(self, task: FileTask, token: Secret | None) -> Iterator[str]:
        r"""The text in blocks of whole lines, which end with "\n"."""
        with opened(task.file, token) as stream:
            if is_utf8(self.encoding):
                for block in line_blocks(stream, task.start, task.end):
                    text = self._decoded(block, task.file.uri)
                    yield text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
                return
            decoded = io.TextIOWrapper(stream, self.encoding, self.encoding_errors)
            try:
                while part := decoded.read(BLOCK_BYTES):
                    yield part + decoded.readline()
            finally:
                decoded.detach()

    def _decoded(self, block: bytes, about: str) -> str:
        try:
            return block.decode(self.encoding, self.encoding_errors)
        except UnicodeDecodeError as err:
            shown = block[max(0, err.start - 20) : err.start + 20]
            raise CorruptFileError(
                f"{about}: text is not {self.encoding} at {shown!r} ({err.reason}); mend it, or name its 'encoding' in README.md"
            ) from err


def text_format(reading: Mapping[str, Any]) -> TextFormat:
    """What a card says of text files, in the words of `datasets`. Raises OptionError for what cannot be honoured."""
    given = chosen(reading, _CHECKS, {"features": None})
    return TextFormat(
        sample_by=given.get("sample_by", "line"),
        keeps_breaks=given.get("keep_linebreaks", False),
        encoding=given.get("encoding") or "utf-8",
        encoding_errors=given.get("encoding_errors") or "strict",
    )
