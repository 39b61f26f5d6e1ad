"""Ranges from Xet storage: one token for all, exactly the bytes asked for, HTTP where storage will not answer."""

import json
import multiprocessing
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pipeline.errors import AccessError, NotFoundError, OptionError, TransferError
from pipeline.hub import xet
from pipeline.hub.ranges import file_refs, open_file
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.resolver import resolve
from pipeline.localhub import Account, LocalHub
from pipeline.storage import FileRef, Meter

DATA = random.Random(2).randbytes(3_000_000)


@pytest.fixture
def stored(put, repo, hub):
    """One large file on the Hub."""
    (file,) = file_refs(resolve(put(repo, {"data/a.parquet": DATA}), None))
    hub.reset_counts()
    return file


def test_ranges_cost_one_token_and_no_other_question(stored, hub):
    """First, last, middle, empty and whole ranges, from many threads: one token is asked for, nothing else of the Hub."""
    reader = open_file(stored, None)
    ranges = [
        (0, 1),
        (len(DATA) - 1, len(DATA)),
        (1000, 2_500_000),
        (5, 5),
        (0, len(DATA)),
        *((i, i + 9) for i in range(30)),
    ]
    with ThreadPoolExecutor(8) as pool:
        for (start, end), data in zip(ranges, pool.map(lambda one: reader.read(*one), ranges), strict=True):
            assert data == DATA[start:end]
    assert hub.counts()["xet_read_token"] == 1
    assert hub.counts()["resolve"] == hub.counts()["cdn"] == 0


def test_a_small_range_moves_little(stored, hub):
    """A range of 1 KB costs the 64 KB chunks around it, not the file."""
    assert open_file(stored, None).read(1_500_000, 1_501_000) == DATA[1_500_000:1_501_000]
    assert hub.bytes_sent()["cas_xorb_get"] < 300_000


READER = """
import sys
from pipeline.hub.ranges import open_file
from pipeline.storage import FileRef
file = FileRef(uri=sys.argv[1], size=int(sys.argv[2]), content_id="x", endpoint=sys.argv[3], xet_hash=sys.argv[4])
sys.stdin.readline()
print(len(open_file(file, None).read(100, 2000)))
"""


def test_processes_share_a_token(stored, hub):
    """Six processes of one user read at the same time under one token."""
    args = [sys.executable, "-c", READER, stored.uri, str(stored.size), stored.endpoint, stored.xet_hash]
    readers = [subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for one in readers:
        one.stdin.write("\n")
        one.stdin.flush()
    assert {one.communicate(timeout=120)[0] for one in readers} == {"1900\n"}
    assert hub.counts()["xet_read_token"] == 1
    assert hub.counts()["resolve"] == 0


def test_a_forked_child_reads(stored):
    """A process that has read forks: its child reads too, and so does it afterwards."""
    reader = open_file(stored, None)
    assert reader.read(0, 10) == DATA[:10]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(read_anew, (stored, 10, 5000)) == DATA[10:5000]
    assert reader.read(20, 30) == DATA[20:30]


def read_anew(file, start, end):
    """Read a range in this process."""
    return open_file(file, None).read(start, end)


def test_a_token_is_renewed_before_it_ends(tmp_path, monkeypatch):
    """A token is used until shortly before its end, then another one is asked for, and storage never refuses one."""
    import time

    with LocalHub(tmp_path / "own", token_ttl_s=1000) as own:
        reader, _ = private(own, None)
        real = time.time
        for later, tokens in ((0, 1), (900, 1), (950, 2)):
            monkeypatch.setattr("pipeline.hub.xet.time.time", lambda later=later: real() + later)
            assert reader.read(0, 500) == DATA[:500]
            assert own.counts()["xet_read_token"] == tokens
        assert own.counts()["resolve"] == 0


def private(own, token):
    """A file in a Hub of one's own, private where there is a token; (reader, file)."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=own.endpoint, token=token or "hf_any")
    name = "ann/x" if token else "local/x"
    api.create_repo(name, repo_type="dataset", visibility="private" if token else "public")
    api.upload_file(path_or_fileobj=DATA, path_in_repo="a.parquet", repo_id=name, repo_type="dataset")
    secret = Secret(token) if token else None
    (file,) = file_refs(resolve(parse_ref(name, endpoint=own.endpoint), secret))
    own.reset_counts()
    return open_file(file, secret), file


def test_a_private_repo_is_read_with_its_token_alone(tmp_path):
    """The owner reads; another user and nobody are refused, though the same machine has a token for it."""
    accounts = [Account(name="ann", token="hf_ann"), Account(name="bob", token="hf_bob")]
    with LocalHub(tmp_path / "own", accounts=accounts) as own:
        reader, file = private(own, "hf_ann")
        assert reader.read(0, 100) == DATA[:100]
        for token in (Secret("hf_bob"), None):
            with pytest.raises((AccessError, NotFoundError)):
                open_file(file, token).read(0, 100)


def test_a_refused_token_is_renewed_once(stored, hub):
    """When storage does not take the token, another is asked for, and the read goes on."""
    reader = open_file(stored, None)
    reader.read(0, 10)
    hub.faults.add("cas_reconstruction", status=401)
    assert reader.read(10, 2000) == DATA[10:2000]
    assert hub.counts()["xet_read_token"] == 2


def test_where_storage_fails_http_answers(stored, hub, tmp_path, monkeypatch):
    """When Xet storage cannot be read, or gives no tokens, the same bytes come over HTTP."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))
    for route in ("cas_reconstruction", "xet_read_token"):
        hub.faults.clear()
        hub.faults.add(route, status=403, times=None)
        xet._storage.cache_clear()
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        assert open_file(stored, None).read(10, 2000) == DATA[10:2000]
    assert hub.counts()["cdn"] == 2


def test_a_file_that_is_gone_is_one_clear_error(stored):
    """A hash that storage does not have, of a path that the Hub does not have, is a NotFoundError that names it."""
    gone = FileRef(
        uri=stored.uri.replace("data/", "nope/"), size=10, content_id="x", endpoint=stored.endpoint, xet_hash="0" * 64
    )
    with pytest.raises(NotFoundError, match="no such file"):
        open_file(gone, None).read(0, 5)


def test_the_transport_can_be_chosen(put, repo, hub):
    """`http` never asks Xet storage, `xet` refuses a file that is not in it, anything else is an error."""
    snapshot = resolve(put(repo, {"data/a.parquet": DATA}), None)
    assert open_file(file_refs(snapshot, "http")[0], None).read(0, 10) == DATA[:10]
    assert hub.counts()["cas_reconstruction"] == 0
    assert file_refs(snapshot, "xet")[0].xet_hash
    with pytest.raises(OptionError, match=r"'auto', 'xet' or 'http', got 'ftp'"):
        file_refs(snapshot, "ftp")
    plain = replace(snapshot, files=tuple(replace(file, xet_hash=None) for file in snapshot.files))
    with pytest.raises(OptionError, match=r"'data/a.parquet' is not in Xet storage"):
        file_refs(plain, "xet")


def test_the_meter_counts_what_came(stored):
    """Requests by kind and bytes, over either transport."""
    meter = Meter()
    open_file(stored, None, meter).read(0, 1000)
    assert (dict(meter.requests), meter.bytes_fetched) == ({"xet": 1}, 1000)
    plain = FileRef(uri=stored.uri, size=stored.size, content_id="x", endpoint=stored.endpoint)
    open_file(plain, None, meter).read(0, 1000)
    assert dict(meter.requests) == {"xet": 1, "resolve": 1, "http": 1}
    assert meter.bytes_fetched == 2000


def test_a_closed_reader_asks_for_nothing_more(stored, hub):
    """After close, a range is an error and no request, over either transport."""
    plain = FileRef(uri=stored.uri, size=stored.size, content_id="x", endpoint=stored.endpoint)
    for file in (stored, plain):
        reader = open_file(file, None)
        reader.close()
        hub.reset_counts()
        with pytest.raises(TransferError, match="closed while it was being read"):
            reader.read(0, 10)
        assert hub.counts().total() == 0


def test_the_token_file_says_nothing_in_the_open(stored):
    """The token's text is in no repr; its file is its owner's alone (0600)."""
    storage = xet.storage_of(parse_ref(stored.uri.rsplit("/", 2)[0], endpoint=stored.endpoint), None)
    token, _ = storage.connect()
    assert token.access_token not in repr(token)
    assert token.access_token not in json.dumps(repr(storage.__dict__))
