"""Which files a `.gitignore` keeps out of a commit, as https://git-scm.com/docs/gitignore has it.

The one idea: a rule is one glob per part of the path, and `**` stands for any number of parts, so that matching is a walk
over the parts and no pattern of a stranger can make it slow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Final

TEXT_BYTES_MAX: Final = 64 * 1024
_ANY: Final = None
_Glob = re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: what it fits, None for `**`; whether it takes back what an earlier line ignores; whether it fits only folders."""

    globs: tuple[_Glob, ...]
    negated: bool
    folder: bool


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Read a `.gitignore`; a line that git could not use is left out."""
    lines = (re.sub(r"(?<!\\)[ \t]+$", "", line) for line in text.splitlines())
    return tuple(rule for line in lines if line and line[0] != "#" and (rule := _rule(line)))


def is_ignored(path: str, rules: Sequence[Rule]) -> bool:
    """Whether a file is ignored, or a folder that it is in: nothing below an ignored folder can be taken back."""
    parts = path.split("/")
    return any(_last(parts[:depth], depth < len(parts), rules) for depth in range(1, len(parts) + 1))


def _last(parts: Sequence[str], is_folder: bool, rules: Sequence[Rule]) -> bool:
    fits = (rule for rule in reversed(rules) if (is_folder or not rule.folder) and _fits(rule.globs, parts))
    rule = next(fits, None)
    return rule is not None and not rule.negated


def _rule(line: str) -> Rule | None:
    negated, line = line[0] == "!", line.removeprefix("!")
    body = line.removesuffix("/")
    names = body.removeprefix("/").split("/")
    if not all(names):
        return None
    if "/" not in body:
        names = ["**", *names]
    return Rule(tuple(_ANY if name == "**" else _glob(name) for name in names), negated, body != line)


def _glob(name: str) -> re.Pattern[str]:
    """`fnmatch` has all of git's globs but the backslash and `[^`."""
    name = re.sub(r"\\(.)", lambda match: f"[{match[1]}]" if match[1] in "*?[" else match[1], name)
    return re.compile(translate(name.replace("[^", "[!")))


def _fits(globs: Sequence[_Glob], parts: Sequence[str]) -> bool:
    """Whether the globs use up all parts; `**` at the end needs at least one part."""
    end = len(globs)
    before, at = set[int](), _reach({0}, globs)
    for part in parts:
        before = at
        kept = {index for index in at if index < end and globs[index] is _ANY}
        moved = {index + 1 for index in at - kept - {end} if (glob := globs[index]) is not None and glob.match(part)}
        at = _reach(kept | moved, globs)
    return end in at and (globs[-1] is not _ANY or end - 1 in before)


def _reach(at: set[int], globs: Sequence[_Glob]) -> set[int]:
    """These positions, and those after a `**` that stands for nothing."""
    for index, glob in enumerate(globs):
        if glob is _ANY and index in at:
            at.add(index + 1)
    return at
