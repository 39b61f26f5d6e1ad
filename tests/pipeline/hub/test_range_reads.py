"""Ranges of files on the Hub: exactly the bytes asked for, or one error; the token goes to the Hub alone."""

import random
import time

import pytest

from pipeline.errors import AccessError, DatasetError, NotFoundError, TransferError
from pipeline.hub import client
from pipeline.hub.ranges import file_refs, open_file
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.resolver import resolve
from pipeline.localhub import Account, LocalHub
from pipeline.storage import FileRef

DATA = random.Random(1).randbytes(300_000)


@pytest.fixture
def stored(put, repo, hub):
    """One large file on the Hub, to be read over HTTP."""
    file = file_refs(resolve(put(repo, {"data/a é#%.parquet": DATA}), None), "http")[0]
    hub.reset_counts()
    return file


def test_a_range_is_exactly_what_was_asked_for(stored, hub):
    """First, last, middle, empty and whole ranges; one redirect is asked for, then the signed address is used."""
    reader = open_file(stored, None)
    ranges = [(0, 1), (len(DATA) - 1, len(DATA)), (1000, 250_000), (5, 5), (0, len(DATA))]
    for start, end in ranges:
        assert reader.read(start, end) == DATA[start:end]
    assert hub.counts()["resolve"] == 1
    assert hub.counts()["cdn"] == 4
    assert hub.bytes_sent()["cdn"] == sum(end - start for start, end in ranges)


def test_a_small_file_comes_from_the_hub_itself(put, repo):
    """A file that the Hub stores in git has no redirect, and is read in ranges all the same."""
    ref = put(repo, {"notes.txt": "0123456789"})
    file = FileRef(uri=f"hf://datasets/{repo}@main/notes.txt", size=10, content_id="x", endpoint=ref.endpoint)
    assert open_file(file, None).read(3, 7) == b"3456"


def test_the_token_never_goes_to_the_cdn(stored, hub):
    """The signed address is asked without the Hub's token, at first and when it is remembered."""
    reader = open_file(stored, Secret("hf_secretsecret"))
    reader.read(0, 10)
    reader.read(10, 20)
    assert hub.counts()["cdn"] == 2
    assert hub.counts()["cdn_with_token"] == 0


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("resolve", {"status": 503}),
        ("resolve", {"kind": "reset"}),
        ("cdn", {"status": 500}),
        ("cdn", {"kind": "reset"}),
        ("cdn", {"kind": "truncate"}),
        ("cdn", {"status": 429, "retry_after": 0}),
    ],
)
def test_a_fault_on_the_way_is_retried(stored, hub, route, fault, monkeypatch):
    """5xx, 429, a dropped connection and a body cut short cost another request, not the read."""
    monkeypatch.setattr("time.sleep", lambda _: None)  # only the waits
    hub.faults.add(route, times=2, **fault)
    assert open_file(stored, None).read(10, 200_000) == DATA[10:200_000]


def test_a_fault_that_stays_is_one_error(stored, hub, monkeypatch):
    """When the retries are used up there is one TransferError, in one line, that names the file."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    for fault in ({"kind": "truncate"}, {"status": 503}):
        hub.faults.clear()
        hub.faults.add("cdn", times=None, **fault)
        with pytest.raises(TransferError, match="data/a") as caught:
            open_file(stored, None).read(0, 1000)
        assert "\n" not in str(caught.value)


def test_an_answer_of_another_length_is_an_error(stored):
    """A file that is shorter than its listing said is an error, never short bytes."""
    longer = FileRef(uri=stored.uri, size=len(DATA) + 50, content_id="x", endpoint=stored.endpoint)
    reader = open_file(longer, None)
    with pytest.raises(TransferError, match=r"10 bytes came for range"):
        reader.read(len(DATA) - 10, len(DATA) + 50)
    with pytest.raises(DatasetError):
        reader.read(len(DATA) + 1, len(DATA) + 50)


def test_a_file_that_is_not_there_fails_at_once(stored, hub):
    """404 is a NotFoundError after one request."""
    hub.reset_counts()
    gone = FileRef(uri=stored.uri.replace("data/", "nope/"), size=10, content_id="x", endpoint=stored.endpoint)
    with pytest.raises(NotFoundError, match="no such file"):
        open_file(gone, None).read(0, 5)
    assert hub.counts()["resolve"] == 1


def test_a_refusal_fails_at_once(stored, hub):
    """403 is an AccessError after one request."""
    hub.faults.add("resolve", status=403, times=None)
    with pytest.raises(AccessError):
        open_file(stored, None).read(0, 5)
    assert hub.counts()["resolve"] == 1


def test_a_refused_signature_is_renewed_once(stored, hub):
    """When storage refuses the remembered address a new one is asked for; when it refuses that too, it is an AccessError."""
    reader = open_file(stored, None)
    reader.read(0, 10)
    hub.faults.add("cdn", status=403)
    assert reader.read(10, 20) == DATA[10:20]
    assert (hub.counts()["resolve"], hub.counts()["cdn"]) == (2, 3)
    hub.reset_counts()
    hub.faults.add("cdn", status=403, times=None)
    with pytest.raises(AccessError):
        reader.read(20, 30)
    assert (hub.counts()["resolve"], hub.counts()["cdn"]) == (1, 2)


def test_a_signature_is_renewed_before_it_ends(tmp_path, monkeypatch):
    """The remembered address is not used after its end; a new one is asked for, by a reader of a private repo too."""
    with LocalHub(tmp_path / "own", accounts=[Account(name="ann", token="hf_ann")], url_ttl_s=3600) as own:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=own.endpoint, token="hf_ann")
        api.create_repo("ann/x", repo_type="dataset", visibility="private")
        api.upload_file(path_or_fileobj=DATA, path_in_repo="a.parquet", repo_id="ann/x", repo_type="dataset")
        file = file_refs(resolve(parse_ref("ann/x", endpoint=own.endpoint), Secret("hf_ann")), "http")[0]
        reader = open_file(file, Secret("hf_ann"))
        assert reader.read(0, 100) == DATA[:100]
        own.reset_counts()
        real = time.time
        monkeypatch.setattr("pipeline.localhub.signing.time.time", lambda: real() + 7200)
        assert reader.read(100, 200) == DATA[100:200]
        assert own.counts()["resolve"] == 1
        assert own.counts()["cdn"] == 1
        assert own.counts()["cdn_with_token"] == 0


def test_a_renamed_repo_is_followed_with_the_token_on_its_own_host_only(tmp_path):
    """A redirect to another address of the same Hub keeps the token; one to another host does not."""
    import http.server
    import threading

    seen = []

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.headers["host"].split(":")[0], self.path, self.headers.get("authorization")))
            port = self.server.server_address[1]
            hops = {
                "/datasets/a/old/resolve/main/x": "/datasets/a/new/resolve/main/x",
                "/datasets/a/new/resolve/main/x": f"http://localhost:{port}/cdn/x",
            }
            body = b"" if self.path in hops else b"0123456789"[2:5]
            self.send_response(307 if self.path in hops else 206)
            if self.path in hops:
                self.send_header("location", hops[self.path])
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        file = FileRef(uri="hf://datasets/a/old@main/x", size=10, content_id="x", endpoint=endpoint)
        reader = open_file(file, Secret("hf_mine"))
        assert [reader.read(2, 5), reader.read(2, 5)] == [b"234", b"234"]
        server.shutdown()
    bearer = "Bearer hf_mine"
    assert seen == [
        ("127.0.0.1", "/datasets/a/old/resolve/main/x", bearer),
        ("127.0.0.1", "/datasets/a/new/resolve/main/x", bearer),
        ("localhost", "/cdn/x", None),
        ("localhost", "/cdn/x", None),
    ]


def test_a_hub_that_is_not_there_is_one_line(monkeypatch):
    """No server at the endpoint is a TransferError that says what to check."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(TransferError, match="check the endpoint and network") as caught:
        client.get("http://127.0.0.1:9/api", Secret("hf_secretsecret"), about="ns/name")
    assert "hf_secret" not in str(caught.value)
