"""What a measured process does: it makes a SparkSession, then runs one query after another as it is told over stdin.

Each answer says the wall time and the CPU seconds of the JVM and of Spark's Python workers, read from /proc (Linux only).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ERROR = re.compile(r"[\w.]+(Error|Exception)(: (?!An error occurred while calling)|$)")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One query: `source` is a repo or, for `native` and `bare`, a folder. `where` is what Spark filters by, after the reader."""

    reader: Literal["native", "bare", "ours", "peer"]
    source: str
    do: Literal["noop", "sum", "count", "first", "plan"] = "noop"
    options: Mapping[str, str] = field(default_factory=dict)
    schema: str | None = None
    where: str | None = None
    column: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Rows of a folder of Parquet files, written; `salt` is put before every text, so that nothing was ever stored before.

    `format` is `huggingface`, `peer`, or `encode`: our writer into nothing, or into the folder of the option `into`.
    """

    format: str
    source: str
    target: str
    salt: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What a query took, in seconds, and its answer. `load_s` is the part of `wall_s` before the query runs.

    `worker_bytes` is the largest resident set of one of Spark's Python workers, `workers_bytes` that of all at one time.
    """

    wall_s: float
    load_s: float
    jvm_s: float
    python_s: float
    answer: int | None
    worker_bytes: int = 0
    workers_bytes: int = 0


class SparkProcess:
    """A process with a session of its own, or none with the setting `session` at `none`; a context manager."""

    def __init__(self, environment: Mapping[str, str], settings: Mapping[str, str] | None = None) -> None:
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with this
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(dict(settings or {}))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )

    def run(self, query: Read | Write) -> Took:
        """Run a query. Raises RuntimeError with what the process said last, when it fails."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([type(query).__name__, asdict(query)]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._stderr.seek(0)
            lines = (self._stderr.read().strip() or "it ended").splitlines()
            raise RuntimeError(next((one for one in lines if _ERROR.match(one)), lines[-1])[:500])
        return Took(**json.loads(line))

    def __enter__(self) -> SparkProcess:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=60)
        finally:
            self._process.kill()
            self._stderr.close()


def run(read: Read, spark: SparkSession | None) -> Took:
    """Run a query and measure it; without a session it can only be planned."""
    jvm_s, python_s = cpu_s()
    started = perf_counter()
    if spark is None:
        answer, load_s = _plan(read), 0.0
    else:
        frame = _load(read, spark)
        load_s = perf_counter() - started
        answer = _query(read, frame)
    wall_s = perf_counter() - started
    jvm_end_s, python_end_s = cpu_s()
    return Took(wall_s=wall_s, load_s=load_s, jvm_s=jvm_end_s - jvm_s, python_s=python_end_s - python_s, answer=answer)


def _load(read: Read, spark: SparkSession) -> DataFrame:
    if read.reader == "native":
        frame = spark.read.parquet(read.source)
    else:
        reader = spark.read.format("huggingface" if read.reader == "ours" else read.reader).options(**read.options)
        frame = (reader.schema(read.schema) if read.schema else reader).load(read.source)
    return frame.where(read.where) if read.where else frame


def _query(read: Read, frame: DataFrame) -> int | None:
    if read.do == "sum":
        return int(frame.groupBy().sum(read.column).collect()[0][0])
    if read.do == "count":
        return frame.count()
    if read.do == "first":
        return len(frame.take(1))
    frame.write.format("noop").mode("overwrite").save()
    return None


def _plan(read: Read) -> int:
    """Load and plan as Spark does, without it: the number of tasks."""
    from spark_datasource.source import HuggingFaceDataSource

    source = HuggingFaceDataSource({"path": read.source, **read.options})
    return len(source.reader(source.schema()).partitions())


def write(what: Write, spark: SparkSession) -> Took:
    """Write rows and measure it."""
    from pyspark.sql import functions as f

    frame = spark.read.parquet(what.source).withColumn("text", f.concat(f.lit(what.salt), "text"))
    frame = frame.withColumn("at", f.unix_micros("at"))  # pyspark_huggingface 2.1 cannot write timestamps
    jvm_s, python_s = cpu_s()
    started = perf_counter()
    with Peak() as peak:
        frame.write.format(what.format).options(**what.options).mode("overwrite").save(what.target)
    wall_s = perf_counter() - started
    jvm_end_s, python_end_s = cpu_s()
    return Took(
        wall_s=wall_s,
        load_s=0.0,
        jvm_s=jvm_end_s - jvm_s,
        python_s=python_end_s - python_s,
        answer=None,
        worker_bytes=peak.largest,
        workers_bytes=peak.all,
    )


class Peak:
    """Watches the resident sets of Spark's Python workers in the background: of the largest, and of all; in bytes."""

    def __init__(self) -> None:
        self.largest = self.all = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            sizes = [_resident(process) for process in _below() if process != os.getpid()]
            self.largest, self.all = max([self.largest, *sizes]), max(self.all, sum(sizes))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _below() -> list[int]:
    """The Python processes below this one; each says itself which its children are."""
    found, asked = [], [os.getpid()]
    while asked:
        process = asked.pop()
        with suppress(OSError):
            tasks = Path(f"/proc/{process}/task").glob("*/children")
            asked += [int(child) for path in tasks for child in path.read_text().split()]
            if Path(f"/proc/{process}/comm").read_text().strip() != "java":
                found.append(process)
    return found


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def cpu_s() -> tuple[float, float]:
    """CPU seconds so far of the JVM, and of all Python processes below it and of this one."""
    jvm = python = 0.0
    for name, own, ended in _processes():
        jvm += own if name == "java" else 0.0
        python += ended if name == "java" else own + ended
    return jvm, python


def _processes() -> Iterator[tuple[str, float, float]]:
    """Name and CPU seconds, own and of children that ended, of this process and those below it."""
    found: dict[int, tuple[int, str, float, float]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            said = (path / "stat").read_text()
        except OSError:
            continue
        name, _, rest = said.partition("(")[2].rpartition(")")
        parts = rest.split()
        own, ended = sum(map(int, parts[11:13])) / _TICKS, sum(map(int, parts[13:15])) / _TICKS
        found[int(path.name)] = int(parts[1]), name, own, ended
    for process, (_, name, own, ended) in found.items():
        above = process
        while above in found and above != os.getpid():
            above = found[above][0]
        if above == os.getpid():
            yield name, own, ended


def main() -> None:
    settings = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if settings.pop("session", "spark") == "none":
        serve(None, answers)
        return
    import spark_sources

    from jobs.session import spark_session

    with spark_session("bench", master="local[2]", settings={"spark.driver.memory": "4g", **settings}) as spark:
        spark_sources.register(spark)
        serve(spark, answers)


def serve(spark: SparkSession | None, answers: Any) -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        kind, values = json.loads(line)
        took = write(Write(**values), spark) if kind == "Write" and spark else run(Read(**values), spark)
        print(json.dumps(asdict(took)), file=answers, flush=True)


if __name__ == "__main__":
    main()
