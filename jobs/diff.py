"""Print what changed between two datasets, or two commits of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs import console
from pipeline.audit.diff import diff_versions, open_version
from pipeline.audit.diff_values import BlockChanges, DatasetDiff, FileChanges, Side, SourceChange, SplitDiff
from pipeline.audit.settings import Setting
from pipeline.hub.repo import find_token, parse_ref
from pipeline.sizes import counted, format_bytes

_SOURCES = _SETTINGS = 40
_VALUE = 60


def diff(before: str, after: str, *, config: str | None, split: str | None, endpoint: str | None) -> DatasetDiff:
    """Compare two datasets, with a progress bar over their footers. Raises what `open_version` and `diff_versions` raise."""
    refs = [parse_ref(text, endpoint=endpoint) for text in (before, after)]
    token = find_token(refs[0].endpoint)
    old, new = (open_version(ref, token) for ref in refs)
    with console.progress(old.published.files + new.published.files, "footers", "file") as bar:
        return diff_versions(old, new, token, config=config, split=split, on_files=bar.update)


def show(found: DatasetDiff, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        console.say_json(found.values())
        return
    console.say(f"{_short(found.before)} -> {_short(found.after)}")
    for one in found.splits:
        console.say()
        _split(one)


def _split(one: SplitDiff) -> None:
    console.say(f"config {one.config}, split {one.split}{_presence(one)}")
    console.say()
    console.table(("", "before", "after", "change"), _sides(one.before, one.after))
    console.say()
    console.say(f"files:  {_files(one.files, one.after)}")
    if one.blocks is not None:
        console.say(f"blocks: {_blocks(one.blocks)}")
    if one.sources:
        console.say()
        _sources(one.sources)
    one_sided = [f"sources.{each.source}." for each in one.sources if None in (each.rows_before, each.rows_after)]
    _settings("recipe", [each for each in one.settings if not each.key.startswith(tuple(one_sided))])
    _settings("columns", one.columns)


def _presence(one: SplitDiff) -> str:
    return ": new" if one.before is None else ": gone" if one.after is None else ""


def _sides(before: Side | None, after: Side | None) -> list[tuple[str, ...]]:
    rows = []
    for name, form in (("rows", _count), ("files", _count), ("bytes", format_bytes)):
        old, new = (getattr(side, name) if side else 0 for side in (before, after))
        sign = "+" if new > old else "-" if new < old else ""
        rows.append((name, form(old), form(new), f"{sign}{form(abs(new - old))}" if sign else "same"))
    return _to_the_right(rows)


def _to_the_right(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The rows with all columns but the first one to the right."""
    first, *others = zip(*rows, strict=True)
    return list(zip(first, *([cell.rjust(max(map(len, cells))) for cell in cells] for cells in others), strict=True))


def _files(files: FileChanges, after: Side | None) -> str:
    uploaded = ""
    if files.uploaded is not None and after is not None:
        uploaded = (
            f"; uploaded {format_bytes(files.uploaded)}, {files.uploaded / max(1, files.bytes_new):.1%} of these bytes"
        )
    new = f"{files.new:,} new ({format_bytes(files.bytes_new)})" if files.new else "none new"
    return f"{files.kept:,} kept, {new}, {files.gone:,} gone{uploaded if files.new else ''}"


def _blocks(blocks: BlockChanges) -> str:
    moved = f" ({blocks.moved:,} of them at another place)" if blocks.moved else ""
    return f"{blocks.kept:,} kept{moved}, {blocks.added:,} added, {blocks.removed:,} removed"


def _sources(sources: tuple[SourceChange, ...]) -> None:
    """The sources whose shares changed most first, as far as there are few."""
    ordered = sorted(sources, key=lambda one: -abs((one.share_after or 0) - (one.share_before or 0)))
    rows = [
        (one.source, _known(one.rows_before), _known(one.rows_after), _share(one.share_before), _share(one.share_after))
        for one in ordered[:_SOURCES]
    ]
    console.table(("source", "rows before", "after", "share before", "after"), _to_the_right(rows))
    if len(ordered) > _SOURCES:
        console.say(f"and {counted(len(ordered) - _SOURCES, 'source')} that changed less; --json lists all")


def _settings(what: str, settings: Sequence[Setting]) -> None:
    """As far as there are few; a source that is new or gone is one line in the table of sources."""
    if settings:
        console.say()
        console.say(f"{what}:")
    for one in settings[:_SETTINGS]:
        console.say(f"  {one.key}: {_value(one.before)} -> {_value(one.after)}")
    if len(settings) > _SETTINGS:
        console.say(f"  and {counted(len(settings) - _SETTINGS, 'other')}; --json lists all")


def _value(value: Any) -> str:
    text = "-" if value is None else " ".join(str(value).split())
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 3]}..."


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _known(rows: int | None) -> str:
    return "-" if rows is None else _count(rows)


def _count(number: int) -> str:
    return f"{number:,}"


def _short(name: str) -> str:
    repo, _, sha = name.rpartition("@")
    return f"{repo}@{sha[:8]}"
