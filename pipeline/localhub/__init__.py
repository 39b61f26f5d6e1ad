"""The embedded Hub: a folder, served as a Hugging Face Hub to unmodified clients.

    with LocalHub("hub-data") as hub:
        HfApi(endpoint=hub.endpoint).create_repo("local/cats", repo_type="dataset")

It relies on the extra `hub` (starlette, uvicorn, blake3), which is imported only when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import SetupError

if TYPE_CHECKING:
    from pipeline.localhub.accounts import Account, parse_accounts
    from pipeline.localhub.hub import LocalHub
    from pipeline.localhub.serving import serve

__all__ = ["Account", "LocalHub", "parse_accounts", "serve"]

_HOMES = {"Account": "accounts", "LocalHub": "hub", "parse_accounts": "accounts", "serve": "serving"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as err:
        if (err.name or "").startswith("pipeline"):
            raise
        raise SetupError(f"the embedded Hub needs the package {err.name!r}: install xet-pipeline[hub]") from err
