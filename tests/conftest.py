"""One embedded Hub and one Spark session for the whole run; every test uses names of its own.

HF_ENDPOINT is read when huggingface_hub is imported and the JVM keeps the environment it was started with, so all of it is
set when this file is imported: conftest files further down are imported before `pytest_configure`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.localhub import LocalHub

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_HOME = Path(tempfile.mkdtemp(prefix="pipeline-tests-"))
_HUB = LocalHub(_HOME / "hub")
_NAMES = itertools.count()


def _prepare() -> None:
    _HUB.start()
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "SPARK_HOME", "SPARK_CONF_DIR"):
        os.environ.pop(name, None)
    os.environ.update(
        HF_HOME=str(_HOME / "hf"),
        HF_XET_CACHE=str(_HOME / "xet"),
        HF_ENDPOINT=_HUB.endpoint,
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_XET_TELEMETRY_ENABLED="false",
        PYSPARK_PYTHON=sys.executable,
    )


_prepare()


def pytest_unconfigure() -> None:
    _HUB.stop()
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """The embedded Hub, without faults and with counters at zero."""
    _HUB.reset_counts()
    yield _HUB
    _HUB.faults.clear()
    _HUB.latency_s = 0.0
    _HUB.bandwidth_bytes_s = None


@pytest.fixture
def repo(hub: LocalHub) -> str:
    """The name of a dataset that does not exist yet."""
    return f"tests/repo-{next(_NAMES)}"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The one Spark session of the run, on two cores, with the format registered."""
    from jobs.session import spark_session

    settings = {
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.task.maxFailures": "2",
        "spark.sql.warehouse.dir": str(_HOME / "warehouse"),
    }
    with spark_session("tests", master="local[2,2]", settings=settings) as session:
        yield session
