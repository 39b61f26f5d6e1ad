"""The README: its generated parts are current, and what it tells people to type works."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from pipeline.mix.recipe import parse_recipe

_ROOT = Path(__file__).parents[2]
_README = (_ROOT / "README.md").read_text()
_BLOCK = re.compile(r"(?P<skip><!-- not run here: [^>]+ -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
# The newcomer's path has a test of its own, in a folder of its own.
_OTHERS = re.sub(r"^## A newcomer's path$.*?(?=^## )", "", _README, flags=re.DOTALL | re.MULTILINE)
_BLOCKS = [found for found in _BLOCK.finditer(_OTHERS) if not found["skip"]]
_RECIPES = [found["text"] for found in _BLOCKS if found["language"] == "yaml"]


def _generator():
    spec = importlib.util.spec_from_file_location("readme", _ROOT / "tests" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_parts_are_current():
    """Option tables, recipe keys, SQL and help texts in the README are what the code says; `make docs` writes them."""
    assert _generator().generate(_README) == _README


@pytest.mark.parametrize("text", _RECIPES)
def test_what_it_shows_of_recipes_is_read(text):
    """Every YAML block is a recipe, or what may stand in one beside a target and sources."""
    repos = ("ns/gated-a", "ns/private-b")
    needed = {"target": "ns/mix", "sources": [{"dataset": repo} for repo in repos]}
    recipe = parse_recipe(yaml.safe_dump(needed | yaml.safe_load(text)))
    assert recipe.sources


@pytest.fixture
def home(tmp_path, monkeypatch, spark, hub):
    """A folder as a reader of the README has it: a picture, a Parquet folder, two datasets on the Hub."""
    from PIL import Image

    Image.new("RGB", (8, 8), "red").save(tmp_path / "cat.png")
    (tmp_path / "data" / "extra").mkdir(parents=True)
    extra = pa.table({"text": [f"a text that is long enough, number {i}" for i in range(1200)]})
    parquet.write_table(extra, tmp_path / "data" / "extra" / "a.parquet")
    picture = (tmp_path / "cat.png").read_bytes()
    rows = [((bytearray(picture), "cat.png"), f"cat {i}") for i in range(20)]
    captions = spark.createDataFrame(rows, "image struct<bytes binary, path string>, caption string")
    features = '{"image": {"_type": "Image"}}'
    captions.write.format("huggingface").mode("overwrite").option("features", features).save("ns/captions")
    questions = spark.createDataFrame(
        [(f"what is {i}", f"it is {i}") for i in range(50)], "question string, answer string"
    )
    questions.write.format("huggingface").mode("overwrite").save("ns/stdlib-qa")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_it_tells_people_to_type_works(home, spark, capfd):
    """Every Python block and every shell block of the README that is not marked otherwise runs, in their order."""
    (home / "mix.yaml").write_text(_RECIPES[0])
    for found in _BLOCKS:
        if found["language"] == "python":
            exec(compile(found["text"].replace("/tmp/", f"{home}/"), "README.md", "exec"), {"spark": spark})
        elif found["language"] == "bash":
            _run_in_shell(found["text"], home)


def _run_in_shell(text: str, home: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
