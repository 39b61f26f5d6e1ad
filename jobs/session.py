"""The SparkSession of our jobs, and what keeps it from starting: Java is looked for before anything else happens."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline import errors
from pipeline.errors import DatasetError, SetupError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Result = TypeVar("Result")
_MIN_JAVA = 17
_FIX = "install one, for example with 'apt-get install openjdk-17-jre-headless', or set JAVA_HOME to one"
_OURS = re.compile(r"pipeline\.errors\.(\w+): (.+)")
_FULL = re.compile(r"(?:IOException: |\[Errno \d+\] )(No space left on device|File too large|Disk quota exceeded)")


def check_java() -> None:
    """Raises SetupError with the fix when there is no Java, or one that is too old for Spark."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not java or not Path(java).exists():
        where = f"JAVA_HOME is {home!r}, which has no bin/java" if home else "no 'java' is on the PATH"
        raise SetupError(f"Spark needs Java {_MIN_JAVA} or newer, and {where}; {_FIX}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if not found or int(found[1]) < _MIN_JAVA:
        version = found[1] if found else said.strip().split("\n")[0][:80]
        raise SetupError(f"Spark needs Java {_MIN_JAVA} or newer, and {java!r} is version {version}; {_FIX}")


_ALWAYS = {
    "spark.sql.execution.arrow.maxBytesPerBatch": "16m",
    "spark.sql.timeType.enabled": "true",  # without it a dataset with a time column can be collected, but not counted
}
_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "2g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@contextmanager
def spark_session(
    app: str, *, master: str | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """A session with the "huggingface" format registered; `master` is Spark's, by default all local cores.

    Under `spark-submit` the cluster's own master and settings hold. Raises SetupError without a usable Java.
    """
    check_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    local = not submitted and (master or "local").startswith("local")
    chosen = None if submitted else master or "local[*]"
    with _quiet_start() if local else nullcontext():
        # In this thread: Spark finds a registered format only in the thread that made the session.
        spark = _start(app, chosen, {**(_LOCAL if local else {}), **(settings or {})})
    try:
        with our_errors():
            yield spark
    except KeyboardInterrupt:
        logging.getLogger("py4j").setLevel(logging.CRITICAL)  # it logs a traceback for every call that is cut off
        raise
    finally:
        spark.stop()


def apart(work: Callable[[], Result]) -> Result:
    """Call what uses Spark in another thread, so that Ctrl-C ends it.

    A thread that is interrupted while it waits for the JVM's answer could not say another word to it, not even "cancel".
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as err:
            future.set_exception(err)

    threading.Thread(target=run, daemon=True).start()  # a pool's thread would be waited for at exit
    return future.result()


def _start(app: str, master: str | None, settings: Mapping[str, str]) -> SparkSession:
    from pyspark.sql import SparkSession

    import spark_datasource

    builder = SparkSession.builder.appName(app)
    builder = builder.master(master) if master else builder
    for key, value in {**_ALWAYS, **settings}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark_datasource.register(spark)
    return spark


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep what a local JVM says while it starts (and later) in a file; say it when the start fails.

    The JVM inherits file descriptor 2, so that is where it is turned away.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            with warnings.catch_warnings():
                # pandas 3 works for all that we use; Spark warns of it at every turn.
                warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
                yield
        except Exception as err:
            log.seek(0)
            last = log.read().decode(errors="replace").strip().splitlines()[-1:] or [""]
            raise SetupError(f"Spark did not start: {' '.join(str(err).split())[:300]} {last[0][:300]}") from err
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


@contextmanager
def our_errors() -> Iterator[None]:
    """Raise again as itself an error of ours that Spark wrapped into one of its own."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as err:
        if (ours := unwrap(err)) is not None:
            raise ours from err
        raise


def unwrap(err: BaseException) -> DatasetError | None:
    """The error of ours in the text of one of Spark's, or what a full disk is to us; `None` for everything else."""
    found = _OURS.search(str(err))
    kind = getattr(errors, found[1], None) if found else None
    if found and isinstance(kind, type) and issubclass(kind, DatasetError):
        return kind(found[2].strip())
    if full := _FULL.search(str(err)):
        return SetupError(
            f"Spark cannot write its scratch files ({full[1]}); make room, or set SPARK_LOCAL_DIRS to a larger disk"
        )
    if "Python worker exited unexpectedly" in str(err):
        return SetupError(
            "a Python worker of Spark was killed or crashed, most likely for want of memory; run it again, with fewer cores "
            "(--master 'local[1]') or more memory"
        )
    return None
