"""TARs and folders of media: what goes to workers, what is fetched, and what is refused in one line."""

import io
import pickle
import tarfile

import pytest

from pipeline.errors import CorruptFileError, DatasetError, NotFoundError, OptionError, SchemaError
from pipeline.formats.folder import image_format
from pipeline.formats.rows import open_rows, plan_rows, read_rows
from pipeline.formats.tar import tar_format
from pipeline.hub.any_format import resolve_any
from pipeline.hub.listing import list_files


def tar(*files):
    """An archive of (name, content)."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (tar(("a.txt", b"x"))[:600], CorruptFileError, "damaged or cut short"),
        (tar(("a.json", b"{")), CorruptFileError, "sample 'a': 'json' is not what its name says"),
        (tar(("a.cls", b"x")), CorruptFileError, "'cls' is not"),
        (tar(("a.txt", b"\xff")), CorruptFileError, "'txt' is not"),
        (tar(("a.txt.gz", b"x")), CorruptFileError, "'txt.gz'"),
        (tar(("a.npy", b"x")), SchemaError, r"fields '\.npy' cannot be read"),
        (tar(("a.x", b"x"), ("b.y", b"y")), SchemaError, "differ in"),
        (tar(*((f"{n}.x", b"x") for n in range(6)), ("6.y", b"y")), SchemaError, "sample '6': column 'y' is not in"),
        (tar(("a.json", b'{"k": 1}'), ("b.json", b"[1]")), SchemaError, "of different types"),
        (tar(*((f"{n}.json", b"1") for n in range(6)), ("6.json", b'"x"')), SchemaError, "'json'"),
        (tar(("a.x", b"1"), ("a.x", b"2")), CorruptFileError, "two files"),
    ],
)
def test_an_archive_that_is_no_webdataset_is_told_by_name(data, error, said, local, read_all):
    """And by the sample."""
    with pytest.raises(error, match=said) as caught:
        read_all(tar_format({}), [local(data, "bad.tar")])
    assert "bad.tar" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_later_sample_may_lack_a_field(local, read_all):
    """It is null there."""
    files = [(f"{number}.{field}", b"1") for number in range(6) for field in ("a.cls", "txt")][:-1]
    _, rows = read_all(tar_format({}), [local(tar(*files))])
    assert [row["txt"] for row in rows] == ["1"] * 5 + [None]


@pytest.mark.parametrize(
    ("files", "error", "said"),
    [
        ({"metadata.csv": "file_name,x\n../b.png,1\n"}, OptionError, "leaves its folder"),
        ({"metadata.csv": "file_name,x\nhf://b.png,1\n"}, OptionError, "leaves its folder"),
        ({"metadata.csv": "file_name,x\nb.png,1\n"}, NotFoundError, r"'b\.png' is no file of the split"),
        ({"metadata.csv": "name,x\na.png,1\n"}, SchemaError, "has no column 'file_name'"),
        ({"metadata.jsonl": '{"file_names":["a.png"]}\n'}, SchemaError, "'file_names' has several files per row"),
        ({"metadata.jsonl": '{"x":{"file_name":"a.png"}}\n'}, SchemaError, "column 'x'"),
        ({"metadata.jsonl": "\n"}, SchemaError, "has no row"),
        (
            {"metadata.jsonl": '{"file_name":"a.png"}\n', "x/metadata.csv": "file_name\na.png\n"},
            SchemaError,
            "different endings",
        ),
        ({"b.png.gz": "x"}, OptionError, "is packed"),
    ],
)
def test_a_folder_that_is_none_is_told_by_name(files, error, said, put, repo):
    """Nothing outside of the folder is read, whatever its metadata say."""
    ref = put(repo, {"a.png": "x", **files})
    with pytest.raises(error, match=said) as caught:
        list(rows_of(ref))
    assert isinstance(caught.value, DatasetError)
    assert "\n" not in str(caught.value)


def rows_of(ref, columns=None, target_bytes=1 << 20):
    """The rows of a ref's split, each task by way of a pickle."""
    resolved = resolve_any(list_files(ref, None), ref)
    source = pickle.loads(pickle.dumps(open_rows(resolved, None)))
    (snapshot,) = resolved.wanted.values()
    for task in plan_rows(source, snapshot, None, target_bytes):
        for batch in read_rows(source, pickle.loads(pickle.dumps(task)), None, columns):
            yield from batch.to_pylist() if columns != [] else [None] * batch.num_rows


def test_only_media_that_are_asked_for_are_fetched(hub, put, repo):
    """The labels of a folder cost no request for its files."""
    ref = put(repo, {f"{kind}/{number}.png": "x" * 10 for kind in ("cat", "dog") for number in range(3)})
    assert len(list(rows_of(ref, []))) == 6
    hub.reset_counts()
    assert [row["label"] for row in rows_of(ref, ["label"])] == [0, 0, 0, 1, 1, 1]
    assert set(hub.counts()) == {"repo_info"}
    assert len(list(rows_of(ref, ["image"]))) == 6
    assert hub.counts()["resolve"] + hub.counts()["cas_reconstruction"] >= 6


def test_tasks_are_as_large_as_is_asked_for(put, repo):
    """By bytes of media; a task holds what it needs of its rows alone."""
    files = {f"data/{number}.png": "x" * 100 for number in range(40)}
    rows = "".join(f"{number}.png,{'long text ' * 50}\n" for number in range(40))
    ref = put(repo, {**files, "data/metadata.csv": f"file_name,text\n{rows}"})
    resolved = resolve_any(list_files(ref, None), ref)
    source = open_rows(resolved, None)
    tasks = plan_rows(source, resolved.wanted["train"], None, 1000)
    assert [task.size for task in tasks] == [1000] * 4
    assert sum(len(pickle.dumps(task)) for task in tasks) < 2 * len(rows) + 40 * 500
    assert [row["image"]["path"] for row in rows_of(ref, ["image"], 1000)] == [f"{number}.png" for number in range(40)]


def test_a_way_of_reading_that_is_none_is_refused():
    """By its name."""
    with pytest.raises(OptionError, match="metadata_filenames"):
        image_format({"metadata_filenames": ["x.csv"]})
    with pytest.raises(OptionError, match="drop_labels"):
        image_format({"drop_labels": "yes"})
