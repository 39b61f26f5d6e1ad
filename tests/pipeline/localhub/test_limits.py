"""What one request can ask for is bounded, and what is too much or makes no sense is said to be, by a status below 500."""

import json
from hashlib import sha256

import pytest

from pipeline.localhub.byte_store import ByteStore


@pytest.fixture
def raw(raw):
    """A raw client of a Hub with the repo me/cats."""
    raw.create("me/cats")
    return raw


LONG = ["%25" + "25" * 400, "a" * 256, "d/" + "é" * 128, "a/" * 513 + "a", "%2525252525252e", "%" + "25" * 6 + "2e"]
HIDDEN = [".GIT/config", "a/.Git/x", "a/.%67it/x"]


def test_a_path_is_short_and_encoded_a_few_times_at_most(raw, kit):
    """1,024 bytes, 255 in each part, five percent-decodings: more is refused wherever a client sends a path; so is .git."""
    for path in LONG + HIDDEN:
        assert raw.commit("me/cats", kit.put_file(path, b"x")).status == 400, path
        body = {"files": [{"path": path, "sample": "", "size": 1}]}
        assert raw.request("POST", "/api/datasets/me/cats/preupload/main", body).status == 400, path
        url = path.replace("%", "%25").replace("é", "%C3%A9")
        assert raw.get(f"/datasets/me/cats/resolve/main/{url}").status == 400, path
    fine = ["a" * 255, "é" * 127, "/".join(["d" * 99] * 10), "100%25%25.txt", "%252525.txt"]
    assert raw.commit("me/cats", *(kit.put_file(path, b"x") for path in fine)).status == 200


def test_the_paths_of_an_upload_are_read_for_who_may_upload(guarded, kit):
    """A stranger's paths are not looked at: the answer is that the repo is not there."""
    answer = kit.raw(guarded.endpoint).request("POST", "/api/datasets/a/b/preupload/main", {"files": [{"path": ".."}]})
    assert (answer.status, answer.code) == (404, "RepoNotFound")


def test_without_a_token_a_body_is_a_megabyte_at_most(guarded, kit):
    """What is parsed for someone without a token is bounded to 1 MB, with one to 8 MB: 413."""
    body = {"content": "x" * 2_000_000}
    assert kit.raw(guarded.endpoint).request("POST", "/api/validate-yaml", body).status == 413
    assert kit.raw(guarded.endpoint, "hf_bob").request("POST", "/api/validate-yaml", body).status == 200
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    path = "/api/datasets/a/b/paths-info/main"
    assert kit.raw(guarded.endpoint).request("POST", path, b"paths=" + b"x" * 2_000_000, **form).status == 413
    body = {"content": "x" * 9_000_000}
    assert kit.raw(guarded.endpoint, "hf_bob").request("POST", "/api/validate-yaml", body).status == 413


def test_a_regular_file_is_ten_megabytes_at_most(raw, kit, tmp_path):
    """More is for large storage: 413, before it is in memory, and nothing of the commit is kept."""
    assert raw.commit("me/cats", kit.put_file("a.txt", b"a" * 10_000_000)).status == 200
    packs = list((tmp_path / "hub" / "packs").glob("*/*"))
    for size in (10_000_001, 30_000_000):
        answer = raw.commit("me/cats", kit.put_file("b.txt", b"b"), kit.put_file("c.txt", b"c" * size))
        assert answer.status == 413
    assert raw.paths("me/cats") == [".gitattributes", "a.txt"]
    assert list((tmp_path / "hub" / "packs").glob("*/*")) == packs


def test_a_range_of_a_regular_file_reads_that_range(raw, kit, monkeypatch):
    """Two bytes of a file cost two bytes."""
    raw.commit("me/cats", kit.put_file("x.txt", b"x"), kit.put_file("a.txt", b"0123456789"))
    read, original = [], ByteStore.read

    def spy(self, folder, name, start, end):
        read.append(end - start)
        return original(self, folder, name, start, end)

    monkeypatch.setattr(ByteStore, "read", spy)
    assert raw.get("/datasets/me/cats/resolve/main/a.txt", Range="bytes=3-4").body == b"34"
    assert read == [2]


def test_an_lfs_upload_stops_at_its_size(raw):
    """Bytes past the size that the URL was signed for are not taken, whatever they are."""
    batch = {"operation": "upload", "objects": [{"oid": sha256(b"abc").hexdigest(), "size": 3}]}
    answer = raw.request("POST", "/datasets/me/cats.git/info/lfs/objects/batch", batch)
    href = answer.json["objects"][0]["actions"]["upload"]["href"]
    refused = raw.request("PUT", href, b"abc" * 1_000_000)
    assert (refused.status, "longer than the 3 bytes" in refused.json["error"]) == (400, True)
    assert raw.request("PUT", href, b"abc").status == 200


def test_a_shard_cannot_ask_for_more_work_than_files_of_half_a_terabyte(raw, kit):
    """A few bytes of a shard can name very many chunks: 413 before any is looked at."""
    token = raw.xet_token("me/cats")
    _, xorb = raw.put_xorb(token, [b"a" * 9000])
    entry, _ = kit.shard_file([(xorb, [b"a" * 9000], 0)])
    assert raw.put_shard(token, entry[:92] + (2**31).to_bytes(4, "little") + entry[96:]).status == 413
    assert raw.put_shard(token, entry).status == 200


def test_a_body_that_is_nested_without_end_is_refused(raw):
    """400, not a stack that overflows."""
    deep = b'{"a":' + b"[" * 100_000
    assert raw.request("POST", "/api/validate-yaml", deep).status == 400
    assert raw.request("POST", "/api/datasets/me/cats/commit/main", deep).status == 400
    answer = raw.request("POST", "/api/datasets/me/cats/paths-info/main", deep, Content_Type="application/json")
    assert answer.status == 400


NONSENSE = [
    ("DELETE", "/api/repos/delete", {"name": "cats", "organization": "me", "type": ["dataset"]}),
    ("POST", "/api/repos/move", {"fromRepo": "me/cats", "toRepo": "me/dogs", "type": {"a": 1}}),
    ("POST", "/api/repos/create", {"type": "dataset"}),
    ("POST", "/api/repos/create", {"type": "dataset", "name": None, "organization": "me"}),
    ("POST", "/api/repos/create", {"type": "dataset", "name": "x", "organization": "me", "private": "false"}),
    ("PUT", "/api/datasets/me/cats/settings", {"private": "false"}),
    ("GET", "/api/datasets/me/cats/commits/main?p=99999999999999999999", None),
    ("GET", "/api/datasets/me/cats/commits/main?p=" + "9" * 5000, None),
    ("GET", "/api/datasets/me/cats/commits/main?p=-1", None),
    ("GET", "/api/datasets/me/cats/commits/main?limit=-1", None),
    ("POST", "/api/datasets/me/cats/paths-info/main", {"paths": ["\ud800"]}),
    ("POST", "/api/datasets/me/cats/tag/main", {"tag": "a", "message": "\udfff"}),
    ("POST", "/api/datasets/me/cats/commit/main", {"key": "header", "value": {"summary": "\ud800"}}),
    ("POST", "/api/datasets/me/cats/preupload/main", {"files": [{"path": "a", "size": float("inf")}]}),
    ("POST", "/api/datasets/me/cats/preupload/main", {"files": [], "gitIgnore": 5}),
]


@pytest.mark.parametrize(("method", "path", "body"), NONSENSE)
def test_values_that_make_no_sense_are_the_clients_mistake(raw, method, path, body):
    """Types, numbers and half characters that nothing can be done with are 400, and change nothing."""
    sent = None if body is None else json.dumps(body).encode()
    assert raw.request(method, path, sent, Content_Type="application/json").status == 400
    assert not raw.get("/api/datasets/me/cats").json["private"]


MALFORMED = ["bytes=9-5", "bytes=-", "lines=1-2", "garbage", "bytes=0-1,4-5", "bytes=a-b", ""]
MISSING = ["bytes=10-", "bytes=-0", "bytes=" + "9" * 5000 + "-"]


@pytest.mark.parametrize("path", ["small.txt", "large.bin"])
def test_a_malformed_range_is_ignored_and_a_missing_one_is_416(raw, kit, path):
    """As RFC 9110 has it; a number of thousands of digits is a number."""
    _, sha = raw.put_file(raw.xet_token("me/cats"), [b"0123456789"])
    raw.commit("me/cats", kit.put_file("small.txt", b"0123456789"), kit.put_large("large.bin", sha))
    url = f"/datasets/me/cats/resolve/main/{path}"
    url = raw.get(url).headers["Location"] or url
    for header in MALFORMED:
        answer = raw.get(url, Range=header)
        assert (answer.status, answer.body) == (200, b"0123456789"), header
    assert [raw.get(url, Range=header).status for header in MISSING] == [416] * len(MISSING)
    assert raw.get(url, Range="bytes=8-" + "9" * 5000).body == b"89"
