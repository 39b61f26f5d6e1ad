"""Unmodified huggingface_hub, hf_xet and datasets do with this Hub what they do with the real one."""


def test_repos_are_created_listed_moved_and_deleted(hub, client):
    """A repo can be made once, is found under its name, moves, and is gone when deleted."""
    name, same, twice, known, listed, missing, who = client(hub.endpoint, "create_and_delete", repo="me/cats")
    assert (name, same, twice, known) == ("me/cats", True, "HfHubHTTPError", True)
    assert (listed, missing, who) == (["me/cats-moved"], "RepositoryNotFoundError", "local")


def test_create_commit_applies_every_operation(hub, client):
    """Additions (text, empty, bytes, file objects), deletions (file, folder) and copies (here, from elsewhere) all land."""
    assert client(hub.endpoint, "every_operation", repo="me/cats") == [True, "change", "why", True]
    assert hub.counts()["lfs_put"] == 1
    assert hub.counts()["lfs_duplicate"] == 1


def test_branches_tags_and_pull_requests_keep_their_own_files(hub, client):
    """Each revision has the files that were committed to it, whatever happens on others; a squash keeps one commit."""
    texts, names, history, gone, again, pull = client(hub.endpoint, "refs_and_history", repo="me/cats")
    assert texts == {
        "main": ["2"],
        "v1": ["1"],
        "first": ["1"],
        "side/branch": ["1", "3"],
        "refs/pr/1": ["2", "4", "5"],
    }
    assert names == ["refs/heads/main", "refs/heads/side/branch", "refs/tags/v1", "refs/pr/1"]
    assert history == [3, 1]
    assert (gone, again, pull) == ("RevisionNotFoundError", "HfHubHTTPError", 1)


def test_pull_requests_are_opened_committed_to_and_made_ready(hub, client):
    """Drafts, discussions and commits with create_pr share their numbers; each pull request has a branch from main."""
    status, found, text, url, files, short = client(hub.endpoint, "pull_requests", repo="me/cats")
    assert found == [[3, "more", "open", True], [2, "a question", "open", False], [1, "please", "open", True]]
    assert (status, text, url) == ("draft", "why", f"{hub.endpoint}/datasets/me/cats/discussions/1")
    assert files == [[], ["a.txt"], ["c.txt"]]
    assert short == "BadRequestError"


def test_a_folder_is_uploaded_updated_and_downloaded(hub, client):
    """upload_folder honours its patterns, skips what is there, deletes what it is told; snapshot_download gives it all back."""
    assert client(hub.endpoint, "folders", repo="me/cats") == [True, 25, 5, True]


def test_the_file_system_lists_globs_reads_and_writes(hub, client):
    """HfFileSystem sees folders and files, reads ranges across the redirect, and writes."""
    listed, globbed, *same, size, written, exists = client(hub.endpoint, "file_system", repo="me/cats")
    assert listed == ["/data/b.txt", "/data/train"]
    assert globbed == ["/data/train/a.bin"]
    assert (same, size, written, exists) == ([True] * 4, 6_000_000, "written", False)
    assert hub.counts()["cdn_with_token"] == 0


def test_datasets_are_pushed_and_loaded(hub, client):
    """push_to_hub with configs and splits, then load_dataset of each, streaming and not, gives the rows."""
    files = client(hub.endpoint, "push_datasets", repo="me/texts")
    assert sum(path.endswith(".parquet") for path in files) == 8
    found = client(hub.endpoint, "load_datasets", repo="me/texts")
    rows = {"train": 1000, "test": 100}
    assert found == {
        f"{config} {split} {streaming}": [rows[split], f"{config} {split} {rows[split] - 1}"]
        for config in ("en", "fr")
        for split in rows
        for streaming in (True, False)
    }


def test_duckdb_queries_a_repo(hub, client):
    """SQL over hf://, through the file system that honours the endpoint (Polars' own hf:// knows only the real Hub)."""
    assert client(hub.endpoint, "query_with_duckdb", repo="me/numbers") == sum(range(1000))


def test_hf_xet_streams_up_and_down(hub, client):
    """A stream goes up in pieces and comes back whole, as a range, and unordered; the sha256 is the content's."""
    assert client(hub.endpoint, "xet_streams", repo="me/cats", size=80_000_000) == [True] * 4


def test_four_processes_upload_and_download_at_once(hub, client, raw):
    """Processes that commit to one branch at the same time all land, and read back what they wrote."""
    raw.create("me/cats")
    working = [client.start(hub.endpoint, "busy", repo="me/cats", who=who, rounds=3) for who in range(4)]
    assert [client.finish(process) for process in working] == [True] * 4
    assert len(raw.paths("me/cats")) == 1 + 4 * 3


def test_a_client_without_xet_uploads_and_downloads(hub, client):
    """With HF_HUB_DISABLE_XET=1 files go through the LFS batch API, and come back over plain HTTP."""
    env = {"HF_HUB_DISABLE_XET": "1"}
    client(hub.endpoint, "upload", repo="me/cats", path="a.bin", seed=1, size=3_000_000, env=env)
    plain = client(hub.endpoint, "download", repo="me/cats", path="a.bin", env=env)
    xet = client(hub.endpoint, "download", repo="me/cats", path="a.bin")
    assert plain == xet
    assert hub.counts()["lfs_put"] == 1
    assert hub.counts()["cas_xorb_put"] == hub.counts()["cas_reconstruction"] == 0


def test_a_client_without_xet_reads_what_another_uploaded_with_it(hub, client):
    """A file in Xet storage is put together by the server for clients that do not speak Xet."""
    client(hub.endpoint, "upload", repo="me/cats", path="a.bin", seed=1, size=9_000_000)
    plain = client(hub.endpoint, "download", repo="me/cats", path="a.bin", env={"HF_HUB_DISABLE_XET": "1"})
    assert hub.counts()["cas_reconstruction"] == 0
    assert plain == client(hub.endpoint, "download", repo="me/cats", path="a.bin")
    assert hub.counts()["cas_reconstruction"] == 1


def test_a_readme_with_broken_yaml_is_refused_before_anything_is_uploaded(hub, client):
    """validate-yaml tells the client, which raises."""
    assert client(hub.endpoint, "bad_readme", repo="me/cats") == "ValueError"
    assert hub.counts()["commit"] == 0
