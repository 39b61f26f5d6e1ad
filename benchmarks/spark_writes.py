"""Figures of writing with Spark: against `pyspark_huggingface`, and against encoding and uploading by themselves."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter

from read_hub import HubProcess
from read_runs import child_environment, say
from read_table import Figure, verdict
from spark_data import EIGHT
from spark_jobs import SparkProcess, Took, Write
from spark_reads import Bench

_WIDE = {"spark.sql.execution.arrow.maxBytesPerBatch": "16m"}
_UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[2], repo_type="dataset", exist_ok=True)
api.upload_folder(folder_path=sys.argv[1], path_in_repo="data", repo_id=sys.argv[2], repo_type="dataset")
"""
_BUCKET = "import sys; from huggingface_hub import HfApi; HfApi().create_bucket(sys.argv[1], exist_ok=True)"


def write(bench: Bench) -> Iterator[Figure]:
    """Rows from local files to a repo and to a bucket, each run in a session of its own after one small write, all bytes new."""
    data = bench.data[EIGHT]
    runs: dict[str, list[Took]] = {}
    uploads = []
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder, HubProcess(Path(folder) / "hub") as hub:
        hub.set_latency(bench.latency_s)
        for number in range(bench.repeats):
            for key, one in _writes(str(data.folder), number).items():
                runs.setdefault(key, []).append(_run(one, Path(folder), hub))
                say(f"  {key}: {runs[key][-1]}")
            uploads.append(_upload_alone(str(data.folder), Path(folder), hub, number))
            say(f"  upload alone: {uploads[-1]:.2f} s")
    yield _figure(f"write of {data.file_bytes / 1e9:.1f} GB", runs, statistics.median(uploads))


def _writes(source: str, number: int) -> dict[str, Write]:
    return {
        "repo": Write(format="huggingface", source=source, target=f"spark/to-{number}", salt=f"a{number} "),
        "bucket": Write(format="huggingface", source=source, target=f"buckets/spark/to-{number}", salt=f"b{number} "),
        "peer": Write(format="peer", source=source, target=f"buckets/spark/peer-{number}", salt=f"c{number} "),
        "encode": Write(format="encode", source=source, target="nowhere", salt=f"d{number} "),
    }


def _run(one: Write, folder: Path, hub: HubProcess) -> Took:
    """One write in a session of its own, warmed up by encoding once."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        environment = child_environment(Path(home), hub.endpoint)
        if one.target.startswith("buckets/"):
            command = [sys.executable, "-c", _BUCKET, one.target.removeprefix("buckets/")]
            subprocess.run(command, env=environment, check=True)
        with SparkProcess(environment, _WIDE) as process:
            process.run(Write(format="encode", source=one.source, target="nowhere", salt=""))
            return process.run(one)


def _upload_alone(source: str, folder: Path, hub: HubProcess, number: int) -> float:
    """Seconds in which hf_xet uploads, without Spark, as many files of the same encoding."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        environment = child_environment(Path(home), hub.endpoint)
        into = Path(home) / "files"
        into.mkdir()
        with SparkProcess(environment, _WIDE) as process:
            process.run(
                Write(format="encode", source=source, target="x", salt=f"e{number} ", options={"into": str(into)})
            )
        started = perf_counter()
        command = [sys.executable, "-c", _UPLOAD, str(into), f"spark/alone-{number}"]
        subprocess.run(command, env=environment | {"PYTHONPATH": os.devnull}, check=True)
        return perf_counter() - started


def _figure(name: str, runs: Mapping[str, list[Took]], upload_s: float) -> Figure:
    wall = {key: statistics.median(took.wall_s for took in found) for key, found in runs.items()}
    cpu = {key: statistics.median(took.jvm_s + took.python_s for took in found) for key, found in runs.items()}
    peak = {key: statistics.median(took.worker_bytes for took in found) for key, found in runs.items()}
    shown = {key: f"{wall[key]:.1f} s, {cpu[key]:.1f} s CPU, largest worker {peak[key] / 1e6:.0f} MB" for key in wall}
    bound = max(wall["encode"], upload_s)
    ratios = {
        key: (wall[key] / wall["peer"], peak[key] / peak["peer"], wall[key] / bound) for key in ("repo", "bucket")
    }
    met = [limit >= one for found in ratios.values() for limit, one in zip((0.7, 0.25, 1.15), found, strict=True)]
    return Figure(
        name=name,
        target="0.7 x the peer's time, 0.25 x its memory; 1.15 x the larger of encoding and uploading alone",
        cells={
            "bare": f"encoding alone {shown['encode']}; uploading alone {upload_s:.1f} s",
            "ours": f"repo {shown['repo']}; bucket {shown['bucket']}",
            "peer": f"bucket {shown['peer']}",
        },
        ratio="; ".join(
            f"{key} {one[0]:.2f} of its time, {one[1]:.2f} of its memory, {one[2]:.2f} of the bound"
            for key, one in ratios.items()
        ),
        met=verdict(met),
    )
