"""The Hub API about what is in a repo: trees, paths, pre-upload, commits, branches, tags, history."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Sequence
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlencode

from starlette.responses import JSONResponse, Response

from pipeline.localhub.answers import HubError, well_formed
from pipeline.localhub.api_repos import iso, repo_url
from pipeline.localhub.call import Call
from pipeline.localhub.commits import Proposal, land, read_proposal
from pipeline.localhub.discussions import open_discussion
from pipeline.localhub.names import check_path
from pipeline.localhub.repos import (
    HEADS,
    PULL_REQUESTS,
    TAGS,
    Commit,
    Message,
    Repo,
    create_ref,
    delete_ref,
    find_repo,
    history,
    list_refs,
    resolve,
    resolve_branch,
    set_ref,
    squash,
)
from pipeline.localhub.trees import Entry, Folder, commits_by_id, find_item, list_page

_PAGE: Final = 1000
_COMMITS_MAX: Final = 2**31


async def tree(call: Call) -> Response:
    """A page of the files and folders of a folder."""
    user, folder = call.user(), call.values.get("path", "").removesuffix("/")
    recursive, expand = call.flag("recursive"), call.flag("expand")
    seek = decode_cursor(call.query("cursor"))
    if folder:
        check_path(folder)

    def work() -> Response:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user)
            commit = resolve(conn, repo, call.values["rev"])
            page = list_page(conn, commit, folder, seek, recursive, _PAGE)
            rows = _listed(conn, page.items, expand)
        if page.rest is None:
            return JSONResponse(rows)
        query = {
            "recursive": str(recursive).lower(),
            "expand": str(expand).lower(),
            "cursor": encode_cursor(page.rest),
        }
        return JSONResponse(rows, headers=next_page(call, repo, f"tree/{commit.sha}/{quote(folder, safe='')}", query))

    return await call.blocking(work)


async def paths_info(call: Call) -> Response:
    """What is at some paths; those that do not exist are left out."""
    user = call.user()
    form = await call.form()
    paths = [path.strip("/") for path in form.get("paths", ())]
    expand = form.get("expand", ["false"])[0].lower() == "true"

    def work() -> Response:
        with call.core.database.read() as conn:
            commit = resolve(conn, find_repo(conn, call.values["kind"], call.repo_name, user), call.values["rev"])
            found = [find_item(conn, commit, path) for path in paths]
            return JSONResponse(_listed(conn, [item for item in found if item], expand))

    return await call.blocking(work)


async def commit(call: Call) -> Response:
    """Make a commit on a branch, or as a new pull request."""
    user, as_pull_request = call.user(), call.flag("create_pr")

    def look() -> None:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            resolve_branch(conn, repo, call.values["rev"])

    def make(proposal: Proposal) -> tuple[Repo, Commit, str]:
        with call.core.database.write() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            ref, head = resolve_branch(conn, repo, call.values["rev"])
            made = land(conn, repo, head, proposal, user.name)
            if as_pull_request:
                text = (proposal.title, proposal.description, user.name)
                return repo, made, str(open_discussion(conn, repo, text, "open", made))
            set_ref(conn, repo, ref, made.id)
            return repo, made, ""

    def work(body: BinaryIO) -> tuple[Repo, Commit, str]:
        proposal = read_proposal(body, call.core.store)
        try:
            return make(proposal)
        except HubError:
            call.core.store.discard("packs", proposal.pack)
            raise

    await call.blocking(look)
    with call.core.store.create() as draft:
        repo, made, number = await call.blocking(work, await call.spool(draft))
    url = repo_url(call, repo)
    pull = f"{url}/discussions/{number}" if as_pull_request else None
    done = {"success": True, "commitUrl": f"{url}/commit/{made.sha}", "commitOid": made.sha}
    return JSONResponse({**done, "hookOutput": "", "pullRequestUrl": pull})


async def refs(call: Call) -> Response:
    """The branches, tags and pull requests of a repo."""
    user = call.user()

    def work() -> dict[str, list[dict[str, str]]]:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user)
            kinds = {"branches": HEADS, "converts": "refs/convert/", "tags": TAGS, "pullRequests": PULL_REQUESTS}
            return {kind: _refs(list_refs(conn, repo, prefix), prefix) for kind, prefix in kinds.items()}

    found = await call.blocking(work)
    if not call.flag("include_prs"):
        del found["pullRequests"]
    return JSONResponse(found)


async def commits(call: Call) -> Response:
    """A page of the history of a revision, newest first."""
    user = call.user()
    with well_formed("query"):
        page, limit = int(call.query("p") or 0), min(_PAGE, int(call.query("limit") or 50))
    if not 0 <= page < _COMMITS_MAX or limit < 1:
        raise HubError(400, "p must be a page number, from 0, and limit at least 1")

    def work() -> Response:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user)
            head = resolve(conn, repo, call.values["rev"])
            found = history(conn, head, page * limit, limit + 1)
        rows = [_commit(made) for made in found[:limit]]
        if len(found) <= limit:
            return JSONResponse(rows)
        query = {"p": str(page + 1), "limit": str(limit)}
        return JSONResponse(rows, headers=next_page(call, repo, f"commits/{head.sha}", query))

    return await call.blocking(work)


async def branch(call: Call) -> Response:
    """Make or delete a branch."""
    data, user = await call.json(), call.user()
    name = HEADS + call.values["rev"]

    def work() -> None:
        with call.core.database.write() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            if call.method == "POST":
                create_ref(conn, repo, name, resolve(conn, repo, str(data.get("startingPoint") or "main")))
            elif call.values["rev"] == "main":
                raise HubError(403, "the branch 'main' cannot be deleted")
            else:
                delete_ref(conn, repo, name)

    await call.blocking(work)
    return Response(status_code=201 if call.method == "POST" else 200)


async def tag(call: Call) -> Response:
    """Tag a revision, or delete a tag."""
    data, user = await call.json(), call.user()

    def work() -> None:
        with call.core.database.write() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            if call.method == "POST":
                head = resolve(conn, repo, call.values["rev"])
                create_ref(conn, repo, TAGS + str(data.get("tag", "")), head, str(data.get("message") or ""))
            else:
                delete_ref(conn, repo, TAGS + call.values["rev"])

    await call.blocking(work)
    return Response(status_code=201 if call.method == "POST" else 200)


async def super_squash(call: Call) -> Response:
    """Replace the history of a branch by one commit with the same files."""
    data, user = await call.json(), call.user()

    def work() -> None:
        with call.core.database.write() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            ref, head = resolve_branch(conn, repo, call.values["rev"])
            title = str(data.get("message") or f"Super-squash branch '{call.values['rev']}'")
            set_ref(conn, repo, ref, squash(conn, repo, head, Message(title, "", user.name)).id)

    await call.blocking(work)
    return JSONResponse({})


def next_page(call: Call, repo: Repo, path: str, query: dict[str, str]) -> dict[str, str]:
    """The header that leads to the next page, of the same commit whatever happens to the branch."""
    url = f"{call.endpoint}/api/{repo.kind}s/{repo.name}/{path}?{urlencode(query)}"
    return {"Link": f'<{url}>; rel="next"'}


def _listed(conn: sqlite3.Connection, items: Sequence[Entry | Folder], expand: bool) -> list[dict[str, Any]]:
    rows = [_item(item) for item in items]
    if expand:
        made = commits_by_id(conn, (item.made_by for item in items))
        for row, item in zip(rows, items, strict=True):
            last = made[item.made_by]
            row["lastCommit"] = {"id": last["sha"], "title": last["title"], "date": iso(last["created_s"])}
    return rows


def _item(item: Entry | Folder) -> dict[str, Any]:
    if isinstance(item, Folder):
        return {"type": "directory", "oid": item.oid, "size": 0, "path": item.path}
    row: dict[str, Any] = {"type": "file", "oid": item.oid, "size": item.size, "path": item.path}
    if item.sha256:
        row["lfs"] = {"oid": item.sha256, "size": item.size, "pointerSize": item.pointer_bytes}
    if item.xet:
        row["xetHash"] = item.xet
    return row


def _commit(made: Commit) -> dict[str, Any]:
    text = {"title": made.title, "message": made.description}
    return {"id": made.sha, **text, "date": iso(made.created_s), "authors": [{"user": made.author}]}


def _refs(found: list[tuple[str, str]], prefix: str) -> list[dict[str, str]]:
    return [{"name": name.removeprefix(prefix), "ref": name, "targetCommit": sha} for name, sha in found]


def encode_cursor(seek: str) -> str:
    return base64.urlsafe_b64encode(seek.encode()).decode()


def decode_cursor(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor).decode()
    except ValueError as err:
        raise HubError(400, f"not a cursor of this server: {cursor!r}") from err
