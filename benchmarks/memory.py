"""Peak memory of Spark's Python workers while one of them writes, then reads, a partition of 2 GB.

    python benchmarks/memory.py [--gigabytes 2] [--row-bytes 100000]

The partition is one task of random bytes, made by Spark's own SQL so that no other Python worker runs. Memory is the peak
resident set (VmHWM) of each Python worker, read from /proc (Linux only).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from pathlib import Path


def worker_peaks() -> dict[int, int]:
    """Peak resident bytes of each Python worker that runs now."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            status = (process / "status").read_text()
        except OSError:
            continue
        if b"pyspark.daemon" in command or b"pyspark.worker" in command:
            peak = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
            if peak:
                found[int(process.name)] = int(peak.split()[1]) * 1024
    return found


class Peak:
    """Watches the workers in the background; `bytes` is the largest peak seen."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.bytes = max(self.bytes, *worker_peaks().values(), 0)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def measure(gigabytes: float, row_bytes: int, home: Path) -> dict[str, int]:
    """Write and read one partition; peak bytes of each."""
    from pipeline.localhub import LocalHub

    os.environ.update(HF_HOME=str(home / "hf"), HF_XET_CACHE=str(home / "xet"), HF_HUB_DISABLE_TELEMETRY="1")
    with LocalHub(home / "hub") as hub:
        os.environ["HF_ENDPOINT"] = hub.endpoint
        from pyspark.sql.functions import expr

        from jobs.session import spark_session

        rows = int(gigabytes * 1e9 / row_bytes)
        digests = row_bytes // 64
        peaks = {}
        settings = {"spark.python.worker.reuse": "false", "spark.driver.memory": "4g"}
        with spark_session("memory", master="local[1]", settings=settings) as spark:
            # One long random text, cut differently for every row: cheap to make, and neither compresses nor deduplicates well.
            frame = spark.range(0, rows, 1, 1).select(
                "id",
                expr(
                    f"array_join(transform(sequence(1, {digests // 2}), i -> sha2(concat(id, '-', i), 512)), '')"
                ).alias("cell"),
            )
            with Peak() as peak:
                frame.write.format("huggingface").mode("overwrite").save("bench/memory")
            peaks["write"] = peak.bytes
            with Peak() as peak:
                spark.read.format("huggingface").load("bench/memory").write.format("noop").mode("overwrite").save()
            peaks["read"] = peak.bytes
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--row-bytes", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        for what, peak in measure(arguments.gigabytes, arguments.row_bytes, Path(home)).items():
            print(f"{what}: {peak / 1e6:.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
