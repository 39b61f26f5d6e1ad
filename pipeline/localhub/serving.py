"""`pipeline hub serve`: a Hub in the foreground."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import yaml

from pipeline.errors import OptionError
from pipeline.localhub.accounts import Account, parse_accounts
from pipeline.localhub.hub import LocalHub


def serve(
    root: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    accounts: str | Path | None = None,
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serve `root` until SIGINT or SIGTERM; `accounts` is a JSON or YAML file, `on_start` is told the address for others."""
    done = threading.Event()
    before = {number: signal.signal(number, lambda *_: done.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        users = () if accounts is None else read_accounts(accounts)
        with LocalHub(root, host=host, port=port, accounts=users) as hub:
            if on_start is not None:
                on_start(hub.announced)
            done.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_accounts(path: str | Path) -> tuple[Account, ...]:
    """Read an accounts file: a list of mappings with name, token, role and orgs; OptionError if it is none, or empty."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        reason = " ".join(str(err).split())
        raise OptionError(f"accounts file {str(path)!r} cannot be read: {reason}") from err
    users = parse_accounts(data)
    if not users:
        raise OptionError(f"accounts file {str(path)!r} holds no accounts: without any, everyone could do everything")
    return users
