"""The Hub API about buckets: create, list, delete, look into, change in batches, download.

The one idea: a batch is no commit. Its operations are carried out one after the other, those that cannot be are named in the
answer, and the others stand.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from pipeline.localhub.answers import HubError, entry_not_found
from pipeline.localhub.api_content import decode_cursor, encode_cursor, next_page
from pipeline.localhub.api_files import Large, redirect
from pipeline.localhub.api_repos import iso, make_repo, repo_url, wants_private
from pipeline.localhub.buckets import (
    BucketFile,
    BucketFolder,
    apply,
    find_file,
    list_files,
    read_operations,
    totals,
)
from pipeline.localhub.call import Call
from pipeline.localhub.names import BUCKET, check_path
from pipeline.localhub.repos import Repo, delete_repo, find_repo, list_repos

_ME: Final = "me"
"""The namespace of whoever asks, where buckets are created and listed."""
_BATCH_BYTES_MAX: Final = 8 * 1024 * 1024


async def create(call: Call) -> Response:
    """Make a bucket."""
    private = bool(wants_private(await call.json()))
    name = f"{_namespace(call)}/{call.values['name']}"

    def work() -> Repo:
        with call.core.database.write() as conn:
            return make_repo(conn, call, BUCKET, name, private)

    bucket = await call.blocking(work)
    return JSONResponse({"url": repo_url(call, bucket), "name": bucket.name, "id": str(bucket.id)})


async def listing(call: Call) -> Response:
    """The buckets of a namespace that the user may read."""
    user, owner, search = call.user(), _namespace(call), call.query("search").lower()

    def work() -> Response:
        with call.core.database.read() as conn:
            buckets = [bucket for bucket in list_repos(conn, BUCKET, user) if bucket.owner == owner]
            return JSONResponse([_summary(conn, bucket) for bucket in buckets if search in bucket.name.lower()])

    return await call.blocking(work)


async def info(call: Call) -> Response:
    """A bucket, with how much is in it."""

    def work() -> Response:
        with call.core.database.read() as conn:
            return JSONResponse(_summary(conn, _find(call, conn)))

    return await call.blocking(work)


async def delete(call: Call) -> Response:
    """Delete a bucket."""

    def work() -> None:
        with call.core.database.write() as conn:
            delete_repo(conn, _find(call, conn, write=True))

    await call.blocking(work)
    return Response("OK", media_type="text/plain")


async def tree(call: Call) -> Response:
    """A page of the files, and without `recursive` the folders, whose paths begin with a prefix."""
    prefix, seek = call.values["path"], decode_cursor(call.query("cursor"))
    recursive = call.query("recursive", "true").lower() not in {"0", "false"}

    def work() -> Response:
        with call.core.database.read() as conn:
            bucket = _find(call, conn)
            items, rest = list_files(conn, bucket, prefix, seek, recursive)
        rows = [_item(item) for item in items]
        if rest is None:
            return JSONResponse(rows)
        query = {"recursive": str(recursive).lower(), "cursor": encode_cursor(rest)}
        return JSONResponse(rows, headers=next_page(call, bucket, f"tree/{quote(prefix, safe='')}", query))

    return await call.blocking(work)


async def paths_info(call: Call) -> Response:
    """The files at some paths; those that do not exist are left out."""
    paths = (await call.form()).get("paths", [])

    def work() -> Response:
        with call.core.database.read() as conn:
            bucket = _find(call, conn)
            found = [find_file(conn, bucket, path) for path in paths]
            return JSONResponse([_item(file) for file in found if file])

    return await call.blocking(work)


async def batch(call: Call) -> Response:
    """Add, copy and delete files; 422 if nothing of it could be done."""
    user = call.user()

    def look() -> None:
        with call.core.database.read() as conn:
            _find(call, conn, write=True)

    def work(body: bytes) -> tuple[int, list[dict[str, str]]]:
        operations, failed = read_operations(body), []
        with call.core.database.write() as conn:
            bucket = _find(call, conn, write=True)
            for operation in operations:
                try:
                    apply(conn, bucket, operation, user)
                except HubError as err:
                    failed.append({"path": operation.path, "error": err.message})
        return len(operations), failed

    await call.blocking(look)
    processed, failed = await call.blocking(work, await call.body(_BATCH_BYTES_MAX))
    succeeded = processed - len(failed)
    answer = {"success": not failed, "processed": processed, "succeeded": succeeded, "failed": failed}
    return JSONResponse(answer, 422 if failed and not succeeded else 200)


async def resolve_file(call: Call) -> Response:
    """A file: what it is, and a redirect to its bytes."""
    path = check_path(call.values["path"])

    def work() -> Response:
        with call.core.database.read() as conn:
            bucket = _find(call, conn)
            file = find_file(conn, bucket, path)
        if file is None:
            raise entry_not_found(path)
        auth = f"/api/{bucket.kind}s/{bucket.name}/xet-read-token"
        return redirect(call, Large(path, file.size, file.xet, file.xet, auth), {})

    return await call.blocking(work)


def _namespace(call: Call) -> str:
    name = call.values["ns"]
    return call.user().name if name == _ME else name


def _find(call: Call, conn: sqlite3.Connection, write: bool = False) -> Repo:
    return find_repo(conn, BUCKET, call.repo_name, call.user(), write)


def _summary(conn: sqlite3.Connection, bucket: Repo) -> dict[str, Any]:
    size, files = totals(conn, bucket)
    named = {"id": bucket.name, "author": bucket.owner, "private": bucket.private, "createdAt": iso(bucket.created_s)}
    return {**named, "size": size, "totalFiles": files}


def _item(item: BucketFile | BucketFolder) -> dict[str, Any]:
    uploaded = iso(item.uploaded_s)
    if isinstance(item, BucketFolder):
        return {"type": "directory", "path": item.path, "uploadedAt": uploaded}
    row = {"type": "file", "path": item.path, "size": item.size, "xetHash": item.xet}
    return {**row, "mtime": iso(item.mtime_ms / 1000), "uploadedAt": uploaded}
