"""Xet storage over HTTP, as hf_xet speaks it: tokens, xorbs, shards, reconstructions, deduplication."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from starlette.responses import JSONResponse, Response

from pipeline.localhub.answers import HubError, parse_range
from pipeline.localhub.api_files import sign_xorb
from pipeline.localhub.call import Call
from pipeline.localhub.files import XetFile
from pipeline.localhub.hashing import to_hex
from pipeline.localhub.repos import find_repo, resolve
from pipeline.localhub.shard_format import SHARD_BYTES_MAX, Term, parse_shard
from pipeline.localhub.signing import XetClaim
from pipeline.localhub.xorb_format import XorbReader
from pipeline.localhub.xorbs import Upload, Xorbs, parse_hash, readable


async def xet_token(call: Call, write: bool) -> Response:
    """A token for the storage of one repo, in the headers (as Python reads it) and in the body (as Rust reads it).

    The storage's address is another for each user and Hub: hf_xet remembers by it which xorbs it need not upload again.
    """
    user = call.user()

    def work() -> int:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write)
            if "rev" in call.values and not call.flag("create_pr"):
                resolve(conn, repo, call.values["rev"])
            return repo.id

    repo = await call.blocking(work)
    expires_s = int(time.time() + call.core.token_ttl_s)
    token = call.core.signer.token(XetClaim(user.name, repo, write, expires_s))
    cas = f"{call.endpoint}/cas-{call.core.signer.mark(user.name)}"
    headers = {"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expires_s)}
    return JSONResponse({"casUrl": cas, "accessToken": token, "exp": expires_s}, headers=headers)


async def xet_read_token(call: Call) -> Response:
    """A token to read what a repo holds."""
    return await xet_token(call, write=False)


async def xet_write_token(call: Call) -> Response:
    """A token to read what a repo holds and to add to it."""
    return await xet_token(call, write=True)


async def xorb_put(call: Call) -> Response:
    """Take a xorb, whose every chunk is checked while it arrives."""
    repo, user = await call.storage(write=True)
    digest = parse_hash(call.values["hash"])
    reader = XorbReader()
    with call.core.store.create() as draft:

        def take(block: bytes) -> None:
            reader.feed(block)
            draft.file.write(block)

        def keep() -> bool:
            root, records = reader.finish()
            if root != digest:
                raise HubError(400, f"the xorb has the hash {to_hex(root)}, not {to_hex(digest)}")
            return call.core.xorbs.keep(draft, Upload(digest, records, user, repo.id))

        await call.feed(take)
        return JSONResponse({"was_inserted": await call.blocking(keep)})


async def xorb_head(call: Call) -> Response:
    """Whether a xorb is there, for who may read it."""
    _, user = await call.storage()
    digest = parse_hash(call.values["hash"])

    def work() -> bool:
        with call.core.database.read() as conn:
            return readable(conn, digest, user)

    return Response(status_code=200 if await call.blocking(work) else 404)


async def shard_put(call: Call) -> Response:
    """Take a shard: the files in it belong to the token's repo from now on."""
    repo, user = await call.storage(write=True)
    data = await call.body(SHARD_BYTES_MAX)

    def work() -> bool:
        return call.core.files.accept(parse_shard(data), repo.id, user)

    return JSONResponse({"result": int(await call.blocking(work))})


async def chunk(call: Call) -> Response:
    """Global deduplication: a shard that tells where a chunk, and what came after it, is stored."""
    _, user = await call.storage()
    answer = await call.blocking(call.core.files.dedup_answer, parse_hash(call.values["hash"]), user)
    if answer is None:
        raise HubError(404, "chunk not found")
    return Response(answer, media_type="application/octet-stream")


async def reconstruction(call: Call) -> Response:
    """How to put a file, or a range of it, together from ranges of xorbs."""
    repo, _ = await call.storage()
    digest = parse_hash(call.values["hash"])

    def work() -> dict[str, Any]:
        if not call.core.files.held_by(digest, repo.id):
            raise HubError(404, "no such file")
        return _plan(call, call.core.files.find(digest))

    return JSONResponse(await call.blocking(work))


async def unsupported(call: Call) -> Response:
    """Answer 404, after which clients use the older way."""
    raise HubError(404, f"not supported: {call.request.url.path}")


def _plan(call: Call, file: XetFile) -> dict[str, Any]:
    span = parse_range(call.request.headers.get("range"), file.size)
    start, end = (span.start, span.end) if span else (0, file.size)
    xorbs = call.core.xorbs
    skip, terms = _cut(file, start, end, xorbs)
    wanted: dict[bytes, list[tuple[int, int]]] = {}
    for term in terms:
        wanted.setdefault(term.xorb, []).append((term.start, term.end))
    fetch = {to_hex(xorb): _fetch(call, xorb, _merge(ranges)) for xorb, ranges in wanted.items()}
    listed = [
        {"hash": to_hex(t.xorb), "unpacked_length": t.raw_bytes, "range": {"start": t.start, "end": t.end}}
        for t in terms
    ]
    name = "fetch_info" if call.values["version"] == "v1" else "xorbs"
    return {"offset_into_first_range": skip, "terms": listed, name: fetch}


def _cut(file: XetFile, start: int, end: int, xorbs: Xorbs) -> tuple[int, list[Term]]:
    """The terms that hold bytes [start, end), cut to whole chunks, and how many bytes of the first come before `start`."""
    skip, at = 0, 0
    terms: list[Term] = []
    for term, term_end in zip(file.terms, file.ends, strict=True):
        if term_end > start and at < end:
            table = xorbs.table(term.xorb)
            base = table.raw_ends[term.start] - at
            first = table.chunk_at(base + max(start, at))
            last = table.chunk_at(base + min(end, term_end) - 1) + 1
            if not terms:
                skip = base + start - table.raw_ends[first]
            terms.append(Term(term.xorb, table.raw_bytes(first, last), first, last))
        at = term_end
    return skip, terms


def _merge(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges in order, those that touch or overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _fetch(call: Call, xorb: bytes, ranges: list[tuple[int, int]]) -> list[dict[str, Any]]:
    ends = call.core.xorbs.table(xorb).stored_ends
    stored = [(ends[start], ends[end]) for start, end in ranges]
    name = to_hex(xorb)
    both = [
        ({"start": chunks[0], "end": chunks[1]}, {"start": span[0], "end": span[1] - 1})
        for chunks, span in zip(ranges, stored, strict=True)
    ]
    if call.values["version"] == "v1":
        urls = [sign_xorb(call, name, [span]) for span in stored]
        return [{"range": both[i][0], "url": url, "url_range": both[i][1]} for i, url in enumerate(urls)]
    return [
        {"url": sign_xorb(call, name, stored), "ranges": [{"chunks": chunks, "bytes": span} for chunks, span in both]}
    ]
