"""The memory of Spark's Python workers, on a partition that is much larger."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).parents[2] / "benchmarks" / "memory.py"
_LIMIT_MB = 600


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_worker_needs_a_fraction_of_the_partition_that_it_writes_or_reads():
    """A partition of 2 GB is written, and read, by a worker that never holds 600 MB."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run([sys.executable, _PROGRAM], env=environment, capture_output=True, text=True, check=True)
    peaks = {what: int(peak) for what, peak in re.findall(r"(\w+): (\d+) MB", done.stdout)}
    assert set(peaks) == {"write", "read"}
    assert all(0 < peak < _LIMIT_MB for peak in peaks.values()), peaks
