"""Nobody sees, reads, writes or deduplicates against what is not theirs."""

import pytest

from pipeline.errors import OptionError
from pipeline.localhub import Account, LocalHub, parse_accounts

A, B, C = b"a" * 9000, b"b" * 9000, b"c" * 9000


@pytest.fixture
def users(guarded, kit):
    """A raw client for each user, and `nobody` without a token; ann has the private repo ann/secret."""
    tokens = {account.name: account.token for account in kit.accounts} | {"nobody": None}
    made = {name: kit.raw(guarded.endpoint, token) for name, token in tokens.items()}
    made["ann"].create("ann/secret", private=True)
    made["ann"].create("ann/open")
    made["bob"].create("bob/open")
    return made


READS = (
    ("GET", "/api/datasets/{}"),
    ("GET", "/api/datasets/{}/revision/main"),
    ("GET", "/api/datasets/{}/tree/main"),
    ("GET", "/api/datasets/{}/refs"),
    ("GET", "/api/datasets/{}/commits/main"),
    ("POST", "/api/datasets/{}/paths-info/main"),
    ("GET", "/api/datasets/{}/xet-read-token/main"),
    ("GET", "/api/datasets/{}/xet-write-token/main"),
    ("GET", "/datasets/{}/resolve/main/.gitattributes"),
    ("HEAD", "/datasets/{}/resolve/main/.gitattributes"),
    ("POST", "/api/datasets/{}/preupload/main"),
    ("POST", "/api/datasets/{}/commit/main"),
    ("POST", "/api/datasets/{}/branch/b"),
    ("POST", "/api/datasets/{}/super-squash/main"),
    ("PUT", "/api/datasets/{}/settings"),
    ("POST", "/datasets/{}.git/info/lfs/objects/batch"),
)


@pytest.mark.parametrize("who", ["bob", "nobody"])
def test_a_private_repo_looks_like_one_that_does_not_exist(users, who):
    """Every route answers a stranger word for word as for a missing repo, and answers the owner otherwise."""
    for method, path in READS:
        body = {"operation": "upload"} if method == "POST" else None
        private = users[who].request(method, path.format("ann/secret"), body)
        missing = users[who].request(method, path.format("ann/absent"), body)
        assert (private.status, private.code) == (missing.status, missing.code) == (404, "RepoNotFound"), path
        assert private.body.replace(b"secret", b"absent") == missing.body
        assert users["ann"].request(method, path.format("ann/secret"), body).code != "RepoNotFound", path


def test_private_repos_are_listed_only_to_those_who_may_read_them(users):
    """The list of repos has what the user sees, no more."""
    seen = {who: sorted(row["id"] for row in raw.get("/api/datasets").json) for who, raw in users.items()}
    assert seen["ann"] == seen["root"] == ["ann/open", "ann/secret", "bob/open"]
    assert seen["bob"] == seen["nobody"] == seen["eve"] == ["ann/open", "bob/open"]


def test_members_of_an_organization_share_its_private_repos(users):
    """Eve reads what ann put into lab in private, bob does not."""
    users["ann"].create("lab/data", private=True)
    assert [users[who].get("/api/datasets/lab/data").status for who in ("ann", "eve", "bob")] == [200, 200, 404]


def test_a_role_for_reading_cannot_write(users, kit):
    """Eve, who only reads, cannot create, commit, branch, delete, or get a token to write."""
    users["ann"].create("lab/data")
    eve = users["eve"]
    refused = [
        eve.request("POST", "/api/repos/create", {"name": "x", "organization": "eve", "type": "dataset"}),
        eve.commit("lab/data", kit.put_file("a.txt", b"a")),
        eve.request("POST", "/api/datasets/lab/data/branch/b", {}),
        eve.request("DELETE", "/api/repos/delete", {"name": "data", "organization": "lab", "type": "dataset"}),
        eve.get("/api/datasets/lab/data/xet-write-token/main"),
    ]
    assert [answer.status for answer in refused] == [403] * len(refused)
    assert users["ann"].paths("lab/data") == [".gitattributes"]


def test_a_user_writes_only_in_namespaces_of_their_own(users, kit):
    """Bob cannot commit to ann's public repo nor move his repo into her namespace; the administrator can write there."""
    assert users["bob"].commit("ann/open", kit.put_file("a.txt", b"a")).status == 403
    move = {"fromRepo": "bob/open", "toRepo": "ann/taken", "type": "dataset"}
    assert users["bob"].request("POST", "/api/repos/move", move).status == 403
    assert users["root"].commit("ann/open", kit.put_file("a.txt", b"a")).status == 200


def test_a_token_that_nobody_has_is_refused(users):
    """A wrong token is an error, not an anonymous visit."""
    answer = users["nobody"].get("/api/datasets/ann/open", token="hf_guess")
    assert (answer.status, answer.headers["X-Error-Message"]) == (401, "Invalid credentials in Authorization header")
    assert users["nobody"].get("/api/whoami-v2").status == 401


def test_tokens_are_not_stored_or_shown(users, guarded, tmp_path):
    """No file under the root, and no text of an account, has a token in it."""
    assert not any(b"hf_ann" in path.read_bytes() for path in (tmp_path / "hub").rglob("*") if path.is_file())
    assert "hf_x" not in repr(Account(name="x", token="hf_x"))


def test_a_token_to_read_storage_cannot_add_to_it(users):
    """Xorbs and shards need a token for writing."""
    token = users["ann"].xet_token("ann/open", "read")
    assert users["ann"].put_xorb(token, [A])[0].status == 403
    assert users["ann"].put_shard(token).status == 403


def test_a_file_is_reconstructed_only_for_a_repo_that_holds_it(users):
    """The hash of a private file is worth nothing with a token for another repo, even of the same user."""
    ann = users["ann"]
    digest, _ = ann.put_file(ann.xet_token("ann/secret"), [A, B])
    for version in ("v1", "v2"):
        path = f"/cas/{version}/reconstructions/{digest}"
        assert ann.get(path, token=ann.xet_token("ann/secret", "read")).status == 200
        assert ann.get(path, token=ann.xet_token("ann/open")).status == 404
        assert users["bob"].get(path, token=users["bob"].xet_token("bob/open")).status == 404
        assert ann.get(path, token="hf_ann").status == 401


def test_a_shard_cannot_name_xorbs_that_its_user_may_not_read(users, kit):
    """Bob knows everything about ann's private xorb but its bytes: his shard is refused as if the xorb did not exist."""
    ann, bob = users["ann"], users["bob"]
    _, name = ann.put_xorb(ann.xet_token("ann/secret"), [A, B])
    refused = bob.put_shard(bob.xet_token("bob/open"), kit.shard_file([(name, [A, B], 0)])[0])
    assert (refused.status, f"unknown xorb {name}" in refused.json["error"]) == (400, True)


def test_whoever_has_the_bytes_may_use_the_xorb(users, kit):
    """When bob uploads the same xorb himself, it is his too."""
    ann, bob = users["ann"], users["bob"]
    digest, _ = ann.put_file(ann.xet_token("ann/secret"), [A, B])
    mine, _ = bob.put_file(bob.xet_token("bob/open"), [A, B])
    assert mine == digest
    assert bob.get(f"/cas/v2/reconstructions/{digest}", token=bob.xet_token("bob/open")).status == 200


def test_a_commit_cannot_name_what_was_not_uploaded_to_its_repo(users, kit):
    """The sha256 of a private file does not bring it into another repo."""
    ann, bob = users["ann"], users["bob"]
    _, sha = ann.put_file(ann.xet_token("ann/secret"), [A])
    assert bob.commit("bob/open", kit.put_large("stolen.bin", sha, len(A))).status == 400
    assert ann.commit("ann/secret", kit.put_large("mine.bin", sha, len(A))).status == 200


def test_copies_between_repos_need_the_right_to_read_the_source(users, kit):
    """Bob can copy what is in a public repo of ann's, not what is in a private one."""
    ann, bob = users["ann"], users["bob"]
    for repo in ("ann/open", "ann/secret"):
        digest, sha = ann.put_file(ann.xet_token(repo), [A])
        ann.commit(repo, kit.put_large("a.bin", sha))
    files = [{"xetHash": digest, "sha256": sha, "filename": "a.bin"}]
    wish = {"target": {"type": "dataset", "name": "bob/open"}, "files": files}
    assert bob.request("POST", "/api/datasets/ann/secret/lfs-files/duplicate", wish).status == 404
    assert bob.request("POST", "/api/datasets/ann/open/lfs-files/duplicate", wish).json == {"failed": []}
    assert bob.commit("bob/open", kit.put_large("a.bin", sha)).status == 200


def test_deduplication_answers_only_with_chunks_that_the_user_may_read(users):
    """The first chunk of ann's private file is found by ann, not by bob or anonymously."""
    from pipeline.localhub.hashing import chunk_hash, to_hex

    ann, bob, nobody = users["ann"], users["bob"], users["nobody"]
    ann.put_file(ann.xet_token("ann/secret"), [A, B])
    path = f"/cas/v1/chunks/default/{to_hex(chunk_hash(A))}"
    assert ann.get(path, token=ann.xet_token("ann/open")).status == 200
    assert bob.get(path, token=bob.xet_token("bob/open")).status == 404
    assert nobody.get(path, token=nobody.xet_token("ann/open", "read")).status == 404


def test_deduplication_does_not_tell_what_a_private_file_is_made_of(users, kit):
    """A private file over a public xorb is not found by its chunks, though the xorb may be read."""
    from pipeline.localhub.hashing import chunk_hash, to_hex

    ann, bob = users["ann"], users["bob"]
    _, xorb = ann.put_xorb(ann.xet_token("ann/open"), [A, B])
    assert ann.put_shard(ann.xet_token("ann/secret"), kit.shard_file([(xorb, [B], 1)])[0]).status == 200
    path = f"/cas/v1/chunks/default/{to_hex(chunk_hash(B))}"
    assert bob.get(path, token=bob.xet_token("bob/open")).status == 404
    assert ann.get(path, token=ann.xet_token("ann/open")).status == 200


def test_a_public_file_does_not_open_the_rest_of_a_private_xorb(users, kit):
    """A public file uses one chunk of a private xorb: others get that chunk, and neither the others nor the xorb's layout."""
    from pipeline.localhub.hashing import chunk_hash, to_hex

    ann, bob = users["ann"], users["bob"]
    _, xorb = ann.put_xorb(ann.xet_token("ann/secret"), [A, B, C])
    entry, digest = kit.shard_file([(xorb, [B], 1)])
    assert ann.put_shard(ann.xet_token("ann/open"), entry).status == 200
    plan = bob.get(f"/cas/v1/reconstructions/{digest}", token=bob.xet_token("ann/open", "read")).json
    (fetch,) = plan["fetch_info"][xorb]
    assert bob.get(fetch["url"]).body == kit.xorb_chunk(B)
    assert bob.get(fetch["url"], Range="bytes=0-100").status == 403
    assert bob.get(f"/cas/v1/chunks/default/{to_hex(chunk_hash(B))}", token=bob.xet_token("bob/open")).status == 404
    assert bob.put_shard(bob.xet_token("bob/open"), kit.shard_file([(xorb, [A, B], 0)])[0]).status == 400


def test_xet_tokens_expire(tmp_path, kit):
    """A token past its time is refused, and one that was tampered with at any time."""
    with LocalHub(tmp_path / "hub", token_ttl_s=0) as hub:
        raw = kit.raw(hub.endpoint)
        raw.create("me/cats")
        token = raw.xet_token("me/cats")
        answer, _ = raw.put_xorb(token, [A])
        assert (answer.status, answer.json["error"]) == (401, "the Xet token has expired")
        assert raw.put_xorb(token[:-4] + "AAAA", [A])[0].json["error"] == "invalid Xet token"
        assert raw.put_xorb("", [A])[0].status == 401


def test_signed_urls_expire(tmp_path, kit):
    """Links to the second host are good for a while and for what they were signed for, only."""
    with LocalHub(tmp_path / "hub", url_ttl_s=0) as hub:
        raw = kit.raw(hub.endpoint)
        raw.create("me/cats")
        digest, sha = raw.put_file(raw.xet_token("me/cats"), [A])
        raw.commit("me/cats", kit.put_large("a.bin", sha))
        link = raw.get("/datasets/me/cats/resolve/main/a.bin").headers["Location"]
        plan = raw.get(f"/cas/v2/reconstructions/{digest}", token=raw.xet_token("me/cats")).json
        (entries,) = plan["xorbs"].values()
        for url in (link, entries[0]["url"]):
            assert raw.get(url).json["error"] == "the URL has expired"
            assert raw.get(url.replace("expires=", "expires=9")).json["error"] == "the URL is not signed by this server"


def test_a_token_does_not_outlive_its_repo(raw, kit):
    """After a repo is deleted and made again, tokens for the old one are refused."""
    raw.create("me/cats")
    token = raw.xet_token("me/cats")
    raw.request("DELETE", "/api/repos/delete", {"name": "cats", "organization": "me", "type": "dataset"})
    raw.create("me/cats")
    assert raw.put_xorb(token, [A])[0].status == 401


def test_what_was_uploaded_once_can_be_built_on_after_its_repo_is_gone(raw, kit):
    """Clients remember which xorbs they uploaded; deleting a repo does not make their next upload fail."""
    raw.create("me/cats")
    _, xorb = raw.put_xorb(raw.xet_token("me/cats"), [A])
    raw.request("DELETE", "/api/repos/delete", {"name": "cats", "organization": "me", "type": "dataset"})
    raw.create("me/dogs")
    assert raw.put_shard(raw.xet_token("me/dogs"), kit.shard_file([(xorb, [A], 0)])[0]).status == 200


def test_without_accounts_everyone_is_one_user(raw, kit):
    """Any token, or none, is the user `local`, who writes to every namespace."""
    assert {raw.get("/api/whoami-v2", token=token).json["name"] for token in (None, "a", "hf_b")} == {"local"}
    raw.create("any/thing", private=True)
    assert raw.get("/api/datasets/any/thing", token="other").status == 200


def test_without_accounts_the_hub_does_not_leave_the_machine(tmp_path):
    """Binding to another address than loopback demands accounts."""
    with pytest.raises(OptionError, match=r"0\.0\.0\.0.*give accounts"):
        LocalHub(tmp_path, host="0.0.0.0")
    LocalHub(tmp_path, host="0.0.0.0", accounts=[Account(name="x", token="hf_x")])


def test_without_accounts_web_pages_cannot_use_the_hub(raw):
    """A request for another host name, or from another site's page, is refused."""
    assert raw.get("/api/whoami-v2", Host="evil.example:80").status == 403
    assert raw.get("/api/whoami-v2", Origin="http://evil.example:80").status == 403
    assert raw.get("/api/whoami-v2", Origin="http://evil.example").status == 403
    assert raw.get("/api/whoami-v2", Origin="null").status == 403
    assert raw.get("/api/whoami-v2", Origin=raw.endpoint).status == 200


@pytest.mark.parametrize(
    "data",
    [
        {},
        ["ann"],
        [{"name": "ann"}],
        [{"name": "ann", "token": "t", "password": "p"}],
        [{"name": "ann", "token": "t", "role": "king"}],
        [{"name": "../ann", "token": "t"}],
        [{"name": "ann", "token": "t"}, {"name": "bob", "token": "t"}],
        [{"name": "ann", "token": ""}],
        [{"name": "ann", "token": 5}],
        [{"name": "ann", "token": "t", "orgs": "lab"}],
    ],
)
def test_accounts_that_make_no_sense_are_refused(data, tmp_path):
    """An accounts file is checked when it is read, and the message does not repeat a token."""
    with pytest.raises(OptionError):
        LocalHub(tmp_path, accounts=parse_accounts(data))


def test_clients_see_the_errors_that_they_know(guarded, client, users):
    """huggingface_hub raises its own exceptions for what is private, missing, or not to be written."""
    private = client(guarded.endpoint, "error_of", repo="ann/secret", token="hf_bob")
    assert private == ["RepositoryNotFoundError"] * 3
    assert client(guarded.endpoint, "error_of", repo="ann/secret", token=None) == ["RepositoryNotFoundError"] * 3
    missing = client(guarded.endpoint, "error_of", repo="ann/open", token="hf_ann", revision="nope")
    assert missing == ["RevisionNotFoundError"] * 3
    public = client(guarded.endpoint, "error_of", repo="ann/open", token="hf_bob")
    assert public == [None, "RemoteEntryNotFoundError", "HfHubHTTPError"]
