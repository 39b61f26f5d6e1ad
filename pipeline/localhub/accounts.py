"""Who may do what: accounts with tokens and roles, or one user `local` when there are none.

The one idea: a request becomes an `Identity` once, and everything else asks only `sees` (may it read what this namespace
holds in private?) and `may_write`. Tokens are kept as hashes; they are never stored, logged or shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from pipeline.errors import OptionError

ROLES: Final = ("read", "write", "admin")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,94}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user: `role` read, write (own namespace and `orgs`) or admin (everything)."""

    name: str
    token: str
    role: str = "write"
    orgs: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Account(name={self.name!r}, role={self.role!r}, orgs={tuple(self.orgs)!r})"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from; `name` is empty for someone without a token."""

    name: str
    role: str
    spaces: frozenset[str]

    def sees(self, owner: str, private: bool) -> bool:
        """Whether this user may read a repo of the namespace `owner`."""
        return not private or self.role == "admin" or owner in self.spaces

    def may_write(self, owner: str) -> bool:
        """Whether this user may change repos of the namespace `owner`."""
        return self.role == "admin" or (self.role == "write" and owner in self.spaces)


ANONYMOUS: Final = Identity("", "read", frozenset())
LOCAL: Final = Identity("local", "admin", frozenset({"local"}))


class Accounts:
    """The accounts of a Hub, looked up by token or by name; without `anonymous`, nobody comes in without a token."""

    def __init__(self, accounts: Iterable[Account], anonymous: bool = True) -> None:
        self.anonymous = anonymous
        self._by_token: dict[bytes, Identity] = {}
        self._by_name: dict[str, Identity] = {}
        for account in accounts:
            self._add(account)
        self.open = not self._by_name

    def identify(self, token: str | None) -> Identity | None:
        """The user with this token, ANONYMOUS without one, None if nobody may. Without accounts: always LOCAL."""
        if self.open:
            return LOCAL
        return self._by_token.get(_digest(token)) if token else self._nobody()

    def named(self, name: str) -> Identity | None:
        """The user with this name (empty for ANONYMOUS), None if there is none any more."""
        if self.open:
            return LOCAL
        return self._by_name.get(name) if name else self._nobody()

    def _nobody(self) -> Identity | None:
        return ANONYMOUS if self.anonymous else None

    def _add(self, account: Account) -> None:
        if not _NAME.fullmatch(account.name) or account.name in self._by_name:
            raise OptionError(f"account name {account.name!r} is invalid or given twice")
        if account.role not in ROLES:
            raise OptionError(
                f"role of account {account.name!r} must be one of {', '.join(ROLES)}, got {account.role!r}"
            )
        if not account.token or _digest(account.token) in self._by_token:
            raise OptionError(f"account {account.name!r} needs a token that no other account has")
        identity = Identity(account.name, account.role, frozenset((account.name, *account.orgs)))
        self._by_token[_digest(account.token)] = identity
        self._by_name[account.name] = identity


def parse_accounts(data: Any) -> tuple[Account, ...]:
    """Read a list of mappings with the fields of Account, as an accounts file holds it; OptionError if it is none."""
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise OptionError("accounts must be a list of mappings with name, token, role and orgs")
    for item in data:
        orgs = item.get("orgs", [])
        texts = [
            item.get("name"),
            item.get("token"),
            item.get("role", "read"),
            *(orgs if isinstance(orgs, list) else [None]),
        ]
        if not set(item) <= {"name", "token", "role", "orgs"} or not all(isinstance(text, str) for text in texts):
            raise OptionError(
                "an account has the strings name and token, and may have the string role and the list orgs"
            )
    return tuple(Account(**item) for item in data)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
