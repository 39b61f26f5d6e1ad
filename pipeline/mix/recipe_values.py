"""The readers of single recipe values: each takes a `Value` and returns a plain one, or raises at its position."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from pipeline.errors import OptionError, RecipeError
from pipeline.hub.split import Mode, SplitWrite
from pipeline.mix.recipe_yaml import Value
from pipeline.predicate import parse_predicate
from pipeline.sizes import parse_bytes

LEAST_BYTES = 64_000
MOST_REPEATS = 1_000_000
SHUFFLES = ("blocks", "rows", "none")

_REPO = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?/[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_DATASET = re.compile(rf"(?:hf://datasets/)?({_REPO})(?:@(refs/(?:convert|pr)/[^/@]+|[^/@]+))?")
_URI = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_SPLIT = re.compile(r"\w+(?:\.\w+)*")
_CONFIG = re.compile(r"[^<>:/\\|?*\x00-\x1f]+")
_PERCENT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*%")
# A user alone is no secret (`gs://anonymous@bucket`, `abfss://container@account`); on S3 it is half of one.
_LOGIN = re.compile(r"[^/?#@]*:[^?#@]*@|(?<=s3://)[^/?#@]*@", re.IGNORECASE)
_SECRET_KEY = re.compile(r"key|secret|token|passw|signature|^sig$|credential(?!_kind)", re.IGNORECASE)
_FOLDER_STARTS = ("/", "./", "../", "~", "file://")


def parse_target(written: str, folder: Path) -> str:
    """A repo id, or a folder's path that starts with `/` or `.`; relative folders start from `folder`.

    Raises `OptionError` for anything else.
    """
    if written.startswith(_FOLDER_STARTS) or written in {".", ".."}:
        path = _local_path(written, folder)
        return path if path.startswith(("/", ".")) else f"./{path}"
    match = re.fullmatch(rf"(?:hf://datasets/)?({_REPO})", written)
    if match is None or not _is_repo(match[1]):
        expected = "ns/name, hf://datasets/ns/name or a folder that starts with ./, ../, / or ~"
        raise OptionError(f"target must be {expected}, got {written!r:.80}")
    return match[1]


def target(value: Value, folder: Path) -> str:
    written = value.text("be a repo or a folder")
    _refuse_secret(value, written)
    try:
        return parse_target(written, folder)
    except OptionError as err:
        raise value.error(str(err).removeprefix(value.path)) from err


def dataset(value: Value) -> tuple[str, str | None]:
    """Repo id and revision."""
    written = value.text("be a repo such as ns/name")
    _refuse_secret(value, written)
    match = _DATASET.fullmatch(written)
    if match is None or not _is_repo(match[1]):
        raise value.must("be ns/name or hf://datasets/ns/name@revision (files go under parquet:)")
    return match[1], unquote(match[2]) if match[2] else None


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


def _refuse_secret(value: Value, written: str) -> None:
    """Raises a RecipeError, which does not repeat them, for credentials in a URI."""
    if _holds_secret(written):
        raise value.error(
            "holds credentials, and a recipe is published with its mix; remove them, and give them by the environment "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN)"
        )


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


def shuffle(value: Value) -> str:
    written = value.text(f"be one of {', '.join(SHUFFLES)}")
    if written not in SHUFFLES:
        raise value.must(f"be one of {', '.join(SHUFFLES)}")
    return written


def size(value: Value) -> int:
    """A number of bytes that is large enough for a file or a row group."""
    what = "be a size such as 100MB or 64MiB"
    try:
        count = value.integer(0, what=what) if value.kind == "int" else parse_bytes(value.text(what))
    except (ValueError, OverflowError) as err:
        raise value.must(what) from err
    if not LEAST_BYTES <= count < 2**63:
        raise value.must("be at least 64KB" if count < LEAST_BYTES else what)
    return count


def config(value: Value) -> str:
    written = value.text("be a config's name")
    if not _CONFIG.fullmatch(written) or written in {".", ".."}:
        raise value.must(r"be a config's name without any of < > : / \ | ? *")
    return written


def target_config(value: Value) -> str:
    """The mix's own config, checked as the write will check it."""
    written = config(value)
    try:
        SplitWrite(config=written, split="train", mode=Mode.OVERWRITE, transaction="", features=None)
    except OptionError as err:
        raise value.error(str(err).removeprefix("option 'config' ")) from err
    return written


def split(value: Value) -> str:
    written = value.text("be a split's name")
    if not _SPLIT.fullmatch(written):
        raise value.must("be a split's name of letters, digits, _ and dots, such as train")
    return written


def source_column(value: Value) -> str | None:
    if value.kind == "bool":
        if value.boolean():
            raise value.must("be a column's name, or false for no such column")
        return None
    return value.text("be a column's name, or false for no such column")


def columns(value: Value) -> tuple[tuple[str, str], ...]:
    """Pairs of mix column and source column or SQL, from a mapping or a list of columns to keep."""
    if value.kind == "seq":
        return _kept_columns(value)
    if value.kind != "map" or not value.node.value:
        raise value.must("be a mapping of mix column to source column or SQL, or a list of columns")
    found = []
    for key, member in value.items():
        # Any text may be a column's name; whether it is, or else is SQL, is known with the source's schema.
        found.append((str(key.node.value), member.text("be a source column or SQL")))
    return tuple(found)


def _kept_columns(value: Value) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for element in value.elements("be a list of columns"):
        name = element.text("be a column's name")
        if name in found:
            raise element.error(f"{name!r} is given twice; keep one")
        found[name] = name
    return tuple(found.items())


def where(value: Value) -> str:
    written = value.text("be a condition in SQL")
    try:
        parse_predicate(written, None, value.path)
    except RecipeError as err:
        raise RecipeError(f"{value.file}:{value.position[0]}:{value.position[1]}: {err}") from err
    return written


def take(value: Value) -> int | float:
    """Rows (int) or a share of them (float)."""
    what = "be a number of rows, or a share such as 0.1 or 10%"
    if value.kind == "str":
        match = _PERCENT.fullmatch(str(value.node.value).strip())
        if match is None or not 0 < Fraction(match[1]) <= 100:
            raise value.must(f"{what} (above 0, at most 100%)" if match else what)
        return float(Fraction(match[1]) / 100)
    count = value.number(what)
    if isinstance(count, float) and count > 1:
        raise value.must("be a whole number of rows, or a share of at most 1.0")
    return count


def repeat(value: Value) -> int | float:
    """How often each drawn row occurs."""
    count = value.number("be a number of times greater than 0")
    if count > MOST_REPEATS:
        raise value.must(f"be at most {MOST_REPEATS}")
    return count


def derived_names(draft: Mapping[str, Any]) -> Iterator[str]:
    """Names for a source that has none, best first, without end."""
    if draft.get("dataset"):
        plain = str(draft["dataset"]).rpartition("/")[2]
        extras = [draft[key] for key in ("config", "split") if key in draft]
    else:
        plain, extras = _folder_name(draft["parquet"][0]), []
    yield plain
    for count in range(len(extras)):
        yield "-".join([plain, *extras[: count + 1]])
    number = 2
    while True:
        yield f"{plain}-{number}"
        number += 1


def _folder_name(path: str) -> str:
    """`data/extra/*.parquet` -> extra; a file without a folder -> its stem."""
    uri = _URI.fullmatch(path)
    parts = [part for part in (uri[2] if uri else path).split("/") if part not in {"", ".", "..", "~"}]
    folders = [part for part in parts if not re.search(r"[*?\[\]{}]", part)]
    if len(folders) > 1 and folders[-1] == parts[-1] and "." in folders[-1]:
        folders.pop()
    return folders[-1].removesuffix(".parquet") if folders else "parquet"
