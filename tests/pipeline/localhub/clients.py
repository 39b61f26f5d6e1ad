"""What unmodified clients do, one function per scenario; run as a program, in a process and with caches of its own.

python clients.py FUNCTION '{"argument": value}'     prints the function's result as JSON
"""

import io
import json
import os
import random
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

REPO = {"repo_type": "dataset"}


def noise(seed, size):
    """`size` bytes that do not compress and that everyone with the seed has."""
    source = random.Random(seed)
    return b"".join(source.randbytes(min(size - start, 10**8)) for start in range(0, size, 10**8))


def api():
    """A client of the Hub in the environment."""
    from huggingface_hub import HfApi

    return HfApi()


def digest_of(path):
    """The sha256 of a file."""
    return sha256(Path(path).read_bytes()).hexdigest()


def hub_error(call, *args, **kwargs):
    """The name of the exception that a call raises."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        call(*args, **kwargs)
    except (HfHubHTTPError, ValueError) as err:
        return type(err).__name__
    return None


def create_and_delete(repo):
    """Repos come and go, with their errors."""
    hub = api()
    url = hub.create_repo(repo, **REPO)
    again = hub.create_repo(repo, exist_ok=True, **REPO)
    twice = hub_error(hub.create_repo, repo, **REPO)
    known = hub.repo_exists(repo, **REPO)
    moved = repo + "-moved"
    hub.move_repo(from_id=repo, to_id=moved, **REPO)
    listed = [info.id for info in hub.list_datasets(author=repo.split("/")[0])]
    hub.delete_repo(moved, **REPO)
    missing = hub_error(hub.dataset_info, moved)
    return [url.repo_id, str(again) == str(url), twice, known, listed, missing, hub.whoami()["name"]]


def every_operation(repo):
    """create_commit with additions of every kind, deletions of files and folders, and copies within and across repos."""
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

    hub = api()
    for name in (repo, repo + "-source"):
        hub.create_repo(name, **REPO)
    large = noise(1, 3_000_000)
    adds = [
        CommitOperationAdd("text.txt", b"some text"),
        CommitOperationAdd("empty.txt", b""),
        CommitOperationAdd("data/large.bin", large),
        CommitOperationAdd("old/one.txt", b"1"),
        CommitOperationAdd("old/deep/two.txt", b"2"),
        CommitOperationAdd("gone.txt", b"gone"),
    ]
    hub.create_commit(repo, adds, commit_message="add", **REPO)
    from_object = [CommitOperationAdd("data/object.bin", io.BytesIO(large[::-1]))]
    hub.create_commit(repo, from_object, commit_message="add an object", **REPO)
    other = noise(2, 1_000_000)
    hub.upload_file(path_or_fileobj=other, path_in_repo="other.bin", repo_id=repo + "-source", **REPO)
    source = {"src_repo_id": repo + "-source", "src_repo_type": "dataset"}
    changes = [
        CommitOperationCopy("data/large.bin", "copy/large.bin"),
        CommitOperationCopy("text.txt", "copy/text.txt"),
        CommitOperationCopy("other.bin", "copy/other.bin", **source),
        CommitOperationDelete("gone.txt"),
        CommitOperationDelete("old/"),
    ]
    done = hub.create_commit(repo, changes, commit_message="change", commit_description="why", **REPO)
    want = {
        "text.txt": b"some text",
        "empty.txt": b"",
        "data/large.bin": large,
        "data/object.bin": large[::-1],
        "copy/large.bin": large,
        "copy/text.txt": b"some text",
        "copy/other.bin": other,
    }
    last = hub.list_repo_commits(repo, **REPO)[0]
    same = {path: sha256(data).hexdigest() for path, data in want.items()} == digests(repo)
    return [same, last.title, last.message, last.commit_id == done.oid]


def digests(repo):
    """The sha256 of each file of a repo but `.gitattributes`, downloaded one by one."""
    hub = api()
    paths = [path for path in hub.list_repo_files(repo, **REPO) if path != ".gitattributes"]
    return {path: digest_of(hub.hf_hub_download(repo, path, **REPO)) for path in paths}


def refs_and_history(repo):
    """Branches, tags, pull requests, revisions, history, squash."""
    from huggingface_hub import CommitOperationAdd

    hub = api()
    hub.create_repo(repo, **REPO)
    first = hub.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=repo, **REPO).oid
    hub.create_tag(repo, tag="v1", tag_message="one", **REPO)
    hub.create_branch(repo, branch="side/branch", revision=first, **REPO)
    hub.upload_file(path_or_fileobj=b"2", path_in_repo="a.txt", repo_id=repo, **REPO)
    hub.upload_file(path_or_fileobj=b"3", path_in_repo="b.txt", repo_id=repo, revision="side/branch", **REPO)
    add = [CommitOperationAdd("c.txt", b"4")]
    pull = hub.create_commit(repo, add, commit_message="please", create_pr=True, **REPO)
    hub.upload_file(path_or_fileobj=b"5", path_in_repo="d.txt", repo_id=repo, revision="refs/pr/1", **REPO)
    texts = {}
    for revision in ("main", "v1", first, "side/branch", "refs/pr/1"):
        texts[revision] = [
            Path(hub.hf_hub_download(repo, path, revision=revision, **REPO)).read_text()
            for path in hub.list_repo_files(repo, revision=revision, **REPO)
            if path.endswith(".txt")
        ]
    texts["first"] = texts.pop(first)
    refs = hub.list_repo_refs(repo, include_pull_requests=True, **REPO)
    names = [ref.ref for ref in refs.branches + refs.tags + refs.pull_requests]
    before = len(hub.list_repo_commits(repo, **REPO))
    hub.super_squash_history(repo, **REPO)
    after = len(hub.list_repo_commits(repo, **REPO))
    hub.delete_tag(repo, tag="v1", **REPO)
    hub.delete_branch(repo, branch="side/branch", **REPO)
    gone = hub_error(hub.dataset_info, repo, revision="v1")
    again = hub_error(hub.create_branch, repo, branch="main", **REPO)
    return [texts, names, [before, after], gone, again, pull.pr_num]


def pull_requests(repo):
    """A draft is opened, committed to and made ready; a discussion, and a commit that opens a pull request of its own."""
    from huggingface_hub import CommitOperationAdd

    hub = api()
    hub.create_repo(repo, **REPO)
    draft = hub.create_pull_request(repo, title=" please ", description="why", **REPO)
    hub.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=repo, revision=draft.git_reference, **REPO)
    hub.change_discussion_status(repo, draft.num, "open", **REPO)
    hub.create_discussion(repo, title="a question", **REPO)
    pull = hub.create_commit(repo, [CommitOperationAdd("c.txt", b"4")], commit_message="more", create_pr=True, **REPO)
    found = [[one.num, one.title, one.status, one.is_pull_request] for one in hub.get_repo_discussions(repo, **REPO)]
    now = hub.get_discussion_details(repo, draft.num, **REPO)
    short = hub_error(hub.create_discussion, repo, title="x", **REPO)
    files = [
        [path for path in hub.list_repo_files(repo, revision=revision, **REPO) if path.endswith(".txt")]
        for revision in ("main", draft.git_reference, pull.pr_revision)
    ]
    return [draft.status, found, now.events[0].content, now.url, files, short]


def folders(repo):
    """upload_folder with patterns, deletions and nothing to do; snapshot_download; and the listing of what is there."""
    hub = api()
    hub.create_repo(repo, **REPO)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for index in range(30):
            target = root / f"part-{index % 3}" / f"{index:02}.{'bin' if index % 2 else 'txt'}"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(noise(index, 20_000) if index % 2 else f"text {index}".encode())
        (root / "skip.log").write_text("no")
        hub.upload_folder(repo_id=repo, folder_path=root, ignore_patterns="*.log", **REPO)
        again = hub.upload_folder(repo_id=repo, folder_path=root, ignore_patterns="*.log", **REPO)
        (root / "part-0" / "00.txt").write_text("changed")
        hub.upload_folder(
            repo_id=repo, folder_path=root, allow_patterns=["part-0/*"], delete_patterns=["part-1/*.txt"], **REPO
        )
        kept = Path(hub.snapshot_download(repo, **REPO))
        local = {
            str(p.relative_to(root)): digest_of(p) for p in root.rglob("*.*") if p.is_file() and p.suffix != ".log"
        }
        remote = {str(p.relative_to(kept)): digest_of(p) for p in kept.rglob("*.*") if p.is_file() and p.name[0] != "."}
    deleted = [path for path in local if path.startswith("part-1/") and path.endswith(".txt")]
    for path in deleted:
        del local[path]
    return [local == remote, len(remote), len(deleted), bool(again.oid)]


def file_system(repo):
    """HfFileSystem: ls, glob, info, ranged and whole reads, writing, exists."""
    from huggingface_hub import HfFileSystem

    hub = api()
    hub.create_repo(repo, **REPO)
    data = noise(5, 6_000_000)
    hub.upload_file(path_or_fileobj=data, path_in_repo="data/train/a.bin", repo_id=repo, **REPO)
    hub.upload_file(path_or_fileobj=b"text", path_in_repo="data/b.txt", repo_id=repo, **REPO)
    files = HfFileSystem()
    root = f"datasets/{repo}"
    listed = sorted(path.removeprefix(root) for path in files.ls(f"{root}/data", detail=False))
    globbed = [path.removeprefix(root) for path in files.glob(f"{root}/**/*.bin")]
    with files.open(f"{root}/data/train/a.bin") as file:
        file.seek(5_000_000)
        middle = file.read(1000) == data[5_000_000:5_001_000]
        file.seek(-7, 2)
        end = file.read() == data[-7:]
    with files.open(f"{root}/written.txt", "w") as file:
        file.write("written")
    whole = files.cat_file(f"{root}/data/train/a.bin") == data
    local = Path(tempfile.mkdtemp()) / "a.bin"
    files.get_file(f"{root}/data/train/a.bin", str(local))
    same = local.read_bytes() == data
    info = files.info(f"{root}/data/train/a.bin")
    written = files.cat_file(f"{root}/written.txt").decode()
    return [listed, globbed, middle, end, whole, same, info["size"], written, files.exists(f"{root}/data/nothing")]


def push_datasets(repo):
    """push_to_hub with several configs and splits, of rows that name where they are from."""
    from datasets import Dataset, DatasetDict

    for config in ("en", "fr"):
        splits = {
            split: Dataset.from_dict(
                {"id": list(range(rows)), "text": [f"{config} {split} {row}" for row in range(rows)]}
            )
            for split, rows in (("train", 1000), ("test", 100))
        }
        DatasetDict(splits).push_to_hub(repo, config_name=config, num_shards={"train": 3, "test": 1})
    return sorted(api().list_repo_files(repo, **REPO))


def load_datasets(repo):
    """load_dataset, streaming and not: (config, split, streaming) -> number of rows and the last text."""
    from datasets import get_dataset_config_names, load_dataset

    found = {}
    for config in get_dataset_config_names(repo):
        for split in ("train", "test"):
            for streaming in (True, False):
                rows = list(load_dataset(repo, config, split=split, streaming=streaming))
                found[f"{config} {split} {streaming}"] = [len(rows), rows[-1]["text"]]
    return found


def query_with_duckdb(repo):
    """DuckDB reads hf:// through HfFileSystem, which honours the endpoint."""
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    hub, file = api(), io.BytesIO()
    hub.create_repo(repo, **REPO)
    pq.write_table(pa.table({"id": list(range(1000))}), file)
    hub.upload_file(path_or_fileobj=file.getvalue(), path_in_repo="data/a.parquet", repo_id=repo, **REPO)
    connection = duckdb.connect()
    connection.register_filesystem(HfFileSystem())
    return connection.sql(f"SELECT sum(id) FROM 'hf://datasets/{repo}/data/*.parquet'").fetchall()[0][0]


def xet_streams(repo, size, piece=1_000_000):
    """hf_xet alone: upload through a stream, then download it whole, in ranges and unordered."""
    import hf_xet

    hub = api()
    hub.create_repo(repo, exist_ok=True, **REPO)
    data = noise(9, size)
    session = hf_xet.XetSession()
    url = f"{os.environ['HF_ENDPOINT']}/api/datasets/{repo}/xet-{{}}-token/main"
    commit = session.new_upload_commit(token_refresh_url=url.format("write"))
    stream = commit.start_upload_stream(name="a")
    for start in range(0, size, piece):
        stream.write(data[start : start + piece])
    made = stream.finish().xet_info
    commit.wait_to_finish()
    group = session.new_download_stream_group(token_refresh_url=url.format("read"))
    file = hf_xet.XetFileInfo(made.hash, made.file_size)
    whole = b"".join(group.download_stream(file)) == data
    start, end = size // 3, size // 3 + 100_000
    ranged = b"".join(group.download_stream(file, start=start, end=end)) == data[start:end]
    parts = dict(group.download_unordered_stream(file))
    unordered = b"".join(parts[at] for at in sorted(parts)) == data
    return [whole, ranged, unordered, made.sha256 == sha256(data).hexdigest()]


def upload(repo, path, seed, size):
    """Upload noise as one file; returns what deduplicated."""
    hub = api()
    hub.create_repo(repo, exist_ok=True, **REPO)
    return hub.upload_file(path_or_fileobj=noise(seed, size), path_in_repo=path, repo_id=repo, **REPO).oid


def download(repo, path):
    """Download a file; returns its sha256."""
    return digest_of(api().hf_hub_download(repo, path, **REPO))


def busy(repo, who, rounds):
    """One of several processes that upload to the same repo and read it back."""
    hub = api()
    for turn in range(rounds):
        data = noise(who * 100 + turn, 2_000_000)
        hub.upload_file(path_or_fileobj=data, path_in_repo=f"{who}/{turn}.bin", repo_id=repo, **REPO)
        if digest_of(hub.hf_hub_download(repo, f"{who}/{turn}.bin", **REPO)) != sha256(data).hexdigest():
            return False
    return True


def mixed_file(repo):
    """A file made of pieces of an earlier one, in another order: its terms are several ranges of one xorb."""
    hub = api()
    hub.create_repo(repo, **REPO)
    pieces = [noise(seed, 2_000_000) for seed in range(8)]
    hub.upload_file(path_or_fileobj=b"".join(pieces), path_in_repo="a.bin", repo_id=repo, **REPO)
    mixed = b"".join(pieces[index] for index in (6, 2, 4, 0))
    hub.upload_file(path_or_fileobj=mixed, path_in_repo="b.bin", repo_id=repo, **REPO)
    return Path(hub.hf_hub_download(repo, "b.bin", **REPO)).read_bytes() == mixed


def error_of(repo, path="README.md", revision="main"):
    """The exceptions of looking at a repo, downloading a file of it, and writing to it."""
    hub = api()
    look = hub_error(hub.dataset_info, repo, revision=revision)
    get = hub_error(hub.hf_hub_download, repo, path, revision=revision, **REPO)
    put = hub_error(
        hub.upload_file, path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo, revision=revision, **REPO
    )
    return [look, get, put]


def bad_readme(repo):
    """What happens to a README whose YAML is none."""
    hub = api()
    hub.create_repo(repo, **REPO)
    text = b"---\nconfigs: [\n---\n"
    return hub_error(hub.upload_file, path_or_fileobj=text, path_in_repo="README.md", repo_id=repo, **REPO)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))  # noqa: T201 - how the answer gets to the test
