"""One request, with what a handler needs to answer it.

The one idea: a handler is `async def name(call) -> Response`; it reads from `call`, runs blocking work in `call.blocking`,
and raises HubError for everything that is not a success.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, ParamSpec, TypeVar
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from pipeline.localhub.accounts import Accounts, Identity
from pipeline.localhub.answers import HubError, parse_json, well_formed
from pipeline.localhub.byte_store import BLOCK_BYTES, ByteStore, Draft
from pipeline.localhub.cards import Cards
from pipeline.localhub.database import Database
from pipeline.localhub.files import Files
from pipeline.localhub.names import check_repo_name
from pipeline.localhub.repos import Repo, repo_by_id
from pipeline.localhub.signing import Signer
from pipeline.localhub.xorbs import Xorbs

P = ParamSpec("P")
T = TypeVar("T")

_PARSED_BYTES_MAX: Final = 8 * 1024 * 1024
_PARSED_BYTES_MAX_ANONYMOUS: Final = 1024 * 1024
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The Hub behind the routes."""

    database: Database
    store: ByteStore
    xorbs: Xorbs
    files: Files
    cards: Cards
    signer: Signer
    accounts: Accounts
    cdn_host: str | None
    token_ttl_s: float
    url_ttl_s: float

    def close(self) -> None:
        """Close the database, and let another process have the root."""
        self.database.close()
        self.store.close()


class Call:
    """A request on its way through a handler."""

    def __init__(self, core: Core, request: Request, values: dict[str, str]) -> None:
        self.core = core
        self.request = request
        self.values = values

    @property
    def method(self) -> str:
        """GET, HEAD, POST, PUT or DELETE."""
        return self.request.method

    @property
    def endpoint(self) -> str:
        """The Hub's address as this client knows it, without a slash at the end."""
        return f"{self.request.url.scheme}://{self.request.url.netloc}"

    @property
    def cdn(self) -> str:
        """The address of the second host name, from which bytes come."""
        url, bound = self.request.url, self.request.scope["server"][0]
        other = url.hostname or bound
        if other in LOOPBACK:
            other = bound if other == "localhost" else "localhost"
        host = self.core.cdn_host or (f"[{other}]" if ":" in other else other)
        return f"{url.scheme}://{host}{f':{url.port}' if url.port else ''}"

    @property
    def repo_name(self) -> str:
        """The repo that the path names; HubError 400 if it cannot be one."""
        return check_repo_name(f"{self.values['ns']}/{self.values['name']}")

    def user(self) -> Identity:
        """Who is asking; HubError 401 for a token that nobody has."""
        identity = self.core.accounts.identify(self._bearer())
        if identity is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return identity

    async def storage(self, write: bool = False) -> tuple[Repo, Identity]:
        """The repo that the Xet token of this request is for, and whose it is; HubError 401 or 403 if it is not good for this.

        What the token says is checked again: the user may have lost the repo since, or the repo may be gone.
        """
        claim = self.core.signer.claim(self._bearer() or "")
        identity = self.core.accounts.named(claim.user)
        repo = await self.blocking(self._repo_by_id, claim.repo)
        if identity is None or repo is None or not identity.sees(repo.owner, repo.private):
            raise HubError(401, "the user or the repo of this Xet token does not exist any more")
        if write and not (claim.write and identity.may_write(repo.owner)):
            raise HubError(403, "this needs a Xet token for writing, got one for reading")
        return repo, identity

    def query(self, name: str, default: str = "") -> str:
        """A parameter of the URL."""
        return self.request.query_params.get(name, default)

    def flag(self, name: str) -> bool:
        """A parameter of the URL that is true or false."""
        return self.query(name).lower() in {"1", "true"}

    async def json(self) -> dict[str, Any]:
        """The body, a JSON object; HubError 400 if it is none, 413 if it is longer than this user may have parsed."""
        data = await self.blocking(parse_json, await self._to_parse() or b"{}")
        if not isinstance(data, dict):
            raise HubError(400, "the body must be a JSON object")
        return data

    async def form(self) -> dict[str, list[str]]:
        """The body, JSON or form-encoded, as lists of strings."""
        data = await self._to_parse()
        if "json" in self.request.headers.get("content-type", ""):
            return await self.blocking(_json_form, data)
        return await self.blocking(parse_qs, data.decode("utf-8", "replace"))

    async def body(self, limit: int) -> bytes:
        """The whole body; HubError 413 if it is longer than `limit`."""
        data = bytearray()
        async for block in self.request.stream():
            data += block
            if len(data) > limit:
                raise HubError(413, f"the body is longer than {limit} bytes")
        return bytes(data)

    async def feed(self, take: Callable[[bytes], object]) -> None:
        """Give the body to `take`, in a thread, in blocks of about BLOCK_BYTES."""
        pending = bytearray()
        async for block in self.request.stream():
            pending += block
            if len(pending) >= BLOCK_BYTES:
                await run_in_threadpool(take, bytes(pending))
                pending.clear()
        if pending:
            await run_in_threadpool(take, bytes(pending))

    async def spool(self, draft: Draft) -> BinaryIO:
        """Write the body to `draft` and return that, at its start."""
        await self.feed(draft.file.write)
        draft.file.seek(0)
        return draft.file

    @staticmethod
    async def blocking(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that blocks, in a thread."""
        return await run_in_threadpool(work, *args, **kwargs)

    async def _to_parse(self) -> bytes:
        return await self.body(_PARSED_BYTES_MAX if self.user().name else _PARSED_BYTES_MAX_ANONYMOUS)

    def _repo_by_id(self, repo: int) -> Repo | None:
        with self.core.database.read() as conn:
            return repo_by_id(conn, repo)

    def _bearer(self) -> str | None:
        scheme, _, token = self.request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            raise HubError(401, "send the token as 'Authorization: Bearer ...'")
        return token.strip() or None


def _json_form(data: bytes) -> dict[str, list[str]]:
    with well_formed("JSON"):
        values = dict(parse_json(data))
    return {
        key: [str(item) for item in value] if isinstance(value, list) else [str(value)] for key, value in values.items()
    }
