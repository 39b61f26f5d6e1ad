"""Large files without Xet: the LFS batch API, its PUT, and copies from one repo to another."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from pipeline.localhub.answers import HubError, well_formed
from pipeline.localhub.call import Call
from pipeline.localhub.commits import find_large
from pipeline.localhub.files import grant
from pipeline.localhub.repos import find_repo

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


async def batch(call: Call) -> Response:
    """Where to PUT each object; nothing to do for those that the repo holds already."""
    user = call.user()
    data = await call.json()
    if data.get("operation") != "upload":
        raise HubError(400, f"operation must be 'upload', got {data.get('operation')!r}")
    with well_formed("list of objects"):
        wanted = [(str(item["oid"]), int(item["size"])) for item in data.get("objects", [])]

    def work() -> list[dict[str, Any]]:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values.get("kind", "model"), call.repo_name, user, write=True)
            objects = []
            for oid, size in wanted:
                found = find_large(conn, repo, oid)
                actions = {} if found else {"actions": {"upload": {"href": _sign(call, oid, size, repo.id)}}}
                objects.append({"oid": oid, "size": size, **actions})
            return objects

    return JSONResponse({"transfer": "basic", "objects": await call.blocking(work)})


async def put(call: Call) -> Response:
    """Take an object; its sha256 and its size must be those that the URL was signed for."""
    request = call.request
    call.core.signer.check_url(request.scope["raw_path"].decode("ascii"), request.scope["query_string"].decode("ascii"))
    oid, size, repo = call.values["oid"], int(call.query("size")), int(call.query("repo"))
    digest = sha256()
    with call.core.store.create() as draft:

        def take(block: bytes) -> None:
            if draft.file.tell() + len(block) > size:
                raise HubError(400, f"the object is longer than the {size} bytes that its URL was signed for")
            digest.update(block)
            draft.file.write(block)

        def keep() -> None:
            if digest.hexdigest() != oid or draft.file.tell() != size:
                raise HubError(400, f"the object has sha256 {digest.hexdigest()}, not {oid}, or not {size} bytes")
            draft.keep("lfs", oid)
            with call.core.database.write() as conn:
                conn.execute("INSERT OR IGNORE INTO lfs VALUES (?, ?, ?)", (oid, repo, size))

        await call.feed(take)
        await call.blocking(keep)
    return Response(headers={"ETag": f'"{oid}"'})


async def duplicate(call: Call) -> Response:
    """Let another repo hold files that this one holds."""
    user = call.user()
    data = await call.json()

    with well_formed("list of files"):
        kind, name = str(data["target"]["type"]), str(data["target"]["name"])
        files = [(str(file["filename"]), str(file["sha256"])) for file in data["files"]]

    def work() -> list[dict[str, str]]:
        with call.core.database.write() as conn:
            source = find_repo(conn, call.values["kind"], call.repo_name, user)
            target = find_repo(conn, kind, name, user, write=True)
            failed = []
            for filename, sha in files:
                found = find_large(conn, source, sha)
                if found is None:
                    failed.append({"filename": filename, "error": "not found in the source repo"})
                elif found[1]:
                    grant(conn, found[1], target.id)
                else:
                    conn.execute("INSERT OR IGNORE INTO lfs VALUES (?, ?, ?)", (sha, target.id, found[0]))
            return failed

    return JSONResponse({"failed": await call.blocking(work)})


def _sign(call: Call, oid: str, size: int, repo: int) -> str:
    if not _SHA256.fullmatch(oid):
        raise HubError(400, f"oid must be a sha256, got {oid!r}")
    params = {"size": str(size), "repo": str(repo)}
    return call.endpoint + call.core.signer.url(f"/lfs/{oid}", params, call.core.url_ttl_s)
