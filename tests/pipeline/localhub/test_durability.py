"""What was acknowledged is there after kill -9, and what was not is not."""

import http.client
import socket
import threading
from hashlib import sha256
from urllib.parse import urlsplit

import pytest

from pipeline.errors import SetupError
from pipeline.localhub import LocalHub


def test_an_acknowledged_commit_survives_a_kill(served, kit, client):
    """Files of every kind, committed, then SIGKILL at once: after a restart they are all there and read the same."""
    hub = served()
    client(hub.endpoint, "upload", repo="me/cats", path="xet.bin", seed=1, size=2_000_000)
    client(hub.endpoint, "upload", repo="me/cats", path="lfs.bin", seed=2, size=9000, env={"HF_HUB_DISABLE_XET": "1"})
    raw = kit.raw(hub.endpoint)
    made = raw.commit("me/cats", kit.put_file("text.txt", b"text"))
    hub.kill()
    hub = served()
    raw = kit.raw(hub.endpoint)
    assert raw.head("me/cats") == made.json["commitOid"]
    assert raw.paths("me/cats") == [".gitattributes", "lfs.bin", "text.txt", "xet.bin"]
    assert raw.get("/datasets/me/cats/resolve/main/text.txt").body == b"text"
    for path in ("xet.bin", "lfs.bin"):
        sha = client(hub.endpoint, "download", repo="me/cats", path=path)
        assert raw.request("HEAD", f"/datasets/me/cats/resolve/main/{path}").headers["ETag"] == f'"{sha}"'


def test_an_unacknowledged_commit_leaves_nothing(served, kit, tmp_path):
    """A server that is killed while a commit is being sent has, after a restart, neither the commit nor its bytes."""
    hub = served()
    raw = kit.raw(hub.endpoint)
    raw.create("me/cats")
    before = raw.head("me/cats")
    address = urlsplit(hub.endpoint)
    with socket.create_connection((address.hostname, address.port)) as connection:
        head = f"POST /api/datasets/me/cats/commit/main HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 9000000\r\n\r\n"
        connection.sendall(head.encode() + b'{"key":"header","value":{"summary":"x"}}\n' + b" " * 4_000_000)
        while not list((tmp_path / "hub" / "tmp").iterdir()):
            pass
        hub.kill()
    hub = served()
    raw = kit.raw(hub.endpoint)
    assert raw.head("me/cats") == before
    assert not list((tmp_path / "hub" / "tmp").iterdir())
    assert len(list((tmp_path / "hub" / "packs").glob("*/*"))) == 1


@pytest.mark.parametrize("after", [3, 17, 40])
def test_a_kill_at_any_moment_loses_no_acknowledged_commit(served, kit, after):
    """Writers commit until the server is killed: history has all that were acknowledged, and each file of it reads."""
    hub = served()
    kit.raw(hub.endpoint).create("me/cats")
    acknowledged, enough = [], threading.Event()

    def work(who):
        raw = kit.raw(hub.endpoint)
        for turn in range(1000):
            try:
                answer = raw.commit("me/cats", kit.put_file(f"{who}/{turn}.txt", b"%d" % turn))
            except (OSError, http.client.HTTPException):  # killed before or within its answer
                return
            acknowledged.append((answer.json["commitOid"], f"{who}/{turn}.txt", b"%d" % turn))
            if len(acknowledged) >= after:
                enough.set()

    writers = [threading.Thread(target=work, args=(who,)) for who in range(3)]
    for writer in writers:
        writer.start()
    enough.wait(60)
    hub.kill()
    for writer in writers:
        writer.join()
    raw = kit.raw(served().endpoint)
    history = {row["id"] for row in raw.get("/api/datasets/me/cats/commits/main?limit=1000").json}
    assert history >= {sha for sha, _, _ in acknowledged}
    assert len(history) <= 1 + len(acknowledged) + len(writers)
    files = {path: raw.get(f"/datasets/me/cats/resolve/main/{path}").body for path in raw.paths("me/cats")[1:]}
    assert len(files) == len(history) - 1
    assert all(files[path] == data for _, path, data in acknowledged)


def test_bytes_without_a_transaction_are_swept_at_the_next_start(tmp_path, kit):
    """What was written for a transaction that never was is deleted; packs, xorbs and objects that are known stay."""
    root = tmp_path / "hub"
    with LocalHub(root) as hub:
        raw = kit.raw(hub.endpoint)
        raw.create("me/cats")
        raw.put_file(raw.xet_token("me/cats"), [b"x" * 9000])
        put_object(raw, "me/cats", b"object")
    known = stored(root)
    assert {path.parent.parent.name for path in known} == FOLDERS
    for folder in FOLDERS:
        (root / folder / "00").mkdir(exist_ok=True)
        (root / folder / "00" / sha256(b"").hexdigest()).write_bytes(b"left over")
    with LocalHub(root):
        pass
    assert stored(root) == known


def test_a_deleted_repo_gives_its_bytes_back_at_the_next_start(tmp_path, kit):
    """What only it held is gone; what another repo holds too, and xorbs, which clients remember, stay."""
    root, files = tmp_path / "hub", {}
    with LocalHub(root) as hub:
        raw = kit.raw(hub.endpoint)
        for repo, data in (("me/cats", b"cat"), ("me/dogs", b"dog")):
            raw.create(repo)
            token = raw.xet_token(repo)
            shas = [put_object(raw, repo, data), put_object(raw, repo, b"both"), raw.put_file(token, [data * 3000])[1]]
            files[repo] = [kit.put_file("a.txt", data), kit.put_file("b.txt", b"both")]
            files[repo] += [kit.put_large(f"{index}.bin", sha) for index, sha in enumerate(shas)]
            assert raw.commit(repo, *files[repo]).status == 200
        before = stored(root)
        raw.request("DELETE", "/api/repos/delete", {"name": "cats", "organization": "me", "type": "dataset"})
    with LocalHub(root) as hub:
        gone = sorted(path.parent.parent.name for path in before - stored(root))
        assert gone == ["lfs"]  # the pack of the first repo has b.txt, which the second holds too
        raw = kit.raw(hub.endpoint)
        for path, want in (
            ("a.txt", b"dog"),
            ("b.txt", b"both"),
            ("0.bin", b"dog"),
            ("1.bin", b"both"),
            ("2.bin", b"dog" * 3000),
        ):
            answer = raw.get(f"/datasets/me/dogs/resolve/main/{path}")
            body = raw.get(answer.headers["Location"]).body if answer.status == 302 else answer.body
            assert body == want, path
        raw.request("DELETE", "/api/repos/delete", {"name": "dogs", "organization": "me", "type": "dataset"})
    with LocalHub(root) as hub:
        assert {path.parent.parent.name for path in stored(root)} == {"xorbs"}
        raw = kit.raw(hub.endpoint)
        raw.create("me/cats")
        assert raw.get("/datasets/me/cats/resolve/main/.gitattributes").status == 200


FOLDERS = {"packs", "xorbs", "lfs"}


def stored(root):
    """The files that hold bytes."""
    return {path for path in root.rglob("*") if path.parent.parent.name in FOLDERS}


def put_object(raw, repo, data):
    """Upload an object without Xet; returns its sha256."""
    sha = sha256(data).hexdigest()
    batch = {"operation": "upload", "objects": [{"oid": sha, "size": len(data)}]}
    answer = raw.request("POST", f"/datasets/{repo}.git/info/lfs/objects/batch", batch)
    assert raw.request("PUT", answer.json["objects"][0]["actions"]["upload"]["href"], data).status == 200
    return sha


def test_a_hub_that_starts_again_knows_its_tokens_and_urls(tmp_path, kit):
    """Xet tokens and signed URLs outlive a restart of the server that made them."""
    with LocalHub(tmp_path / "hub") as hub:
        raw = kit.raw(hub.endpoint)
        raw.create("me/cats")
        token = raw.xet_token("me/cats")
        digest, _ = raw.put_file(token, [b"x" * 9000])
        plan = raw.get(f"/cas/v2/reconstructions/{digest}", token=token).json
        (entries,) = plan["xorbs"].values()
    with LocalHub(tmp_path / "hub") as hub:
        raw = kit.raw(hub.endpoint)
        assert raw.get(f"/cas/v2/reconstructions/{digest}", token=token).status == 200
        assert raw.get(entries[0]["url"].partition("/cdn/")[2].join(["/cdn/", ""])).body == kit.xorb_chunk(b"x" * 9000)


def test_a_root_is_served_by_one_process(tmp_path):
    """A second Hub on the same folder is refused; after the first has stopped it may start."""
    with LocalHub(tmp_path / "hub"), pytest.raises(SetupError, match="already served"):
        LocalHub(tmp_path / "hub").start()
    with LocalHub(tmp_path / "hub"):
        pass


def test_a_hub_that_was_stopped_has_no_endpoint(tmp_path):
    """Using a Hub before or after it runs says how to use it."""
    hub = LocalHub(tmp_path / "hub")
    with pytest.raises(SetupError, match="not running"):
        _ = hub.endpoint
