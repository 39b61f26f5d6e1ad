"""Sources on disk, mixes built from them on the one Spark session, and rows in a form that can be compared."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from jobs import build_mix
from jobs.session import our_errors
from pipeline.mix.recipe import parse_recipe


def _rows_of(table):
    """Each row as text; nanoseconds as integers, for Python's own types end at microseconds."""
    plain = []
    for column in table.columns:
        kind = column.type
        exact = pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time64(kind)
        plain.append((column.cast(pa.int64()) if exact else column).to_pylist())
    return [repr(row) for row in zip(*plain, strict=True)]


@dataclass(frozen=True)
class Mixed:
    """A mix in a folder: its plan, its report's values, its files in order, their rows."""

    plan: object
    report: object
    folder: Path

    @property
    def files(self):
        return sorted((self.folder / "data").glob("train-*.parquet"))

    def table(self):
        return pa.concat_tables([pq.read_table(file) for file in self.files])

    def hashes(self):
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.files]

    def rows(self, source, columns):
        """The rows of a source, counted."""
        table = self.table()
        return Counter(_rows_of(table.filter(pa.compute.equal(table["source"], source)).select(columns)))


@pytest.fixture
def mix(spark, tmp_path):
    """Build a recipe's text in a new folder; `exchange` forces how its rows come together."""
    numbers = iter(range(100))

    def build(text, *, exchange=None, mode=None, target=None):
        folder = target or tmp_path / f"mix-{next(numbers)}"
        recipe = parse_recipe(text, str(tmp_path / "mix.yaml"), str(folder))
        with our_errors():
            if exchange is None:
                built = build_mix.build_with(spark, recipe, mode=mode)
            else:
                opened, plan = build_mix.plan_only(recipe, mode=mode, count=True)
                forced = tuple(replace(one, exchange=exchange) for one in plan.splits)
                built = build_mix.build_planned(spark, opened, replace(plan, splits=forced), 0.0)
        plan = built.plan.splits[0]
        return Mixed(plan, built.reports.get(plan.split), folder)

    return build


@pytest.fixture
def write(tmp_path):
    """Write a table under the test's folder, in row groups of some rows; the path for a recipe."""

    def write_file(name, table, row_group_size=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=row_group_size)
        return path

    return write_file


@pytest.fixture
def rows_of():
    """Each row of a table as text."""
    return _rows_of
