"""hf_xet remembers what it uploaded, by the storage's address: so an address is for one user of one Hub."""

from pipeline.localhub import LocalHub

MB = 1_000_000


def test_two_users_can_share_a_cache(guarded, client, kit):
    """After ann has uploaded a file in private, bob uploads the same one from the same machine, twice."""
    kit.raw(guarded.endpoint, "hf_ann").create("ann/secret", private=True)
    for token, repo, path in [("hf_ann", "ann/secret", "a"), ("hf_bob", "bob/x", "a"), ("hf_bob", "bob/x", "b")]:
        client(guarded.endpoint, "upload", home="shared", token=token, repo=repo, path=path, seed=1, size=3 * MB)
    assert client(guarded.endpoint, "download", token="hf_bob", repo="bob/x", path="b")


def test_a_new_hub_can_take_the_address_of_an_old_one(tmp_path, client):
    """A client that remembers what the old Hub had uploads it again to the new one."""
    port = 0
    for root in ("old", "new"):
        with LocalHub(tmp_path / root, port=port) as hub:
            client(hub.endpoint, "upload", home="same", repo="me/cats", path="a", seed=1, size=3 * MB)
            port = int(hub.endpoint.rpartition(":")[2])


def test_the_storage_has_one_address_per_user_and_hub(guarded, kit, tmp_path):
    """It stays the same for all repos of a user and after a restart, and differs between users and between Hubs."""

    def address(hub, token, repo):
        url = kit.raw(hub.endpoint, token).get(f"/api/datasets/{repo}/xet-read-token/main").json["casUrl"]
        assert url.startswith(hub.endpoint)
        return url.removeprefix(hub.endpoint)

    kit.raw(guarded.endpoint, "hf_ann").create("ann/one")
    kit.raw(guarded.endpoint, "hf_ann").create("ann/two")
    ann = address(guarded, "hf_ann", "ann/one")
    assert ann == address(guarded, "hf_ann", "ann/two") != address(guarded, "hf_bob", "ann/one")
    guarded.stop()
    names = []
    for root in ("hub", "hub", "other"):
        with LocalHub(tmp_path / root, accounts=kit.accounts) as hub:
            raw = kit.raw(hub.endpoint, "hf_ann")
            if root == "other":
                raw.create("ann/one")
            names.append(address(hub, "hf_ann", "ann/one"))
    assert names[0] == names[1] == ann != names[2]


def test_uploading_does_not_tell_what_others_have(guarded, kit):
    """Bob is told that a xorb and a file are new, though ann has both in private; the second time they are not new."""
    ann, bob = kit.raw(guarded.endpoint, "hf_ann"), kit.raw(guarded.endpoint, "hf_bob")
    chunks = [b"a" * 9000, b"b" * 9000]
    ann.create("ann/secret", private=True)
    bob.create("bob/open")
    ann.put_file(ann.xet_token("ann/secret"), chunks)
    token = bob.xet_token("bob/open")
    said = []
    for _ in range(2):
        answer, xorb = bob.put_xorb(token, chunks)
        said.append((answer.json["was_inserted"], bob.put_shard(token, kit.shard_file([(xorb, chunks, 0)])[0]).json))
    assert said == [(True, {"result": 1}), (False, {"result": 0})]
