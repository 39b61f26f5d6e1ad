"""The Hub API before a commit: how each file is to be uploaded, and which are not to be."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from pipeline.localhub.answers import HubError, well_formed
from pipeline.localhub.byte_store import ByteStore
from pipeline.localhub.call import Call
from pipeline.localhub.commits import LARGE_SUFFIXES, REGULAR_BYTES_MAX, read_blob
from pipeline.localhub.gitignore import TEXT_BYTES_MAX, Rule, is_ignored, parse_rules
from pipeline.localhub.names import check_path
from pipeline.localhub.repos import Commit, find_repo, resolve
from pipeline.localhub.trees import find_entry

_NOT_TEXT: Final = frozenset(range(32)) - {9, 10, 12, 13, 27}


async def preupload(call: Call) -> Response:
    """How each file is to be uploaded, what is at its path now, and whether a `.gitignore` keeps it out."""
    user = call.user()
    data = await call.json()

    def work() -> Response:
        with call.core.database.read() as conn:
            repo = find_repo(conn, call.values["kind"], call.repo_name, user, write=True)
            commit = resolve(conn, repo, call.values["rev"])
            rules = _rules(conn, call.core.store, commit, data.get("gitIgnore"))
            with well_formed("list of files"):
                files = [_Planned.parse(file) for file in data.get("files", [])]
            return JSONResponse({"files": [_upload_mode(conn, commit, file, rules) for file in files]})

    return await call.blocking(work)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A file that a client wants to upload, and its first bytes."""

    path: str
    size: int
    sample: bytes

    @classmethod
    def parse(cls, file: dict[str, Any]) -> _Planned:
        return cls(
            check_path(str(file["path"])), int(file.get("size") or 0), base64.b64decode(file.get("sample") or "")
        )

    @property
    def is_large(self) -> bool:
        named = self.path.lower().endswith(LARGE_SUFFIXES)
        return self.size > 0 and (named or self.size > REGULAR_BYTES_MAX or not _NOT_TEXT.isdisjoint(self.sample))


def _rules(conn: sqlite3.Connection, store: ByteStore, commit: Commit, sent: Any) -> Sequence[Rule]:
    """The rules of the `.gitignore` that the client is about to upload, or of the one that the repo has."""
    if sent is not None:
        if not isinstance(sent, str) or len(sent) > TEXT_BYTES_MAX:
            raise HubError(400, f"gitIgnore must be a text of at most {TEXT_BYTES_MAX} characters")
        return parse_rules(sent)
    entry = find_entry(conn, commit, ".gitignore")
    if entry is None or entry.sha256 is not None or entry.size > TEXT_BYTES_MAX:
        return ()
    return parse_rules(read_blob(conn, store, entry.oid).decode("utf-8", "replace"))


def _upload_mode(conn: sqlite3.Connection, commit: Commit, file: _Planned, rules: Sequence[Rule]) -> dict[str, Any]:
    now = find_entry(conn, commit, file.path)
    oid = {} if now is None else {"oid": now.sha256 or now.oid}
    mode = "lfs" if file.is_large else "regular"
    return {"path": file.path, "uploadMode": mode, "shouldIgnore": is_ignored(file.path, rules), **oid}
