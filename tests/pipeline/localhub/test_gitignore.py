"""A `.gitignore` keeps out of a commit what git would keep out."""

import pytest

from pipeline.localhub.gitignore import is_ignored, parse_rules

CASES = [
    ("*.log", "a.log d/b.log x.log/c", "a.txt alog"),
    ("/a.txt", "a.txt", "d/a.txt"),
    ("d/a.txt", "d/a.txt", "e/d/a.txt a.txt"),
    ("build/", "build/x build/d/x d/build/x", "build d/build"),
    ("*.log\n!keep.log", "a.log d/b.log", "keep.log d/keep.log"),
    ("d/\n!d/keep", "d/keep d/x", "keep"),
    ("d/*\n!d/keep", "d/x d/e/keep", "d/keep"),
    ("**/x", "x a/x a/b/x", "xx"),
    ("a/**/x", "a/x a/b/x a/b/c/x", "x b/a/x"),
    ("a/**", "a/x a/b/x", "a b/a/x"),
    ("**", "a a/b", ""),
    ("a?c.[ch]", "abc.c abc.h", "ac.c abc.o a/c.c"),
    ("[!a]x\n[^b]y", "bx ay", "ax by"),
    ("# comment\n\n\\#file\n\\!file", "#file !file", "comment file"),
    ("trailing   \nkept\\ ", "trailing", "kept"),
    ("[z-a]\n/\n//x\nok", "ok", "z a x"),
]


@pytest.mark.parametrize(("text", "ignored", "kept"), CASES)
def test_rules_mean_what_they_mean_to_git(text, ignored, kept):
    """Anchors, folders, negation, `**`, classes, comments and escapes; checked once against git itself."""
    rules = parse_rules(text)
    assert [path for path in ignored.split() if not is_ignored(path, rules)] == []
    assert [path for path in kept.split() if is_ignored(path, rules)] == []


def ignored(raw, *paths, **extra):
    """Which of some paths a client is told to ignore."""
    body = {"files": [{"path": path, "size": 1, "sample": ""} for path in paths], **extra}
    answer = raw.request("POST", "/api/datasets/me/cats/preupload/main", body).json
    return [file["path"] for file in answer["files"] if file["shouldIgnore"]]


def test_clients_are_told_what_to_ignore(raw, kit):
    """By the .gitignore that is about to be uploaded, or else by the one that the repo has."""
    raw.create("me/cats")
    assert ignored(raw, "a.log", "a.txt") == []
    raw.commit("me/cats", kit.put_file(".gitignore", b"*.txt\n"))
    assert ignored(raw, "a.log", "a.txt") == ["a.txt"]
    assert ignored(raw, "a.log", "a.txt", gitIgnore="*.log\n") == ["a.log"]
    assert ignored(raw, "a.log", "a.txt", gitIgnore="") == []
