"""What one measured process does: a job by name, its arguments as JSON; what it says goes to the file MIX_ANSWER.

python mix_jobs.py JOB ARGUMENTS    (mix_worlds.py starts it)
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_CORES = "local[2]"
_GROUP_BYTES = 100_000_000


def build(recipe: str, *, overwrite: bool = False, min_chunks: int | None = None) -> dict[str, Any]:
    """Ours, as `pipeline build-mix` does it; sizes in bytes."""
    from jobs.build_mix import build_mix
    from pipeline.hub.split import Mode
    from pipeline.mix.recipe import parse_recipe

    mode = Mode.OVERWRITE if overwrite else None
    built = build_mix(parse_recipe(recipe), mode=mode, master=_CORES, min_chunks=min_chunks)
    report: Any = built.reports["train"]
    sizes = report["bytes"]
    return {
        "rows": report["per_shard"]["rows"],
        "size": sizes["published"],
        "new": sizes["uploaded"],
        "prevented": sizes["prevented"],
        "predicted": sizes["predicted"],
        "build_s": built.seconds,
    }


def datasets_push(repos: Sequence[str], target: str) -> dict[str, Any]:
    """`datasets`: load, concatenate, shuffle, push."""
    from datasets import concatenate_datasets, load_dataset

    parts = [load_dataset(repo, split="train") for repo in repos]
    loaded = perf_counter()
    mixed = concatenate_datasets(parts).shuffle(seed=1)
    mixed.push_to_hub(target)
    return {"size": hub_size(target), "rows": [mixed.num_rows], "push_s": perf_counter() - loaded}


def hub_size(repo: str) -> int:
    """The bytes of a repo's Parquet files."""
    from huggingface_hub import HfApi

    files = HfApi().list_repo_tree(repo, repo_type="dataset", recursive=True)
    return sum(file.size for file in files if file.path.endswith(".parquet"))


def spark_shuffle(folders: Sequence[str], into: str, writer: str, batch_rows: int) -> dict[str, Any]:
    """Spark's own union, `orderBy(rand)` and write; or with the writer's settings of `pyspark_huggingface`. From local files."""
    from functools import reduce

    from pyspark.sql import DataFrame
    from pyspark.sql import functions as f

    from jobs.session import spark_session

    settings = {
        "spark.driver.memory": "8g",
        "spark.sql.parquet.columnarReaderBatchSize": str(batch_rows),
        "spark.sql.execution.arrow.maxBytesPerBatch": "64m",
    }
    with spark_session("peer", master=_CORES, settings=settings) as spark:
        frames = [spark.read.parquet(folder) for folder in folders]
        shuffled = reduce(DataFrame.union, frames).orderBy(f.rand(1))
        if writer == "spark":
            shuffled.write.mode("overwrite").parquet(into)
        else:
            _write_as_peer(shuffled, into)
    files = sorted(Path(into).rglob("*.parquet"))
    return {"size": sum(file.stat().st_size for file in files), "rows": [_rows(file) for file in files]}


def _write_as_peer(frame: Any, into: str) -> None:
    """`pyspark_huggingface` 2.1 as far as its files go: its commit does not work with today's huggingface_hub."""
    from spark_datasource.schemas import arrow_schema

    Path(into).mkdir(parents=True, exist_ok=True)
    schema = arrow_schema(frame.schema)
    chunks = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow
        from pyarrow import parquet as pq
        from pyspark import TaskContext

        path = Path(into) / f"train-{TaskContext.get().partitionId():05d}.parquet"
        rows = 0
        writer = None
        for batch in batches:
            writer = writer or pq.ParquetWriter(
                path, schema, use_content_defined_chunking=chunks, write_page_index=True
            )
            writer.write_batch(batch.cast(schema))
            rows += batch.num_rows
        if writer is not None:
            writer.close()
        yield pyarrow.record_batch({"rows": [rows]})

    frame.mapInArrow(write, "rows long").collect()


def download(repos: Sequence[str], into: str) -> dict[str, Any]:
    """What a peer does that reads local files."""
    from huggingface_hub import snapshot_download

    for repo in repos:
        snapshot_download(repo, repo_type="dataset", local_dir=Path(into) / repo.rpartition("/")[2])
    return {}


def hash_alone(files: Sequence[str]) -> dict[str, Any]:
    """What any client must do with bytes that it uploads: hf_xet's chunks and hashes, and sha256."""
    import hf_xet

    begun = perf_counter()
    hf_xet.hash_files(list(files))
    chunked = perf_counter()
    for file in files:
        with Path(file).open("rb") as opened:
            hashlib.file_digest(opened, "sha256")
    return {"xet_s": chunked - begun, "sha256_s": perf_counter() - chunked}


def widen(repo: str, target: str) -> dict[str, Any]:
    """The rows of a repo in row groups of 100 MB, snappy, in as many files: what the Hub advises."""
    from huggingface_hub import HfApi, snapshot_download

    api, home = HfApi(), Path(os.environ["TMPDIR"])
    source = Path(snapshot_download(repo, repo_type="dataset", local_dir=home / "narrow"))
    size = 0
    for file in sorted(source.rglob("*.parquet")):
        if file.relative_to(source).parts[0] != "mix":
            size += rewrite(file, home / "wide" / file.relative_to(source))
    api.create_repo(target, repo_type="dataset", exist_ok=True)
    (home / "wide/README.md").write_bytes((source / "README.md").read_bytes())
    api.upload_folder(folder_path=home / "wide", repo_id=target, repo_type="dataset")
    return {"size": size}


def rewrite(file: Path, target: Path, compression: str = "snappy") -> int:
    """A file's rows in row groups of 100 MB; bytes of the new file."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    target.parent.mkdir(parents=True, exist_ok=True)
    opened = pq.ParquetFile(file)
    waiting: list[pa.Table] = []
    with pq.ParquetWriter(target, opened.schema_arrow, compression=compression, write_page_index=True) as writer:
        for group in range(opened.num_row_groups):
            waiting.append(opened.read_row_group(group))
            if group == opened.num_row_groups - 1 or sum(one.nbytes for one in waiting) >= _GROUP_BYTES:
                table = pa.concat_tables(waiting)
                writer.write_table(table, row_group_size=table.num_rows)
                waiting = []
    return target.stat().st_size


def _rows(file: Path) -> int:
    from pyarrow import parquet as pq

    return int(pq.read_metadata(file).num_rows)


_JOBS: Mapping[str, Any] = {
    "build": build,
    "datasets": datasets_push,
    "spark": spark_shuffle,
    "download": download,
    "hash": hash_alone,
    "widen": widen,
}


def main() -> None:
    said = _JOBS[sys.argv[1]](**json.loads(sys.argv[2]))
    Path(os.environ["MIX_ANSWER"]).write_text(json.dumps(said))


if __name__ == "__main__":
    main()
