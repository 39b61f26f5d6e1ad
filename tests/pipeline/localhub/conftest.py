"""A Hub per test, unmodified clients in processes of their own, and a raw client for what no good client would send.

Clients run in subprocesses because huggingface_hub reads its environment when it is imported, and because hf_xet keeps
caches by endpoint; each gets an empty HF_HOME and HF_XET_CACHE, so nothing is shared by accident and nothing is left behind.
"""

import base64
import http.client
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from struct import pack
from urllib.parse import urlsplit

import pytest

from pipeline.localhub import Account, LocalHub
from pipeline.localhub.hashing import MerkleTree, chunk_hash, range_hash, to_hex
from pipeline.localhub.shard_format import _BOOKEND, _ENTRY, _HEADER, _TAG

CLIENTS = Path(__file__).with_name("clients.py")
ACCOUNTS = (
    Account(name="ann", token="hf_ann", orgs=["lab"]),
    Account(name="bob", token="hf_bob"),
    Account(name="eve", token="hf_eve", role="read", orgs=["lab"]),
    Account(name="root", token="hf_root", role="admin"),
)


@pytest.fixture
def hub(tmp_path):
    """A Hub without accounts."""
    with LocalHub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def guarded(tmp_path):
    """A Hub with the users ann and eve (reads only) of the org lab, bob, and the administrator root."""
    with LocalHub(tmp_path / "hub", accounts=ACCOUNTS) as running:
        yield running


@pytest.fixture
def client(tmp_path):
    """Run a function of clients.py (or `program`) in a new process against an endpoint, and return what it returns."""
    started = []

    def start(endpoint, function, /, *, program=CLIENTS, home=None, token="hf_anything", env=(), **arguments):
        folder = tmp_path / (home or f"client-{len(started)}")
        environment = {
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "home"),
            "HF_XET_CACHE": str(folder / "xet"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_XET_TELEMETRY_ENABLED": "false",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            **dict(env),
        }
        environment.pop("HF_TOKEN", None)
        if token:
            environment["HF_TOKEN"] = token
        command = [sys.executable, str(program), function, json.dumps(arguments)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    def finish(process):
        out, err = process.communicate(timeout=170)
        assert process.returncode == 0, err
        return json.loads(out.splitlines()[-1])

    def run(endpoint, function, /, **options):
        return finish(start(endpoint, function, **options))

    run.start, run.finish = start, finish
    yield run
    for process in started:
        process.kill()
        process.communicate()


@dataclass
class Answer:
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self):
        """The Hub's error code."""
        return self.headers.get("X-Error-Code")


@dataclass
class Raw:
    """HTTP without manners: paths go out as they are given."""

    endpoint: str
    token: str | None = None
    xorbs: dict[str, list[bytes]] = field(default_factory=dict)

    def request(self, method, path, body=None, token=None, **headers):
        """One request; `path` may be a whole URL. A dict goes as JSON."""
        address = urlsplit(path if path.startswith("http") else self.endpoint)
        if path.startswith("http"):
            path = path.partition(address.netloc)[2]
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token or (self.token and "cdn" not in path):
            sent["Authorization"] = f"Bearer {token or self.token}"
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path, **options):
        """A GET."""
        return self.request("GET", path, **options)

    def create(self, name, private=False, kind="dataset"):
        """Create a repo and return its name."""
        owner, short = name.split("/")
        body = {"name": short, "organization": owner, "type": kind, "visibility": "private" if private else "public"}
        answer = self.request("POST", "/api/repos/create", body)
        assert answer.status == 200, answer.body
        return name

    def head(self, repo, revision="main"):
        """The commit that a revision names."""
        return self.get(f"/api/datasets/{repo}/revision/{revision}").json["sha"]

    def paths(self, repo, revision="main"):
        """The files of a revision."""
        return sorted(
            row["rfilename"] for row in self.get(f"/api/datasets/{repo}/revision/{revision}").json["siblings"]
        )

    def commit(self, repo, *lines, parent=None, revision="main", query=""):
        """Make a commit of (key, value) lines."""
        header = {"summary": "a commit", "parentCommit": parent}
        body = b"".join(json.dumps({"key": k, "value": v}).encode() + b"\n" for k, v in [("header", header), *lines])
        path = f"/api/datasets/{repo}/commit/{revision}{query}"
        return self.request("POST", path, body, Content_Type="application/x-ndjson")

    def xet_token(self, repo, role="write"):
        """A token for the storage of a repo."""
        answer = self.get(f"/api/datasets/{repo}/xet-{role}-token/main")
        assert answer.status == 200, answer.body
        return answer.json["accessToken"]

    def put_xorb(self, token, chunks, name=None):
        """Upload a xorb of uncompressed chunks; returns (answer, its name)."""
        tree, body = MerkleTree(), b""
        for chunk in chunks:
            tree.add(chunk_hash(chunk), len(chunk))
            body += xorb_chunk(chunk)
        name = name or to_hex(tree.root())
        self.xorbs[name] = list(chunks)
        return self.request("POST", f"/cas/v1/xorbs/default/{name}", body, token=token), name

    def put_shard(self, token, *files):
        """Upload a shard; each file is a dict for `shard_file`."""
        body = _HEADER.pack(_TAG, 2, 0) + b"".join(files) + _ENTRY.pack(_BOOKEND, 0, 0, 0, 0) * 2
        return self.request("POST", "/cas/v1/shards", body, token=token)

    def put_file(self, token, chunks):
        """Upload a file as one xorb; returns (its hash, its sha256)."""
        answer, name = self.put_xorb(token, chunks)
        assert answer.status == 200, answer.body
        entry, digest = shard_file([(name, chunks, 0)])
        answer = self.put_shard(token, entry)
        assert answer.status == 200, answer.body
        return digest, sha256(b"".join(chunks)).hexdigest()


def xorb_chunk(data, scheme=0, raw=None):
    """A chunk as a xorb holds it."""
    return b"\0" + len(data).to_bytes(3, "little") + bytes([scheme]) + (raw or len(data)).to_bytes(3, "little") + data


def shard_file(terms, digest=None, proof=None, sha=None):
    """A file's entries in a shard; a term is (xorb name, its chunks, index of the first). Returns (entries, file hash)."""
    tree = MerkleTree()
    rows, proofs = b"", b""
    for xorb, chunks, start in terms:
        hashes = [chunk_hash(chunk) for chunk in chunks]
        for value, chunk in zip(hashes, chunks, strict=True):
            tree.add(value, len(chunk))
        rows += _ENTRY.pack(from_name(xorb), 0, sum(map(len, chunks)), start, start + len(chunks))
        proofs += pack("<32s16x", proof or range_hash(b"".join(hashes)))
    digest = digest or to_hex(tree.file_root())
    sha = sha or sha256(b"".join(chunk for _, chunks, _ in terms for chunk in chunks)).hexdigest()
    header = _ENTRY.pack(from_name(digest), 0b11 << 30, len(terms), 0, 0)
    return header + rows + proofs + pack("<32s16x", from_name(sha)), digest


def from_name(name):
    """A hash from its hexadecimal form."""
    return b"".join(bytes.fromhex(name[at : at + 16])[::-1] for at in range(0, 64, 16))


def put_file(path, data):
    """A commit line that puts a regular file."""
    return "file", {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}


def put_large(path, sha, size=None):
    """A commit line that puts an uploaded large file."""
    return "lfsFile", {"path": path, "algo": "sha256", "oid": sha, **({} if size is None else {"size": size})}


@pytest.fixture
def kit():
    """The functions of this file that build what clients send."""

    class Kit:
        raw, xorb_chunk, shard_file, from_name = (
            Raw,
            staticmethod(xorb_chunk),
            staticmethod(shard_file),
            staticmethod(from_name),
        )
        put_file, put_large, accounts = staticmethod(put_file), staticmethod(put_large), ACCOUNTS

    return Kit


@pytest.fixture
def raw(hub):
    """A raw client of the Hub without accounts."""
    return Raw(hub.endpoint)


@dataclass
class Served:
    """A Hub in a process of its own."""

    process: subprocess.Popen
    endpoint: str

    def peak_bytes(self):
        """The most memory that the process ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def kill(self):
        """End it without a chance to do anything."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def served(tmp_path):
    """Start a Hub for a folder in a process of its own."""
    program = "import sys; from pipeline.localhub import serve; serve(sys.argv[1], on_start=lambda url: print(url, flush=True))"
    started = []

    def start(root=tmp_path / "hub"):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(root)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Served(process, process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()
