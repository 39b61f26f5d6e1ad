"""Buckets: named, listed and split as datasets are; what was listed is what is read, whatever is written meanwhile."""

import random
from dataclasses import replace

import pytest

import pipeline
from pipeline.errors import ConflictError, CorruptFileError, NotFoundError, OptionError
from pipeline.hub import client, listing, ranges
from pipeline.hub.commit import Change, commit
from pipeline.hub.listing import list_files, pin
from pipeline.hub.ranges import file_refs, open_file
from pipeline.hub.repo import Secret, parse_ref
from pipeline.hub.resolver import resolve
from pipeline.localhub import Account, LocalHub

DATA = random.Random(4).randbytes(200_000)
OTHER = random.Random(5).randbytes(200_000)
CARD = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: odd/*.parquet\n---\n"


@pytest.fixture
def fill(hub, repo):
    """Put files (path -> bytes or text) into a bucket, which is created when there is none; returns its ref."""
    from huggingface_hub import HfApi

    def upload(files, delete=(), name=repo):
        api = HfApi(endpoint=hub.endpoint, token="hf_any")
        api.create_bucket(name, exist_ok=True)
        add = [(data.encode() if isinstance(data, str) else data, path) for path, data in files.items()]
        api.batch_bucket_files(name, add=add, delete=list(delete))
        return parse_ref(f"hf://buckets/{name}", endpoint=hub.endpoint)

    return upload


def asked(hub):
    """The Hub's own requests so far."""
    return {name: n for name, n in hub.counts().items() if n and name.startswith(("bucket", "resolve", "xet_read"))}


def test_a_bucket_has_a_name_of_its_own():
    """`hf://buckets/ns/name/path` is told apart from the dataset of that name, in addresses and in what people read."""
    ref = parse_ref("hf://buckets/ns/name/a b/c@d.parquet", endpoint="http://hub")
    assert (ref.kind, ref.repo_id, ref.revision, ref.path) == ("buckets", "ns/name", None, "a b/c@d.parquet")
    assert (str(ref), ref.full_name) == ("buckets/ns/name", "buckets/ns/name")
    assert ref.api_url("tree") == "http://hub/api/buckets/ns/name/tree"
    assert ref.file_url(ref.path) == "http://hub/buckets/ns/name/resolve/a%20b/c%40d.parquet"
    assert parse_ref(ref.uri(ref.path), endpoint="http://hub") == ref
    assert parse_ref("ns/name").kind == "datasets"


@pytest.mark.parametrize("text", ["hf://buckets/ns", "hf://buckets/ns/name/../x", "hf://buckets/", "buckets/ns"])
def test_what_is_no_bucket_is_refused(text):
    """Without a namespace and a name, or with a path that leaves it: an OptionError in one line."""
    with pytest.raises(OptionError, match="expected"):
        parse_ref(text)


def test_a_bucket_has_no_revisions(hub):
    """A revision, written or as an option, and a time to travel to are an OptionError."""
    for text, revision in (("hf://buckets/ns/name@main", None), ("hf://buckets/ns/name", "v1")):
        with pytest.raises(OptionError, match="no revisions"):
            parse_ref(text, revision=revision)
    with pytest.raises(OptionError, match="no history"):
        pipeline.stream("hf://buckets/ns/name", timestamp="2026-01-01")


def test_a_split_streams(fill, parquet_bytes, hub):
    """Rows of a bucket stream like those of a dataset, for one listing and one token."""
    ref = fill({"data/train-00000-of-00001.parquet": parquet_bytes({"x": list(range(100))}), "notes.txt": "no rows"})
    hub.reset_counts()
    stream = pipeline.stream(f"hf://{ref}", shuffle=True)
    assert sorted(row["x"] for row in stream) == list(range(100))
    assert asked(hub) == {"bucket_tree": 1, "xet_read_token": 1}


def test_a_readme_is_the_card(fill):
    """Splits are those that README.md names, else those that file names tell, else those of the folder in the ref."""
    ref = fill({"data/test-0.parquet": b"1", "odd/x.parquet": b"2", "other/validation.parquet": b"3"})
    assert [file.path for file in resolve(parse_ref(f"hf://{ref}", split="test"), None).files] == [
        "data/test-0.parquet"
    ]
    fill({"README.md": CARD})
    found = resolve(ref, None)
    assert ([file.path for file in found.files], found.ref.split) == (["odd/x.parquet"], "test")
    found = resolve(parse_ref(f"hf://{ref}/other"), None)
    assert ([file.path for file in found.files], found.ref.split) == (["other/validation.parquet"], "validation")


def test_the_revision_is_what_is_in_it(fill):
    """The listing's revision stays while contents do and changes with any of them, and so does a stream's state."""
    ref = fill({"a.parquet": DATA})
    first = list_files(ref, None)
    fill({"a.parquet": DATA})
    assert list_files(ref, None) == first
    fill({"a.parquet": OTHER})
    second = list_files(ref, None)
    assert second.commit != first.commit
    assert [file.size for file in second.files] == [file.size for file in first.files]
    assert list_files(first.ref, None) == first, "who knows the revision has its listing"


def test_a_state_of_other_contents_is_refused(fill, parquet_bytes):
    """A stream does not go on in a bucket that was changed since its state was taken."""
    ref = fill({"a.parquet": parquet_bytes({"x": [1, 2]})})
    state = pipeline.stream(f"hf://{ref}").state_dict()
    pipeline.stream(f"hf://{ref}", ref_ttl_s=0).load_state_dict(state)
    fill({"a.parquet": parquet_bytes({"x": [1, 3]})})
    with pytest.raises(OptionError, match="taken with commit"):
        pipeline.stream(f"hf://{ref}", ref_ttl_s=0).load_state_dict(state)


def test_a_revision_that_is_gone_is_one_error(fill, tmp_path, monkeypatch):
    """Where nobody kept the listing of a revision, and the bucket has another one now, there is no guessing."""
    ref = pin(fill({"a.parquet": DATA}), None)
    fill({"a.parquet": OTHER})
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "empty"))
    with pytest.raises(NotFoundError, match="has changed since it was listed"):
        list_files(ref, None)


def test_processes_that_start_together_share_a_listing(fill, hub, monkeypatch):
    """Within the time that they name, the second process lists nothing."""
    ref = fill({"a.parquet": DATA})
    hub.reset_counts()
    first = list_files(ref, None, ttl_s=30)
    monkeypatch.setattr(listing, "_PINNED", set())  # as another process that starts now
    assert list_files(ref, None, ttl_s=30) == first
    assert asked(hub) == {"bucket_tree": 1}


def test_a_listing_of_many_pages_is_whole(fill, hub):
    """2,100 files come in several pages and are all there."""
    ref = fill({f"data/{i:05}.txt": str(i) for i in range(2100)})
    assert len(list_files(ref, None).files) == 2100
    assert hub.counts()["bucket_tree"] > 1


def test_a_card_that_never_stands_still_is_one_error(fill, monkeypatch):
    """A README.md that is written between listing and reading is listed again, and given up after a few times."""
    ref = fill({"README.md": "# first", "a.parquet": DATA})
    real, numbers = client.get, iter(range(99))
    rewrites = 1

    def get(url, token, **kwargs):
        if url.endswith("README.md") and (number := next(numbers)) < rewrites:
            fill({"README.md": f"# {number}"})
        return real(url, token, **kwargs)

    monkeypatch.setattr(client, "get", get)
    assert list_files(ref, None).card.text() == "# 0"
    rewrites = 99
    with pytest.raises(ConflictError, match=r"README\.md changed each time"):
        list_files(ref, None)


def test_what_was_listed_is_read_after_it_was_overwritten(fill):
    """From Xet storage a file is read by its hash: one that was written again, or deleted, gives the bytes it had."""
    ref = fill({"a.parquet": DATA, "b.parquet": DATA[:999]})
    a, b = file_refs(resolve(ref, None))
    reader = open_file(a, None)
    assert reader.read(0, 1000) == DATA[:1000]
    fill({"a.parquet": OTHER}, delete=["b.parquet"])
    assert reader.read(1000, len(DATA)) == DATA[1000:]
    assert open_file(a, None).read(0, len(DATA)) == DATA
    assert open_file(b, None).read(0, 999) == DATA[:999]
    assert open_file(file_refs(resolve(ref, None))[0], None).read(0, len(OTHER)) == OTHER


def test_over_http_another_content_is_an_error(fill, hub):
    """Over HTTP the content at a path must be the one that was listed, however long ago that was asked; never a mixture."""
    ref = fill({"a.parquet": DATA, "b.parquet": DATA[:999]})
    a, b = file_refs(resolve(ref, None), "http")
    reader = open_file(a, None)
    assert reader.read(0, 1000) == DATA[:1000]
    fill({"a.parquet": OTHER}, delete=["b.parquet"])
    assert reader.read(1000, 2000) == DATA[1000:2000], "its signed address is of the old content"
    ranges._address.cache_clear()  # as in a process that has not asked yet
    with pytest.raises(CorruptFileError, match=r"a\.parquet: was written again since the bucket was listed"):
        open_file(a, None).read(0, 1000)
    with pytest.raises(NotFoundError, match=r"b\.parquet"):
        open_file(b, None).read(0, 10)
    hub.faults.add("cas_reconstruction", status=403, times=None)
    with pytest.raises(CorruptFileError, match="written again"):
        open_file(replace(a, xet_hash=a.content_id), None).read(0, 1000)


def test_a_private_bucket_is_its_owners(tmp_path):
    """The owner lists and reads; another user and nobody do not, though this machine has it listed."""
    from huggingface_hub import HfApi

    accounts = [Account(name="ann", token="hf_ann"), Account(name="bob", token="hf_bob")]
    with LocalHub(tmp_path / "own", accounts=accounts) as own:
        api = HfApi(endpoint=own.endpoint, token="hf_ann")
        api.create_bucket("ann/x", private=True)
        api.batch_bucket_files("ann/x", add=[(DATA, "a.parquet")])
        ref = parse_ref("hf://buckets/ann/x", endpoint=own.endpoint)
        found = resolve(ref, Secret("hf_ann"))
        assert open_file(file_refs(found)[0], Secret("hf_ann")).read(5, 50) == DATA[5:50]
        for token in (Secret("hf_bob"), None):
            for one in (ref, found.ref):
                with pytest.raises(NotFoundError):
                    list_files(one, token)


def test_a_dataset_of_the_same_name_is_another_thing(fill, put, repo, hub):
    """A bucket and a dataset with one name share neither listing nor token."""
    fill({"a.parquet": DATA})
    ref = put(repo, {"b.parquet": OTHER})
    for one, path, data in ((parse_ref(f"hf://buckets/{repo}"), "a.parquet", DATA), (ref, "b.parquet", OTHER)):
        found = file_refs(resolve(one, None))
        assert [file.uri.rsplit("/", 1)[1] for file in found] == [path]
        assert open_file(found[0], None).read(0, 99) == data[:99]
    assert hub.counts()["cas_reconstruction"] == 2, "no token was refused"


def test_commits_refuse_a_bucket(fill, hub):
    """Nothing is committed to a bucket, and no dataset made under its name."""
    ref = fill({"a.parquet": DATA})
    hub.reset_counts()
    for write in (
        lambda: commit(ref, None, lambda _: Change(texts={"a.txt": "x"}), message="m", transaction="t"),
        lambda: client.create_repo(ref, None),
        lambda: client.check_branch(ref, None),
    ):
        with pytest.raises(OptionError, match=r"'hf://buckets/.*' is a bucket, which has no commits"):
            write()
    assert asked(hub) == {}
