"""What is kept on disk: found again by who may have it, absent for everybody else and whenever it cannot be trusted."""

import os
import stat

import pytest

from pipeline.hub import cache
from pipeline.hub.repo import Secret

KEY = ("listing", "anonymous", "http://hub", "ns/name", "0" * 40)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """A cache of this test's own."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(folder):
    """The files of the cache's entries."""
    return [path for path in folder.rglob("*") if path.is_file() and "lock" not in path.parts and path.name != "salt"]


def test_what_is_stored_is_loaded():
    """An entry comes back as it was, an empty one too; another key has none; a dropped one is gone."""
    for content in (b"x" * 100_000, b""):
        cache.store(KEY, content)
        assert cache.load(KEY) == content
        assert cache.load((*KEY[:-1], "1" * 40)) is None
    cache.drop(KEY)
    assert cache.load(KEY) is None
    cache.drop(KEY)


def test_parts_of_a_key_do_not_run_together():
    """Keys that read the same when joined are different keys."""
    cache.store(("footer", "ab", "c"), b"1")
    assert cache.load(("footer", "a", "bc")) is None


@pytest.mark.parametrize(
    "break_it",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data.replace(b"cache 3", b"cache 2"),
        lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
        lambda data: os.urandom(len(data)),
    ],
)
@pytest.mark.parametrize("copies", [50, 200_000])
def test_an_entry_that_is_not_what_was_stored_is_absent(own_folder, break_it, copies):
    """Cut short, changed by a bit, of another version, garbage: as if there were none; a long entry too."""
    cache.store(KEY, b"a listing" * copies)
    (path,) = entries(own_folder)
    path.write_bytes(break_it(path.read_bytes()))
    assert cache.load(KEY) is None


def test_an_entry_under_another_name_is_absent(own_folder):
    """A whole entry that was moved to another key's place is not that key's."""
    cache.store(KEY, b"mine")
    other = ("listing", "someone", *KEY[2:])
    cache.store(other, b"theirs")
    mine, theirs = sorted(entries(own_folder), key=lambda path: b"theirs" in path.read_bytes())
    mine.replace(theirs)
    assert cache.load(other) is None


def test_only_its_owner_can_read_an_entry(own_folder):
    """Files are 0600 and folders 0700, the locks' and the salt's too."""
    cache.owner(Secret("hf_x"))
    cache.store(KEY, b"x")
    with cache.only_one(KEY):
        for path in [own_folder, *own_folder.rglob("*")]:
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path


def test_owners_are_told_apart_and_tokens_are_not_written(own_folder):
    """Two tokens are two owners, the same one is always the same; neither stands in any file or name."""
    first, second = cache.owner(Secret("hf_first")), cache.owner(Secret("hf_second"))
    assert len({first, second, cache.owner(None)}) == 3
    assert first == cache.owner(Secret("hf_first"))
    cache.store(("listing", first, "x"), b"x")
    for path in own_folder.rglob("*"):
        assert "hf_" not in str(path)
        assert not path.is_file() or b"hf_first" not in path.read_bytes()


def test_another_machine_has_another_salt(own_folder, tmp_path, monkeypatch):
    """A token's name in the cache cannot be looked up in a table made elsewhere."""
    here = cache.owner(Secret("hf_first"))
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "elsewhere"))
    assert cache.owner(Secret("hf_first")) != here


def test_a_disk_that_takes_nothing_is_no_error(tmp_path, monkeypatch):
    """Where nothing can be written (a full or read-only disk), nothing is kept and nothing fails."""
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(blocked / "cache"))
    cache.store(KEY, b"x")
    assert cache.load(KEY) is None
    cache.drop(KEY)
    with cache.only_one(KEY):
        pass
    assert cache.owner(Secret("hf_x")) == cache.owner(Secret("hf_x")) != cache.owner(None)


def test_a_disk_that_fills_up_leaves_no_half_entry(own_folder, monkeypatch):
    """When writing fails in the middle, the entry is absent and nothing is left behind."""
    import io

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    real = os.fdopen
    monkeypatch.setattr("os.fdopen", lambda handle, mode: (os.close(handle), Full())[1])
    cache.store(KEY, b"x")
    monkeypatch.setattr("os.fdopen", real)
    assert cache.load(KEY) is None
    assert entries(own_folder) == []


def test_one_process_at_a_time(own_folder):
    """While one is inside, another process waits; it goes on when that one is killed."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    inside = context.Event()
    holder = context.Process(target=hold, args=(str(own_folder), inside), daemon=True)
    holder.start()
    assert inside.wait(30)
    entered = []
    import threading

    waiter = threading.Thread(target=lambda: enter(entered))
    waiter.start()
    waiter.join(0.3)
    assert entered == []
    holder.kill()
    waiter.join(30)
    assert entered == [True]


def hold(folder, inside):
    """Stay inside until killed."""
    import time

    os.environ["XET_PIPELINE_CACHE"] = folder
    with cache.only_one(KEY):
        inside.set()
        time.sleep(600)


def enter(entered):
    """Go inside once."""
    with cache.only_one(KEY):
        entered.append(True)
