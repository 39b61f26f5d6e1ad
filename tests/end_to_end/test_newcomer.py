"""The newcomer's path of the README, typed in from its first line to its last, and what it shows beside what comes out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_README = (Path(__file__).parents[2] / "README.md").read_text()
_CHAPTER = re.search(r"^## A newcomer's path$.*?(?=^## )", _README, re.DOTALL | re.MULTILINE)[0]
_BLOCK = re.compile(
    r"(?P<skip><!-- not run here: [^>]+ -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```(?:\n```text\n(?P<shown>.*?)```)?",
    re.DOTALL,
)


@pytest.mark.spark
def test_every_step_works_and_prints_what_the_readme_shows(hub, tmp_path):
    """From three datasets to a published mix and its next version: lines that are shown come out, whatever their numbers."""
    for found in _BLOCK.finditer(_CHAPTER):
        if found["skip"]:
            continue
        program = [sys.executable, "-c"] if found["language"] == "python" else ["bash", "-euo", "pipefail", "-c"]
        out = _run([*program, found["text"]], tmp_path)
        printed = iter(_without_numbers(line) for line in out.splitlines())
        for line in (found["shown"] or "").splitlines():
            wanted = _without_numbers(line)
            assert wanted in printed, f"not printed, or not in this order: {line!r}\n{found['text']}\n{out}"


def _run(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _without_numbers(line: str) -> str:
    """The line with `#` for numbers, sizes and hashes, and one space or dash where there are several."""
    hashed = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,32}\b", "#", line)
    numbered = re.sub(r"-?\d[\d.,]*\b( [kMG]?B\b)?", "#", hashed)
    return re.sub(r"-{2,}", "-", re.sub(r" +", " ", numbered)).strip()
