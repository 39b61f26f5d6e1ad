"""Xet storage: nothing wrong gets in, everything right comes back, and what is there is not uploaded again."""

from email import message_from_bytes
from email.policy import HTTP
from hashlib import sha256

import pytest

MB = 1_000_000
A, B, C, D = (bytes([value]) * size for value, size in ((1, 9000), (2, 70000), (3, 20000), (4, 8000)))


@pytest.fixture
def write(raw):
    """A token for writing to the repo me/cats."""
    raw.create("me/cats")
    return raw.xet_token("me/cats")


def test_a_client_with_an_empty_cache_uploads_a_known_100_mb_for_less_than_one_percent(hub, client):
    """Global deduplication: another process, with no memory of the first, in another repo, sends almost nothing."""
    client(hub.endpoint, "upload", repo="me/first", path="a.bin", seed=1, size=100 * MB)
    first = hub.bytes_received()
    assert first["cas_xorb_put"] >= 100 * MB
    hub.reset_counts()
    client(hub.endpoint, "upload", repo="me/second", path="b.bin", seed=1, size=100 * MB)
    assert sum(hub.bytes_received().values()) < MB
    assert client(hub.endpoint, "download", repo="me/second", path="b.bin") == client(
        hub.endpoint, "download", repo="me/first", path="a.bin"
    )


def test_a_file_of_scattered_pieces_comes_back_whole(hub, client):
    """hf_xet puts a file together from several ranges of one xorb, all behind one URL."""
    assert client(hub.endpoint, "mixed_file", repo="me/cats") is True


def test_one_url_answers_all_of_its_ranges_in_parts(raw, write, kit):
    """A request for several ranges gets multipart/byteranges with each of them; without a Range header too."""
    _, xorb = raw.put_xorb(write, [A, B, C])
    entry, digest = kit.shard_file([(xorb, [A], 0), (xorb, [C], 2)])
    assert raw.put_shard(write, entry).status == 200
    (fetch,) = raw.get(f"/cas/v2/reconstructions/{digest}", token=write).json["xorbs"][xorb]
    ranges = ",".join(f"{pair['bytes']['start']}-{pair['bytes']['end']}" for pair in fetch["ranges"])
    for headers in ({"Range": f"bytes={ranges}"}, {}):
        answer = raw.get(fetch["url"], **headers)
        assert answer.status == 206
        message = b"Content-Type: " + answer.headers["Content-Type"].encode() + b"\r\n\r\n" + answer.body
        parts = message_from_bytes(message, policy=HTTP).get_payload()
        assert len(parts) == 2
        assert all(kit.xorb_chunk(chunk) in answer.body for chunk in (A, C))
        assert kit.xorb_chunk(B) not in answer.body


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_reconstruction_covers_exactly_the_range(raw, write, kit, version):
    """Fetching what a plan says, dropping what it says to skip, gives the range; both versions of the API."""
    _, first = raw.put_xorb(write, [A, B, C])
    _, second = raw.put_xorb(write, [D, A])
    entry, digest = kit.shard_file([(first, [A, B], 0), (second, [D, A], 0), (first, [C], 2)])
    assert raw.put_shard(write, entry).status == 200
    whole = A + B + D + A + C
    for start, end in [(0, None), (0, 1), (8999, 9001), (100_000, 107_000), (9000, 79_000), (0, 10**9)]:
        headers = {} if end is None else {"Range": f"bytes={start}-{end - 1}"}
        plan = raw.get(f"/cas/{version}/reconstructions/{digest}", token=write, **headers).json
        stop = len(whole) if end is None else end
        assert fetch_plan(raw, plan)[plan["offset_into_first_range"] :][: stop - start] == whole[start:stop]
    past = raw.get(f"/cas/{version}/reconstructions/{digest}", token=write, Range=f"bytes={len(whole)}-")
    assert past.status == 416


def fetch_plan(raw, plan):
    """Download and put together what a reconstruction says, like a client that knows no caches."""
    chunks = {}
    for name, entries in (plan.get("xorbs") or plan["fetch_info"]).items():
        for entry in entries:
            pairs = entry.get("ranges") or [{"chunks": entry["range"], "bytes": entry["url_range"]}]
            for pair in pairs:
                answer = raw.get(entry["url"], Range=f"bytes={pair['bytes']['start']}-{pair['bytes']['end']}")
                assert answer.status == 206
                at = 0
                for index in range(pair["chunks"]["start"], pair["chunks"]["end"]):
                    size = int.from_bytes(answer.body[at + 1 : at + 4], "little")
                    chunks[name, index] = answer.body[at + 8 : at + 8 + size]
                    at += 8 + size
                assert at == len(answer.body)
    terms = [(t["hash"], index) for t in plan["terms"] for index in range(t["range"]["start"], t["range"]["end"])]
    assert sum(t["unpacked_length"] for t in plan["terms"]) == sum(len(chunks[term]) for term in terms)
    return b"".join(chunks[term] for term in terms)


def test_a_xorb_must_have_the_hash_of_its_chunks(raw, write, kit):
    """Another name, a changed byte, an unfinished chunk, an impossible header: refused, and nothing is kept."""
    _, name = raw.put_xorb(write, [A])
    good = kit.xorb_chunk(B)
    bad = [
        good,
        kit.xorb_chunk(A[:-1] + b"!"),
        kit.xorb_chunk(A)[:-1],
        b"",
        b"\1" + kit.xorb_chunk(A)[1:],
        kit.xorb_chunk(A, scheme=3),
        kit.xorb_chunk(A, scheme=1),
        kit.xorb_chunk(A, raw=len(A) - 1),
        b"XETBLOB" + A,
    ]
    unknown = name.replace(name[0], "0" if name[0] != "0" else "1")
    for body in bad:
        assert raw.request("POST", f"/cas/v1/xorbs/default/{unknown}", body, token=write).status == 400
    assert (
        raw.request("POST", f"/cas/v1/xorbs/default/{name}", kit.xorb_chunk(A, raw=len(A) - 1), token=write).status
        == 400
    )
    assert raw.request("HEAD", f"/cas/v1/xorbs/default/{unknown}", token=write).status == 404
    assert raw.request("HEAD", f"/cas/v1/xorbs/default/{name}", token=write).status == 200
    assert raw.request("POST", "/cas/v1/xorbs/default/nonsense", good, token=write).status == 400


def test_a_file_must_have_the_hashes_that_its_shard_says(raw, write, kit):
    """A wrong file hash, proof, sha256, chunk range or length is refused; the right ones are taken."""
    _, xorb = raw.put_xorb(write, [A, B])
    wrong = "11" * 32
    bad = [
        kit.shard_file([(xorb, [A, B], 0)], digest=wrong),
        kit.shard_file([(xorb, [A, B], 0)], proof=b"1" * 32),
        kit.shard_file([(xorb, [A, B], 0)], sha=wrong),
        kit.shard_file([(xorb, [A, B], 1)]),
        kit.shard_file([(xorb, [B], 0)]),
        kit.shard_file([(wrong, [A], 0)]),
    ]
    for entry, digest in bad:
        assert raw.put_shard(write, entry).status == 400
        assert raw.get(f"/cas/v2/reconstructions/{digest}", token=write).status == 404
    assert raw.put_shard(write, kit.shard_file([(xorb, [A, B], 0)])[0]).status == 200
    for body in (b"", b"nonsense", b"HFRepoMetaData" + bytes(100)):
        assert raw.request("POST", "/cas/v1/shards", body, token=write).status == 400


def test_one_bad_file_keeps_a_whole_shard_out(raw, write, kit):
    """Files of one shard are taken together or not at all."""
    _, xorb = raw.put_xorb(write, [A, B])
    good, digest = kit.shard_file([(xorb, [A], 0)])
    bad, _ = kit.shard_file([(xorb, [B], 1)], sha="22" * 32)
    assert raw.put_shard(write, good, bad).status == 400
    assert raw.get(f"/cas/v2/reconstructions/{digest}", token=write).status == 404


def test_a_file_that_was_uploaded_twice_differently_is_one_file(raw, write, kit):
    """The same content over other xorbs has the same hash, and reads the same."""
    digest, sha = raw.put_file(write, [A, B])
    _, xorb = raw.put_xorb(write, [C, A, B])
    entry, again = kit.shard_file([(xorb, [A, B], 1)])
    assert (raw.put_shard(write, entry).status, again) == (200, digest)
    raw.commit("me/cats", kit.put_large("a.bin", sha))
    assert raw.get(raw.get("/datasets/me/cats/resolve/main/a.bin").headers["Location"]).body == A + B


RANGES = {"bytes=0-0": (0, 1), "bytes=5-": (5, None), "bytes=-7": (-7, None), "bytes=8990-9010": (8990, 9011)}


@pytest.mark.parametrize("path", ["small.txt", "large.bin"])
def test_downloads_honour_ranges(raw, write, kit, path):
    """200 for all, 206 with Content-Range for a part; small files and large ones."""
    data = A + B
    _, sha = raw.put_file(write, [A, B])
    raw.commit("me/cats", kit.put_file("small.txt", data), kit.put_large("large.bin", sha))
    url = f"/datasets/me/cats/resolve/main/{path}"
    first = raw.get(url)
    url = first.headers["Location"] if first.status == 302 else url
    assert (raw.get(url).status, raw.get(url).body) == (200, data)
    for header, (start, end) in RANGES.items():
        part = raw.get(url, Range=header)
        assert (part.status, part.body) == (206, data[start:end])
        at = start % len(data)
        assert part.headers["Content-Range"] == f"bytes {at}-{at + len(part.body) - 1}/{len(data)}"


def test_the_first_answer_says_what_a_file_is(raw, write, kit, hub):
    """HEAD and GET of `resolve` name commit, ETag, size and Xet hash, and send to another host for the bytes."""
    digest, sha = raw.put_file(write, [A])
    raw.commit("me/cats", kit.put_large("a.bin", sha), kit.put_file("b.txt", b"text"))
    for method in ("HEAD", "GET"):
        answer = raw.request(method, "/datasets/me/cats/resolve/main/a.bin")
        assert answer.status == 302
        assert answer.headers["Location"].startswith(hub.endpoint.replace("127.0.0.1", "localhost") + "/cdn/")
        assert answer.headers["X-Repo-Commit"] == raw.head("me/cats")
        assert answer.headers["X-Linked-Size"] == str(len(A))
        assert answer.headers["X-Linked-ETag"] == answer.headers["ETag"] == f'"{sha}"'
        assert answer.headers["X-Xet-Hash"] == digest
        assert 'rel="xet-auth"' in answer.headers["Link"]
        small = raw.request(method, "/datasets/me/cats/resolve/main/b.txt")
        assert (small.status, small.headers["Content-Length"], small.headers["X-Xet-Hash"]) == (200, "4", None)
    missing = raw.request("HEAD", "/datasets/me/cats/resolve/main/c.txt")
    assert (missing.status, missing.code, missing.headers["X-Repo-Commit"]) == (
        404,
        "EntryNotFound",
        raw.head("me/cats"),
    )


def test_an_lfs_object_must_be_what_its_url_was_signed_for(raw, write):
    """A PUT of other bytes is refused, and is not there afterwards."""
    sha = sha256(A).hexdigest()
    batch = {"operation": "upload", "objects": [{"oid": sha, "size": len(A)}]}
    path = "/datasets/me/cats.git/info/lfs/objects/batch"
    href = raw.request("POST", path, batch).json["objects"][0]["actions"]["upload"]["href"]
    assert raw.request("PUT", href, A[1:] + b"!").status == 400
    assert raw.request("PUT", href.replace(sha[:4], "0000", 1), A).status == 403
    assert "actions" in raw.request("POST", path, batch).json["objects"][0]
    assert raw.request("PUT", href, A).status == 200
    assert "actions" not in raw.request("POST", path, batch).json["objects"][0]


def test_a_large_file_costs_no_more_memory_than_a_small_one(served, client):
    """The server's peak memory after 300 MB up and down, with and without Xet, stays near that after 30 MB."""
    hub = served()

    def move(size):
        for name, env in (("xet", {}), ("plain", {"HF_HUB_DISABLE_XET": "1"})):
            path = f"{name}-{size}.bin"
            client(hub.endpoint, "upload", repo="me/cats", path=path, seed=size + len(name), size=size, env=env)
            client(hub.endpoint, "download", repo="me/cats", path=path, env={"HF_HUB_DISABLE_XET": "1"})
            client(hub.endpoint, "download", repo="me/cats", path=path)
        return hub.peak_bytes()

    small = move(30 * MB)
    assert move(300 * MB) < small + 60 * MB
