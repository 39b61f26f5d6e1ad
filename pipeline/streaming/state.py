"""Where a stream stands, as a few hundred bytes of JSON.

The fingerprint is what the order of rows depends on, in words a person reads. A state that speaks for one share only (a worker's
own, or one taken under a filter, where shares advance unequally) carries the layout and the number of that share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import OptionError
from pipeline.hub.resolver import Snapshot
from pipeline.streaming.shares import Seat, Segment

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What was taken in an epoch. `share`: (world size, workers, share number) that alone it holds for, `None` for all."""

    epoch: int = 0
    segments: tuple[Segment, ...] = ()
    share: tuple[int, int, int] | None = None

    def check_seat(self, seat: Seat) -> None:
        """Raise OptionError when it holds for one share only, and that is another one."""
        if self.share is None or self.share == (seat.world_size, seat.workers, seat.number):
            return
        world_size, workers, number = self.share
        raise OptionError(
            f"the state holds for share {number} of {world_size} ranks with {workers} workers each, "
            f"but this is share {seat.number} of {seat.world_size} with {seat.workers}; resume with the same layout"
        )


def share_of(seat: Seat) -> tuple[int, int, int]:
    """What a state that holds for one share carries."""
    return seat.world_size, seat.workers, seat.number


def identity_of(snapshot: Snapshot) -> dict[str, str]:
    """What a state was taken of: the dataset, its commit, and which of its files."""
    ref = snapshot.ref
    return {
        "dataset": ref.full_name,
        "commit": ref.revision or "",
        "config": ref.config or "",
        "split": ref.split or "",
        "files": _digest(snapshot),
    }


def _digest(snapshot: Snapshot) -> str:
    """Which files are read, in which order: a commit has more than one choice of them."""
    state = hashlib.blake2b(digest_size=8)
    for file in snapshot.files:
        state.update(f"{len(file.path)} {file.path} {file.content_id} ".encode("utf-8", "surrogatepass"))
    return state.hexdigest()


def to_json(position: Position, seed: int, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The state. Lists and numbers only, so that JSON gives back the same."""
    state: dict[str, Any] = {
        "version": VERSION,
        "seed": seed,
        "epoch": position.epoch,
        "segments": [[segment.world_size, list(segment.rows)] for segment in position.segments],
        "fingerprint": dict(fingerprint),
    }
    if position.share is not None:
        state["share"] = list(position.share)
    return state


def from_json(state: Mapping[str, Any], seed: int, fingerprint: Mapping[str, Any]) -> Position:
    """Read a state. Raises OptionError that says what it was taken from, when that is not this stream."""
    if not isinstance(state, Mapping) or state.get("version") != VERSION:
        found = state.get("version") if isinstance(state, Mapping) else state
        raise OptionError(f"the state must be one that state_dict gave, of version {VERSION}; got {found!r}")
    theirs = state.get("fingerprint") or {}
    mine = {**fingerprint, "seed": seed}
    theirs = {**theirs, "seed": state.get("seed")}
    for key, value in mine.items():
        if theirs.get(key) != value and not (key == "seed" and not fingerprint.get("shuffle", True)):
            raise OptionError(
                f"the state was taken with {key}={theirs.get(key)!r}, but this stream has {key}={value!r}; "
                "open the stream as it was then"
            )
    try:
        share = state.get("share")
        return Position(
            epoch=int(state["epoch"]),
            segments=tuple(_segment(entry) for entry in state["segments"]),
            share=None if share is None else (int(share[0]), int(share[1]), int(share[2])),
        )
    except (KeyError, TypeError, ValueError, IndexError) as err:
        raise OptionError(f"the state is damaged ({err!r}); it must be one that state_dict gave") from err


def _segment(entry: Any) -> Segment:
    world_size, rows = entry
    segment = Segment(world_size=int(world_size), rows=tuple(int(one) for one in rows))
    if segment.world_size < 1 or not segment.rows or min(segment.rows) < 0:
        raise ValueError(f"segment {entry!r}")
    return segment
