"""TARs of samples: WebDataset's conventions, each sample once over all ranks, resumed at the byte where a share stood."""

import gzip
import io
import json
import pickle
import random
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline
from pipeline.errors import CorruptFileError, NotFoundError, OptionError
from pipeline.formats.webdataset import located_samples, samples
from pipeline.streaming import tars as tars_module
from pipeline.streaming.tars import cut_runs

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
NOISE = random.Random(7).randbytes(3_000_000)


def tar_bytes(files, form=tarfile.PAX_FORMAT):
    """An archive of (name, bytes) in order; a name with a slash at its end is a folder, one with `->` a link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name.rstrip("/"))
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            elif "->" in name:
                info.name, info.linkname = name.split("->")
                info.type = tarfile.SYMTYPE
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def shard(start, stop, size=40):
    """An archive of samples `start` to `stop`: each a number as JSON, and some bytes."""
    return tar_bytes(
        [
            pair
            for n in range(start, stop)
            for pair in ((f"{n:05}.json", json.dumps(n).encode()), (f"{n:05}.bin", NOISE[n : n + size * (n % 7 + 1)]))
        ]
    )


@pytest.fixture
def sharded(put, repo):
    """Put archives of these numbers of samples, numbered through; returns the repo's name."""

    def make(*counts, size=40, ending="tar"):
        files, at = {}, 0
        for number, count in enumerate(counts):
            data = shard(at, at + count, size)
            files[f"shards/train-{number:04}.{ending}"] = gzip.compress(data) if ending.endswith("gz") else data
            at += count
        put(repo, files)
        return repo

    return make


def numbers(stream):
    """The samples' numbers, whose bytes are checked."""
    found = []
    for sample in stream:
        n = json.loads(sample["json"])
        assert sample["__key__"] == f"{n:05}"
        assert NOISE.startswith(sample["bin"], n)
        found.append(n)
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("packed", [False, True])
def test_samples_are_grouped_as_webdataset_does(form, packed):
    """The key is the path up to the name's first dot; folders, hidden files, links and bare names are skipped."""
    long = "deep/" * 20 + "ü" * 50
    members = [
        ("train/", b""),
        ("train/a.JPG", b"1"),
        ("train/a.seg.png", b"22"),
        ("train/.hidden.jpg", b"no"),
        ("train/README", b"no"),
        ("train/a.json->elsewhere", b""),
        ("v1.0/a.jpg", b"333" * 500),
        ("b.empty", b""),
        ("b.cls", b"4" * 512),
        ("__meta__", b"no"),
        ("a.jpg", b"5"),
        *([(f"{long}.txt", b"6")] if form != "ustar" else []),
    ]
    data = tar_bytes(members, FORMATS[form])
    expected = [
        {"__key__": "train/a", "jpg": b"1", "seg.png": b"22"},
        {"__key__": "v1.0/a", "jpg": b"333" * 500},
        {"__key__": "b", "empty": b"", "cls": b"4" * 512},
        {"__key__": "a", "jpg": b"5"},
        *([{"__key__": long, "txt": b"6"}] if form != "ustar" else []),
    ]
    assert list(samples(io.BytesIO(gzip.compress(data) if packed else data))) == expected


NAMES = st.text("ab.é/_", min_size=1, max_size=12).filter(lambda n: not set(n.split("/")) & {"", ".", ".."})
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=1100)), max_size=12)


@given(members=MEMBERS, form=st.sampled_from(sorted(FORMATS)), packed=st.booleans())
def test_any_place_resumes_with_the_rest(members, form, packed):
    """Of any archive, beginning at the place that comes with a sample gives exactly the samples behind it."""
    data = tar_bytes(members, FORMATS[form])
    data = gzip.compress(data) if packed else data
    try:
        found = list(located_samples(io.BytesIO(data)))
    except CorruptFileError as err:
        assert "has two files" in str(err)  # noqa: PT017 - or none
        return
    assert sum(len(sample) - 1 for sample, _ in found) <= len(members)
    for index, (_, place) in enumerate(found):
        rest = [sample for sample, _ in located_samples(io.BytesIO(data), start=place)]
        assert rest == [sample for sample, _ in found[index + 1 :]]


@given(cut=st.one_of(st.integers(0, 12_000), st.integers(0, 24).map(lambda n: n * 512)), packed=st.booleans())
def test_an_archive_that_was_cut_short_is_an_error(cut, packed):
    """Wherever it ends, also between two members: no archive without its end mark passes for a whole one."""
    data = shard(0, 5, size=200)
    whole = numbers(samples(io.BytesIO(data)))
    used = max(i for i, byte in enumerate(data) if byte) // 512 * 512 + 512
    data = gzip.compress(data[: used + 1024]) if packed else data[:used]
    with pytest.raises(CorruptFileError, match=r"x\.tar: is damaged or cut short"):
        list(samples(io.BytesIO(data[: min(cut, len(data) - packed)]), about="x.tar"))
    assert whole == list(range(5))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut short"),
        (b"x" * 2000, "damaged"),
        (shard(0, 2)[:1024] + b"\1" * 512 + shard(0, 2)[1536:], "damaged"),
        (gzip.compress(shard(0, 2))[:-9] + b"\0" * 9, "damaged"),
        (tar_bytes([("a.x", b"1"), ("a.x", b"2")]), "sample 'a' has two files 'x'"),
        (tar_bytes([("a.__key__", b"1")]), "two files '__key__'"),
    ],
)
def test_damage_is_one_error_that_names_the_file(data, said):
    """Nothing, garbage, a damaged header, a damaged gzip, a field twice: never fewer samples without a word."""
    with pytest.raises(CorruptFileError, match=said) as caught:
        list(samples(io.BytesIO(data), about="hf://x.tar"))
    assert str(caught.value).startswith("hf://x.tar: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz"])
def test_a_splits_archives_are_read_in_order(sharded, ending):
    """Without shuffle: the archives by path, their samples as they stand, plain or packed."""
    assert numbers(pipeline.samples(sharded(5, 1, 9, ending=ending))) == list(range(15))


def test_the_split_is_told_as_for_parquet(put, repo, hub):
    """By the card, by names and folders, by `data_files`; Parquet files next to them are none; what is not there is told."""
    put(repo, {f"{name}.tar": shard(i, i + 1) for i, name in enumerate(("a/train-0", "a/test-0", "b/x-0"))})
    put(repo, {"a/test.parquet": b"no", "notes.txt": "no"})
    assert numbers(pipeline.samples(repo)) == [0]
    assert numbers(pipeline.samples(repo, split="test")) == [1]
    assert numbers(pipeline.samples(repo, data_files="b/*.tar")) == [2]
    assert numbers(pipeline.samples(f"hf://datasets/{repo}/b")) == [2]
    for options, said in (
        ({"split": "nope"}, "no split 'nope'.*'train', 'test'"),
        ({"data_files": "a/*.parquet"}, "parquet, and only TAR can be read"),
        ({"data_files": "c/*"}, "TAR files that exist: 'a/test-0.tar'"),
    ):
        with pytest.raises(NotFoundError, match=said):
            pipeline.samples(repo, **options)
    card = "---\nconfigs:\n- config_name: c\n  data_files:\n  - split: all\n    path: '*/*.tar'\n---\n"
    old = put(repo, {"README.md": card})
    assert numbers(pipeline.samples(repo, split="all", config="c")) == [1, 0, 2]
    put(repo, {"README.md": "", "c/train.tar": shard(3, 4)})
    assert numbers(pipeline.samples(repo)) == [0, 3]
    assert old.repo_id == repo


def test_a_repo_without_archives_says_so(put, repo):
    """No TAR at all is a NotFoundError in one line."""
    put(repo, {"a.parquet": b"x"})
    with pytest.raises(NotFoundError, match=r"no split 'train'.*there is no TAR file"):
        pipeline.samples(repo)


def test_archives_of_a_bucket_are_read(hub, repo):
    """A bucket's TARs are samples too."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    api.create_bucket(repo)
    api.batch_bucket_files(repo, add=[(shard(0, 3), "a.tar"), (shard(3, 5), "b.tar")])
    assert numbers(pipeline.samples(f"hf://buckets/{repo}")) == list(range(5))


def test_a_truncated_archive_of_the_hub_is_named(put, repo):
    """The error says which archive of the repo; what came before it was given."""
    put(repo, {"0.tar": shard(0, 2), "1.tar": shard(2, 9, size=900)[:9000]})
    stream, found = iter(pipeline.samples(repo)), []
    with pytest.raises(CorruptFileError, match=rf"hf://datasets/{repo}@\w+/1\.tar: is damaged or cut short"):
        found.extend(json.loads(sample["json"]) for sample in stream)
    assert found[:2] == [0, 1]
    assert found == list(range(len(found)))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("ending", ["tar", "tgz"])
def test_it_resumes_at_every_sample(sharded, shuffle, ending):
    """After any number of samples, of the second epoch too, a new stream with the state gives exactly the rest."""
    name = sharded(4, 1, 3, 5, ending=ending)

    def make():
        return pipeline.samples(name, shuffle=shuffle, seed=3)

    for epoch in (0, 1):
        stream = make()
        stream.set_epoch(epoch)
        whole = numbers(stream)
        for stop in range(len(whole) + 1):
            iterator = iter(stream)
            taken = numbers(next(iterator) for _ in range(stop))
            state = json.loads(json.dumps(stream.state_dict()))
            iterator.close()
            again = make()
            again.load_state_dict(state)
            assert taken + numbers(again) == whole
            assert taken + numbers(again) == whole, "a loaded state stays loaded"
            again.set_epoch(epoch + 1)
            assert sorted(numbers(again)) == list(range(13))


def test_resuming_does_not_read_what_was_consumed(sharded, hub):
    """A stream that goes on near the end of a 2.4 MB archive fetches little, and of archives behind it nothing."""
    name = sharded(30, 30, 30, size=20_000)
    stream = pipeline.samples(name)
    iterator = iter(stream)
    taken = numbers(next(iterator) for _ in range(88))
    state = stream.state_dict()
    iterator.close()
    again = pipeline.samples(name)
    hub.reset_counts()
    again.load_state_dict(state)
    assert taken + numbers(again) == list(range(90))
    assert hub.bytes_sent()["cas_xorb_get"] < 900_000


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 9])
def test_ranks_read_each_sample_once(sharded, shuffle, world_size):
    """Over all ranks each sample comes once, also with more ranks than archives; each rank reads whole archives in a run."""
    name = sharded(4, 1, 3, 5, 2)
    whole = numbers(pipeline.samples(name, shuffle=shuffle))
    found = [numbers(pipeline.samples(name, shuffle=shuffle, rank=r, world_size=world_size)) for r in range(world_size)]
    assert [n for share in found for n in share] == whole
    assert sorted(whole) == list(range(15))
    if world_size <= 5:
        assert all(found)


def test_workers_read_each_sample_once(sharded, monkeypatch):
    """Workers of a rank share its archives: together with the other ranks' they read each sample once."""
    name = sharded(4, 1, 3, 5, 2, 6)
    found = []
    for rank in range(2):
        stream = pipeline.samples(name, shuffle=True, rank=rank, world_size=2)
        for worker in range(2):
            monkeypatch.setattr(tars_module, "find_worker", lambda worker=worker: (worker, 2))
            found.append(numbers(pickle.loads(pickle.dumps(stream))))
    assert sorted(n for share in found for n in share) == list(range(21))
    assert all(found)


@given(sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=30), shares=st.integers(1, 12))
def test_runs_are_cut_by_bytes(sizes, shares):
    """Runs follow each other and are all there is; none is empty while there are enough, none much larger than its part."""
    runs = cut_runs(sizes, shares)
    assert [one for start, end in runs for one in range(start, end)] == list(range(len(sizes)))
    assert len(runs) == shares
    if len(sizes) >= shares:
        assert all(start < end for start, end in runs)
        assert max(sum(sizes[a:b]) for a, b in runs) <= sum(sizes) / shares + 2 * max(sizes)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # as test_torch_loading.py
def test_a_loader_gives_each_sample_once(sharded, workers):
    """In torch's DataLoader, with workers and without: an IterableDataset whose samples come once each."""
    data = pytest.importorskip("torch.utils.data")
    stream = pipeline.samples(sharded(4, 1, 3, 5), shuffle=True)
    assert isinstance(stream, data.IterableDataset)
    assert sorted(numbers(data.DataLoader(stream, batch_size=None, num_workers=workers))) == list(range(13))


def test_an_epoch_has_an_order_of_its_own(sharded):
    """The order depends on seed and epoch alone; archives are permuted, not their samples."""
    name = sharded(*[2] * 12)
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        stream = pipeline.samples(name, shuffle=True, seed=seed)
        stream.set_epoch(epoch)
        orders.append(numbers(stream))
        assert numbers(stream) == orders[-1]
        assert all(b == a + 1 for a, b in zip(orders[-1][::2], orders[-1][1::2], strict=True))
    assert len(set(map(tuple, orders))) == 3


def test_a_state_of_something_else_is_refused(sharded, put):
    """A state of another order, commit or share, or a damaged one, is an OptionError that says what differs."""
    name = sharded(4, 4)
    stream = pipeline.samples(name, shuffle=True, seed=1, rank=0, world_size=2)
    next(iter(stream))
    state = stream.state_dict()
    for options, said in (
        ({"shuffle": True, "seed": 2}, "seed=1"),
        ({"shuffle": False, "seed": 1}, "shuffle=True"),
        ({"shuffle": True, "seed": 1, "data_files": "shards/train-0000.tar"}, "files="),
    ):
        with pytest.raises(OptionError, match=said):
            pipeline.samples(name, **options).load_state_dict(state)
    other = pipeline.samples(name, shuffle=True, seed=1, rank=1, world_size=2)
    other.load_state_dict(state)
    with pytest.raises(OptionError, match="holds for share 0 of 2 ranks"):
        iter(other)
    for damaged in ({}, None, {**state, "tar": -1}, {**state, "offset": "x"}, {**state, "version": 99}):
        with pytest.raises(OptionError):
            stream.load_state_dict(damaged)
    put(name, {"shards/train-0009.tar": shard(8, 9)})
    with pytest.raises(OptionError, match="commit="):
        pipeline.samples(name, shuffle=True, seed=1).load_state_dict(state)


def test_decoding_is_by_extension(put, repo):
    """Images, JSON, texts and class numbers are what they mean with `decode`, bytes without; a pickle stays bytes."""
    images = pytest.importorskip("PIL.Image")
    picture = io.BytesIO()
    images.new("RGB", (3, 2), (255, 0, 0)).save(picture, "PNG")
    fields = {"seg.png": picture.getvalue(), "json": b'{"a": [1]}', "txt": "ü".encode(), "cls": b"7", "pyd": b"x"}
    put(repo, {"a.tar": tar_bytes([(f"k.{field}", data) for field, data in fields.items()])})
    assert list(pipeline.samples(repo)) == [{"__key__": "k", **fields}]
    (found,) = pipeline.samples(repo, decode=True)
    assert (found["seg.png"].size, found["json"], found["txt"], found["cls"]) == ((3, 2), {"a": [1]}, "ü", 7)
    assert (found["__key__"], found["pyd"]) == ("k", b"x")
    for field, data in (("png", b"no"), ("json", b"{"), ("cls", b"x"), ("txt", b"\xff")):
        put(repo, {"a.tar": tar_bytes([(f"k.{field}", data)])})
        ref = f"hf://datasets/{repo}@main"
        with pytest.raises(CorruptFileError, match=r"a\.tar: sample 'k': "):
            list(pipeline.samples(ref, decode=True))
