"""`pipeline.open`: a file like any other, that asks for little when read here and there and ahead when read in a row."""

import gc
import io
import multiprocessing
import os
import random
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.errors import NotFoundError, OptionError, TransferError
from pipeline.hub.files import PrefetchFile
from pipeline.hub.listing import pin
from pipeline.storage import FileRef

MB = 1 << 20
DATA = random.Random(6).randbytes(24 * MB)
SMALL = 64 << 10


@pytest.fixture
def stored(put, repo, hub):
    """The address of a large file at a commit; the commit is listed, nothing is counted yet."""
    ref = pin(put(repo, {"a/big é#%.bin": DATA, "empty.bin": b"", "notes.txt": "some text"}), None)
    pipeline.open(f"hf://datasets/{ref}/a/big é#%.bin").close()
    hub.reset_counts()
    return f"hf://datasets/{ref}/a/big é#%.bin"


def ranges(hub):
    """How many ranges were asked of Xet storage."""
    return hub.counts()["cas_reconstruction"]


def fetched(hub):
    """The bytes that storage sent; noise is stored as it is."""
    return hub.bytes_sent()["cas_xorb_get"]


def settle(file):
    """Wait for what is on its way: the next test counts requests of its own."""
    for block in file.raw._blocks:
        block.data.result()


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 9 * 1000)),
        st.tuples(st.just("read"), st.integers(0, 900_000)),
        st.tuples(st.just("seek"), st.integers(0, 1_100_000)),
        st.tuples(st.just("skip"), st.integers(-9000, 9000)),
        st.tuples(st.just("tail"), st.integers(-9000, 0)),
        st.tuples(st.just("all"), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=150)
@given(operations=OPERATIONS, prefetch_bytes=st.sampled_from([0, 1, 100_000, 10**6, 10**9]))
def test_it_reads_what_is_there(operations, prefetch_bytes, tmp_path_factory):
    """Whatever is read and sought, in whatever order, it is what a plain file gives."""
    path = tmp_path_factory.getbasetemp() / "plain.bin"
    path.write_bytes(DATA[:1_000_001])
    with path.open("rb") as plain, pipeline.open(str(path), prefetch_bytes=prefetch_bytes) as ours:
        for name, number in operations:
            for one in (ours, plain):
                if name == "seek":
                    one.seek(number)
                elif name == "skip":
                    one.seek(max(0, one.tell() + number))
                elif name == "tail":
                    one.seek(number, io.SEEK_END)
            assert ours.tell() == plain.tell()
            size = {"read": number, "all": -1}.get(name, 100)
            assert ours.read(size) == plain.read(size)


@settings(max_examples=150)
@given(operations=OPERATIONS, most=st.sampled_from([0, 300_000, 2_000_000]))
def test_memory_is_bounded(operations, most, tmp_path_factory):
    """What is held and on its way is never more than `prefetch_bytes`, but for one small block."""
    path = tmp_path_factory.getbasetemp() / "bounded.bin"
    path.write_bytes(DATA[:1_000_001])
    file = PrefetchFile(FileRef(uri=str(path), size=1_000_001, content_id="x"), None, most)
    buffer = bytearray(900_000)
    for name, number in operations:
        if name != "read":
            file.seek(abs(number))
        for _ in range(5):
            count = file.readinto(memoryview(buffer)[: abs(number) or 1])
            assert sum(block.end - block.start for block in file._blocks) <= max(most, 2 * SMALL)
            if not count:
                break
    file.close()


def test_reading_in_a_row_asks_for_large_blocks(stored, hub):
    """24 MB read in small pieces cost 6 blocks of 4 MB and some while it grows; nothing comes twice, nothing of the Hub."""
    with pipeline.open(stored) as file:
        assert b"".join(iter(lambda: file.read(50_000), b"")) == DATA
    assert ranges(hub) <= 6 + 16
    assert fetched(hub) < 1.1 * len(DATA)
    assert {name: n for name, n in hub.counts().items() if n and name in ("tree", "repo_info", "resolve", "cdn")} == {}


def test_one_large_read_is_several_blocks_at_once(stored, hub):
    """A read of the whole file, and of a large part, costs blocks of 4 MB and not more bytes than that."""
    with pipeline.open(stored) as file:
        assert file.read() == DATA
        assert ranges(hub) == 6
        file.seek(MB)
        assert file.read(9 * MB) == DATA[MB : 10 * MB]
    assert ranges(hub) <= 6 + 4
    assert fetched(hub) < 1.1 * (len(DATA) + 9 * MB) + MB


def test_reads_here_and_there_are_small(stored, hub):
    """Each read after a seek asks for one small range and fetches nothing ahead."""
    places = random.Random(0).sample(range(0, len(DATA), 200_000), 30)
    with pipeline.open(stored) as file:
        for place in places:
            file.seek(place)
            assert file.read(1000) == DATA[place : place + 1000]
    assert ranges(hub) == len(places)
    assert fetched(hub) < len(places) * 5 * SMALL


def test_ahead_is_never_more_than_was_read_in_a_row(tmp_path):
    """What is on its way beyond the position is at most what was read since the last seek."""
    path = tmp_path / "a.bin"
    path.write_bytes(DATA[: 8 * MB])
    file = PrefetchFile(FileRef(uri=str(path), size=8 * MB, content_id="x"), None, 32 * MB)
    file.seek(MB)
    while count := file.readinto(bytearray(10_000)):
        ahead = file._blocks[-1].end - file.tell()
        assert ahead <= max(SMALL, file.tell() - MB + count)
    file.close()


def test_blocks_are_fetched_at_the_same_time(stored, hub):
    """While one block is read the next ones are on their way: reading in a row does not wait for each in turn."""
    with pipeline.open(stored) as file:
        for _ in range(12):
            file.read(MB)
        on_their_way = [block for block in file.raw._blocks if block.start >= 12 * MB]
        assert len(on_their_way) >= 2
        settle(file)


def test_a_tar_is_read_over_it(put, repo, hub):
    """tarfile lists members for a small range each, and extracts one for at most twice its bytes."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for number in range(8):
            info = tarfile.TarInfo(f"{number}.bin")
            info.size = MB
            tar.addfile(info, io.BytesIO(DATA[number * MB : (number + 1) * MB]))
    ref = pin(put(repo, {"x.tar": made.getvalue()}), None)
    with pipeline.open(f"hf://datasets/{ref}/x.tar") as file, tarfile.open(fileobj=file) as tar:
        assert tar.getnames() == [f"{number}.bin" for number in range(8)]
        assert fetched(hub) < 8 * 5 * SMALL
        assert tar.extractfile("5.bin").read() == DATA[5 * MB : 6 * MB]
        settle(file)
    assert fetched(hub) < 8 * 5 * SMALL + 2.5 * MB


def test_a_zips_directory_costs_little(put, repo, hub):
    """zipfile finds the members of a 6 MB archive by a few small ranges at its end."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(60):
            archive.writestr(f"{number}.bin", DATA[number * 100_000 : (number + 1) * 100_000])
    ref = pin(put(repo, {"x.zip": made.getvalue()}), None)
    with pipeline.open(f"hf://datasets/{ref}/x.zip") as file, zipfile.ZipFile(file) as archive:
        assert len(archive.namelist()) == 60
        assert ranges(hub) <= 3
        assert fetched(hub) < 8 * SMALL
        assert archive.read("30.bin") == DATA[3_000_000:3_100_000]
        assert archive.testzip() is None
        settle(file)


def test_a_file_of_a_branch_is_that_of_its_newest_commit(put, repo):
    """Without a revision each opening asks what the branch is now; an open file stays what it was."""
    put(repo, {"a.txt": "first"})
    with pipeline.open(f"hf://datasets/{repo}/a.txt") as first:
        put(repo, {"a.txt": "second"})
        with pipeline.open(f"hf://datasets/{repo}/a.txt") as second:
            assert (first.read(), second.read()) == (b"first", b"second")


def test_a_revision_can_be_an_option(put, repo):
    """`revision` and `@revision` are the same."""
    old = pin(put(repo, {"a.txt": "first"}), None).revision
    put(repo, {"a.txt": "second"})
    assert pipeline.open(f"hf://datasets/{repo}/a.txt", revision=old).read() == b"first"
    assert pipeline.open(f"hf://datasets/{repo}@{old}/a.txt").read() == b"first"


def test_a_bucket_is_asked_for_one_path(hub, repo):
    """A file of a bucket costs one question, however many files there are; one that is opened stays what it was."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    api.create_bucket(repo)
    many = [(f"{number}".encode(), f"many/{number}") for number in range(1500)]
    api.batch_bucket_files(repo, add=[(DATA[:MB], "a b/x.bin"), (b"not this", "a b/x.bin.old"), *many])
    hub.reset_counts()
    with pipeline.open(f"hf://buckets/{repo}/a b/x.bin") as file:
        assert hub.counts()["bucket_tree"] == 1
        api.batch_bucket_files(repo, add=[(DATA[MB : 2 * MB], "a b/x.bin")])
        assert file.read() == DATA[:MB]
    for missing, said in (("a b", "a folder"), ("a b/x", "no such file"), ("nope", "no such file")):
        with pytest.raises(NotFoundError, match=said):
            pipeline.open(f"hf://buckets/{repo}/{missing}")


def test_an_empty_file_is_empty(stored, tmp_path):
    """No bytes, no error, on the Hub and here."""
    (tmp_path / "empty").touch()
    for path in (f"{stored.rsplit('/', 2)[0]}/empty.bin", str(tmp_path / "empty")):
        with pipeline.open(path) as file:
            assert (file.read(), file.read(5), file.seek(0, io.SEEK_END)) == (b"", b"", 0)


def test_a_path_that_is_no_file_is_a_clear_error(stored, tmp_path):
    """A missing file, a folder and a repo alone, on the Hub and here; options that do not fit."""
    repo = stored.rsplit("/", 2)[0]
    for path, said in (
        (f"{repo}/nope.bin", "no such file"),
        (f"{repo}/a", "a folder, name a file in it"),
        (str(tmp_path), "a folder, not a file"),
        (str(tmp_path / "nope"), "no such file"),
        ("file:///nope/nope", "no such file"),
    ):
        with pytest.raises(NotFoundError, match=said):
            pipeline.open(path)
    with pytest.raises(OptionError, match=r"names no file; expected 'hf://datasets/.*/path'"):
        pipeline.open(repo)
    with pytest.raises(OptionError, match="are for paths on the Hub"):
        pipeline.open(str(tmp_path / "nope"), revision="main")
    for wrong in (-1, 1.5, True, "1"):
        with pytest.raises(OptionError, match="prefetch_bytes"):
            pipeline.open(stored, prefetch_bytes=wrong)


def test_after_an_error_it_reads_on(put, repo, hub, monkeypatch):
    """A range that fails is the reader's error, once; reading again asks again and loses nothing."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    ref = pin(put(repo, {"notes.txt": "some text"}), None)
    with pipeline.open(f"hf://datasets/{ref}/notes.txt") as file:
        hub.faults.add("resolve", status=503, times=None)
        with pytest.raises(TransferError, match=r"notes\.txt"):
            file.read()
        hub.faults.clear()
        assert file.read() == b"some text"


def test_closing_gives_up(stored, hub):
    """What waits to be fetched ahead is not fetched any more, and a closed file cannot be read."""
    file = pipeline.open(stored)
    file.read(12 * MB)
    waiting = [block.data for block in file.raw._blocks]
    raw = file.raw
    file.close()
    assert all(one.done() or one.cancelled() or one.running() for one in waiting)
    assert not raw._blocks
    for use in (lambda: file.read(1), lambda: raw.read(1), lambda: raw.seek(0)):
        with pytest.raises(ValueError, match="closed file"):
            use()
    pipeline.open(stored).read(1)
    gc.collect()  # one that nobody closed says nothing


def test_a_forked_child_reads_on(stored):
    """A file that was open before a fork is read in the child too, by threads and a session of its own."""
    with pipeline.open(stored) as file:
        assert file.read(MB) == DATA[:MB]
        with multiprocessing.get_context("fork").Pool(1, _take, (file,)) as pool:
            assert pool.apply_async(_read_taken, (3 * MB, MB)).get(60) == (DATA[3 * MB : 4 * MB], True)
        assert file.read(MB) == DATA[MB : 2 * MB]


def _take(file):
    global TAKEN
    TAKEN = file, os.getpid()


def _read_taken(start, size):
    file, pid = TAKEN
    file.seek(start)
    return file.read(size), pid == os.getpid()
