"""Buckets: files without commits, for the clients that the repos have."""

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from pipeline.localhub import LocalHub

A, B = b"a" * 9000, b"b" * 5000
CLIENTS = Path(__file__).with_name("bucket_clients.py")


@pytest.fixture
def clients(client):
    """Run a function of bucket_clients.py as `client` does."""
    return partial(client, program=CLIENTS)


def make(raw, name, private=False):
    """Create a bucket and return its name."""
    answer = raw.request("POST", f"/api/buckets/{name}", {"visibility": "private" if private else "public"})
    assert answer.status == 200, answer.body
    return name


def token(raw, bucket, role="write"):
    """A token for the storage of a bucket."""
    answer = raw.get(f"/api/buckets/{bucket}/xet-{role}-token")
    assert answer.status == 200, answer.body
    return answer.json["accessToken"]


def add(path, xet, mtime=1_700_000_000_000):
    """A line that adds a file."""
    return {"type": "addFile", "path": path, "xetHash": xet, "mtime": mtime}


def copy(path, xet, kind, source):
    """A line that copies a file."""
    return {**add(path, xet), "type": "copyFile", "sourceRepoType": kind, "sourceRepoId": source}


def remove(path):
    """A line that deletes a file."""
    return {"type": "deleteFile", "path": path}


def batch(raw, bucket, *lines):
    """Send a batch."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return raw.request("POST", f"/api/buckets/{bucket}/batch", body, Content_Type="application/x-ndjson")


def put(raw, bucket, *paths, data=A):
    """Put the same bytes at some paths; returns their Xet hash."""
    xet, _ = raw.put_file(token(raw, bucket), [data])
    answer = batch(raw, bucket, *(add(path, xet) for path in paths))
    assert (answer.status, answer.json["failed"]) == (200, []), answer.body
    return xet


def tree(raw, bucket, prefix="", query=""):
    """The paths of a listing, page after page, folders with a slash at their end; and the number of pages."""
    url, paths, pages = f"/api/buckets/{bucket}/tree/{quote(prefix, safe='')}{query}", [], 0
    while url:
        answer = raw.get(url)
        assert answer.status == 200, answer.body
        paths += [row["path"] + "/" * (row["type"] == "directory") for row in answer.json]
        url = (answer.headers.get("Link") or "").partition(">")[0][1:]
        pages += 1
    return paths, pages


def test_buckets_are_made_found_moved_and_deleted(hub, clients):
    """create_bucket (also twice, also without a namespace), bucket_info, list_buckets, settings, move and delete_bucket."""
    assert clients(hub.endpoint, "manage", bucket="ns/cats") == [
        "ns/cats",
        True,
        "HfHubHTTPError",
        "local/mine",
        ["ns/cats", False, 0, 0],
        True,
        [["local/mine"], ["ns/cats-moved"]],
        ["ns/cats-moved"],
        ["BucketNotFoundError", "BucketNotFoundError"],
    ]


def test_files_come_back_as_they_went(hub, clients):
    """batch_bucket_files takes bytes, paths and empty files; list_bucket_tree and download_bucket_files give them back."""
    assert clients(hub.endpoint, "round_trip", bucket="ns/cats") == [[True, True], True, True, 4, True]


def test_the_file_system_of_clients_works_on_buckets(hub, clients):
    """HfFileSystem lists, globs, reads whole and in ranges, writes, copies and removes under hf://buckets/."""
    assert clients(hub.endpoint, "file_system", bucket="ns/cats") == [
        True,
        True,
        True,
        ["data/train"],
        ["copy.bin", "data-other/c.txt", "data/train/a.bin", "written.txt"],
        ["copy.bin", "data/train/a.bin"],
        [True, False, False, True],
        "written",
    ]


def test_copies_need_their_source_no_more(hub, clients):
    """copy_files from a dataset and between buckets, whose sources are then deleted; sync_bucket both ways."""
    assert clients(hub.endpoint, "copies", bucket="ns/cats") == [["all/small.txt"], "changed"]


def test_the_last_write_of_a_path_wins(hub, clients):
    """A file is replaced by what is added at its path, is counted once, and can come back after a deletion."""
    seen = [["first", 1, 5], ["the second", 1, 10], ["first", 1, 5]]
    assert clients(hub.endpoint, "overwrite", bucket="ns/cats") == [seen, "first"]


def test_what_a_batch_cannot_do_is_named_and_the_rest_stands(hub, clients, raw):
    """A batch that fails in part raises BucketBatchError from a 200, one that fails as a whole from a 422."""
    failed = [{"path": "bad.txt", "error": "file not found in source repo"}]
    told = clients(hub.endpoint, "failures", bucket="ns/cats", strange="ab" * 32)
    assert told == [[[200, failed], [422, failed]], ["good.txt"]]
    xet = put(raw, "ns/cats", "a.txt")
    answer = batch(raw, "ns/cats", add("../x", xet), remove("good.txt"), add("b.txt", "cd" * 32), add("c.txt", xet))
    assert answer.json["failed"] == [
        {"path": "../x", "error": "invalid path in repo '../x'"},
        {"path": "b.txt", "error": "file not found in Xet storage"},
    ]
    assert [answer.status, *(answer.json[key] for key in ("success", "processed", "succeeded"))] == [200, False, 4, 2]
    assert tree(raw, "ns/cats")[0] == ["a.txt", "c.txt"]


TREES = {
    ("", ""): ["a", "log", "log.txt", "log/a", "log/deep/b", "log/deep/c", "logs/d", "z/z"],
    ("log", ""): ["log", "log.txt", "log/a", "log/deep/b", "log/deep/c", "logs/d"],
    ("log", "?recursive=true"): ["log", "log.txt", "log/a", "log/deep/b", "log/deep/c", "logs/d"],
    ("log/", ""): ["log/a", "log/deep/b", "log/deep/c"],
    ("log/d", ""): ["log/deep/b", "log/deep/c"],
    ("", "?recursive=false"): ["a", "log", "log.txt", "log/", "logs/", "z/"],
    ("lo", "?recursive=false"): ["log", "log.txt", "log/", "logs/"],
    ("log", "?recursive=false"): ["log", "log.txt", "log/a", "log/deep/", "logs/"],
    ("log/", "?recursive=false"): ["log/a", "log/deep/"],
    ("nothing", ""): [],
}


def test_a_prefix_is_text_and_a_listing_is_recursive_unless_told(raw):
    """`log` lists `log.txt` and `logs/d`; without the parameter all levels come; without a match nothing, and no error."""
    put(raw, make(raw, "ns/cats"), *reversed(TREES["", ""]))
    assert {key: tree(raw, "ns/cats", *key)[0] for key in TREES} == TREES


def test_a_long_listing_comes_in_pages(raw):
    """2,500 files are three pages in path order, with and without folders; a page costs one link to the next."""
    names = [f"many/{i:04}.txt" if i % 2 else f"{i:04}/x" for i in range(2500)]
    put(raw, make(raw, "ns/cats"), *names)
    assert tree(raw, "ns/cats") == (sorted(names), 3)
    assert tree(raw, "ns/cats", "many") == (sorted(names)[1250:], 2)
    folders = [f"{i:04}/" for i in range(0, 2500, 2)]
    assert tree(raw, "ns/cats", "", "?recursive=false") == ([*folders, "many/"], 2)


def test_a_listing_says_what_and_when(raw):
    """Files have size, hash and both times, folders the time of their latest file; paths-info leaves out what is missing."""
    xet = put(raw, make(raw, "ns/cats"), "b/c.txt")
    put(raw, "ns/cats", "b/a.txt")
    later, file = raw.get("/api/buckets/ns/cats/tree").json
    assert file == {
        "type": "file",
        "path": "b/c.txt",
        "size": len(A),
        "xetHash": xet,
        "mtime": "2023-11-14T22:13:20.000Z",
        "uploadedAt": file["uploadedAt"],
    }
    (folder,) = raw.get("/api/buckets/ns/cats/tree?recursive=false").json
    assert folder == {"type": "directory", "path": "b", "uploadedAt": later["uploadedAt"]}
    assert later["uploadedAt"] > file["uploadedAt"]
    found = raw.request(
        "POST", "/api/buckets/ns/cats/paths-info", {"paths": ["no", "b", "b/c.txt"]}, Content_Type="application/json"
    )
    assert found.json == [file]


def test_deleting_is_done_once_and_may_be_said_twice(raw):
    """A deleted file is gone from the listing and the downloads; deleting it again, as a retry does, is no failure."""
    put(raw, make(raw, "ns/cats"), "a.txt", "b.txt")
    for _ in range(2):
        answer = batch(raw, "ns/cats", remove("a.txt"))
        assert (answer.status, answer.json["failed"]) == (200, [])
    assert tree(raw, "ns/cats")[0] == ["b.txt"]
    gone = raw.request("HEAD", "/buckets/ns/cats/resolve/a.txt")
    assert (gone.status, gone.code) == (404, "EntryNotFound")


def test_a_deleted_bucket_takes_its_files_and_tokens_along(raw, tmp_path):
    """Its routes answer 404, its tokens 401, no row stays behind, and a new bucket of the same name begins empty."""
    xet = put(raw, make(raw, "ns/cats"), "a.txt")
    old = token(raw, "ns/cats", "read")
    assert raw.request("DELETE", "/api/buckets/ns/cats").status == 200
    assert raw.get("/buckets/ns/cats/resolve/a.txt").code == "RepoNotFound"
    assert raw.get(f"/cas/v1/reconstructions/{xet}", token=old).status == 401
    with closing(sqlite3.connect(tmp_path / "hub" / "hub.sqlite3")) as conn:
        rows = [conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("bucket_files", "files")]
    assert rows == [0, 0]
    assert tree(raw, make(raw, "ns/cats")) == ([], 1)
    assert batch(raw, "ns/cats", add("a.txt", xet)).json["failed"][0]["error"] == "file not found in Xet storage"


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"type": "moveFile", "path": "a"}',
        b'{"type": "deleteFile", "path": null}',
        b'{"type": "addFile", "path": "a", "xetHash": "00"}',
        b'{"type": "addFile", "path": "a", "xetHash": "00", "mtime": 1e99}',
        b'{"type": "copyFile", "path": "a", "xetHash": "00", "mtime": 1}',
    ],
)
def test_a_malformed_batch_changes_nothing(raw, line):
    """One line that makes no sense is a 400 for the whole batch, whatever came before it."""
    put(raw, make(raw, "ns/cats"), "a.txt")
    answer = raw.request("POST", "/api/buckets/ns/cats/batch", json.dumps(remove("a.txt")).encode() + b"\n" + line)
    assert answer.status == 400
    assert tree(raw, "ns/cats")[0] == ["a.txt"]


def test_a_download_has_the_headers_and_ranges_of_repos(raw, hub):
    """HEAD and GET name hash, size and token route, and redirect to a URL that serves ranges, if its signature is right."""
    xet = put(raw, make(raw, "ns/cats"), "a b.txt", data=bytes(range(256)) * 20)
    for method in ("HEAD", "GET"):
        answer = raw.request(method, "/buckets/ns/cats/resolve/a%20b.txt", Range="bytes=1-3")
        assert answer.status == 302
        assert (answer.headers["X-Xet-Hash"], answer.headers["X-Linked-Size"]) == (xet, "5120")
        assert answer.headers["ETag"] == answer.headers["X-Linked-ETag"] == f'"{xet}"'
        auth = f'<{hub.endpoint}/api/buckets/ns/cats/xet-read-token>; rel="xet-auth"'
        assert answer.headers["Link"].startswith(auth)
        assert "X-Repo-Commit" not in answer.headers
    url = answer.headers["Location"]
    part = raw.get(url, Range="bytes=250-260")
    assert (part.status, part.headers["Content-Range"]) == (206, "bytes 250-260/5120")
    assert part.body == bytes([250, 251, 252, 253, 254, 255, 0, 1, 2, 3, 4])
    assert raw.get(url).body == bytes(range(256)) * 20
    assert raw.get(url, Range="bytes=5120-").status == 416
    assert raw.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status == 403


@pytest.fixture
def users(guarded, kit):
    """A raw client for each user, and `nobody` without a token; ann has the private bucket lab/secret and the open lab/open."""
    tokens = {account.name: account.token for account in kit.accounts} | {"nobody": None}
    made = {name: kit.raw(guarded.endpoint, token) for name, token in tokens.items()}
    make(made["ann"], "lab/secret", private=True)
    make(made["ann"], "lab/open")
    make(made["bob"], "bob/own")
    return made


ROUTES = (
    ("GET", "/api/buckets/{}"),
    ("GET", "/api/buckets/{}/tree"),
    ("GET", "/api/buckets/{}/tree/x"),
    ("POST", "/api/buckets/{}/paths-info"),
    ("POST", "/api/buckets/{}/batch"),
    ("PUT", "/api/buckets/{}/settings"),
    ("GET", "/api/buckets/{}/xet-read-token"),
    ("GET", "/api/buckets/{}/xet-write-token"),
    ("GET", "/buckets/{}/resolve/a.txt"),
    ("HEAD", "/buckets/{}/resolve/a.txt"),
    ("DELETE", "/api/buckets/{}"),
)


@pytest.mark.parametrize("who", ["bob", "nobody"])
def test_a_private_bucket_looks_like_one_that_does_not_exist(users, who):
    """Every route answers a stranger word for word as for a missing bucket, and answers the owner otherwise."""
    put(users["ann"], "lab/secret", "a.txt")
    for method, path in ROUTES:
        private, missing = (users[who].request(method, path.format(name)) for name in ("lab/secret", "lab/absent"))
        assert (private.status, private.code) == (missing.status, missing.code) == (404, "RepoNotFound"), path
        assert private.body.replace(b"secret", b"absent") == missing.body
        assert users["ann"].request(method, path.format("lab/secret")).status < 400, path


def test_a_list_of_buckets_has_what_the_user_may_read(users):
    """The members of an organization see its private buckets, others do not."""
    seen = {who: [row["id"] for row in raw.get("/api/buckets/lab").json] for who, raw in users.items()}
    assert seen["ann"] == seen["eve"] == seen["root"] == ["lab/open", "lab/secret"]
    assert seen["bob"] == seen["nobody"] == ["lab/open"]
    assert [row["id"] for row in users["bob"].get("/api/buckets/me").json] == ["bob/own"]
    assert users["nobody"].get("/api/buckets/me").json == []


@pytest.mark.parametrize("who", ["bob", "eve", "nobody"])
def test_only_writers_change_a_bucket(users, who):
    """Who reads an open bucket, as a stranger or by a role for reading, cannot change it, get a token to, or make one there."""
    put(users["ann"], "lab/open", "a.txt")
    raw = users[who]
    refused = [
        batch(raw, "lab/open", remove("a.txt")),
        raw.request("PUT", "/api/buckets/lab/open/settings", {"private": True}),
        raw.get("/api/buckets/lab/open/xet-write-token"),
        raw.request("DELETE", "/api/buckets/lab/open"),
        raw.request("POST", "/api/buckets/lab/new", {}),
    ]
    assert [answer.status for answer in refused] == [403] * len(refused)
    assert tree(raw, "lab/open")[0] == ["a.txt"]


def test_a_hash_is_no_key_to_another_bucket(users):
    """To know the hash of a private file is not enough to add it, to copy it, or to read it with one's own token."""
    xet, bob = put(users["ann"], "lab/secret", "a.txt"), users["bob"]
    answer = batch(
        bob, "bob/own", add("a", xet), copy("b", xet, "bucket", "lab/secret"), copy("c", xet, "bucket", "x/y")
    )
    assert (answer.status, len(answer.json["failed"])) == (422, 3)
    assert bob.get(f"/cas/v1/reconstructions/{xet}", token=token(bob, "bob/own", "read")).status == 404
    assert batch(users["ann"], "lab/open", copy("a", xet, "bucket", "lab/secret")).status == 200
    assert batch(bob, "bob/own", copy("a", xet, "bucket", "lab/open")).status == 200
    assert bob.get(f"/cas/v1/reconstructions/{xet}", token=token(bob, "bob/own", "read")).status == 200


def test_clients_see_the_errors_that_they_know(guarded, clients, users):
    """huggingface_hub raises BucketNotFoundError for what is private or missing, and says so when it may not write."""
    assert clients(guarded.endpoint, "errors", bucket="lab/secret", token="hf_bob") == ["BucketNotFoundError"] * 4
    assert clients(guarded.endpoint, "errors", bucket="lab/absent", token="hf_ann") == ["BucketNotFoundError"] * 4
    refused = [None, None, "HfHubHTTPError", "HfHubHTTPError"]
    assert clients(guarded.endpoint, "errors", bucket="lab/open", token="hf_eve") == refused


def test_an_acknowledged_batch_survives_a_kill(served, clients, kit):
    """What was put, replaced and deleted before SIGKILL is so after a restart, and reads the same."""
    hub = served()
    for path, seed in (("a.bin", 1), ("b.bin", 2), ("a.bin", 3)):
        clients(hub.endpoint, "upload", bucket="ns/cats", path=path, seed=seed, size=2_000_000)
    batch(kit.raw(hub.endpoint), "ns/cats", remove("b.bin"))
    before = kit.raw(hub.endpoint).get("/api/buckets/ns/cats/tree").json
    hub.kill()
    hub = served()
    assert kit.raw(hub.endpoint).get("/api/buckets/ns/cats/tree").json == before
    assert [row["path"] for row in before] == ["a.bin"]
    assert clients(hub.endpoint, "reads", bucket="ns/cats", path="a.bin", seed=3, size=2_000_000)


def test_a_folder_from_before_there_were_buckets_is_served(tmp_path, kit):
    """A Hub's folder without the table gets it at the next start, and keeps what it had."""
    with LocalHub(tmp_path / "hub") as hub:
        kit.raw(hub.endpoint).create("ns/cats")
    with closing(sqlite3.connect(tmp_path / "hub" / "hub.sqlite3", isolation_level=None)) as conn:
        conn.execute("DROP TABLE bucket_files")
    with LocalHub(tmp_path / "hub") as hub:
        raw = kit.raw(hub.endpoint)
        put(raw, make(raw, "ns/cats"), "a.txt")
        assert tree(raw, "ns/cats")[0] == ["a.txt"]
        assert raw.paths("ns/cats") == [".gitattributes"]


def test_a_bucket_and_a_repo_may_share_a_name_and_bytes(raw):
    """A dataset and a bucket called ns/cats are two; what one deletes the other keeps; a bucket takes no commits."""
    raw.create("ns/cats")
    put(raw, make(raw, "ns/cats"), "a.txt", data=B)
    assert raw.get("/api/datasets/ns/cats").json["id"] == raw.get("/api/buckets/ns/cats").json["id"]
    raw.put_file(raw.xet_token("ns/cats"), [B])
    raw.request("DELETE", "/api/repos/delete", {"name": "cats", "organization": "ns", "type": "dataset"})
    assert raw.get(raw.get("/buckets/ns/cats/resolve/a.txt").headers["Location"]).body == B
    assert raw.request("POST", "/api/buckets/ns/cats/commit/main", b"").status == 404
    create = {"name": "x", "organization": "ns", "type": "bucket"}
    assert raw.request("POST", "/api/repos/create", create).status == 400
