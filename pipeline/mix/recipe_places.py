"""Where a mix goes and where its rows come from: repos, buckets, folders, paths and URIs, none with credentials."""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from pipeline.errors import OptionError
from pipeline.mix.recipe_yaml import Value

_REPO = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?/[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_DATASET = re.compile(rf"(?:hf://datasets/)?({_REPO})(?:@(refs/(?:convert|pr)/[^/@]+|[^/@]+))?")
_TARGET = re.compile(rf"(?:hf://datasets/|(hf://buckets/))?({_REPO})")
_URI = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
# A user alone is no secret (`gs://anonymous@bucket`, `abfss://container@account`); on S3 it is half of one.
_LOGIN = re.compile(r"[^/?#@]*:[^?#@]*@|(?<=s3://)[^/?#@]*@", re.IGNORECASE)
_SECRET_KEY = re.compile(r"key|secret|token|passw|signature|^sig$|credential(?!_kind)", re.IGNORECASE)
_REFUSED = (
    "holds credentials, and a recipe is published with its mix; remove them, and give them by the environment "
    "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN)"
)
_FOLDER_STARTS = ("/", "./", "../", "~", "file://")
_TARGETS = "ns/name, hf://datasets/ns/name, hf://buckets/ns/name or a folder that starts with ./, ../, / or ~"


def parse_target(written: str, folder: Path) -> str:
    """A repo id, `hf://buckets/ns/name`, or a folder's path that starts with `/` or `.`; relative folders start from `folder`.

    Raises `OptionError` for anything else, and for credentials, which it does not repeat.
    """
    if _holds_secret(written):
        raise OptionError(f"target {_REFUSED}")
    if written.startswith(_FOLDER_STARTS) or written in {".", ".."}:
        path = _local_path(written, folder)
        return path if path.startswith(("/", ".")) else f"./{path}"
    match = _TARGET.fullmatch(written)
    if match is None or not _is_repo(match[2]):
        raise OptionError(f"target must be {_TARGETS}, got {written!r:.80}")
    return f"{match[1] or ''}{match[2]}"


def target(value: Value, folder: Path) -> str:
    written = value.text("be a repo, a bucket or a folder")
    try:
        return parse_target(written, folder)
    except OptionError as err:
        raise value.error(str(err).removeprefix("target ")) from err


def dataset(value: Value) -> tuple[str, str | None]:
    """Repo id and revision."""
    written = value.text("be a repo such as ns/name")
    _refuse_secret(value, written)
    match = _DATASET.fullmatch(written)
    if match is None or not _is_repo(match[1]):
        raise value.must("be ns/name or hf://datasets/ns/name@revision (files go under parquet:)")
    return match[1], unquote(match[2]) if match[2] else None


def repos(value: Value) -> tuple[str, ...]:
    """Repo ids, each once."""
    if value.kind != "seq":
        raise value.must("be a list of repos such as [ns/name], those that are private or gated")
    return tuple(dict.fromkeys(dataset(element)[0] for element in value.elements("be a list of repos")))


def _is_repo(repo_id: str) -> bool:
    """The Hub's own rules that a pattern does not say."""
    return ".." not in repo_id and "--" not in repo_id and all(len(part) <= 96 for part in repo_id.split("/"))


def parquet(value: Value, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Paths as written, and resolved."""
    what = "be a path or a list of paths"
    entries = value.elements(what) if value.kind == "seq" else [value]
    paths = tuple(entry.text(what) for entry in entries)
    for entry, path in zip(entries, paths, strict=True):
        _refuse_secret(entry, path)
    return paths, tuple(_local_path(path, folder) for path in paths)


def folder_name(path: str) -> str:
    """`data/extra/*.parquet` -> extra; a file without a folder -> its stem."""
    uri = _URI.fullmatch(path)
    parts = [part for part in (uri[2] if uri else path).split("/") if part not in {"", ".", "..", "~"}]
    folders = [part for part in parts if not re.search(r"[*?\[\]{}]", part)]
    if len(folders) > 1 and folders[-1] == parts[-1] and "." in folders[-1]:
        folders.pop()
    return folders[-1].removesuffix(".parquet") if folders else "parquet"


def _refuse_secret(value: Value, written: str) -> None:
    """Raises a RecipeError, which does not repeat them, for credentials in a URI."""
    if _holds_secret(written):
        raise value.error(_REFUSED)


def _holds_secret(path: str) -> bool:
    """Whether a URI has a user with a password, or a query such as `secret_key=...`."""
    uri = _URI.fullmatch(path)
    if uri is None or uri[1].lower() == "file":
        return False
    query = path.partition("?")[2]
    named = any(_SECRET_KEY.search(name) for name, _ in parse_qsl(query, keep_blank_values=True))
    return named or bool(_LOGIN.match(path, uri.start(2)))


def _local_path(path: str, folder: Path) -> str:
    """A local path made complete; other URIs stay."""
    uri = _URI.fullmatch(path)
    if uri is not None and uri[1].lower() != "file":
        return path
    plain = path if uri is None else unquote(uri[2])
    return os.path.normpath(folder / os.path.expanduser(plain))  # noqa: PTH111  (globs are not paths; keep them)
