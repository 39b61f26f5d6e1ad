"""What unmodified clients do with buckets, one function per scenario; run as `clients.py` is."""

import json
import sys
import tempfile
import warnings
from pathlib import Path

from clients import api, hub_error, noise  # this file's folder is on the path of a program


def paths_of(bucket, **options):
    """The paths that a listing has, folders with a slash at their end."""
    items = api().list_bucket_tree(bucket, **options)
    return [item.path + "/" * (item.type == "directory") for item in items]


def text_of(bucket, path):
    """A file, downloaded."""
    target = Path(tempfile.mkdtemp()) / "file"
    api().download_bucket_files(bucket, [(path, target)], raise_on_missing_files=True)
    return target.read_text()


def manage(bucket):
    """Buckets come, are found, hidden, moved, and go, with their errors."""
    hub = api()
    url = hub.create_bucket(bucket)
    again = hub.create_bucket(bucket, exist_ok=True)
    twice = hub_error(hub.create_bucket, bucket)
    mine = hub.create_bucket("mine", private=True).bucket_id
    info = hub.bucket_info(bucket)
    hub.update_bucket_settings(bucket, private=True)
    hub.move_bucket(bucket, bucket + "-moved")
    moved = hub.bucket_info(bucket + "-moved")
    listed = [[b.id for b in hub.list_buckets(namespace=where)] for where in (None, bucket.split("/")[0])]
    found = [b.id for b in hub.list_buckets(namespace=bucket.split("/")[0], search="MOVED")]
    hub.delete_bucket(moved.id)
    hub.delete_bucket(moved.id, missing_ok=True)
    gone = [hub_error(hub.delete_bucket, moved.id), hub_error(hub.bucket_info, moved.id)]
    state = [info.id, info.private, info.size, info.total_files]
    return [url.bucket_id, again == url, twice, mine, state, moved.private, listed, found, gone]


def round_trip(bucket):
    """Files from bytes, from disk and empty go up, and come down the same."""
    hub, folder = api(), Path(tempfile.mkdtemp())
    hub.create_bucket(bucket)
    (folder / "local.bin").write_bytes(noise(1, 3_000_000))
    want = {"data/local.bin": noise(1, 3_000_000), "data/text.txt": b"text", "ünï %20.txt": b"name", "empty.txt": b""}
    add = [(folder / "local.bin", "data/local.bin")]
    hub.batch_bucket_files(bucket, add=add + [(data, path) for path, data in list(want.items())[1:]])
    files = list(hub.list_bucket_tree(bucket))
    hub.download_bucket_files(bucket, [(file, folder / "listed" / file.path) for file in files])
    hub.download_bucket_files(bucket, [(path, folder / "named" / path) for path in want])
    same = [{path: (folder / how / path).read_bytes() for path in want} == want for how in ("listed", "named")]
    mtime_ms = int((folder / "local.bin").stat().st_mtime * 1000)
    info = hub.bucket_info(bucket)
    sizes = {file.path: file.size for file in files} == {path: len(data) for path, data in want.items()}
    times = next(int(file.mtime.timestamp() * 1000) for file in files if file.path == "data/local.bin") == mtime_ms
    return [same, sizes, times, info.total_files, info.size == sum(map(len, want.values()))]


def file_system(bucket):
    """HfFileSystem: ls, find, glob, exists, ranged and whole reads, writing, copying, removing."""
    from huggingface_hub import HfFileSystem

    hub = api()
    hub.create_bucket(bucket)
    data = noise(5, 6_000_000)
    hub.batch_bucket_files(bucket, add=[(data, "data/train/a.bin"), (b"b", "data/b.txt"), (b"no", "data-other/c.txt")])
    files, root = HfFileSystem(), f"hf://buckets/{bucket}"
    with files.open(f"{root}/written.txt", "w") as file:
        file.write("written")
    with files.open(f"{root}/data/train/a.bin") as file:
        file.seek(5_000_000)
        middle = file.read(1000) == data[5_000_000:5_001_000]
        file.seek(-7, 2)
        end = file.read() == data[-7:]
    files.cp_file(f"{root}/data/train/a.bin", f"{root}/copy.bin")
    files.rm(f"{root}/data/b.txt")
    whole = files.cat_file(f"{root}/copy.bin") == data
    short = [
        [path.removeprefix(f"buckets/{bucket}/") for path in paths]
        for paths in (files.ls(f"{root}/data", detail=False), files.find(root), files.glob(f"{root}/**/*.bin"))
    ]
    exists = [files.exists(f"{root}/{path}") for path in ("data", "dat", "data/b.txt", "written.txt")]
    return [middle, end, whole, *short, exists, files.cat_file(f"{root}/written.txt").decode()]


def copies(bucket):
    """Copies from a dataset and from another bucket, of files of every kind, and a folder that is kept in step."""
    hub, folder = api(), Path(tempfile.mkdtemp())
    hub.create_repo(bucket, repo_type="dataset")
    for path, data in (("large.bin", noise(3, 100_000)), ("small.txt", b"small")):
        hub.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=bucket, repo_type="dataset")
    hub.create_bucket(bucket)
    hub.create_bucket(bucket + "-2")
    hub.copy_files(f"hf://datasets/{bucket}/", f"hf://buckets/{bucket}/from/")
    hub.delete_repo(bucket, repo_type="dataset")
    hub.copy_files(f"hf://buckets/{bucket}/from/", f"hf://buckets/{bucket}-2/all/")
    hub.delete_bucket(bucket)
    warnings.simplefilter("ignore")  # sync_bucket turns progress bars on again, which the environment forbids
    hub.sync_bucket(f"hf://buckets/{bucket}-2/all", str(folder), quiet=True)
    (folder / "small.txt").write_text("changed")
    (folder / "large.bin").unlink()
    hub.sync_bucket(str(folder), f"hf://buckets/{bucket}-2/all", delete=True, ignore_times=False, quiet=True)
    return [paths_of(bucket + "-2"), text_of(bucket + "-2", "all/small.txt")]


def overwrite(bucket):
    """A path written twice, and a path that is written again after it was deleted."""
    hub = api()
    hub.create_bucket(bucket)
    seen = []
    for data in (b"first", b"the second", b"first"):
        hub.batch_bucket_files(bucket, add=[(data, "a.txt")])
        info = hub.bucket_info(bucket)
        seen.append([text_of(bucket, "a.txt"), info.total_files, info.size])
    hub.batch_bucket_files(bucket, delete=["a.txt"])
    hub.batch_bucket_files(bucket, add=[(b"first", "a.txt")])
    return [seen, text_of(bucket, "a.txt")]


def failures(bucket, strange):
    """What a batch says that has operations which cannot be done, and what is in the bucket after it."""
    from huggingface_hub.errors import BucketBatchError

    hub = api()
    hub.create_bucket(bucket)
    told = []
    for add, copy in (
        ([(b"good", "good.txt")], [("bucket", bucket, strange, "bad.txt")]),
        ([], [("bucket", bucket, strange, "bad.txt")]),
    ):
        try:
            hub.batch_bucket_files(bucket, add=add, copy=copy)
        except BucketBatchError as err:
            told.append([err.response.status_code, err.failures])
    return [told, paths_of(bucket)]


def upload(bucket, path, seed, size):
    """Put noise into a bucket, which is made if need be; returns the Xet hash."""
    hub = api()
    hub.create_bucket(bucket, exist_ok=True)
    hub.batch_bucket_files(bucket, add=[(noise(seed, size), path)])
    return next(iter(hub.get_bucket_paths_info(bucket, [path]))).xet_hash


def reads(bucket, path, seed, size):
    """Whether a file comes down as `upload` put it."""
    target = Path(tempfile.mkdtemp()) / "file"
    api().download_bucket_files(bucket, [(path, target)], raise_on_missing_files=True)
    return target.read_bytes() == noise(seed, size)


def errors(bucket):
    """The exceptions of looking at a bucket, listing it, writing to it and deleting it."""
    hub = api()
    return [
        hub_error(hub.bucket_info, bucket),
        hub_error(lambda: list(hub.list_bucket_tree(bucket))),
        hub_error(hub.batch_bucket_files, bucket, delete=["x"]),
        hub_error(hub.delete_bucket, bucket),
    ]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))  # noqa: T201 - how the answer gets to the test
