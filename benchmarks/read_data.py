"""The data that reading is measured on: made once per folder from a seed, and uploaded once to the embedded Hub.

Two text datasets of the same rows, whose row groups differ, and one of images; all as `datasets` writes them: snappy, content-
defined chunks and a page index for text, plain uncompressed bytes for images. Row groups are counted in decoded bytes, as there.

    python read_data.py FOLDER    uploads what is made, to the Hub of HF_ENDPOINT
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet as pq

TEXT = ("text-4mb", "text-100mb")
IMAGES = "images"
COLUMN = "digest"
"""About 1 % of the text files."""

_GROUP_BYTES = {"text-4mb": 4 << 20, "text-100mb": 100 << 20, IMAGES: 4 << 20}
_TEXT_FILES, _TEXT_ROWS = 8, 1_000_000
_IMAGE_FILES, _IMAGE_ROWS, _IMAGE_BYTES = 4, 10_000, 200_000
_CHUNKS = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
_LANGUAGES = ("en", "de", "fr", "es", "zh", "ja")
_STEP_ROWS = 25_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset that is on the Hub, and its files here. Sizes are in bytes."""

    name: str
    sha: str
    files: tuple[Path, ...]

    @property
    def repo(self) -> str:
        return f"bench/{self.name}"

    @property
    def metadata(self) -> list[Any]:
        return [pq.read_metadata(path) for path in self.files]

    @property
    def rows(self) -> int:
        return sum(one.num_rows for one in self.metadata)

    @property
    def file_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    @property
    def largest_group_bytes(self) -> int:
        """The largest row group, decoded."""
        return max(one.row_group(i).total_byte_size for one in self.metadata for i in range(one.num_row_groups))

    @property
    def row_bytes(self) -> float:
        """A row, decoded."""
        sizes = [one.row_group(i).total_byte_size for one in self.metadata for i in range(one.num_row_groups)]
        return sum(sizes) / self.rows

    def chunk_sizes(self, column: str) -> list[int]:
        """The bytes in the file of each of a column's chunks."""
        groups = [one.row_group(i) for one in self.metadata for i in range(one.num_row_groups)]
        index = self.metadata[0].schema.to_arrow_schema().names.index(column)
        return [group.column(index).total_compressed_size for group in groups]


def make(folder: Path, scale: float) -> None:
    """Write the files that are not there yet."""
    for name in (*TEXT, IMAGES):
        if (folder / name).exists():
            continue
        print(f"making {name} in {folder}", file=sys.stderr)
        made = folder / f"{name}.part"
        made.mkdir(parents=True, exist_ok=True)
        count = _IMAGE_FILES if name == IMAGES else _TEXT_FILES
        rows = int((_IMAGE_ROWS if name == IMAGES else _TEXT_ROWS) * scale) // count
        for number in range(count):
            tables = _images(number, rows) if name == IMAGES else _texts(number, rows)
            _write(made / f"train-{number:05d}-of-{count:05d}.parquet", tables, name)
        made.rename(folder / name)


def load(folder: Path) -> dict[str, Dataset]:
    """The datasets that were made and uploaded, by name."""
    shas = json.loads((folder / "uploaded.json").read_text())
    return {
        name: Dataset(name=name, sha=sha, files=tuple(sorted((folder / name).glob("*.parquet"))))
        for name, sha in shas.items()
    }


def upload(folder: Path) -> None:
    """Upload the datasets, each with a card that says what `datasets` need not ask for then."""
    from datasets import Features
    from huggingface_hub import HfApi

    api = HfApi()
    shas = {}
    for name in (*TEXT, IMAGES):
        print(f"uploading {name}", file=sys.stderr)
        files = sorted((folder / name).glob("*.parquet"))
        features = Features.from_arrow_schema(pq.read_schema(files[0]))
        card = {
            "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
            "dataset_info": {"features": features._to_yaml_list()},  # noqa: SLF001 - what DatasetCard calls
        }
        api.create_repo(f"bench/{name}", repo_type="dataset", exist_ok=True)
        text = f"---\n{json.dumps(card)}\n---\n".encode()  # JSON is YAML
        api.upload_file(path_or_fileobj=text, path_in_repo="README.md", repo_id=f"bench/{name}", repo_type="dataset")
        done = api.upload_folder(
            folder_path=folder / name, path_in_repo="data", repo_id=f"bench/{name}", repo_type="dataset"
        )
        shas[name] = done.oid
    (folder / "uploaded.json").write_text(json.dumps(shas))


def _write(path: Path, tables: Iterator[pa.Table], name: str) -> None:
    """Write row groups of almost equal length, of about the size that is wanted."""
    table = pa.concat_tables(tables)
    rows = max(1, min(table.num_rows, round(_GROUP_BYTES[name] * table.num_rows / table.nbytes)))
    plain = name == IMAGES
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False} if plain else {"compression": "snappy"}
    with pq.ParquetWriter(
        path, table.schema, write_page_index=True, use_content_defined_chunking=_CHUNKS, **options
    ) as writer:
        for start in range(0, table.num_rows, rows):
            writer.write_table(table.slice(start, rows), row_group_size=rows)
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(_CHUNKS)})


def _images(number: int, rows: int) -> Iterator[pa.Table]:
    dice = np.random.default_rng([7, number])
    for start in range(0, rows, 100):
        size = min(100, rows - start)
        ends = np.arange(size + 1, dtype=np.int32) * _IMAGE_BYTES
        data = pa.Array.from_buffers(
            pa.binary(), size, [None, pa.py_buffer(ends), pa.py_buffer(dice.bytes(size * _IMAGE_BYTES))]
        )
        paths = pa.array([f"{number}-{start + i}.jpg" for i in range(size)])
        labels = pa.array(dice.integers(0, 1000, size))
        image = pa.StructArray.from_arrays([data, paths], ["bytes", "path"])
        yield pa.table({"image": image, "label": labels}).replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": _IMAGE_FEATURES}})}
        )


_IMAGE_FEATURES = {"image": {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}


def _texts(number: int, rows: int) -> Iterator[pa.Table]:
    phrases = _phrases()
    dice = np.random.default_rng([11, number])
    for start in range(0, rows, _STEP_ROWS):
        size = min(_STEP_ROWS, rows - start)
        ids = number * rows + start + np.arange(size)
        quality = dice.integers(0, 1000, size)
        yield pa.table(
            {
                "id": pa.array(ids),
                COLUMN: pa.array(dice.integers(-(2**63), 2**63 - 1, size)),
                "url": pc.binary_join_element_wise("https://example.org/", _sentences(dice, phrases, size, 1, 2), ""),
                "title": _sentences(dice, phrases, size, 1, 3),
                "text": _sentences(dice, phrases, size, 18, 80),
                "language": _pick(dice, _LANGUAGES, size),
                "source": _pick(
                    dice, [f"crawl-{year}-{week:02d}" for year in (2024, 2025) for week in range(52)], size
                ),
                "date": pa.array(1_700_000_000 + ids // 3 + dice.integers(0, 60, size), pa.timestamp("s")),
                "quality": pa.array(quality / 1000),
                "tokens": pa.array(dice.integers(100, 500, size).astype(np.int32)),
            }
        )


def _pick(dice: np.random.Generator, values: Sequence[str], size: int) -> pa.Array:
    return pa.array(values).take(pa.array(dice.integers(0, len(values), size)))


def _phrases() -> pa.Array:
    """100,000 phrases of 4 to 10 words, words of two to four syllables, few of them in most places."""
    dice = np.random.default_rng(3)
    syllables = np.array([a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "is")])
    words = ["".join(dice.choice(syllables, count)) for count in dice.integers(1, 5, 20_000)]
    places = np.minimum(dice.zipf(1.3, 1_000_000) - 1, len(words) - 1)
    return _join(pa.array(words).take(pa.array(places)), np.cumsum(dice.integers(4, 11, 100_000)))


def _sentences(dice: np.random.Generator, phrases: pa.Array, size: int, low: int, high: int) -> pa.Array:
    ends = np.cumsum(dice.integers(low, high, size))
    return _join(phrases.take(pa.array(dice.integers(0, len(phrases), ends[-1]))), ends)


def _join(parts: pa.Array, ends: Any) -> pa.Array:
    return pc.binary_join(pa.ListArray.from_arrays(pa.array([0, *ends], pa.int32()), parts), " ")


if __name__ == "__main__":
    upload(Path(sys.argv[1]))
