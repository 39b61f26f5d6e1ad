"""Datasets to stream: files of several row groups, whose rows are numbered through."""

import pyarrow as pa
import pytest


@pytest.fixture
def numbered(put, repo, parquet_bytes):
    """Put rows 0, 1, ... into files with these numbers of rows; returns the repo's name."""

    def make(*sizes, group_rows=7, name=repo, start=0):
        files, at = {}, start
        for number, size in enumerate(sizes):
            rows = range(at, at + size)
            table = pa.table({"x": pa.array(rows, pa.int64()), "text": [f"row {row}" for row in rows]})
            data = parquet_bytes(table, row_group_size=group_rows)
            files[f"data/train-{number:05}-of-{len(sizes):05}.parquet"] = data
            at += size
        put(name, files)
        return name

    return make
