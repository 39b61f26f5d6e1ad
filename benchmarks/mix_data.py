"""The sources that mixes are measured on: made once per folder from seeds, each in several layouts, and never whole in memory.

Images: three sources of FineVision's schema for each of three sizes of rows, 3 GB in all; their bytes are random, for JPEG
does not compress either. Text: eight sources, 2 GB decoded, of words as frequent as in prose. The layouts:

* `blocks`: row groups as a mix has them by default (images), or of 1,024 rows (text), each padded
* `single`: the same of one row each (images of less than 300 KB)
* `foreign`: snappy, as pyarrow writes by default; the row groups of a size's three sources have about 1, 5 and 20 MB

    python mix_data.py FOLDER LAYOUT REPO=SOURCE ...    uploads sources in a layout to the Hub of HF_ENDPOINT, a commit each
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet as pq

BLOCKS, SINGLE, FOREIGN = "blocks", "single", "foreign"
SMALL, MEDIUM, LARGE, TEXT = "small", "medium", "large", "text"
IMAGE_BYTES = {SMALL: (20_000, 60_000), MEDIUM: (100_000, 300_000), LARGE: (500_000, 1_500_000)}
BLOCK_ROWS = {SMALL: 16, MEDIUM: 5, LARGE: 1, TEXT: 1024}
GROUP_BYTES = (1_000_000, 5_000_000, 20_000_000)
GROWTH = 0.05
GROWN = "grown"
"""The folder of a file with 5 % more rows of the first source of `medium`."""

_IMAGE_SOURCE_BYTES = 1_000_000_000 // 3
_TEXT_ROWS, _TEXT_SOURCES = 100_000, 8
_WORDS, _WORD_BYTES = 420, 6
_FILES = 2
_STEP_ROWS, _MARGIN = 512, 1.02
_RATINGS = ("relevance", "image_correspondence", "visual_dependency", "formatting")
_IMAGES = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
_TURNS = pa.list_(pa.struct([("user", pa.string()), ("assistant", pa.string())]))
_TEXT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("url", pa.string()),
        ("date", pa.timestamp("s")),
        ("tokens", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source: `kind` is a size of images, or `text`."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def repo(self) -> str:
        return f"bench/{self.name}"

    def layouts(self) -> tuple[str, ...]:
        """Those in which it is made."""
        return (BLOCKS, SINGLE, FOREIGN) if self.kind in (SMALL, MEDIUM) else (BLOCKS, FOREIGN)

    def rows(self, scale: float) -> int:
        """Rows of each of its files."""
        if self.kind == TEXT:
            return int(_TEXT_ROWS * scale) // _FILES
        return int(_IMAGE_SOURCE_BYTES * scale / np.mean(IMAGE_BYTES[self.kind])) // _FILES


def sources(kind: str) -> list[Source]:
    """All of a kind."""
    return [Source(kind=kind, number=number) for number in range(_TEXT_SOURCES if kind == TEXT else 3)]


def make(folder: Path, scale: float, kind: str) -> None:
    """Write the sources of a kind that are not there yet, in all layouts."""
    for source in sources(kind):
        if (folder / source.name).exists():
            continue
        print(f"making {source.name} in {folder}", file=sys.stderr)
        part = folder / f"{source.name}.part"
        for number in range(_FILES):
            name = f"train-{number:05d}-of-{_FILES:05d}.parquet"
            _write(part, name, source, _tables(source, number, source.rows(scale)), source.layouts())
        if source == Source(kind=MEDIUM, number=0):
            rows = max(1, round(GROWTH * _FILES * source.rows(scale)))
            _write(part / GROWN, "train-grown.parquet", source, _tables(source, _FILES, rows), (BLOCKS,))
        part.rename(folder / source.name)


def files_of(folder: Path, source: Source, layout: str) -> list[Path]:
    """A source's files here."""
    return sorted((folder / source.name / layout).glob("*.parquet"))


def _write(part: Path, name: str, source: Source, tables: Iterator[pa.Table], layouts: tuple[str, ...]) -> None:
    with ExitStack() as stack:
        writers = {}
        for layout in layouts:
            (part / layout).mkdir(parents=True, exist_ok=True)
            writers[layout] = stack.enter_context(closing(_opened(part / layout / name, source, layout)))
        for table in tables:
            for writer in writers.values():
                writer.write(table)


def _opened(path: Path, source: Source, layout: str) -> _Foreign | _Blocks:
    if layout == FOREIGN:
        return _Foreign(path, _schema(source.kind), GROUP_BYTES[source.number % len(GROUP_BYTES)])
    return _Blocks(path, _schema(source.kind), 1 if layout == SINGLE else BLOCK_ROWS[source.kind])


class _Blocks:
    """Our layout, as whoever publishes with it writes it."""

    def __init__(self, path: Path, schema: pa.Schema, rows: int) -> None:
        from pipeline.parquet.features import features_of
        from pipeline.parquet.layout import Kind, Layout
        from pipeline.parquet.writer import FileWriter

        features = features_of(schema)
        self._rows = rows
        self._sink = path.open("wb")
        identity = str(path.relative_to(path.parents[2]))
        self._writer = FileWriter(
            self._sink, schema, layout=Layout(kind=Kind.BLOCKS), features=features, identity=identity
        )

    def write(self, table: pa.Table) -> None:
        for start in range(0, table.num_rows, self._rows):
            self._writer.write_row_group(table.slice(start, self._rows))

    def close(self) -> None:
        self._writer.close()
        self._sink.close()


class _Foreign:
    """What pyarrow writes by default, but with row groups of about so many bytes as they are in the file, and no more."""

    def __init__(self, path: Path, schema: pa.Schema, group_bytes: int) -> None:
        self._writer = pq.ParquetWriter(path, schema)
        self._path, self._most = path, group_bytes
        self._waiting: list[pa.Table] = []
        self._share = 1.0

    def write(self, table: pa.Table) -> None:
        for start in range(0, table.num_rows, _STEP_ROWS):
            more = table.slice(start, _STEP_ROWS)
            if self._share * sum(one.nbytes for one in (*self._waiting, more)) > self._most:
                self._flush()
            self._waiting.append(more)

    def _flush(self) -> None:
        if self._waiting:
            group = pa.concat_tables(self._waiting)
            before = self._path.stat().st_size
            self._writer.write_table(group, row_group_size=group.num_rows)
            self._share = min(1.0, _MARGIN * (self._path.stat().st_size - before) / group.nbytes)
            self._waiting = []

    def close(self) -> None:
        self._flush()
        self._writer.close()


def _schema(kind: str) -> pa.Schema:
    if kind == TEXT:
        return _TEXT_SCHEMA
    fields = [("images", _IMAGES), ("texts", _TURNS), ("source", pa.string())]
    fields += [(f"{name}_ratings", pa.list_(pa.int64())) for name in _RATINGS]
    fields += [(f"{name}_min", pa.int64()) for name in _RATINGS]
    features: dict[str, Any] = {
        "images": {"feature": {"_type": "Image"}, "_type": "List"},
        "texts": {"feature": {name: _value("string") for name in ("user", "assistant")}, "_type": "List"},
        "source": _value("string"),
    }
    features |= {f"{name}_ratings": {"feature": _value("int64"), "_type": "List"} for name in _RATINGS}
    features |= {f"{name}_min": _value("int64") for name in _RATINGS}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}


def _tables(source: Source, number: int, rows: int) -> Iterator[pa.Table]:
    """A file's rows, some blocks at a time."""
    seed = [source.number, number, *source.kind.encode()]
    dice = np.random.default_rng(seed)
    words = _Words() if source.kind == TEXT else None
    step = BLOCK_ROWS[source.kind] * (4 if words else 1)
    for start in range(0, rows, step):
        size = min(step, rows - start)
        yield words.table(dice, source, start, size) if words else _images(dice, source, number, start, size)


def _images(dice: np.random.Generator, source: Source, number: int, start: int, rows: int) -> pa.Table:
    ends = np.concatenate([[0], np.cumsum(dice.integers(*IMAGE_BYTES[source.kind], rows))]).astype(np.int32)
    data = pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(ends), pa.py_buffer(dice.bytes(int(ends[-1])))])
    paths = pa.array([f"{number}-{start + row}.jpg" for row in range(rows)])
    images = pa.StructArray.from_arrays([data, paths], ["bytes", "path"])
    each = pa.array(np.arange(rows + 1, dtype=np.int32))
    asked = pa.array([f"What is in picture {start + row}?" for row in range(rows)])
    said = pa.array([dice.bytes(100).hex() for _ in range(rows)])
    turns = pa.StructArray.from_arrays([asked, said], ["user", "assistant"])
    columns: list[pa.Array] = [pa.ListArray.from_arrays(each, images), pa.ListArray.from_arrays(each, turns)]
    columns.append(pa.array([source.name] * rows))
    ratings = [pa.array(dice.integers(1, 6, rows)) for _ in _RATINGS]
    columns += [pa.ListArray.from_arrays(each, one) for one in ratings]
    return pa.table([*columns, *ratings], schema=_schema(source.kind))


class _Words:
    """50,000 words; the n-th most frequent is drawn in proportion to 1 / (n + 2.7), as in prose."""

    def __init__(self) -> None:
        dice = np.random.default_rng(3)
        syllables = np.array([a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "is")])
        places = dice.integers(0, len(syllables), (50_000, 4))
        lengths = np.minimum(4, 1 + np.arange(50_000) // 2_000 + dice.integers(0, 2, 50_000))
        self._words = pa.array(["".join(syllables[row[:size]]) for row, size in zip(places, lengths, strict=True)])
        shares = 1 / (np.arange(50_000) + 2.7)
        self._drawn = np.searchsorted(np.cumsum(shares) / shares.sum(), (np.arange(1 << 20) + 0.5) / (1 << 20)).astype(
            np.int32
        )

    def table(self, dice: np.random.Generator, source: Source, start: int, rows: int) -> pa.Table:
        counts = np.clip(dice.lognormal(np.log(_WORDS) - 0.32, 0.8, rows), 20, 4_000).astype(np.int64)
        text = self._sentences(dice, counts)
        ids = [f"{source.name}-{start + row:08d}-{dice.bytes(8).hex()}" for row in range(rows)]
        dates = 1_700_000_000 + dice.integers(0, 1 << 24, rows)
        columns = [
            pa.array(ids),
            text,
            pc.binary_join_element_wise("https://example.org/", self._sentences(dice, np.full(rows, 3)), ""),
            pa.array(dates, pa.timestamp("s")),
            pa.array((counts * 1.3).astype(np.int32)),
        ]
        return pa.table(columns, schema=_TEXT_SCHEMA)

    def _sentences(self, dice: np.random.Generator, counts: Any) -> pa.Array:
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        words = self._words.take(pa.array(self._drawn[dice.integers(0, 1 << 20, int(ends[-1]))]))
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(ends), words), " ")


def upload(folder: Path, layout: str, wanted: Mapping[str, str]) -> None:
    """Upload sources by repo, each in a commit of its own, with a card that says what `datasets` need not ask for then."""
    from datasets import Features
    from huggingface_hub import HfApi

    api = HfApi()
    for repo, name in wanted.items():
        print(f"uploading {name} ({layout})", file=sys.stderr)
        here = folder / name / layout
        if not api.repo_exists(repo, repo_type="dataset"):
            features = Features.from_arrow_schema(pq.read_schema(next(here.glob("*.parquet"))))
            card = {
                "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
                "dataset_info": {"features": features._to_yaml_list()},  # noqa: SLF001 - what DatasetCard calls
            }
            api.create_repo(repo, repo_type="dataset")
            text = f"---\n{json.dumps(card)}\n---\n".encode()  # JSON is YAML
            api.upload_file(path_or_fileobj=text, path_in_repo="README.md", repo_id=repo, repo_type="dataset")
        api.upload_folder(folder_path=here, path_in_repo="data", repo_id=repo, repo_type="dataset")


if __name__ == "__main__":
    upload(Path(sys.argv[1]), sys.argv[2], dict(one.split("=") for one in sys.argv[3:]))
