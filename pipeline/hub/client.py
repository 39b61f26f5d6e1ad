"""One request to the Hub: headers, retries, and its errors as ours.

A question is asked again while the server or the network fails (retry.py). A call that changes something is sent once, here;
whether it may be sent again is known only to who sent it (commit.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from pipeline.errors import (
    AccessError,
    ConflictError,
    CorruptFileError,
    DatasetError,
    NotFoundError,
    OptionError,
    TransferError,
)
from pipeline.hub import retry
from pipeline.hub.repo import DatasetRef, Secret, check_writable

TIMEOUT_S = 60.0
_CONFLICTS = (409, 412)


def auth_headers(token: Secret | None) -> dict[str, str]:
    """The headers of every call: user agent, and the token when there is one (never an implicit one)."""
    return build_hf_headers(
        token=token.reveal() if token else False, library_name="xet-pipeline", library_version="0.1.0"
    )


def get(url: str, token: Secret | None, *, about: str, **kwargs: Any) -> httpx2.Response:
    """GET, with retries.

    `about` names the repo or file in messages. Raises NotFoundError, AccessError or TransferError.
    """
    headers = auth_headers(token) | kwargs.pop("headers", {})
    try:
        response = retry.send_again(
            lambda: get_session().request("GET", url, headers=headers, timeout=TIMEOUT_S, **kwargs)
        )
        hf_raise_for_status(response)
    except (hub_errors.HfHubHTTPError, httpx2.HTTPError) as err:
        raise translate(err, about) from err
    return response


def get_json(url: str, token: Secret | None, *fields: str, about: str) -> dict[str, Any]:
    """GET an object that has these fields. Raises as `get`, and TransferError for an answer that is none."""
    response = get(url, token, about=about)
    try:
        found = response.json()
        if all(field in found for field in fields):
            return dict(found)
    except (ValueError, TypeError):
        pass
    raise TransferError(f"{about}: {url.partition('?')[0]} answered with something else than a Hub; check the endpoint")


def send(method: str, url: str, token: Secret | None, *, about: str, **kwargs: Any) -> httpx2.Response:
    """Send a call that changes something, once; again only when it was turned away for being one too many (429).

    Raises as `get`, and ConflictError on 409 and 412.
    """
    headers = auth_headers(token) | kwargs.pop("headers", {})
    timeout = kwargs.pop("timeout", TIMEOUT_S)
    try:
        response = retry.send_once(
            lambda: get_session().request(method, url, headers=headers, timeout=timeout, **kwargs)
        )
        hf_raise_for_status(response)
    except (hub_errors.HfHubHTTPError, httpx2.HTTPError) as err:
        raise translate(err, about) from err
    return response


def get_pages(url: str, token: Secret | None, *, about: str) -> Iterator[Any]:
    """The items of a listing, page after page, as the `Link: rel="next"` header leads."""
    next_url: str | None = url
    while next_url:
        if urlsplit(next_url)[:2] != urlsplit(url)[:2]:
            raise TransferError(
                f"{about}: the listing goes on at {next_url!r}, which is not on the Hub; check the endpoint"
            )
        response = get(next_url, token, about=about)
        yield from response.json()
        next_url = response.links.get("next", {}).get("url")


def repo_exists(ref: DatasetRef, token: Secret | None) -> bool:
    """Whether the repo exists and this token may see it."""
    try:
        get(ref.api_url(), token, about=ref.repo_id)
    except NotFoundError:
        return False
    return True


def create_repo(ref: DatasetRef, token: Secret | None, *, private: bool | None = None) -> None:
    """Create the dataset repo; that it exists already is fine. Raises OptionError for a bucket."""
    check_writable(ref)
    namespace, name = ref.repo_id.split("/")
    body: dict[str, Any] = {"name": name, "organization": namespace, "type": "dataset"}
    if private is not None:
        body["visibility"] = "private" if private else "public"
    ensure(f"{ref.endpoint}/api/repos/create", token, about=ref.repo_id, json=body)


def ensure_branch(ref: DatasetRef, token: Secret | None) -> None:
    """Create the ref's branch from main's head; that it exists already is fine, and so is `main` or a pull request.

    Raises OptionError for what no branch can be called, AccessError, NotFoundError.
    """
    check_writable(ref)
    if _always_there(ref):
        return
    assert ref.revision is not None
    if not is_branch_name(ref.revision):
        raise OptionError(f"option 'revision' must be a branch's name to be created, got {ref.revision!r}")
    ensure(ref.api_url(f"branch/{quote(ref.revision, safe='')}"), token, about=str(ref), json={})


def is_branch_name(revision: str) -> bool:
    """Whether a revision may be a branch that does not exist yet: neither a sha nor a ref of the Hub's own."""
    return re.fullmatch(r"[0-9a-f]{40}|refs/.*", revision) is None


def ensure(url: str, token: Secret | None, *, about: str, json: dict[str, Any]) -> None:
    """Create what may exist already: sent again while it is not known whether it was done."""
    for tries in range(1, retry.TRIES + 1):
        try:
            send("POST", url, token, about=about, json=json)
        except ConflictError:
            return
        except TransferError:
            if tries == retry.TRIES:
                raise
            retry.wait(tries)
        else:
            return


def _always_there(ref: DatasetRef) -> bool:
    return ref.revision in (None, "main") or bool(re.fullmatch(r"refs/pr/\d+", ref.revision or ""))


def check_branch(ref: DatasetRef, token: Secret | None) -> None:
    """Raises OptionError when an existing revision is none that commits can be added to: a tag, a commit, a conversion."""
    check_writable(ref)
    if _always_there(ref):
        return
    branches = get_json(ref.api_url("refs"), token, "branches", about=ref.repo_id)["branches"]
    if ref.revision not in [name for branch in branches for name in (branch["name"], branch["ref"])]:
        raise OptionError(
            f"option 'revision' must be a branch or a pull request (refs/pr/1) to write to, got {ref.revision!r}; "
            "tags and commits never change"
        )


def translate(err: Exception, about: str) -> DatasetError:
    """huggingface_hub's error as ours: one line that names what was asked for."""
    if isinstance(err, hub_errors.RevisionNotFoundError):
        return NotFoundError(f"{about}: no such revision on the Hub; check the branch, tag or commit")
    if isinstance(err, hub_errors.EntryNotFoundError):
        return NotFoundError(f"{about}: no such file on the Hub")
    if isinstance(err, hub_errors.GatedRepoError):
        return AccessError(f"{about}: the repo is gated; ask for access on its page, then give a token of that account")
    if isinstance(err, hub_errors.RepositoryNotFoundError):
        return NotFoundError(
            f"{about}: no such dataset on the Hub, or no access to it; check the name, and give a token if it is private"
        )
    if isinstance(err, hub_errors.HfHubHTTPError):
        return _translate_status(err, about)
    return TransferError(
        f"{about}: the Hub{_host(err)} could not be reached ({type(err).__name__}); check the endpoint and network"
    )


def _host(err: Exception) -> str:
    """` at http://host:port`, where the error knows."""
    try:
        url = err.request.url  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        return ""
    return f" at {url.scheme}://{url.netloc.decode()}"


def _translate_status(err: hub_errors.HfHubHTTPError, about: str) -> DatasetError:
    status = err.response.status_code
    said = (err.response.headers.get("X-Error-Message") or err.server_message or "").replace("\n", " ").strip()
    detail = f" ({said})" if said else ""
    if status in (401, 403):
        return AccessError(f"{about}: the Hub refused, status {status}{detail}; give a token that may do this")
    if status in _CONFLICTS:
        return ConflictError(f"{about}: the target changed meanwhile, status {status}{detail}; run again")
    if status == 404:
        return NotFoundError(f"{about}: not found on the Hub{detail}")
    if status == 416:
        return CorruptFileError(f"{about}: shorter than its listing or its footer says, status 416; check the file")
    if status in retry.UNSURE:
        return TransferError(f"{about}: the Hub answered {status}{detail} until we gave up; try again later")
    return OptionError(f"{about}: the Hub refused the request, status {status}{detail}")
