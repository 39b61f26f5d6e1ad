"""File names -> splits, by the rules of `datasets`: the first rule that finds a file for any split is the one that holds.

`data/train-00000-of-00002.parquet`, then `.../test/...`, then `...-test.parquet`, then all is `train`. A rule is split ->
patterns, those of `datasets` in its order, so that files come in its order too. Whether they find a file is not asked of the
patterns, which are slow on what they do not match, but of one expression over all paths at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.hub.patterns import escape_pattern

_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARDED = re.compile(r"data/([^/]+)-[0-9]{5}-of-[0-9]{5}[^/]*\.[^/]*", re.DOTALL)
_DIGITS = "[0-9]" * 5
# Between a split's word and the rest of a name.
_SEP = "[-._ 0-9]"
# Between paths, when all of them are searched at once: no path has it.
_NEXT = "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredSplit:
    """What names tell of a split: its patterns, and an expression that is found in each path that they match."""

    patterns: tuple[str, ...]
    hint: re.Pattern[str]


def infer_splits(paths: Sequence[str]) -> dict[str, InferredSplit]:
    """The splits that paths tell of, `train` first; none when there are no paths.

    `paths` are those of data files, relative to the config's folder, without hidden ones.
    """
    sharded = {match[1] for path in paths if (match := _SHARDED.fullmatch(path))}
    if sharded:
        names = [*(split for split in _WORDS if split in sharded), *sorted(sharded.difference(_WORDS))]
        return {name: _shards(name) for name in names}
    text = _NEXT.join(paths)
    for rule in (_folders, _names):
        splits = {split: rule(words) for split, words in _WORDS.items() if any(word in text for word in words)}
        found = {split: one for split, one in splits.items() if one.hint.search(text)}
        if found:
            return found
    return {"train": InferredSplit(patterns=("**",), hint=re.compile(""))} if paths else {}


def _shards(split: str) -> InferredSplit:
    pattern = f"data/{escape_pattern(split)}-{_DIGITS}-of-{_DIGITS}*.*"
    return InferredSplit(patterns=(pattern,), hint=re.compile(re.escape(f"data/{split}-")))


def _folders(words: Sequence[str]) -> InferredSplit:
    forms = ("{0}", "{0}{1}*", "*{1}{0}", "*{1}{0}{1}*")
    return InferredSplit(
        patterns=tuple(f"**/{form.format(word, _SEP)}/**" for word in words for form in forms),
        hint=_hint(words, f"(?:{_SEP}[^/{_NEXT}]*)?/"),
    )


def _names(words: Sequence[str]) -> InferredSplit:
    forms = ("{0}{1}*", "*{1}{0}{1}*")
    return InferredSplit(
        patterns=tuple(f"**/{form.format(word, _SEP)}" for word in words for form in forms),
        hint=_hint(words, _SEP),  # a folder would do as well, but then the rule of folders holds
    )


def _hint(words: Sequence[str], after: str) -> re.Pattern[str]:
    """One of the words, where a part of a path or a word in it begins, and then what may come `after`."""
    # Each word comes before the look at what it follows: then nothing else is done at most places of a text.
    begun = "|".join(rf"{word}(?<![^-._ 0-9/{_NEXT}]{word})" for word in words)
    return re.compile(f"(?:{begun}){after}")
