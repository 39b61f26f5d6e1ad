"""Claims and URLs that the server signs and that expire.

The one idea: the server keeps no sessions. A Xet token is a signed statement (user, repo, role, expiry), a CDN or upload
URL carries the signature of its own path and parameters. The key is made once and kept with the data, so both survive a restart.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import urlencode

from pipeline.localhub.answers import HubError

_SIGNATURE_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class XetClaim:
    """What a Xet token says."""

    user: str
    repo: int
    write: bool
    expires_s: int


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with one key and checks what it signed."""

    key: bytes

    def token(self, claim: XetClaim) -> str:
        """Write a claim as a token."""
        body = base64.urlsafe_b64encode(json.dumps(asdict(claim)).encode()).decode()
        return f"xet_{self._sign('token', body)}{body}"

    def claim(self, token: str) -> XetClaim:
        """Read a token; HubError 401 if it is not ours, was changed, or has expired."""
        signature, body = token[4 : 4 + _SIGNATURE_CHARS], token[4 + _SIGNATURE_CHARS :]
        if not hmac.compare_digest(signature.encode(), self._sign("token", body).encode()):
            raise HubError(401, "invalid Xet token")
        claim = XetClaim(**json.loads(base64.urlsafe_b64decode(body)))
        if claim.expires_s <= time.time():
            raise HubError(401, "the Xet token has expired")
        return claim

    def mark(self, user: str) -> str:
        """12 digits that are the same for as long as it is the same user of the same Hub."""
        return self._sign("mark", user)[:12]

    def url(self, path: str, params: Mapping[str, str], ttl_s: float) -> str:
        """Return `path` with `params`, an expiry and a signature over all three."""
        query = urlencode({**params, "expires": f"{time.time() + ttl_s:.3f}"})
        return f"{path}?{query}&signature={self._sign('url', f'{path}?{query}')}"

    def check_url(self, path: str, query: str) -> None:
        """HubError 403 unless `url` made this path and query, and it has not expired."""
        signed, _, signature = query.rpartition("&signature=")
        if not hmac.compare_digest(signature.encode(), self._sign("url", f"{path}?{signed}").encode()):
            raise HubError(403, "the URL is not signed by this server")
        if float(signed.rpartition("expires=")[2]) <= time.time():
            raise HubError(403, "the URL has expired")

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self.key, f"{purpose}\n{text}".encode(), "sha256").hexdigest()
