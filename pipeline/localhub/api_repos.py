"""The Hub API about repos: who am I, create, delete, move, look at."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from pipeline.localhub.accounts import Identity
from pipeline.localhub.answers import HubError
from pipeline.localhub.call import Call
from pipeline.localhub.cards import front_matter
from pipeline.localhub.commits import start
from pipeline.localhub.names import BUCKET, KINDS
from pipeline.localhub.repos import (
    Commit,
    Repo,
    create_repo,
    delete_repo,
    find_repo,
    list_repos,
    move_repo,
    resolve,
    set_private,
)
from pipeline.localhub.trees import Entry, all_entries, find_entry

_CARD_BYTES_MAX: Final = 4 * 1024 * 1024


def iso(seconds: float) -> str:
    """A time as the Hub writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def repo_url(call: Call, repo: Repo) -> str:
    """The address of a repo's page, which clients parse."""
    prefix = "" if repo.kind == "model" else f"{repo.kind}s/"
    return f"{call.endpoint}/{prefix}{repo.name}"


def make_repo(conn: sqlite3.Connection, call: Call, kind: str, name: str, private: bool) -> Repo:
    """Make a repo without commits; HubError 403 if the user may not, 409 with the address if the name is taken."""
    owner = name.split("/")[0]
    if not call.user().may_write(owner):
        raise HubError(403, f"you may not create repos in {owner!r}: your token needs the role 'write' there")
    try:
        return create_repo(conn, kind, name, private)
    except HubError as err:
        if err.status == 409:
            err.body = {"url": repo_url(call, Repo(0, kind, name, owner, private, 0.0))}
        raise


def wants_private(data: Mapping[str, Any]) -> bool | None:
    """Whether a repo is to be private, None if the request does not say."""
    private = data.get("private")
    if private is None and data.get("visibility") is not None:
        return bool(data["visibility"] == "private")
    if private is not None and not isinstance(private, bool):
        raise HubError(400, f"private must be true or false, got {private!r}")
    return private


async def whoami(call: Call) -> Response:
    """Who the token belongs to."""
    user = call.user()
    if not user.name:
        raise HubError(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": name, "fullname": name} for name in sorted(user.spaces - {user.name})]
    role = "read" if user.role == "read" else "write"
    token = {"type": "access_token", "accessToken": {"displayName": "localhub", "role": role}}
    name = {"name": user.name, "fullname": user.name, "id": sha1(user.name.encode()).hexdigest()[:24]}  # noqa: S324
    return JSONResponse({"type": "user", **name, "orgs": orgs, "auth": token})


async def create(call: Call) -> Response:
    """Make a repo with a first commit that holds `.gitattributes`, as the Hub does."""
    data = await call.json()
    user = call.user()
    kind, private = _kind(data), bool(wants_private(data))
    name = _full_name(data, user)

    def work() -> Repo:
        with call.core.database.write() as conn:
            repo = make_repo(conn, call, kind, name, private)
            start(conn, call.core.store, repo, user.name)
            return repo

    repo = await call.blocking(work)
    return JSONResponse({"url": repo_url(call, repo), "name": repo.name, "id": str(repo.id)})


async def delete(call: Call) -> Response:
    """Delete a repo."""
    data = await call.json()
    user = call.user()
    kind, name = _kind(data), _full_name(data, user)

    def work() -> None:
        with call.core.database.write() as conn:
            delete_repo(conn, find_repo(conn, kind, name, user, write=True))

    await call.blocking(work)
    return Response("OK", media_type="text/plain")


async def move(call: Call) -> Response:
    """Rename a repo, or give it to another namespace."""
    data = await call.json()
    user = call.user()
    kind, target = _kind(data, BUCKET), str(data.get("toRepo"))

    def work() -> None:
        with call.core.database.write() as conn:
            repo = find_repo(conn, kind, str(data.get("fromRepo")), user, write=True)
            if not user.may_write(target.split("/")[0]):
                raise HubError(403, f"you may not write to {target!r}")
            move_repo(conn, repo, target)

    await call.blocking(work)
    return JSONResponse({"url": f"{call.endpoint}/{target}"})


async def settings(call: Call) -> Response:
    """Make a repo private or public."""
    data = await call.json()
    user = call.user()
    private = wants_private(data)

    def work() -> None:
        with call.core.database.write() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            if private is not None:
                set_private(conn, repo, private)

    await call.blocking(work)
    return JSONResponse({"private": private})


async def listing(call: Call) -> Response:
    """The repos that the user may read."""
    user = call.user()
    author, search = call.query("author"), call.query("search").lower()

    def work() -> Response:
        with call.core.database.read() as conn:
            repos = list_repos(conn, call.values["kind"], user)
            wanted = [repo for repo in repos if search in repo.name.lower() and author in {"", repo.owner}]
            return JSONResponse([_summary(repo, _head(conn, repo)) for repo in wanted])

    return await call.blocking(work)


async def info(call: Call) -> Response:
    """A repo at a revision, with its files."""
    user = call.user()

    def work() -> Response:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user)
            commit = resolve(conn, repo, call.values.get("rev", "main"))
            readme = find_entry(conn, commit, "README.md")
            card = call.core.cards.read(readme.oid) if readme and _may_be_card(readme) else None
            siblings = [_sibling(entry, call.flag("blobs")) for entry in all_entries(conn, commit)]
            return JSONResponse({**_summary(repo, commit), "cardData": card, "siblings": siblings})

    return await call.blocking(work)


async def validate_yaml(call: Call) -> Response:
    """Check the YAML at the top of a README."""
    data = await call.json()
    errors = []
    try:
        await call.blocking(front_matter, str(data.get("content", "")))
    except ValueError as err:
        errors.append({"message": str(err)})
    return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)


async def nothing(call: Call) -> Response:
    """An answer for what clients ask and this Hub has nothing to say about."""
    await call.body(1024 * 1024)
    return JSONResponse({})


def _summary(repo: Repo, commit: Commit | None) -> dict[str, Any]:
    fixed = {"gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
    named = {"_id": f"{repo.id:024x}", "id": repo.name, "author": repo.owner, "private": repo.private}
    made = iso(repo.created_s)
    changed = iso(commit.created_s) if commit else made
    return {**named, "sha": commit.sha if commit else None, "createdAt": made, "lastModified": changed, **fixed}


def _head(conn: sqlite3.Connection, repo: Repo) -> Commit | None:
    try:
        return resolve(conn, repo, "main")
    except HubError:
        return None


def _sibling(entry: Entry, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": entry.path}
    lfs = (
        {"lfs": {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_bytes}}
        if entry.sha256
        else {}
    )
    return {"rfilename": entry.path, "blobId": entry.oid, "size": entry.size, **lfs}


def _may_be_card(readme: Entry) -> bool:
    return readme.sha256 is None and readme.size <= _CARD_BYTES_MAX


def _kind(data: Mapping[str, Any], *others: str) -> str:
    kind, kinds = data.get("type") or "model", (*KINDS.values(), *others)
    if kind not in kinds:
        raise HubError(400, f"repo type must be one of {', '.join(kinds)}, got {kind!r}")
    return str(kind)


def _full_name(data: Mapping[str, Any], user: Identity) -> str:
    """'namespace/name' of what a request is about."""
    owner, name = data.get("organization") or user.name, data.get("name")
    if not isinstance(name, str) or not name or not isinstance(owner, str):
        raise HubError(400, f"a repo needs a name, got {name!r} in {owner!r}")
    return f"{owner}/{name}"
