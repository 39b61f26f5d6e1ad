"""Damage on the way, in the files, on this machine's disk: the right rows, or one clear error. Never wrong rows."""

import errno
import hashlib
import os
import random
import shutil
import struct
import subprocess
import sys

import pyarrow as pa
import pytest
from huggingface_hub import CommitOperationDelete, HfApi

import pipeline
from pipeline.errors import CorruptFileError, DatasetError, NotFoundError
from pipeline.hub import cache, retry, xet
from pipeline.hub.ranges import file_refs
from pipeline.hub.resolver import resolve
from pipeline.parquet import footer
from pipeline.parquet.footer import read_footer
from pipeline.parquet.scan import scan
from pipeline.parquet.task import ScanOptions, whole_file
from pipeline.storage import FileRef, expand

PLAIN = {"row_group_size": 100, "compression": "none", "use_dictionary": False}
CHECKED = {"row_group_size": 100, "compression": "snappy", "write_page_checksum": True}
ROWS = [{"x": row, "text": f"row {row:06}"} for row in range(300)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache of this test's own, empty; waits between tries are short, hf_xet's too."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "5ms")
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    forget()
    yield tmp_path / "cache"
    monkeypatch.undo()
    forget()


def forget():
    """As a process that has read nothing."""
    xet._session.cache_clear()
    xet._storage.cache_clear()


def table(start=0, end=300):
    """Rows that take the same room whatever their numbers."""
    rows = range(start, end)
    return pa.table({"x": pa.array(rows, pa.int64()), "text": [f"row {row:06}" for row in rows]})


@pytest.fixture
def dataset(put, repo, parquet_bytes):
    """One file of 300 rows in three row groups."""
    put(repo, {"data/train.parquet": parquet_bytes(table(), **PLAIN)})
    return repo


def flipped(data, at, bit=0):
    """The same bytes with one bit turned."""
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


def test_a_flipped_bit_on_the_hub_is_an_error(put, repo, parquet_bytes):
    """A bit that turned in a stored page is an error that names file and row group, after the whole row groups before it."""
    data = parquet_bytes(table(), **PLAIN, write_page_checksum=True)
    place = data.index(b"row 000150") + 4
    put(repo, {"data/train.parquet": flipped(data, place)})
    seen = []
    with pytest.raises(CorruptFileError, match=r"data/train.parquet: row group 1 cannot be read"):  # noqa: PT012
        for row in pipeline.stream(repo):
            seen.append(row)  # noqa: PERF402
    assert seen == ROWS[:100]


def test_any_flipped_bit_in_a_row_group_is_seen(tmp_path, parquet_bytes):
    """Wherever a bit turns in a row group whose pages carry checksums, there is an error, or it changes no row."""
    data = parquet_bytes(table(), **CHECKED)
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    (file,) = expand([str(path)])
    known = read_footer(file, None)
    start, end = (edge(at for one in known.row_groups() for at in one.ranges()[0]) for edge in (min, max))
    dice, errors = random.Random(3), 0
    for _ in range(150):
        path.write_bytes(flipped(data, dice.randrange(start, end), dice.randrange(8)))
        try:
            rows = [row for batch in scan([whole_file(file, known)], None) for row in batch.to_pylist()]
            assert rows == ROWS
        except DatasetError:
            errors += 1
    assert errors > 100


def test_a_deleted_file_is_read_at_the_commit_that_has_it(dataset, hub):
    """A stream goes on after its file was deleted on the branch, and so does a new one of that commit."""
    commit = resolve_file(dataset, hub)[0].uri.split("@")[1].split("/")[0]
    rows = iter(pipeline.stream(dataset, prefetch_bytes=1))
    first = [next(rows)]
    delete = [CommitOperationDelete("data/train.parquet")]
    HfApi(token="hf_any").create_commit(dataset, delete, commit_message="delete", repo_type="dataset")
    assert first + list(rows) == ROWS
    assert list(pipeline.stream(dataset, revision=commit)) == ROWS
    with pytest.raises(NotFoundError):
        pipeline.stream(dataset, ref_ttl_s=0)


def resolve_file(dataset, hub):
    """The dataset's one file, over HTTP and as it is."""
    from pipeline.hub.repo import parse_ref

    snapshot = resolve(parse_ref(dataset, endpoint=hub.endpoint), None)
    return file_refs(snapshot, "http") + file_refs(snapshot)


@pytest.mark.parametrize("transport", ["http", "xet"])
@pytest.mark.parametrize("footers", ["cached", "not cached"])
def test_a_listed_file_that_the_hub_no_longer_has_is_one_error(dataset, hub, own_cache, transport, footers):
    """When a cached listing names a file of a repo that is gone, there is one NotFoundError that names it."""
    if footers == "cached":
        assert list(pipeline.stream(dataset)) == ROWS
    commit = resolve_file(dataset, hub)[0].uri.split("@")[1].split("/")[0]
    HfApi(token="hf_any").delete_repo(dataset, repo_type="dataset")
    shutil.rmtree(own_cache / "xet-token", ignore_errors=True)
    forget()
    with pytest.raises(NotFoundError, match=dataset) as caught:
        list(pipeline.stream(dataset, revision=commit, transport=transport))
    assert "\n" not in str(caught.value)


def others(parquet_bytes):
    """Footers of other files that would fit this one, more or less."""

    def raw(found, **options):
        data = parquet_bytes(found, **{**PLAIN, **options})
        length = struct.unpack("<I", data[-8:-4])[0]
        return data[-8 - length : -8]

    return {
        "fewer row groups": raw(table(0, 200)),
        "more row groups": raw(table(0, 500)),
        "no rows": raw(table(0, 0)),
        "other rows, all else the same": raw(table(1000, 1300)),
        "other names": raw(table().rename_columns(["y", "text"])),
        "another order": raw(table().select(["text", "x"])),
        "compressed": raw(table(), compression="zstd"),
        "other row groups": raw(table(), row_group_size=150),
        "garbage": b"garbage" * 30,
        "nothing": b"",
    }


@pytest.mark.parametrize("condition", [None, "x < 50"])
@pytest.mark.parametrize("copied", [False, True], ids=["bare", "as it was kept"])
def test_another_files_footer_is_not_used(put, repo, parquet_bytes, hub, condition, copied):
    """What stands under a file's name in the cache and is another file's footer is as none: the file's own is fetched."""
    put(repo, {"data/train.parquet": parquet_bytes(table(), **PLAIN)})
    file = resolve_file(repo, hub)[1]
    own = read_footer(file, None)
    key = footer._key(file, cache.owner(None))
    for name, raw in others(parquet_bytes).items():
        other = FileRef(uri=file.uri, size=file.size - 1, content_id="0" * 64, endpoint=file.endpoint)
        cache.store(key, footer._sealed(other, raw) if copied else raw)
        rows = ROWS if condition is None else ROWS[:50]
        assert list(pipeline.stream(repo, filter=condition)) == rows, name
        assert read_footer(file, None) == own


@pytest.mark.parametrize("cut", [1, 40, 10_000])
def test_entries_that_were_cut_short_are_fetched_again(dataset, own_cache, cut):
    """Whatever of the cache was cut short, the rows come, and the entries are whole again."""
    assert list(pipeline.stream(dataset, cache_bytes=1 << 30)) == ROWS
    whole = {path: path.read_bytes() for path in entries(own_cache)}
    assert {path.relative_to(own_cache).parts[0] for path in whole} == {
        "branch",
        "listing",
        "footer",
        "xet-token",
        "range",
    }
    for path, data in whole.items():
        path.write_bytes(data[:-cut])
    forget()
    assert list(pipeline.stream(dataset, cache_bytes=1 << 30)) == ROWS
    for path, data in whole.items():
        if path.relative_to(own_cache).parts[0] in ("listing", "footer", "range"):
            assert path.read_bytes() == data


def entries(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not {"lock", "salt"} & set(path.parts)]


@pytest.mark.parametrize("broken", ["tempfile.mkstemp", "os.fdopen", "os.mkdir"])
def test_a_full_disk_is_no_error(dataset, monkeypatch, own_cache, broken):
    """When the cache's disk takes nothing, rows are read all the same, the first time and again."""

    def full(*args, **kwargs):
        if broken == "os.fdopen":
            os.close(args[0])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(broken, full)
    for _ in range(2):
        assert list(pipeline.stream(dataset, cache_bytes=1 << 30)) == ROWS
    assert entries(own_cache) == []


READ = """
import hashlib, os, sys, tempfile
import pipeline, pipeline.streaming
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[2:]:
    used = os.environ["XET_PIPELINE_CACHE"]
    with tempfile.TemporaryDirectory() as os.environ["XET_PIPELINE_CACHE"]:
        list(pipeline.stream(sys.argv[1]))  # all that is imported is imported
    os.environ["XET_PIPELINE_CACHE"] = used
    if os.geteuid() == 0:
        os.seteuid(65534)  # nobody: root may write anywhere
rows = list(pipeline.stream(sys.argv[1], cache_bytes=1 << 30))
print(hashlib.sha256(str(rows).encode()).hexdigest())
"""
EXPECTED = hashlib.sha256(str(ROWS).encode()).hexdigest() + "\n"


def start(*args):
    """A process that waits for a line, then reads; nobody has a home."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = {**os.environ, "HF_HOME": "/nonexistent"}
    return subprocess.Popen([sys.executable, "-c", READ, *args], **pipes, text=True, env=environment)


@pytest.mark.parametrize("mode", [0o500, 0o000], ids=oct)
@pytest.mark.parametrize("filled", [True, False])
def test_a_cache_that_may_not_be_used_is_no_error(dataset, own_cache, mode, filled):
    """In a folder that is read-only, or somebody else's, rows are read all the same, whatever is in it."""
    own_cache.mkdir(exist_ok=True)
    if filled:
        assert list(pipeline.stream(dataset, cache_bytes=1 << 30)) == ROWS
    before = sorted(own_cache.rglob("*"))
    own_cache.chmod(mode)
    try:
        said, error = start(dataset, "as nobody").communicate("\n", timeout=60)
    finally:
        own_cache.chmod(0o700)
    assert said == "ready\n" + EXPECTED, error
    assert sorted(own_cache.rglob("*")) == before


def test_processes_that_fill_the_cache_together_read_the_same(dataset, hub, own_cache):
    """Four processes that start together on an empty cache read all rows; the listing is asked for once, and so is the token."""
    own_cache.mkdir(exist_ok=True)
    hub.reset_counts()
    hub.latency_s = 0.2  # so that all are there before the first has its answer
    readers = [start(dataset) for _ in range(4)]
    assert [one.stdout.readline() for one in readers] == ["ready\n"] * 4
    for one in readers:
        one.stdin.write("\n")
        one.stdin.flush()
    assert [one.communicate(timeout=120) for one in readers] == [(EXPECTED, "")] * 4
    assert (hub.counts()["tree"], hub.counts()["xet_read_token"]) == (1, 1)
    assert not list(own_cache.rglob(".new-*"))
    hub.reset_counts()
    assert list(pipeline.stream(dataset, cache_bytes=1 << 30)) == ROWS
    assert hub.counts().total() <= 1  # which commit the branch is


@pytest.mark.parametrize(
    ("transport", "route"), [("http", "cdn"), ("xet", "cas_xorb_get"), ("xet", "cas_reconstruction")]
)
def test_a_body_that_is_cut_in_the_middle_is_asked_for_again(dataset, hub, transport, route):
    """A connection that drops within a body costs another request, over either transport, and no row."""
    hub.faults.add(route, "truncate", times=3)
    assert list(pipeline.stream(dataset, transport=transport)) == ROWS
    assert hub.counts()[route] > 3


def test_cached_ranges_of_a_file_without_a_hash_are_not_anothers(put, repo, hub, parquet_bytes):
    """Files that are named by no hash, with the same path and size in two repos, are two files to the cache of ranges."""
    read = []
    for number in (0, 1):
        name = f"{repo}-{number}"
        put(name, {"data/train.parquet": parquet_bytes(table(number * 1000, number * 1000 + 300), **PLAIN)})
        known = resolve_file(name, hub)[0]
        file = FileRef(uri=known.uri, size=known.size, content_id="data/train.parquet", endpoint=known.endpoint)
        task = whole_file(file, read_footer(file, None))
        for batch in scan([task], None, options=ScanOptions(cache_bytes=1 << 30)):
            read += batch.column("x").to_pylist()
    assert read == [*range(300), *range(1000, 1300)]
