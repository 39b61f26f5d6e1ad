"""A commit happens completely or not at all, on the parent that it was made for, and only inside its repo."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import product

import pytest

from pipeline.localhub.routes import ROUTER


@pytest.fixture(autouse=True)
def cats(raw):
    """A repo to commit to."""
    return raw.create("me/cats")


def test_a_stale_parent_is_refused_and_changes_nothing(raw, kit):
    """Of two commits with the same parent one lands, the other gets 412; on the new head it lands."""
    parent = raw.head("me/cats")
    assert raw.commit("me/cats", kit.put_file("a.txt", b"a"), parent=parent).status == 200
    stale = raw.commit("me/cats", kit.put_file("b.txt", b"b"), parent=parent)
    assert (stale.status, "A commit has happened since" in stale.json["error"]) == (412, True)
    assert raw.paths("me/cats") == [".gitattributes", "a.txt"]
    assert raw.commit("me/cats", kit.put_file("b.txt", b"b"), parent=raw.head("me/cats")).status == 200


def test_of_many_commits_at_once_on_one_parent_exactly_one_lands(raw, kit):
    """The check of the parent and the commit are one step."""
    parent = raw.head("me/cats")
    with ThreadPoolExecutor(8) as pool:
        lines = [kit.put_file(f"{index}.txt", b"x") for index in range(8)]
        statuses = list(pool.map(lambda line: raw.commit("me/cats", line, parent=parent).status, lines))
    assert sorted(statuses) == [200] + [412] * 7
    assert len(raw.paths("me/cats")) == 2


def test_commits_without_a_parent_all_land(raw, kit):
    """Without parentCommit each commit goes on top of the one before, and none is lost."""
    with ThreadPoolExecutor(8) as pool:
        lines = [kit.put_file(f"{index}.txt", b"x") for index in range(16)]
        statuses = list(pool.map(lambda line: raw.commit("me/cats", line).status, lines))
    assert statuses == [200] * 16
    assert len(raw.paths("me/cats")) == 17
    assert len(raw.get("/api/datasets/me/cats/commits/main").json) == 17


def test_a_commit_names_a_branch(raw, kit):
    """A missing branch is RevisionNotFound; a tag or an old commit is no branch."""
    missing = raw.commit("me/cats", kit.put_file("a.txt", b"a"), revision="nope")
    assert (missing.status, missing.code) == (404, "RevisionNotFound")
    raw.request("POST", "/api/datasets/me/cats/tag/main", {"tag": "v1"})
    assert raw.commit("me/cats", kit.put_file("a.txt", b"a"), revision="v1").status == 400
    assert raw.commit("me/cats", kit.put_file("a.txt", b"a"), revision=raw.head("me/cats")).status == 400


def test_an_empty_commit_is_a_commit(raw):
    """A header alone moves the branch, as on the Hub."""
    before = raw.head("me/cats")
    made = raw.commit("me/cats", parent=before)
    assert raw.head("me/cats") == made.json["commitOid"] != before


def test_a_commit_that_fails_in_the_middle_leaves_nothing(raw, kit, tmp_path):
    """When its last line does not apply, none of its lines did."""

    def rows():
        with closing(sqlite3.connect(tmp_path / "hub" / "hub.sqlite3")) as conn:
            tables = [
                conn.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
                for name in ("commits", "entries", "lines")
            ]
        return [*tables, raw.head("me/cats"), list((tmp_path / "hub" / "tmp").iterdir())]

    before = rows()
    lines = [kit.put_file("a.txt", b"a"), ("deletedFile", {"path": "absent.txt"})]
    failed = raw.commit("me/cats", *lines)
    assert (failed.status, failed.code) == (404, "EntryNotFound")
    assert rows() == before


def test_a_parent_may_be_given_by_the_start_of_its_hash(raw, kit):
    """Five digits or more of the head's sha are the head; fewer, or those of another commit, are a stale parent."""
    old = raw.head("me/cats")
    assert raw.commit("me/cats", kit.put_file("a.txt", b"a"), parent=old[:7]).status == 200
    new = raw.head("me/cats")
    assert raw.commit("me/cats", kit.put_file("a.txt", b"b"), parent=old[:7]).status == 412
    assert raw.commit("me/cats", kit.put_file("a.txt", b"b"), parent=new[:4]).status == 412
    assert raw.commit("me/cats", kit.put_file("a.txt", b"b"), parent=new[:5]).status == 200


def test_a_tag_does_not_move(raw, kit):
    """Neither a commit nor a squash may name a tag, in its short form or in full."""
    raw.request("POST", "/api/datasets/me/cats/tag/main", {"tag": "v1"})
    before = raw.head("me/cats", "v1")
    raw.commit("me/cats", kit.put_file("a.txt", b"a"))
    for name in ("v1", "refs%2Ftags%2Fv1"):
        assert raw.commit("me/cats", kit.put_file("b.txt", b"b"), revision=name).status == 400
        assert raw.request("POST", f"/api/datasets/me/cats/super-squash/{name}", {}).status == 400
    assert raw.head("me/cats", "v1") == before


def test_a_refused_commit_leaves_no_bytes(raw, kit, tmp_path):
    """The files of a commit that does not apply are gone at once."""
    before = list((tmp_path / "hub" / "packs").glob("*/*"))
    assert raw.commit("me/cats", kit.put_file("a.txt", b"a"), parent="0" * 40).status == 412
    assert raw.commit("me/cats", kit.put_file("a.txt", b"a"), ("deletedFile", {"path": "none"})).status == 404
    assert list((tmp_path / "hub" / "packs").glob("*/*")) == before


def test_operations_apply_in_their_order(raw, kit):
    """Delete then put gives the new file, put then delete gives none, and the last of two puts wins."""
    raw.commit("me/cats", kit.put_file("d/a.txt", b"1"), kit.put_file("b.txt", b"1"))
    lines = [
        ("deletedFolder", {"path": "d/"}),
        kit.put_file("d/a.txt", b"2"),
        kit.put_file("c.txt", b"3"),
        ("deletedFile", {"path": "c.txt"}),
        kit.put_file("b.txt", b"4"),
        kit.put_file("b.txt", b"5"),
    ]
    assert raw.commit("me/cats", *lines).status == 200
    assert raw.paths("me/cats") == [".gitattributes", "b.txt", "d/a.txt"]
    texts = [raw.get(f"/datasets/me/cats/resolve/main/{path}").body for path in ("b.txt", "d/a.txt")]
    assert texts == [b"5", b"2"]


def test_a_path_is_a_file_or_a_folder(raw, kit):
    """A file cannot be put where a folder is, nor into a file; replacing one by the other in one commit works."""
    raw.commit("me/cats", kit.put_file("a", b"file"), kit.put_file("d/x", b"file"))
    assert raw.commit("me/cats", kit.put_file("a/b", b"x")).status == 400
    assert raw.commit("me/cats", kit.put_file("d", b"x")).status == 400
    assert raw.commit("me/cats", kit.put_file("n", b"x"), kit.put_file("n/n", b"x")).status == 400
    assert raw.commit("me/cats", ("deletedFile", {"path": "a"}), kit.put_file("a/b", b"x")).status == 200
    assert raw.paths("me/cats") == [".gitattributes", "a/b", "d/x"]


def test_the_size_of_a_large_file_is_checked(raw, kit):
    """A commit that gives another size than the uploaded file has is refused."""
    _, sha = raw.put_file(raw.xet_token("me/cats"), [b"x" * 5000])
    assert raw.commit("me/cats", kit.put_large("a.bin", sha, 4999)).status == 400
    assert raw.commit("me/cats", kit.put_large("a.bin", sha, 5000)).status == 200


MALFORMED = [
    b"not json\n",
    b"{}\n",
    b"[1]\n",
    b'{"key": "header", "value": 3}\n',
    b'{"key": "fly", "value": {"path": "a"}}\n',
    b'{"key": "file", "value": {"path": "a", "content": "%%%", "encoding": "base64"}}\n',
    b'{"key": "file", "value": {"path": 5, "content": "", "encoding": "base64"}}\n',
    b'{"key": "lfsFile", "value": {"path": "a", "oid": "nope"}}\n',
]


def test_a_malformed_commit_is_refused_in_one_line(raw):
    """Whatever the body is, the answer is 400, and the branch stays."""
    before = raw.head("me/cats")
    for body in MALFORMED:
        answer = raw.request("POST", "/api/datasets/me/cats/commit/main", body)
        assert (answer.status, answer.json["error"].count("\n")) == (400, 0), body
    assert raw.head("me/cats") == before


JUNK = [
    b"",
    b"{}",
    b"[]",
    b"3",
    b"{",
    b'"x"',
    b'{"files": 3}',
    b'{"files": [{}]}',
    b'{"files": [3], "target": {}}',
    b"\xff",
]
JUNK += [b'{"operation": "upload", "objects": [{"oid": 1}]}', b'{"paths": {"a": 1}}', b'{"content": 5}', b'{"tag": {}}']


def test_no_request_makes_the_server_fail(raw):
    """Junk for every route is answered with what is wrong with it, never with a 500."""
    values = {"kind": "datasets", "ns": "me", "name": "cats", "rev": "main", "hash": "ab" * 32, "version": "v1"}
    values |= {"prefix": "default", "store": "xet", "oid": "cd" * 32, "buckets": "buckets", "num": "z"}
    token = raw.xet_token("me/cats")
    for route in ROUTER.routes:
        path = route.pattern.replace("{path*}", "x").format(**values) + "?p=x&limit=y&cursor=%25&expires=z&signature=0"
        for method, body, kind in product(
            route.methods, JUNK, ("application/json", "application/x-www-form-urlencoded")
        ):
            who = token if path.startswith("/cas") else None
            answer = raw.request(method, path, body, token=who, Content_Type=kind, Range="bytes=a-b")
            assert answer.status < 500, (method, path, body, answer.body)


BAD_PATHS = [
    "../x",
    "a/../../x",
    "/etc/passwd",
    "a//b",
    "./a",
    "a/.",
    "",
    "a\\b",
    "a\0b",
    "a\nb",
    "%2e%2e/x",
    "%252e%252e/x",
]
BAD_PATHS += ["..%2fx", "a/%2e%2e/b", "%2fetc/passwd", "a%5cb", "a%00b", ".git/config", "a/.git/x"]


def test_a_path_cannot_leave_its_repo(raw, kit):
    """Paths that climb, are absolute, or hide it in any number of encodings are refused wherever a client sends one."""
    before = raw.head("me/cats")
    for path in BAD_PATHS:
        assert raw.commit("me/cats", kit.put_file(path, b"x")).status == 400, path
        assert raw.commit("me/cats", ("deletedFolder", {"path": path})).status == 400, path
        body = {"files": [{"path": path, "sample": "", "size": 1}]}
        assert raw.request("POST", "/api/datasets/me/cats/preupload/main", body).status == 400, path
    assert raw.head("me/cats") == before


def test_a_download_cannot_leave_its_repo(raw):
    """The same in URLs, where encodings are undone once more."""
    for path in ["../x", "..%2f..%2fx", "%2e%2e/x", "%252e%252e/x", "%2fetc", "a%5cb", "a%00b", "%ff"]:
        assert raw.get(f"/datasets/me/cats/resolve/main/{path}").status == 400, path
        assert raw.get(f"/api/datasets/me/cats/tree/main/{path}").status == 400, path


BAD_NAMES = ["../x", "..%2Fx", "me/..", "me/%2e%2e", "me/a%2Fb", "me/a%00", "me/a%20b", "me/.x", "me/x.git.git"]


def test_a_repo_name_cannot_leave_the_root(raw):
    """A name that is no repo name is refused, in URLs and in bodies."""
    for name in BAD_NAMES:
        assert raw.get(f"/api/datasets/{name}/tree/main").status in {400, 404}, name
        owner, _, short = name.partition("/")
        body = {"name": short or owner, "organization": owner, "type": "dataset"}
        assert raw.request("POST", "/api/repos/create", body).status == 400, name


@pytest.mark.parametrize(
    "name", ["a..b", "a b", "-a", "a.lock", "refs/heads/x", "a~1", "a\\b", "/a", "a/", "a//b", "a%2e"]
)
def test_a_branch_or_tag_has_a_name_that_git_would_take(raw, name):
    """Other names are refused."""
    assert raw.request("POST", "/api/datasets/me/cats/tag/main", {"tag": name}).status == 400


def test_percent_signs_in_names_are_just_characters(raw, kit):
    """`100%.txt` and `a%20b.txt` are files like others."""
    names = ["100%.txt", "a%20b.txt", "ünï cödé.txt", "a+b&c=d#e?.txt"]
    assert raw.commit("me/cats", *(kit.put_file(name, name.encode()) for name in names)).status == 200
    assert sorted(raw.paths("me/cats")) == sorted([".gitattributes", *names])
    from urllib.parse import quote

    assert [raw.get(f"/datasets/me/cats/resolve/main/{quote(name)}").body for name in names] == [
        n.encode() for n in names
    ]
