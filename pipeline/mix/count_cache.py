"""What was found of runs of row groups, kept on this machine's disk, so that a second plan reads nothing.

An entry is named by the content of the file and by all that decides what is found in it, so that of a branch that moved only new
files are read. Keys of rows are data: like footers, entries are for who had the token that the file was read with, and this user.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from pipeline.hub import cache
from pipeline.hub.repo import Secret
from pipeline.mix.row_keys import KEY_BYTES
from pipeline.mix.survey import Found, Run, Survey
from pipeline.storage import FileRef

_KIND = "rows"
_VERSION = "1"  # of keys and of how they are kept
_MOST_BYTES = 4 << 30  # the keys of 24 million rows are 0.4 GB


def load_found(survey: Survey, runs: Sequence[Run], token: Secret | None) -> dict[Run, Found]:
    """Of these runs, those that this machine knows."""
    owner = cache.owner(token)
    read = ((run, cache.load(_key(survey, run, owner), used=True)) for run in runs)
    found = {run: _decode(content, run, survey) for run, content in read if content is not None}
    return {run: one for run, one in found.items() if one is not None}


def store_found(survey: Survey, run: Run, found: Found, token: Secret | None) -> None:
    """Keep what was found for the next survey."""
    cache.store(_key(survey, run, cache.owner(token)), array("Q", found.kept + found.rows).tobytes() + found.keys)


def trim_found() -> None:
    """Forget what was used longest ago, when it is more than 4 GB."""
    cache.trim(_KIND, _MOST_BYTES)


def _key(survey: Survey, run: Run, owner: str) -> cache.Key:
    file = survey.sources[run.source].files[run.file]
    return (
        _KIND,
        _VERSION,
        owner,
        file.file.endpoint or "",
        *(() if file.tasks else _content(file.file)),
        file.name,
        f"{run.start}-{run.end}",
        survey.prints[run.source],
    )


def _content(file: FileRef) -> tuple[str, ...]:
    """What names a file's content: its hash, or where it lies and when it changed."""
    return (file.content_id, str(file.size)) if file.is_hashed else (file.uri, file.content_id, str(file.size))


def _decode(content: bytes, run: Run, survey: Survey) -> Found | None:
    groups = run.end - run.start
    counts = groups if survey.sources[run.source].reader is None else 2 * groups
    head = memoryview(content)[: 8 * counts]
    if len(head) < 8 * counts:
        return None
    told = tuple(head.cast("Q"))
    kept, rows = told[:groups], told[groups:]
    keys = content[8 * counts :]
    expected = 0 if survey.keys is None else sum(kept) * KEY_BYTES
    return Found(kept=kept, keys=keys, rows=rows) if len(keys) == expected else None
