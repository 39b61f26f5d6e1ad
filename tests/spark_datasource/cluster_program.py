"""A write on a cluster of two executors on this machine, one of which is killed in the middle of it.

Run by test_exactly_once.py as `cluster_program.py REPO FOLDER`; FOLDER/killed tells that it happened.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 120


def spark_home(folder: Path) -> None:
    """A copy of Spark's home, of links: executors keep their logs and files in it."""
    import pyspark

    home = folder / "spark"
    home.mkdir()
    for path in Path(pyspark.__file__).parent.iterdir():
        (home / path.name).symlink_to(path)
    os.environ["SPARK_HOME"] = str(home)


def killer(folder: str):
    """Kills its executor in the middle of one task."""

    def run(batches):
        from pyspark import TaskContext

        context = TaskContext.get()
        for batch in batches:
            yield batch
            if context.partitionId() == 2 and context.attemptNumber() == 0:
                open(f"{folder}/killed", "w").close()  # noqa: PTH123
                with open(f"/proc/{os.getppid()}/stat") as stat:  # noqa: PTH123
                    executor = int(stat.read().rpartition(")")[2].split()[1])
                os.kill(executor, signal.SIGKILL)
                time.sleep(_PATIENCE_S)

    return run


def main(repo: str, folder: str) -> None:
    spark_home(Path(folder))
    os.environ["PYTHONPATH"] = str(_ROOT)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    sys.path.insert(0, str(_ROOT))
    from jobs.session import spark_session

    settings = {
        "spark.executor.memory": "512m",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "4",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    with spark_session("cluster", master="local-cluster[2,1,1024]", settings=settings) as spark:
        frame = spark.range(0, 40, 1, 4).mapInArrow(killer(folder), "id bigint")
        frame.write.format("huggingface").mode("append").save(repo)


if __name__ == "__main__":
    main(*sys.argv[1:])
