"""Counting in threads and in Spark tasks: the same, and once only."""

import random
import shutil

import pyarrow as pa
import pytest

from jobs import count
from pipeline.mix import survey
from pipeline.mix.plan import align_mix
from pipeline.mix.recipe import parse_recipe
from pipeline.mix.sources import open_source


@pytest.fixture
def opened(tmp_path, write, monkeypatch):
    """What a recipe over two sources of some files is counted with, and a cache of its own."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))
    rng = random.Random(5)

    def rows(kind):
        return pa.table({"a": pa.array(rng.choices(range(60), k=40), kind), "b": rng.choices(range(9), k=40)})

    for name, kind in (("s0/0", pa.int32()), ("s0/1", pa.int32()), ("s1/0", pa.int64())):
        write(f"{name}.parquet", rows(kind), row_group_size=7)

    def make(*lines):
        text = ["target: ns/mix", *lines, "sources:"]
        text += [f"- {{parquet: s{n}, name: s{n}, where: b > 1}}" for n in range(2)]
        recipe = parse_recipe("\n".join(text), str(tmp_path / "mix.yaml"))
        sources = [open_source(recipe, index, None, None) for index in range(2)]
        return recipe, sources, align_mix(recipe, sources)[0], None

    return make


@pytest.mark.parametrize("lines", [(), ("dedup_by: [a]",)], ids=["where", "dedup_by"])
def test_a_second_count_reads_nothing(opened, tmp_path, lines):
    """Also when the files are gone; before the first one there are upper bounds."""
    asked = opened(*lines)
    assert [(one.rows, one.exact) for one in count.recall_counts(*asked)] == [(80, False), (40, False)]
    counted = count.count_rows(*asked)
    assert all(one.exact for one in counted)
    assert [one.rows for one in counted] < [80, 40]
    for folder in ("s0", "s1"):
        shutil.rmtree(tmp_path / folder)
    assert count.recall_counts(*asked) == counted
    assert count.count_rows(*asked) == counted


@pytest.mark.spark
def test_spark_finds_what_threads_find(opened, tmp_path, monkeypatch, spark):
    """The same rows of each row group, the same that are dropped; however the work is cut and brought to the driver."""
    asked = opened("dedup_by: [a]")
    counted = count.count_rows(*asked)
    assert counted[0].selection.within
    assert counted[1].selection.across
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "another"))
    monkeypatch.setattr(survey, "_RUN_BYTES", 150)
    monkeypatch.setattr(count, "_WAVE_ROWS", 50)
    assert count.count_rows(*asked, spark=spark) == counted
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "third"))
    assert count.count_rows(*asked) == counted
