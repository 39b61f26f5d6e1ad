"""Listings and histories are right for any sequence of commits and branches, and any page size."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.localhub.commits import Delete, Proposal, PutBlob, land
from pipeline.localhub.database import Database
from pipeline.localhub.repos import HEADS, Message, append_commit, create_repo, history, resolve, set_ref, squash
from pipeline.localhub.trees import Folder, all_entries, list_page

NAMES = st.sampled_from(["a", "a.b", "a0", "b", "é", "z-z"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
STEP = st.tuples(st.sampled_from(["main", "side"]), st.lists(st.tuples(PATHS, st.booleans()), max_size=6))


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One database for all examples; each makes a repo of its own."""
    made = Database(tmp_path_factory.mktemp("trees") / "hub.sqlite3")
    yield made
    made.close()


NUMBERS = count()


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=8), squash_at=st.none() | st.integers(0, 7), limit=st.integers(1, 4))
def test_every_commit_lists_the_files_that_it_had(database, steps, squash_at, limit):
    """Against a plain dict per branch: every commit ever made still lists its own files, folder by folder and page by page."""
    with database.write() as conn:
        repo = create_repo(conn, "dataset", f"me/r{next(NUMBERS)}", private=False)
        heads = {"main": append_commit(conn, repo, None, Message("first", "", "me"))}
        heads["side"] = heads["main"]
        models = {"main": {}, "side": {}}
        made = []
        for index, (branch, changes) in enumerate(steps):
            wanted, operations = dict(models[branch]), []
            for path, put in changes:
                if put and clash_free(wanted, path):
                    wanted[path] = f"{index}-{len(operations)}"
                    operations.append(PutBlob(path, wanted[path], index))
                elif not put and path in wanted:
                    del wanted[path]
                    operations.append(Delete(path, folder=False))
            heads[branch] = land(conn, repo, heads[branch], Proposal(operations=operations), "me")
            models[branch] = wanted
            if index == squash_at:
                heads[branch] = squash(conn, repo, heads[branch], Message("squashed", "", "me"))
                assert len(history(conn, heads[branch], 0, 100)) == 1
            made.append((heads[branch], wanted))
            set_ref(conn, repo, HEADS + branch, heads[branch].id)
            assert resolve(conn, repo, branch) == heads[branch]
        for commit, wanted in made:
            assert {entry.path: entry.oid for entry in all_entries(conn, commit)} == wanted
            assert listed(conn, commit, "", True, limit) == sorted(wanted) + folders_of(wanted)
            for folder in ["", *folders_of(wanted)]:
                assert listed(conn, commit, folder, False, limit) == children(wanted, folder)


def clash_free(wanted, path):
    """Whether a file can be put at a path: nothing above it is a file, nothing is below it."""
    above = path.split("/")
    parents = {"/".join(above[:depth]) for depth in range(1, len(above))}
    return not parents & set(wanted) and not any(other.startswith(path + "/") for other in wanted)


def folders_of(wanted):
    """Every folder of a set of paths."""
    return sorted({path[:at] for path in wanted for at in range(len(path)) if path[at] == "/"})


def children(wanted, folder):
    """The files, then the folders, directly in a folder."""
    start = folder + "/" if folder else ""
    inside = [path[len(start) :] for path in wanted if path.startswith(start)]
    files = sorted(start + name for name in inside if "/" not in name)
    return files + sorted({start + name.partition("/")[0] for name in inside if "/" in name})


def listed(conn, commit, folder, recursive, limit):
    """All pages of a listing: the files, then the folders, each in order; every page but the last is full."""
    items, seek = [], ""
    while True:
        page = list_page(conn, commit, folder, seek, recursive, limit)
        items += page.items
        if page.rest is None:
            files = [item.path for item in items if not isinstance(item, Folder)]
            assert files == sorted(files, key=str.encode)
            return sorted(files) + sorted(item.path for item in items if isinstance(item, Folder))
        assert len(page.items) >= limit
        seek = page.rest


def test_a_listing_is_paged_by_links(raw, kit):
    """A folder of 2,500 files comes in pages of 1,000 that link to the next, recursive or not, with last commits if asked."""
    raw.create("me/cats")
    raw.commit("me/cats", *(kit.put_file(f"data/{index:05}.txt", b"x") for index in range(2500)))
    for query in ("recursive=true", "recursive=false", "recursive=false&expand=true"):
        url, pages = f"/api/datasets/me/cats/tree/main/data?{query}", []
        while url:
            answer = raw.get(url)
            pages.append(answer.json)
            link = answer.headers.get("Link")
            url = link and link.partition(">")[0].lstrip("<")
        assert [len(page) for page in pages] == [1000, 1000, 500]
        assert [row["path"] for page in pages for row in page] == [f"data/{index:05}.txt" for index in range(2500)]
        assert all(("lastCommit" in row) == ("expand" in query) for page in pages for row in page)


def test_pages_of_a_listing_are_of_one_commit(raw, kit):
    """A commit between two pages changes nothing of the listing that was begun."""
    raw.create("me/cats")
    raw.commit("me/cats", *(kit.put_file(f"data/{index:05}.txt", b"x") for index in range(1500)))
    first = raw.get("/api/datasets/me/cats/tree/main/data")
    raw.commit("me/cats", ("deletedFolder", {"path": "data"}))
    rest = raw.get(first.headers["Link"].partition(">")[0].lstrip("<"))
    assert len(first.json) + len(rest.json) == 1500


def test_history_is_paged_by_links(raw):
    """All commits, newest first, a page at a time."""
    raw.create("me/cats")
    made = [raw.commit("me/cats").json["commitOid"] for _ in range(7)]
    url, found = "/api/datasets/me/cats/commits/main?limit=3", []
    while url:
        answer = raw.get(url)
        found.append([row["id"] for row in answer.json])
        link = answer.headers.get("Link")
        url = link and link.partition(">")[0].lstrip("<")
    assert [len(page) for page in found] == [3, 3, 2]
    assert [sha for page in found for sha in page][:7] == made[::-1]


def test_a_folder_that_is_not_there_is_not_found(raw):
    """The tree of a missing path is EntryNotFound; that of an empty repo is a list."""
    raw.create("me/cats")
    missing = raw.get("/api/datasets/me/cats/tree/main/nothing")
    assert (missing.status, missing.code) == (404, "EntryNotFound")
    raw.commit("me/cats", ("deletedFile", {"path": ".gitattributes"}))
    assert raw.get("/api/datasets/me/cats/tree/main").json == []
