"""What a repo says of itself that a mix made of it must carry: its licence, and whether everybody may see it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pipeline.hub import client
from pipeline.hub.repo import DatasetRef, Secret

_KEPT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoFacts:
    """`license` is the card's, several joined by commas, `None` where it says none; `gated` is whether access is asked for."""

    license: str | None
    private: bool
    gated: bool


def repo_facts(ref: DatasetRef, token: Secret | None) -> RepoFacts:
    """What a dataset or a bucket says: one request, and none for who asks again soon.

    Raises NotFoundError, AccessError, TransferError.
    """
    return _ask(int(time.monotonic() // _KEPT_S), replace(ref, revision=None, config=None, split=None, path=""), token)


@lru_cache(maxsize=1024)
def _ask(_now: int, ref: DatasetRef, token: Secret | None) -> RepoFacts:
    said = client.get_json(ref.api_url(), token, "id", about=ref.full_name)
    card = said.get("cardData")
    tags = [tag.removeprefix("license:") for tag in said.get("tags") or () if str(tag).startswith("license:")]
    return RepoFacts(
        license=_license(card.get("license") if isinstance(card, dict) else None) or ", ".join(tags) or None,
        private=bool(said.get("private")),
        gated=bool(said.get("gated")),
    )


def _license(value: Any) -> str | None:
    """The card's `license`: a text, or a list of them."""
    values = value if isinstance(value, list) else [value]
    return ", ".join(str(one) for one in values if one) or None
