"""The quickstart, as somebody who just cloned the repository sees it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


def _quickstart(folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HOME": str(home)}
    pipeline = Path(sys.executable).parent / "pipeline"
    return subprocess.run(
        [pipeline, "quickstart", "--folder", folder], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run, with an empty home."""
    folder = tmp_path_factory.mktemp("try") / "quickstart"
    home = tmp_path_factory.mktemp("home")
    return folder, home, _quickstart(folder, home)


def test_it_shows_the_whole_product_and_says_nothing_else(done):
    """Three datasets are published, mixed, streamed by datasets and by us, and mixed again; stderr stays empty."""
    _, _, run = done
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    for shown in (
        "demo/captions",
        "demo/stdlib-qa",
        "demo/stdlib-code",
        "datasets, unmodified",
        "with ours",
        "Try next:",
    ):
        assert shown in run.stdout


def test_the_second_mix_uploads_little(done):
    """With one source grown by 5 %, about the growth, and no more than a tenth, of the second mix is uploaded."""
    shares = [float(share) for share in re.findall(r"uploaded .*\(([\d.]+)% of what was written", done[2].stdout)]
    assert len(shares) == 2
    assert shares[1] < 10


def test_everything_it_makes_is_in_its_folder(done):
    """The home of who runs it stays empty; the folder holds Hub, data and a recipe that is valid YAML."""
    folder, home, _ = done
    assert list(home.iterdir()) == []
    assert {"hub", "data", "mix.yaml"} <= {path.name for path in folder.iterdir()}
    assert yaml.safe_load((folder / "mix.yaml").read_text())["target"] == "demo/mix"


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    """A folder that no quickstart made is refused in one line, and nothing in it is touched."""
    (tmp_path / "thesis.txt").write_text("mine")
    run = _quickstart(tmp_path, tmp_path)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "holds something that no quickstart put there" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
