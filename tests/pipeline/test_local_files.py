"""Files on this machine: globs, odd names, ranges."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import AccessError, DatasetError, NotFoundError, TransferError
from pipeline.sizes import format_bytes, parse_bytes
from pipeline.storage import ArrowFileReader, FileRef, _match_parts, expand, is_uri

NAMES = [
    "a.parquet",
    "b c.parquet",
    "é#%20.parquet",
    "x[1].parquet",
    "sub/d.parquet",
    "sub/deep er/e.parquet",
    "odd[a]/f.parquet",
    "notes.txt",
    ".hidden.parquet",
    "_SUCCESS",
    "_temporary/g.parquet",
    "sub/.ipynb_checkpoints/h.parquet",
]


@pytest.fixture
def folder(tmp_path):
    """A folder of files with names that people give."""
    for name in NAMES:
        path = tmp_path / "in [x] %41" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "in [x] %41"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", ["a", "b c", "x[1]", "é#%20", "odd[a]/f", "sub/d", "sub/deep er/e"]),
        ("*.parquet", ["a", "b c", "x[1]", "é#%20"]),
        ("**/*.parquet", ["a", "b c", "x[1]", "é#%20", "odd[a]/f", "sub/d", "sub/deep er/e"]),
        ("sub/**/*.parquet", ["sub/d", "sub/deep er/e"]),
        ("sub/*.parquet", ["sub/d"]),
        ("*/*.parquet", ["odd[a]/f", "sub/d"]),
        ("[ab]*.parquet", ["a", "b c"]),
        ("[!a]*.parquet", ["b c", "x[1]", "é#%20"]),
        ("?.parquet", ["a"]),
        ("x[1].parquet", ["x[1]"]),
        ("odd[a]/*", ["odd[a]/f"]),
        ("é#%20.parquet", ["é#%20"]),
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_pattern_names_files_as_a_shell_does(folder, pattern, found, scheme):
    """`*` stays in a folder, `**` does not; what exists under its name is no pattern; hidden files are left out."""
    if scheme and "%" in pattern:
        pattern = pattern.replace("%", "%25")
    where = f"{scheme}{str(folder).replace('%', '%25') if scheme else folder}/{pattern}"
    files = expand([where])
    paths = [os.path.relpath(file.uri, folder) for file in files]
    assert paths == sorted(f"{name}.parquet" for name in found)
    for file, path in zip(files, paths, strict=True):
        assert ArrowFileReader(file).read(0, file.size) == path.encode()


def test_files_come_once_in_the_order_of_the_patterns(folder):
    """A file that two patterns name is one file, where the first one put it."""
    files = expand([f"{folder}/sub", f"{folder}/a.parquet", f"{folder}/**/d.parquet"])
    assert [os.path.relpath(file.uri, folder) for file in files] == [
        "sub/d.parquet",
        "sub/deep er/e.parquet",
        "a.parquet",
    ]


@pytest.mark.parametrize("pattern", ["nope", "nope/*.parquet", "*.csv.parquet", "a.parquet/*", "notes/**"])
def test_a_pattern_without_files_is_an_error(folder, pattern):
    """Nothing found is a NotFoundError that shows the pattern."""
    with pytest.raises(NotFoundError, match="no such Parquet file or folder"):
        expand([f"{folder}/{pattern}"])


def test_an_unknown_scheme_is_an_error():
    """A scheme that no file system serves is one line that says what is expected."""
    with pytest.raises(DatasetError, match="expected a path, s3:// or gs://") as caught:
        expand(["nope://x/y.parquet"])
    assert "\n" not in str(caught.value)
    assert not is_uri("C:/x")
    assert not is_uri("data/x")


def test_a_changed_file_is_another_content(tmp_path):
    """The content's id changes with the file, and stays while it stays."""
    path = tmp_path / "a.parquet"
    path.write_bytes(b"1")
    first = expand([str(path)])[0]
    assert expand([str(path)])[0] == first
    path.write_bytes(b"22")
    assert expand([str(path)])[0].content_id != first.content_id


def test_a_range_of_a_local_file_is_exact_or_an_error(tmp_path):
    """Short files, missing files and files that may not be read are errors that name the file."""
    path = tmp_path / "a.parquet"
    path.write_bytes(b"0123456789")
    file = expand([str(path)])[0]
    reader = ArrowFileReader(file)
    assert reader.read(2, 5) == b"234"
    assert reader.read(4, 4) == b""
    with pytest.raises(TransferError, match="cut short"):
        reader.read(5, 11)
    reader.close()
    path.unlink()
    with pytest.raises(NotFoundError, match="no such file"):
        ArrowFileReader(file)
    with pytest.raises((AccessError, TransferError, NotFoundError)):
        ArrowFileReader(FileRef(uri=str(tmp_path), size=1, content_id="x"))


PARTS = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4)


@given(path=PARTS, globs=st.lists(st.sampled_from(["**", "*", "a", "a*", "?", "[ab]"]), min_size=1, max_size=4))
def test_globs_match_as_pathlib_matches(path, globs):
    """The shape of a glob is the one that Python's own glob has."""
    import re

    from fsspec.utils import glob_translate

    if globs[-1] == "**":
        globs = [*globs, "*"]
    assert _match_parts(path, globs) == bool(re.match(glob_translate("/".join(globs)), "/".join(path)))


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("500MB", 500_000_000), ("64MiB", 1 << 26), ("1.5 kb", 1500), (" 2 GiB ", 2 << 30), ("10b", 10)],
)
def test_a_size_is_what_people_mean(text, size):
    """Decimal and binary units, in any case, with a fraction or spaces."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1", "0", "1XB", "0.1", "1e9", "9" * 400, "1 000"])
def test_what_is_no_size_is_refused(text):
    """Anything else is a ValueError that says what was expected."""
    with pytest.raises(ValueError, match="a size such as"):
        parse_bytes(text)


@given(size=st.integers(1, 10**15))
def test_a_size_that_is_shown_can_be_read(size):
    """What we print we also parse, within rounding."""
    assert abs(parse_bytes(format_bytes(size)) - size) <= max(1, size * 0.06)
