"""Globs of cards: they match what fsspec matches, and no pattern takes for ever."""

import re

import pytest
from fsspec.utils import glob_translate
from hypothesis import given
from hypothesis import strategies as st

from pipeline.hub.listing import DataFile
from pipeline.hub.patterns import compile_pattern, escape_pattern
from pipeline.hub.resolver import match_files

PART_OF_PATH = st.text("abz-_.[]!^09é ", min_size=1, max_size=6).filter(lambda part: part not in (".", ".."))
PATHS = st.lists(PART_OF_PATH, min_size=1, max_size=4).map("/".join)
PART = st.sampled_from(["**"]) | st.lists(
    st.sampled_from(
        ["*", "?", "[ab]", "[!a]", "[a-c]", "[z-a]", "[]a]", "[[]", "[", "]", "a", "b", ".", "-", "é", "^", "+"]
    ),
    min_size=1,
    max_size=4,
).map("".join).filter(lambda part: "**" not in part and part not in (".", ".."))
PATTERNS = st.lists(PART, min_size=1, max_size=4).map("/".join)


@given(pattern=PATTERNS, paths=st.lists(PATHS, max_size=8))
def test_patterns_match_what_fsspec_matches(pattern, paths):
    """`*`, `?`, `**` and sets match the paths that fsspec's glob matches, which `datasets` resolves cards with."""
    reference = re.compile(glob_translate(pattern))
    matcher = compile_pattern(pattern, about="x")
    for path in [*paths, pattern]:
        assert bool(matcher.fullmatch(path)) == bool(reference.match(path)), path


@given(
    pattern=st.text("a*b/?", min_size=1, max_size=9).filter(
        lambda text: not text.startswith("/") and "***" not in text
    ),
    paths=st.lists(st.text("ab/", min_size=1, max_size=9), max_size=9),
)
def test_patterns_match_what_trying_everything_would_match(pattern, paths):
    """`*` and `**` anywhere match what they match when each is tried at every length."""
    parts = [part for part in pattern.split("/") if part]
    folders = ["(?:.+/)?" if part == "**" else f"{_naive(part)}/" for part in parts[:-1]]
    reference = re.compile("".join(folders) + "".join(map(_naive, parts[-1:])), re.DOTALL)
    matcher = compile_pattern(pattern, about="x")
    for path in paths:
        path = "/".join(part for part in path.split("/") if part)
        assert bool(matcher.fullmatch(path)) == bool(reference.fullmatch(path)), path


def _naive(part):
    """A part of a pattern, in the way that is slow."""
    if part == "*":
        return "[^/]+"
    return part.replace("**", "\0").replace("*", "[^/]*").replace("\0", ".*").replace("?", "[^/]")


@pytest.mark.parametrize("pattern", ["data/" + "*a" * 40 + "*b", "**a" * 40 + "b", "**/a*/" * 20 + "b", "*" * 80 + "b"])
def test_no_pattern_takes_for_ever(pattern):
    """A card's pattern made of many wildcards is answered, where trying all their combinations would take years."""
    path = "data/" + "a/" * 40 + "a" * 100 + ".parquet"
    assert match_files([DataFile(path=path, size=1)] * 50, [pattern], about="x") == ()


@given(path=PATHS, others=st.lists(PATHS, max_size=5))
def test_an_escaped_path_matches_itself_alone(path, others):
    """What we write into a card for a file names that file and no other, whatever is in its name."""
    files = [DataFile(path=one, size=0) for one in {path, *others}]
    assert [file.path for file in match_files(files, [escape_pattern(path)], about="x")] == [path]
