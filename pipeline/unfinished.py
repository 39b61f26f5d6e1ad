"""A publication into a folder that can be stopped at any point: until its card is in place, it did not happen.

What will be added and removed is written down before the first file is moved, in a file that the publication holds a lock on and
removes last. If it is stopped, a listing leaves out what only it added (once the card is in place, what it was about to remove),
and the next publication removes that first.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ConflictError

NOTE = ".pipeline/publishing.json"


@contextmanager
def publication(folder: Path) -> Iterator[Path]:
    """Hold the folder for one publication, and clear away what a stopped one left; where to `note_down` this one.

    Raises ConflictError while another process publishes there.
    """
    note = folder / NOTE
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.open("a", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise ConflictError(f"{folder}: another build is publishing to this folder; wait until it ends") from err
        _clear(folder)
        held.truncate(0)
        try:
            yield note
        finally:
            _clear(folder)
            note.unlink(missing_ok=True)
            with suppress(OSError):
                note.parent.rmdir()


def note_down(note: Path, added: Mapping[str, int], removed: Iterable[str], card: bytes) -> None:
    """Remember, on disk, which files (and their bytes) this publication is about to add, which it is about to remove, and the
    card that makes it happen.
    """
    values = {"added": dict(added), "removed": list(removed), "card": hashlib.sha256(card).hexdigest()}
    with note.open("r+", encoding="utf-8") as file:
        file.write(json.dumps(values))
        file.flush()
        os.fsync(file.fileno())


def left_over(folder: Path) -> frozenset[str]:
    """The files that are in a folder only because a publication was stopped, or has not ended yet."""
    try:
        values = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        card = folder / "README.md"
        happened = card.is_file() and hashlib.sha256(card.read_bytes()).hexdigest() == values["card"]
        if happened:
            return frozenset(values["removed"])
        # Another size is another file, which somebody put there since.
        return frozenset(path for path, size in values["added"].items() if _size(folder / path) == size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return frozenset()


def _clear(folder: Path) -> None:
    for path in left_over(folder):
        (folder / path).unlink(missing_ok=True)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
