"""The globs of dataset cards, as regular expressions that match in time linear in their wildcards, whoever wrote them.

A glob is cut at its `**`. Between two of them, the first match of what stands there is as good as any later one, so each is
matched once and for all (an atomic group), and the same holds for each `*` within a folder. Nothing is tried in every
combination. Patterns stay inside their repo: an absolute path, a `..` or another scheme is an error.
"""

from __future__ import annotations

import fnmatch
import re
from functools import reduce

from pipeline.errors import OptionError

_FOLDERS, _ANY, _STAR = "**/", "**", "*"
_PIECE = re.compile(r"\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


def compile_pattern(pattern: str, *, about: str) -> re.Pattern[str]:
    """A glob of a card (`*`, `?`, `**`, `[abc]`, `[!a-c]`) as a regular expression over paths in the repo.

    Raises OptionError for a pattern that would leave the repo.
    """
    parts = pattern.split("/")
    if "://" in pattern or pattern.startswith("/") or ".." in parts or "\\" in pattern:
        raise OptionError(f"{about}: pattern {pattern!r} leaves the repo; expected a path inside it")
    parts = [part for part in parts if part not in ("", ".")]
    tokens: list[str] = []
    for part in parts[:-1]:
        tokens += [_FOLDERS] if part == "**" else [*_PIECE.findall(_one_or_more(part)), "/"]
    tokens += _PIECE.findall(_one_or_more(parts[-1])) if parts else []
    return re.compile(_translate(tokens), re.DOTALL)


def escape_pattern(path: str) -> str:
    """The pattern that matches this path and no other."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


def is_plain(pattern: str) -> bool:
    """Whether a pattern is the path that it matches."""
    return not re.search(r"[*?\[]|^\./|//", pattern)


def _one_or_more(part: str) -> str:
    """A `*` alone names something."""
    return "?*" if part == "*" else part


def _translate(tokens: list[str]) -> str:
    """Runs of tokens between two `**`, each but the last matched where it first can be."""
    cuts = [i for i, token in enumerate(tokens) if token in (_FOLDERS, _ANY)]
    if not cuts:
        return _translate_run(tokens, last=True)
    found = f"(?>{_translate_run(tokens[: cuts[0]], last=False)})"
    for cut, end in zip(cuts, [*cuts[1:], None], strict=True):
        skip = ".*?" if tokens[cut] == _ANY else "(?:.+?/)??"
        run = _translate_run(tokens[cut + 1 : end], last=end is None)
        found += f"{skip}{run}" if end is None else f"(?>{skip}{run})"
    return found


def _translate_run(tokens: list[str], *, last: bool) -> str:
    """Tokens without `**`: what follows a `*` is matched where it first can be, in the last one where the path ends."""
    blocks: list[str] = reduce(
        lambda found, token: [*found, ""] if token == _STAR else [*found[:-1], found[-1] + _translate_one(token)],
        tokens,
        [""],
    )
    stars = [f"(?>[^/]*?{block})" for block in blocks[1:]]
    if last and stars:
        stars[-1] = f"[^/]*?{blocks[-1]}"
    return blocks[0] + "".join(stars)


def _translate_one(piece: str) -> str:
    if piece == "?":
        return "[^/]"
    if len(piece) > 1:
        return f"(?!/){fnmatch.translate(piece).removesuffix(chr(92) + 'Z')}"
    return re.escape(piece)
