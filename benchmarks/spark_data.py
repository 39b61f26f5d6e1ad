"""The data that Spark is measured on: made once per folder from a seed, and uploaded once to the embedded Hub.

`TABLE` has six columns of numbers and text, sorted by `id`; `ONE` and `EIGHT` are the same rows in one file and in eight;
`MANY` has thousands of tiny files. As `datasets` writes them: snappy, content-defined chunks, a page index, row groups of 100 MB
decoded.

    python spark_data.py FOLDER    uploads what is made, to the Hub of HF_ENDPOINT
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet as pq

TABLE, ONE, EIGHT, MANY = "table", "one", "eight", "many"
FILES = 8
COLUMN = "n"
"""A column of 32 bits, summed."""

_ROWS = {TABLE: 1_500_000, ONE: 3_400_000}
_MANY_FILES, _MANY_ROWS = 10_000, 20
_STEP_ROWS = 50_000
_GROUP_BYTES = 100 << 20
_CHUNKS = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A dataset that is on the Hub and here."""

    name: str
    folder: Path

    @property
    def repo(self) -> str:
        return f"spark/{self.name}"

    @property
    def rows(self) -> int:
        return sum(pq.read_metadata(path).num_rows for path in self.folder.glob("*.parquet"))

    @property
    def file_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*.parquet"))


def make(folder: Path, scale: float) -> dict[str, Data]:
    """Write the files that are not there yet; the datasets by name."""
    if not (folder / TABLE).exists():
        _say(f"making {TABLE} in {folder}")
        _write([_new(folder, TABLE)], int(_ROWS[TABLE] * scale))
    if not (folder / EIGHT).exists():
        _say(f"making {ONE} and {EIGHT}")
        _write([_new(folder, EIGHT), _new(folder, ONE)], int(_ROWS[ONE] * scale))
    if not (folder / MANY).exists():
        _say(f"making {MANY}")
        _write_many(_new(folder, MANY), int(_MANY_FILES * scale))
    for name in (TABLE, EIGHT, ONE, MANY):
        if (part := folder / f"{name}.part").exists():
            part.rename(folder / name)
    return {name: Data(name=name, folder=folder / name) for name in (TABLE, EIGHT, ONE, MANY)}


def upload(folder: Path) -> None:
    """Upload the datasets, each with a card that says what `datasets` need not ask for then."""
    from datasets import Features
    from huggingface_hub import HfApi

    api = HfApi()
    for name in (TABLE, EIGHT, ONE, MANY):
        _say(f"uploading {name}")
        features = Features.from_arrow_schema(pq.read_schema(next((folder / name).glob("*.parquet"))))
        card = {
            "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
            "dataset_info": {"features": features._to_yaml_list()},  # noqa: SLF001 - what DatasetCard calls
        }
        api.create_repo(f"spark/{name}", repo_type="dataset", exist_ok=True)
        text = f"---\n{json.dumps(card)}\n---\n".encode()  # JSON is YAML
        api.upload_file(path_or_fileobj=text, path_in_repo="README.md", repo_id=f"spark/{name}", repo_type="dataset")
        api.upload_folder(folder_path=folder / name, path_in_repo="data", repo_id=f"spark/{name}", repo_type="dataset")
    (folder / "uploaded").touch()


def _new(folder: Path, name: str) -> Path:
    part = folder / f"{name}.part"
    part.mkdir(parents=True, exist_ok=True)
    return part


def _write(folders: list[Path], rows: int) -> None:
    """Eight files in the first folder, and the same row groups in one file in each other folder."""
    with ExitStack() as stack:
        whole: list[pq.ParquetWriter] = []
        for number in range(FILES):
            table = pa.concat_tables(_tables(number, rows // FILES))
            if not number:
                paths = [folder / "train-00000-of-00001.parquet" for folder in folders[1:]]
                whole = [stack.enter_context(_writer(path, table.schema)) for path in paths]
            groups = max(1, round(table.nbytes / _GROUP_BYTES))
            step = -(-table.num_rows // groups)
            with _writer(folders[0] / f"train-{number:05d}-of-{FILES:05d}.parquet", table.schema) as own:
                for start in range(0, table.num_rows, step):
                    for writer in (own, *whole):
                        writer.write_table(table.slice(start, step), row_group_size=step)


def _write_many(folder: Path, count: int) -> None:
    for number in range(count):
        ids = number * _MANY_ROWS + np.arange(_MANY_ROWS)
        table = pa.table({"id": pa.array(ids), "text": pa.array([f"row {one} of {number}" for one in ids])})
        pq.write_table(table, folder / f"train-{number:05d}-of-{count:05d}.parquet")


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, write_page_index=True, use_content_defined_chunking=_CHUNKS)


def _tables(number: int, rows: int) -> Iterator[pa.Table]:
    phrases = _phrases()
    dice = np.random.default_rng([17, number])
    for start in range(0, rows, _STEP_ROWS):
        size = min(_STEP_ROWS, rows - start)
        ids = number * rows + start + np.arange(size)
        yield pa.table(
            {
                "id": pa.array(ids),
                COLUMN: pa.array(dice.integers(0, 1000, size).astype(np.int32)),
                "score": pa.array(dice.random(size)),
                "at": pa.array(1_700_000_000_000_000 + ids * 1000, pa.timestamp("us", "UTC")),
                "title": _sentences(dice, phrases, size, 1, 3),
                "text": _sentences(dice, phrases, size, 8, 24),
            }
        )


def _phrases() -> pa.Array:
    """100,000 phrases of 25 to 50 letters and spaces, so that text compresses as little as prose does with snappy."""
    dice = np.random.default_rng(3)
    letters = np.frombuffer(b"  eeetaoinshrdlucmfwyp", np.uint8)
    ends = np.cumsum(dice.integers(25, 50, 100_000)).astype(np.int32)
    text = letters[dice.integers(0, len(letters), ends[-1])].tobytes()
    offsets = pa.py_buffer(np.concatenate([[0], ends]).astype(np.int32))
    return pa.Array.from_buffers(pa.string(), len(ends), [None, offsets, pa.py_buffer(text)])


def _sentences(dice: np.random.Generator, phrases: pa.Array, size: int, low: int, high: int) -> pa.Array:
    ends = np.cumsum(dice.integers(low, high, size))
    parts = phrases.take(pa.array(dice.integers(0, len(phrases), ends[-1])))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array([0, *ends], pa.int32()), parts), " ")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    upload(Path(sys.argv[1]))
