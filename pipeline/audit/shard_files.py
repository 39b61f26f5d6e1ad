"""Which published file is which shard of a build, and whether it is the file that was built: by what the listing says, unread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.hub.listing import DataFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """The files of a build's shards, in order (`None` for one that is gone), and what is wrong with them."""

    files: tuple[DataFile | None, ...]
    problems: tuple[str, ...]


def match_shards(
    files: Sequence[DataFile], builds: Sequence[Sequence[Mapping[str, Any]]]
) -> tuple[list[Shards], list[str]]:
    """For each build (its shards, as recorded) the files of a split that are its shards; and what is wrong with the rest.

    A file with a shard's sha256 is that shard, whatever it is called. What is left is taken for the shards that are left, by the
    number in its name, or else in order of path.
    """
    left = sorted(files, key=lambda file: file.path)
    places = [(build, index) for build, shards in enumerate(builds) for index in range(len(shards))]
    found: dict[tuple[int, int], DataFile | None] = {}
    for likely in (_same_content, _same_number, _any):
        for build, index in places:
            if found.get((build, index)) is None:
                at = next((at for at, file in enumerate(left) if likely(file, index, builds[build][index])), None)
                found[build, index] = None if at is None else left.pop(at)
    matched = []
    for build, shards in enumerate(builds):
        own = tuple(found[build, index] for index in range(len(shards)))
        told = (_problem(file, index, shard) for index, (file, shard) in enumerate(zip(own, shards, strict=True)))
        matched.append(Shards(files=own, problems=tuple(problem for problem in told if problem)))
    extra = [f"{file.path} is of no build that the repo remembers; its rows were not compared" for file in left]
    return matched, extra


def _same_content(file: DataFile, _: int, shard: Mapping[str, Any]) -> bool:
    return file.sha256 is not None and (file.sha256, file.size) == (shard.get("sha256"), shard.get("size", file.size))


def _same_number(file: DataFile, index: int, _: Mapping[str, Any]) -> bool:
    return f"-{index:05d}-of-" in file.path


def _any(*_: Any) -> bool:
    return True


def _problem(file: DataFile | None, index: int, shard: Mapping[str, Any]) -> str | None:
    was = _short(shard.get("sha256"))
    if file is None:
        return f"shard {index} is gone: no file has its sha256, {was}"
    if _same_content(file, index, shard):
        return None
    return f"{file.path} is not the shard {index} that was built: its sha256 is {_short(file.sha256)}, not {was}"


def _short(sha256: str | None) -> str:
    return f"{sha256[:12]}..." if sha256 else "unknown"
