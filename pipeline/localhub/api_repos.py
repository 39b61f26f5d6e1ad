"""The Hub API about repos: who am I, create, delete, move, look at."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from pipeline.localhub.answers import HubError
from pipeline.localhub.byte_store import ByteStore
from pipeline.localhub.call import Call
from pipeline.localhub.cards import front_matter
from pipeline.localhub.commits import read_blob, start
from pipeline.localhub.names import KINDS
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
    kind, owner = data.get("type") or "model", data.get("organization") or user.name
    private = bool(data.get("private")) or data.get("visibility") == "private"
    name = f"{owner}/{data.get('name')}"
    if kind not in KINDS.values():
        raise HubError(400, f"repo type must be one of {', '.join(KINDS.values())}, got {kind!r}")
    if not user.may_write(str(owner)):
        raise HubError(403, f"you may not create repos in {owner!r}: your token needs the role 'write' there")

    def work() -> Repo:
        with call.core.database.write() as conn:
            try:
                repo = create_repo(conn, kind, name, private)
            except HubError as err:
                if err.status == 409:
                    err.body = {"url": repo_url(call, Repo(0, kind, name, str(owner), private, 0.0))}
                raise
            start(conn, call.core.store, repo, user.name)
            return repo

    repo = await call.blocking(work)
    return JSONResponse({"url": repo_url(call, repo), "name": repo.name, "id": str(repo.id)})


async def delete(call: Call) -> Response:
    """Delete a repo."""
    data = await call.json()
    user = call.user()
    name = f"{data.get('organization') or user.name}/{data.get('name')}"

    def work() -> None:
        with call.core.database.write() as conn:
            delete_repo(conn, find_repo(conn, data.get("type") or "model", name, user, write=True))

    await call.blocking(work)
    return Response("OK", media_type="text/plain")


async def move(call: Call) -> Response:
    """Rename a repo, or give it to another namespace."""
    data = await call.json()
    user = call.user()
    target = str(data.get("toRepo"))

    def work() -> None:
        with call.core.database.write() as conn:
            repo = find_repo(conn, data.get("type") or "model", str(data.get("fromRepo")), user, write=True)
            if not user.may_write(target.split("/")[0]):
                raise HubError(403, f"you may not write to {target!r}")
            move_repo(conn, repo, target)

    await call.blocking(work)
    return JSONResponse({"url": f"{call.endpoint}/{target}"})


async def settings(call: Call) -> Response:
    """Make a repo private or public."""
    data = await call.json()
    user = call.user()
    private = data.get("private", None if "visibility" not in data else data["visibility"] == "private")

    def work() -> None:
        with call.core.database.write() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            if private is not None:
                set_private(conn, repo, bool(private))

    await call.blocking(work)
    return JSONResponse({"private": private})


async def listing(call: Call) -> Response:
    """The repos that the user may read."""
    user = call.user()
    author, search = call.query("author"), call.query("search").lower()

    def work() -> list[dict[str, Any]]:
        with call.core.database.read() as conn:
            repos = list_repos(conn, call.values["kind"], user)
            wanted = [repo for repo in repos if search in repo.name.lower() and author in {"", repo.owner}]
            return [_summary(repo, _head(conn, repo)) for repo in wanted]

    return JSONResponse(await call.blocking(work))


async def info(call: Call) -> Response:
    """A repo at a revision, with its files."""
    user = call.user()

    def work() -> dict[str, Any]:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user)
            commit = resolve(conn, repo, call.values.get("rev", "main"))
            card = _card(conn, call.core.store, commit)
            siblings = [_sibling(entry, call.flag("blobs")) for entry in all_entries(conn, commit)]
            return {**_summary(repo, commit), "cardData": card, "siblings": siblings}

    return JSONResponse(await call.blocking(work))


async def validate_yaml(call: Call) -> Response:
    """Check the YAML at the top of a README."""
    data = await call.json()
    errors = []
    try:
        front_matter(str(data.get("content", "")))
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


def _card(conn: sqlite3.Connection, store: ByteStore, commit: Commit) -> dict[str, Any] | None:
    readme = find_entry(conn, commit, "README.md")
    if readme is None or readme.sha256 is not None or readme.size > _CARD_BYTES_MAX:
        return None
    try:
        return front_matter(read_blob(conn, store, readme.oid).decode("utf-8", "replace")) or None
    except ValueError:
        return None
