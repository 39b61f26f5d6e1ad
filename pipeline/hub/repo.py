"""What a dataset is called, and who asks for it.

One grammar, one parser: `ns/name`, `datasets/ns/name`, `hf://datasets/ns/name[@revision][/path]`, and for a bucket, which has
no revisions, `hf://buckets/ns/name[/path]`. A `DatasetRef` is what the user wrote; pinned to a commit it becomes a `Snapshot`
(resolver.py). A `Secret` carries a Hub token and shows it to nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote

from huggingface_hub import constants, get_token

from pipeline.errors import OptionError

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REF_PREFIX = re.compile(r"refs/(?:convert|pr)/[^/]+")
_FORMS = "expected 'ns/name' or 'hf://datasets/ns/name[@revision]'"
_BUCKET_FORM = "expected 'hf://buckets/ns/name[/path]'"

Kind = Literal["datasets", "buckets"]


class Secret:
    """A Hub token. It pickles, so that it can travel inside a reader or writer; its text is redacted."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The token itself: only for a request's header."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self._value,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRef:
    """A dataset as the user names it. `None` means the Hub's own default: branch `main`, the default config.

    Of a bucket, which has no commits, a listing's ref has a digest of that listing as its revision.
    """

    repo_id: str
    endpoint: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    path: str = ""
    kind: Kind = "datasets"

    @property
    def full_name(self) -> str:
        """`ns/name`, or `buckets/ns/name`: what no repo of another kind is called."""
        return self.repo_id if self.kind == "datasets" else f"{self.kind}/{self.repo_id}"

    def api_url(self, what: str = "") -> str:
        """The repo's API address, as `/api/datasets/ns/name[/what]`."""
        return f"{self.endpoint}/api/{self.kind}/{self.repo_id}" + (f"/{what}" if what else "")

    def file_url(self, path: str, revision: str | None = None) -> str:
        """Where `path` is downloaded from at a revision."""
        pinned = "" if self.kind == "buckets" else quote(revision or self.revision or "main", safe="") + "/"
        return f"{self.endpoint}/{self.kind}/{self.repo_id}/resolve/{pinned}{quote(path)}"

    def uri(self, path: str) -> str:
        """`path` as `hf://datasets/ns/name@revision/path`, which `parse_ref` reads; a bucket's has no revision."""
        at = f"@{self.revision}" if self.revision and self.kind == "datasets" else ""
        return f"hf://{self.kind}/{self.repo_id}{at}/{path}"

    def __str__(self) -> str:
        return f"{self.full_name}@{self.revision}" if self.revision and self.kind == "datasets" else self.full_name


def default_endpoint() -> str:
    """The endpoint that the environment names (HF_ENDPOINT), else the public Hub."""
    return constants.ENDPOINT.rstrip("/")


def normalise_endpoint(endpoint: str | None) -> str:
    """An endpoint as every other function expects it: a scheme, a host, no trailing slash.

    Raises OptionError when it is not an http(s) URL.
    """
    if endpoint is None:
        return default_endpoint()
    if not re.match(r"https?://[^/]", endpoint):
        raise OptionError(f"option 'endpoint' must be an http:// or https:// URL, got {endpoint!r}")
    return endpoint.rstrip("/")


def find_token(endpoint: str, token: str | None = None) -> Secret | None:
    """The token for an endpoint: the one given, else the one of the environment or login, but only for its own endpoint."""
    if token and token.strip():
        if not re.fullmatch(r"[!-~]+", token.strip()):
            raise OptionError("the token has a space or a character that no token has; copy it again")
        return Secret(token.strip())
    implicit = get_token() if endpoint == default_endpoint() else None
    return Secret(implicit) if implicit else None


def parse_ref(
    text: str,
    *,
    revision: str | None = None,
    config: str | None = None,
    split: str | None = None,
    endpoint: str | None = None,
) -> DatasetRef:
    """Read a dataset's name in any of its forms.

    Raises OptionError when it has none of them, or names two different revisions, or one of a bucket.
    """
    rest = text.removeprefix("hf://").strip("/")
    if "://" in rest:
        raise OptionError(f"{text!r} is not on the Hub; {_FORMS}")
    kind: Kind = "buckets" if rest.startswith("buckets/") else "datasets"
    repo_id, written, path = _split_ref(rest.removeprefix(f"{kind}/"), text)
    if kind == "buckets" and (written or revision):
        raise OptionError(f"{text!r} is a bucket, which has no revisions, got {written or revision!r}; {_BUCKET_FORM}")
    if written and revision and written != revision:
        raise OptionError(f"{text!r} names revision {written!r}, but the option 'revision' says {revision!r}; give one")
    return DatasetRef(
        repo_id=repo_id,
        endpoint=normalise_endpoint(endpoint),
        revision=revision or written,
        config=config,
        split=split,
        path=path,
        kind=kind,
    )


def check_writable(ref: DatasetRef) -> None:
    """Raises OptionError for a bucket: it has no commits, which this ends in."""
    if ref.kind == "buckets":
        raise OptionError(f"'hf://{ref}' is a bucket, which has no commits; {_FORMS} to write to")


def is_repo_id(text: str) -> bool:
    """Whether `text` is a well-formed `ns/name`."""
    parts = text.split("/")
    return len(parts) == 2 and all(_NAME.fullmatch(part) and ".." not in part and "--" not in part for part in parts)


def _split_ref(rest: str, text: str) -> tuple[str, str | None, str]:
    """`ns/name@rev/path` -> (`ns/name`, rev, path); a revision may hold slashes when quoted or when under refs/."""
    namespace, _, tail = rest.partition("/")
    name = re.split("[@/]", tail, maxsplit=1)[0]
    at, after, path = tail[len(name) : len(name) + 1] == "@", "", tail[len(name) + 1 :]
    if at and (special := _REF_PREFIX.match(path)):
        after, path = special[0], path[special.end() :].lstrip("/")
    elif at:
        after, _, path = path.partition("/")
    repo_id = f"{namespace}/{name}"
    if not is_repo_id(repo_id):
        raise OptionError(f"{text!r} is not a dataset's name; {_FORMS}")
    if ".." in path.split("/"):
        raise OptionError(f"{text!r} leaves the repo; {_FORMS}")
    if at and not after:
        raise OptionError(f"{text!r} has no revision after '@'; {_FORMS}")
    return repo_id, unquote(after) or None, path
