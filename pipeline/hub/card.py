"""The dataset card: YAML that machines read, Markdown that people write; we change only what is ours.

Ours in the YAML are the entries of `configs` and `dataset_info` for the config that is written. Ours in the Markdown is a
section between two marker comments. Everything else stays as it was, to the letter: YAML written anew would lose comments, and
turn `language: no` into `false`. The card takes plain values, no types from floors above.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from pipeline.errors import OptionError

_FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_WHICH = ("config_name", "data_files", "data_dir", "default")
_COMMENTS = re.compile(r"(?:^[ \t]*(?:#[^\n]*)?\n)*\Z", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEntry:
    """One entry of the card's `configs`; `data_files` is (split, patterns) in the card's order, relative to the repo.

    `data_dir` is set only where there are no `data_files`: there, file names tell the splits. `reading` is all else that the
    entry says: how its files are read (`sep`, `field`, ...).
    """

    name: str
    data_files: tuple[tuple[str, tuple[str, ...]], ...]
    data_dir: str | None = None
    default: bool = False
    reading: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitInfo:
    """One split's numbers; `num_bytes` as Arrow holds the rows."""

    num_examples: int
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A parsed README: `meta` is its YAML mapping, `front` the YAML as it was written, `body` the Markdown after it."""

    meta: Mapping[str, Any] = field(default_factory=dict)
    front: str = ""
    body: str = ""
    configs: tuple[ConfigEntry, ...] = ()

    def info(self, config: str) -> Mapping[str, Any] | None:
        """The card's `dataset_info` entry of a config."""
        return next((info for info in _infos(self.meta) if info.get("config_name", "default") == config), None)

    def text(self) -> str:
        """The card as a README."""
        front = _rewrite(self.front, self.meta)
        return f"---\n{front}---\n{self.body}" if front else self.body


def parse_card(text: str, *, about: str) -> Card:
    """Read a README.

    Raises OptionError when its YAML, or the `configs` in it, cannot be read.
    """
    front = _FRONT.match(text)
    if not front:
        return Card(body=text)
    try:
        meta = yaml.safe_load(front[1]) or {}
    except yaml.YAMLError as err:
        reason = str(err).replace("\n", " ")
        raise OptionError(f"{about}: the YAML of README.md cannot be read ({reason}); mend it on the Hub") from err
    if not isinstance(meta, dict):
        raise OptionError(f"{about}: the YAML of README.md must be a mapping, got {type(meta).__name__}")
    return Card(meta=meta, front=front[1], body=text[front.end() :], configs=_parse_configs(meta, about))


def update_config(card: Card, config: str, splits: Mapping[str, Sequence[str]]) -> Card:
    """The card with these splits (name -> patterns) in the config's entry, without those of no pattern; others stay."""
    entries = [dict(entry) for entry in card.meta.get("configs") or []]
    entry = next((entry for entry in entries if entry.get("config_name", "default") == config), None)
    if entry is None:
        entry = {"config_name": config, "data_files": []}
        entries.append(entry)
    known = next((one for one in card.configs if one.name == config), None)
    files = {split: list(patterns) for split, patterns in known.data_files} if known else {}
    files |= {split: list(patterns) for split, patterns in splits.items()}
    entry["data_files"] = [
        {"split": split, "path": patterns[0] if len(patterns) == 1 else patterns}
        for split, patterns in files.items()
        if patterns
    ]
    entry.pop("data_dir", None)
    meta = {**card.meta, "configs": entries}
    return replace(card, meta=meta, configs=_parse_configs(meta, config))


def update_info(
    card: Card, config: str, features: Sequence[Any] | None, splits: Mapping[str, SplitInfo], *, download_size: int
) -> Card:
    """The card with `dataset_info` of a config: its features, these splits' numbers (others keep theirs), its size in files.

    Numbers are of all of the config's splits or of none: `datasets` refuses a split that the others' numbers leave out.
    """
    infos = [dict(info) for info in _infos(card.meta)]
    found = next((i for i, info in enumerate(infos) if info.get("config_name", "default") == config), len(infos))
    old = infos[found] if found < len(infos) else {}
    numbers = {one["name"]: dict(one) for one in old.get("splits") or []}
    for name, split in splits.items():
        numbers[name] = {"name": name, "num_bytes": split.num_bytes, "num_examples": split.num_examples}
    new: dict[str, Any] = {"config_name": config}
    if features is not None:
        new["features"] = list(features)
    entry = next((entry for entry in card.configs if entry.name == config), None)
    names = [split for split, _ in entry.data_files] if entry else list(numbers)
    if all(name in numbers for name in names):
        new["splits"] = [one for name, one in numbers.items() if name in names]
    new["download_size"] = download_size
    if "splits" in new:
        new["dataset_size"] = sum(one.get("num_bytes", 0) for one in new["splits"])
    ours = {*new, "features", "splits", "dataset_size"}
    infos[found : found + 1] = [new | {key: value for key, value in old.items() if key not in ours}]
    meta = {**card.meta, "dataset_info": infos[0] if len(infos) == 1 else infos}
    return replace(card, meta=meta)


def split_info(card: Card, config: str, split: str) -> SplitInfo | None:
    """What the card says of a split's size, `None` when it says nothing."""
    info = card.info(config) or {}
    for one in info.get("splits") or []:
        if one.get("name") == split and "num_examples" in one and "num_bytes" in one:
            return SplitInfo(num_examples=one["num_examples"], num_bytes=one["num_bytes"])
    return None


def update_section(card: Card, name: str, markdown: str | None, *, keep: bool) -> Card:
    """The card with our section of this name: after those that it has when they `keep`, else instead of them.

    `None` adds none.
    """
    begin, end = (f"<!-- pipeline: {word} {name} -->\n" for word in ("begin", "end"))
    ours = re.compile(rf"\n?{re.escape(begin)}.*?{re.escape(end.rstrip())}\n?", re.DOTALL)
    section = f"\n{begin}{markdown.strip()}\n{end}" if markdown is not None else ""
    found = list(ours.finditer(card.body))
    if not found:
        above = f"{card.body.rstrip()}\n" if card.body.strip() else ""
        return replace(card, body=above + section if section else card.body)
    at = found[-1].end() if keep else found[0].start()
    rest = card.body[at:] if keep else ours.sub("", card.body[at:])
    return replace(card, body=card.body[:at] + section + rest)


def _rewrite(front: str, meta: Mapping[str, Any]) -> str:
    """The YAML with only those keys written anew whose values changed; all of it where that cannot be done."""
    try:
        written = _replace_keys(front, meta)
        if (yaml.safe_load(written) or {}) == meta:
            return written
    except (yaml.YAMLError, ValueError):
        pass  # an alias into what was replaced, a key twice, braces around it all
    return _dump(meta)


def _replace_keys(front: str, meta: Mapping[str, Any]) -> str:
    old = yaml.safe_load(front) or {}
    root = yaml.compose(front, yaml.SafeLoader)
    starts = [key.start_mark.index for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
    if starts and root.flow_style:  # type: ignore[union-attr]
        raise ValueError("not line by line")
    written = front[: starts[0] if starts else len(front)]
    ends = [*starts[1:], len(front)] if starts else []
    for name, start, end in zip(old, starts, ends, strict=True):
        block = front[start:end]
        if name in meta and meta[name] == old[name]:
            written += block
        else:
            comments = _COMMENTS.search(block)
            written += (_dump({name: meta[name]}) if name in meta else "") + (comments[0] if comments else "")
    return written + "".join(_dump({name: value}) for name, value in meta.items() if name not in old)


class _Plain(yaml.SafeDumper):
    """Writes a value that stands in two places twice: not every reader of cards takes aliases."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _dump(meta: Mapping[str, Any]) -> str:
    return yaml.dump(dict(meta), Dumper=_Plain, sort_keys=False, allow_unicode=True) if meta else ""


def _infos(meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    infos = meta.get("dataset_info") or []
    return [infos] if isinstance(infos, Mapping) else list(infos)


def _parse_configs(meta: Mapping[str, Any], about: str) -> tuple[ConfigEntry, ...]:
    entries = meta.get("configs") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise OptionError(f"{about}: 'configs' in README.md must be a list of mappings, got {entries!r:.80}")
    return tuple(_parse_config(entry, about) for entry in entries)


def _parse_config(entry: Mapping[str, Any], about: str) -> ConfigEntry:
    data_files = _parse_data_files(entry.get("data_files"), about)
    data_dir = str(entry.get("data_dir") or "").rstrip("/")
    if data_dir and data_files:
        data_files = tuple((split, tuple(f"{data_dir}/{one}" for one in patterns)) for split, patterns in data_files)
    return ConfigEntry(
        name=str(entry.get("config_name", "default")),
        data_files=data_files,
        data_dir=None if data_files else data_dir or None,
        default=bool(entry.get("default", False)),
        reading={str(key): value for key, value in entry.items() if key not in _WHICH},
    )


def _parse_data_files(value: Any, about: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (("train", (value,)),)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return (("train", tuple(value)),)
    if isinstance(value, list) and all(isinstance(item, dict) and {"split", "path"} <= item.keys() for item in value):
        return tuple((str(item["split"]), _patterns(item["path"])) for item in value)
    raise OptionError(
        f"{about}: 'data_files' in README.md must be a pattern, a list of patterns, or a list of split and path, "
        f"got {value!r:.80}"
    )


def _patterns(path: Any) -> tuple[str, ...]:
    return (path,) if isinstance(path, str) else tuple(str(one) for one in path)
