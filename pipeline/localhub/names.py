"""What may be a repo name, a branch name or a path, and what may not.

The one idea: bytes are stored under their hashes, never under a name that a client sends, so a name cannot leave the
root. It is still checked at the border, so that no client can be handed a path that climbs out of *its* folder.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from pipeline.localhub.answers import HubError

KINDS: Final = {"models": "model", "datasets": "dataset", "spaces": "space"}
BUCKET: Final = "bucket"
"""The kind of a repo that has files without commits."""

_REPO_PART: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_RESERVED: Final = frozenset({"api", "buckets", "cas", "cdn", "datasets", "lfs", "models", "spaces"})
_BAD_IN_REF: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\%]|\.\.|//|@\{|\.lock(/|$)|^[-/.]|[/.]$")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_PATH_BYTES_MAX: Final = 1024
_PART_BYTES_MAX: Final = 255  # what Linux and macOS take as a file name
_DECODINGS_MAX: Final = 5


def check_repo_name(name: str) -> str:
    """Return `name` if it is `namespace/name` as the Hub allows it; HubError 400 if not."""
    parts = name.split("/")
    good = len(parts) == 2 and all(_REPO_PART.fullmatch(part) and ".." not in part for part in parts)
    if not good or parts[0] in _RESERVED or "--" in name or parts[1].endswith(".git"):
        raise HubError(400, f"repo name must be 'namespace/name' of letters, digits, '-', '_' and '.', got {name!r}")
    return name


def check_ref_name(name: str) -> str:
    """Return `name` if git would take it as a branch or tag name; HubError 400 if not."""
    if not name or len(name) > 255 or _BAD_IN_REF.search(name) or name.startswith("refs/"):
        raise HubError(400, f"invalid branch or tag name {name!r}")
    return name


def check_path(path: str) -> str:
    """Return `path` if it names a file inside a repo, also after any number of percent-decodings; HubError 400 if not.

    Paths are at most 1,024 bytes long, their parts 255, and a path that five decodings do not bring to rest is refused.
    """
    seen = path
    if not _is_short(path):
        raise HubError(
            400, f"path in repo is longer than {_PATH_BYTES_MAX} bytes, or a part of it than {_PART_BYTES_MAX}"
        )
    for _ in range(1 + _DECODINGS_MAX):
        if not _is_inside(seen):
            raise HubError(400, f"invalid path in repo {path!r}")
        decoded = unquote(seen)
        if decoded == seen:
            return path
        seen = decoded
    raise HubError(400, f"path in repo is percent-encoded more than {_DECODINGS_MAX} times: {path!r}")


def _is_short(path: str) -> bool:
    if len(path) > _PATH_BYTES_MAX:
        return False
    data = path.encode("utf-8", "surrogatepass")
    return len(data) <= _PATH_BYTES_MAX and all(len(part) <= _PART_BYTES_MAX for part in data.split(b"/"))


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return not _CONTROL.search(path) and not any(part.lower() in {"", ".", "..", ".git"} for part in parts)
