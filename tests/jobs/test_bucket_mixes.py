"""A mix in a bucket, which has no commits: what a build leaves there tells the next one what it finds."""

from dataclasses import replace

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

import pipeline
from jobs.build_mix import build_with
from pipeline.errors import ConflictError
from pipeline.hub.split import Mode
from pipeline.mix.recipe import parse_recipe


@pytest.mark.spark
def test_a_bucket_gets_a_mix_once(spark, hub, repo, tmp_path):
    """Built again, it is there already; another one must be told to replace it, and then the first is there no more."""
    pq.write_table(pa.table({"n": range(500)}), tmp_path / "a.parquet")
    text = f"target: hf://buckets/{repo}\nsources:\n  - parquet: a.parquet\n"
    recipe = parse_recipe(text, str(tmp_path / "mix.yaml"))
    other = replace(recipe, seed=1)
    assert not build_with(spark, recipe).repeated
    assert sorted(row["n"] for row in pipeline.stream(recipe.target)) == list(range(500))
    assert build_with(spark, recipe).repeated
    with pytest.raises(ConflictError, match="pass --overwrite"):
        build_with(spark, other)
    assert not build_with(spark, other, mode=Mode.OVERWRITE).repeated
    assert build_with(spark, other).repeated
    with pytest.raises(ConflictError, match="pass --overwrite"):
        build_with(spark, recipe)
    assert len(list(pipeline.stream(recipe.target))) == 500
