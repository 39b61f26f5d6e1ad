"""A machine that did not upload the sources of a file finds what the Hub has of them, once primed with their first chunks."""

import json
import os
import random
import subprocess
import sys

import pytest

from pipeline.hub.repo import Secret
from pipeline.hub.upload import FIRST_BYTES, Upload
from pipeline.parquet.layout import MARKER

TOKEN = Secret("hf_prime")
SOURCES = 3

COLD = """
import json, sys
from pathlib import Path
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.upload import FIRST_BYTES, Upload

endpoint, repo, folder, primed = sys.argv[1:]
ref, token, folder = parse_ref(repo, endpoint=endpoint), Secret("hf_prime"), Path(folder)
told = []
for mix in sorted(folder.glob("mix*")):
    with Upload(ref, token) as upload:
        names = [path.name for path in sorted(folder.glob("source*"))] if primed else []
        read = []
        upload.prime(names, lambda name: read.append(name) or (folder / name).read_bytes()[:FIRST_BYTES])
        stream = upload.open(mix.name)
        stream.write(mix.read_bytes())
        stream.close()
        (file,) = upload.finish()
    told.append([len(read), file.path, file.size, file.new_bytes, file.prevented_bytes])
print(json.dumps(told))
"""


def block(dice, size):
    """Bytes between two cuts, as a row group with its pad is."""
    return dice.randbytes(size) + MARKER + dice.randbytes(16) * 512 + MARKER


@pytest.fixture
def folder(tmp_path, request):
    """Sources of 4 MB that are this test's own, and two mixes of half of their blocks each, in another order."""
    folder = tmp_path / "mixes"
    folder.mkdir()
    dice = random.Random(request.node.name)
    blocks = []
    for number in range(SOURCES):
        own = [block(dice, 200_000) for _ in range(20)]
        (folder / f"source{number}").write_bytes(block(dice, 4) + b"".join(own))
        blocks += own
    dice.shuffle(blocks)
    for number in range(2):
        (folder / f"mix{number}").write_bytes(block(dice, 4) + b"".join(blocks[number::2]))
    return folder


@pytest.fixture
def cold(hub, repo, put, folder, tmp_path):
    """What uploads of the mixes count on a machine with empty caches: [primed now, path, size, new, prevented] for each."""
    put(repo, {path.name: path.read_bytes() for path in folder.glob("source*")})

    def upload(primed):
        done = subprocess.run(
            [sys.executable, "-c", COLD, hub.endpoint, repo, str(folder), primed],
            env={**os.environ, "HF_XET_CACHE": str(tmp_path / "cold")},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    return upload


def test_who_is_primed_once_stores_almost_nothing(cold):
    """One session's priming serves all that the process uploads; what it stores is counted; no other file comes back."""
    first, second = cold("yes")
    assert [first[0], second[0]] == [SOURCES, 0]
    assert [first[1], second[1]] == ["mix0", "mix1"]
    for _, _, size, new, _ in (first, second):
        assert new < 0.05 * size


def test_who_is_not_primed_stores_what_the_hub_has(cold):
    """Without it the same blocks are new: priming is what finds them."""
    (_, _, size, new, prevented), _ = cold("")
    assert new > 0.3 * size
    assert prevented == 0


def test_what_priming_stores_is_counted(new_ref):
    """First bytes that the Hub does not have are uploaded too: the first file of the session counts them."""
    with Upload(new_ref, TOKEN) as upload:
        first = {"unknown": random.Random(1).randbytes(FIRST_BYTES), "empty": b""}
        upload.prime(first, first.get)
        for name in ("a", "b"):
            stream = upload.open(name)
            stream.write(random.Random(name).randbytes(50_000))
            stream.close()
        files = upload.finish()
    assert [(file.path, file.size, file.new_bytes) for file in files] == [
        ("a", 50_000, 50_000 + FIRST_BYTES),
        ("b", 50_000, 50_000),
    ]


@pytest.mark.parametrize(("limit", "prevented"), [("", True), ("1", False)])
def test_the_limit_of_fragmentation_is_settable_and_its_price_is_told(new_ref, limit, prevented):
    """Blocks of one chunk are stored again by hf_xet's own limit, as `prevented_bytes` says; by a lower one they are not."""
    dice = random.Random(f"limit {limit}")
    blocks = [block(dice, 20_000) for _ in range(400)]

    def store(parts):
        with Upload(new_ref, TOKEN, min_chunks_per_range=float(limit) if limit else None) as upload:
            stream = upload.open("file")
            stream.write(b"".join(parts))
            stream.close()
            return upload.finish()[0]

    source = store(blocks)
    assert (source.new_bytes, source.prevented_bytes) == (source.size, 0)
    dice.shuffle(blocks)
    mixed = store(blocks)
    assert (mixed.prevented_bytes > 0.3 * mixed.size) == prevented
    assert mixed.new_bytes == pytest.approx(mixed.prevented_bytes, abs=0.02 * mixed.size)
