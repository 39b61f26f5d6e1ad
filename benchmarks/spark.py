"""Spark's "huggingface" format against Spark's own Parquet reader and `pyspark_huggingface`: a Markdown table of ratios.

    python benchmarks/spark.py [--scale 1.0] [--only full_scan,one_column,...] [--latency-ms 20] [--folder DIR]

The data is made and uploaded once, to an embedded Hub that serves `--folder`. Everything runs on this machine: the Hub in a
process of its own, and every figure in another with a SparkSession on two cores, where the readers take turns, warm. Timings
are medians, from `load` to the last row; progress goes to stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import spark_data
import spark_reads
import spark_writes
from figures import hub_of, measure, parse
from read_table import Figure
from spark_reads import COLUMNS, Bench

FIGURES: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "full_scan": spark_reads.full_scan,
    "one_column": spark_reads.one_column,
    "selective_filter": spark_reads.selective_filter,
    "one_file": spark_reads.one_file,
    "many_files": spark_reads.many_files,
    "write": spark_writes.write,
}


def main() -> None:
    arguments = parse(__doc__, FIGURES, prefix="spark", repeats=5)
    data = spark_data.make(arguments.folder, arguments.scale)
    with hub_of(arguments, spark_data.__file__, "uploaded") as hub:
        bench = Bench(
            folder=arguments.folder,
            hub=hub,
            data=data,
            latency_s=arguments.latency_s,
            repeats=arguments.repeats,
        )
        measure(FIGURES, bench, arguments.names, COLUMNS)


if __name__ == "__main__":
    main()
