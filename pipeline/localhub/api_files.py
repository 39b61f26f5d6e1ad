"""Downloads: `resolve`, which serves small files and redirects for large ones, and the second host where their bytes are.

The one idea: as on the Hub, what identifies a file (commit, ETag, size, Xet hash) is on the first answer, and the
bytes come from another host by a signed URL that expires.
"""

from __future__ import annotations

import mimetypes
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response, StreamingResponse

from pipeline.localhub.answers import HubError, Span, entry_not_found, parse_range, parse_ranges
from pipeline.localhub.call import Call
from pipeline.localhub.commits import read_blob
from pipeline.localhub.names import check_path
from pipeline.localhub.repos import find_repo, resolve
from pipeline.localhub.trees import Entry, find_entry
from pipeline.localhub.xorbs import parse_hash

Read = Callable[[Span], Iterator[bytes]]

_BOUNDARY: Final = "xorb-ranges"
_UNQUOTED_REF: Final = re.compile(r"(pr/\d+|convert/[^/]+)/(.+)")


@dataclass(frozen=True, slots=True)
class Large:
    """A large file as `resolve` tells of it; `auth` is the path that gives a token to read it, if it is in Xet storage.

    `etag` is its sha256 if it is not in Xet storage.
    """

    path: str
    size: int
    etag: str
    xet: str | None
    auth: str


async def resolve_file(call: Call) -> Response:
    """A file at a revision: its bytes if it is small, a redirect to them if it is large."""
    user = call.user()
    revision, path = call.values["rev"], call.values["path"]
    if revision == "refs" and (match := _UNQUOTED_REF.fullmatch(path)):
        revision, path = f"refs/{match.group(1)}", match.group(2)
    check_path(path)

    def work() -> Response:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values.get("kind", "model"), call.repo_name, user)
            commit = resolve(conn, repo, revision)
            entry = find_entry(conn, commit, path)
            if entry is None:
                missing = entry_not_found(path)
                missing.headers = {"X-Repo-Commit": commit.sha}  # so that clients can remember that it is not there
                raise missing
            headers = {"X-Repo-Commit": commit.sha}
            if entry.sha256 is None:
                return _small(call, conn, entry, headers)
        auth = f"/api/{repo.kind}s/{repo.name}/xet-read-token/{commit.sha}"
        return redirect(call, Large(path, entry.size, entry.sha256, entry.xet, auth), headers)

    return await call.blocking(work)


def redirect(call: Call, file: Large, headers: dict[str, str]) -> Response:
    """The answer that says what a large file is, and where its bytes are."""
    etag = f'"{file.etag}"'
    headers |= {"Accept-Ranges": "bytes", "ETag": etag, "X-Linked-ETag": etag, "X-Linked-Size": str(file.size)}
    if file.xet:
        info = f"{call.endpoint}/cas/v1/reconstructions/{file.xet}"
        headers["X-Xet-Hash"] = file.xet
        headers["Link"] = f'<{call.endpoint}{file.auth}>; rel="xet-auth", <{info}>; rel="xet-reconstruction-info"'
    if call.method == "HEAD" and call.cdn == call.endpoint:
        return Response(headers={**headers, "Content-Length": str(file.size)})  # one host: the client would follow
    return Response(status_code=302, headers={**headers, "Location": sign_file(call, file)})


async def cdn_file(call: Call) -> Response:
    """The bytes of a large file, for who has a signed URL."""
    call.core.signer.check_url(*_signed(call))
    store, key = call.values["store"], call.values["hash"]
    etag = {"Accept-Ranges": "bytes", "ETag": f'"{key}"'}
    if store == "xet":
        file = await call.blocking(call.core.files.find, parse_hash(key))
        span = parse_range(call.request.headers.get("range"), file.size)
        return _bytes(call, span or file.size, etag, lambda span: call.core.files.read(file, span.start, span.end))
    try:
        size = (await call.blocking(call.core.store.path("lfs", key).stat)).st_size
    except FileNotFoundError as err:
        raise HubError(404, f"no such file: {key}") from err
    span = parse_range(call.request.headers.get("range"), size)
    return _bytes(call, span or size, etag, lambda span: call.core.store.read("lfs", key, span.start, span.end))


async def cdn_xorb(call: Call) -> Response:
    """Stored bytes of a xorb: exactly the range that the URL was signed for, or a part of it."""
    call.core.signer.check_url(*_signed(call))
    digest = parse_hash(call.values["hash"])
    size = (await call.blocking(call.core.xorbs.table, digest)).stored_ends[-1]
    allowed = [_span(pair, size) for pair in call.query("bytes").split(",")]
    spans = parse_ranges(call.request.headers.get("range"), size) or allowed
    if not all(any(a.start <= span.start and span.end <= a.end for a in allowed) for span in spans):
        raise HubError(403, "the URL is signed for another range")
    name = call.values["hash"]

    def read(span: Span) -> Iterator[bytes]:
        return call.core.store.read("xorbs", name, span.start, span.end)

    return _bytes(call, spans[0], {}, read) if len(spans) == 1 else _multipart(spans, read)


def sign_file(call: Call, file: Large) -> str:
    """A URL, on the second host, for the bytes of a large file."""
    store, key = ("xet", file.xet) if file.xet else ("lfs", file.etag)
    name = {"name": file.path.rpartition("/")[2]}
    return call.cdn + call.core.signer.url(f"/cdn/{store}/{key}", name, call.core.url_ttl_s)


def sign_xorb(call: Call, xorb: str, ranges: list[tuple[int, int]]) -> str:
    """A URL, on the second host, for some byte ranges [start, end) of a xorb."""
    spans = ",".join(f"{start}-{end}" for start, end in ranges)
    return call.cdn + call.core.signer.url(f"/cdn/xorbs/default/{xorb}", {"bytes": spans}, call.core.url_ttl_s)


def _small(call: Call, conn: sqlite3.Connection, entry: Entry, headers: dict[str, str]) -> Response:
    headers |= {"Accept-Ranges": "bytes", "ETag": f'"{entry.oid}"'}
    span = parse_range(call.request.headers.get("range"), entry.size)
    kind = mimetypes.guess_type(entry.path)[0] or "text/plain"
    data = read_blob(conn, call.core.store, entry.oid, span)
    if span is None:
        return Response(data, headers=headers, media_type=kind)
    return Response(data, 206, {**headers, "Content-Range": span.header}, kind)


def _bytes(call: Call, wanted: Span | int, headers: dict[str, str], read: Read) -> Response:
    """The answer with a range of something, or with all of it, given as its size."""
    if isinstance(wanted, Span):
        status, span = 206, wanted
        headers["Content-Range"] = span.header
    else:
        status, span = 200, Span(0, wanted, wanted)
    headers["Content-Length"] = str(span.end - span.start)
    if call.method == "HEAD":
        return Response(None, status, headers)
    return StreamingResponse(read(span), status, headers, "application/octet-stream")


def _multipart(spans: list[Span], read: Read) -> Response:
    """The answer with several ranges, as RFC 9110 (14.6) has it."""

    def parts() -> Iterator[bytes]:
        for span in spans:
            yield f"--{_BOUNDARY}\r\nContent-Range: {span.header}\r\n\r\n".encode()
            yield from read(span)
            yield b"\r\n"
        yield f"--{_BOUNDARY}--\r\n".encode()

    return StreamingResponse(parts(), 206, media_type=f"multipart/byteranges; boundary={_BOUNDARY}")


def _span(pair: str, size: int) -> Span:
    start, _, end = pair.partition("-")
    return Span(int(start), int(end), size)


def _signed(call: Call) -> tuple[str, str]:
    return call.request.scope["raw_path"].decode("ascii"), call.request.scope["query_string"].decode("ascii")
