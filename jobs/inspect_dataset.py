"""Print what a dataset has published: an overview, each split as far as there are few, and what would make it stream better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from jobs import console
from pipeline.audit.advice import Finding
from pipeline.audit.facts import PLAIN, ColumnFacts, SplitFacts, Spread
from pipeline.audit.inspect import DatasetReport, SplitReport, find_published, inspect
from pipeline.hub.repo import find_token, parse_ref
from pipeline.parquet.layout import Kind
from pipeline.sizes import counted, format_bytes

_SPLITS_IN_DETAIL = 4
_COLUMNS = 20
_FEW = 3  # a median of fewer says nothing
_LAYOUTS = {
    Kind.EDITABLE: "editable (content-defined chunking)",
    Kind.BLOCKS: "blocks (aligned to Xet chunks)",
    PLAIN: "plain (no content-defined chunking, no blocks)",
}


def inspect_dataset(
    dataset: str, *, config: str | None, split: str | None, revision: str | None, endpoint: str | None
) -> DatasetReport:
    """Look at a dataset, with a progress bar over its footers. Raises what `find_published` and `inspect` raise."""
    ref = parse_ref(dataset, revision=revision, config=config, split=split, endpoint=endpoint)
    token = find_token(ref.endpoint)
    published = find_published(ref, token)
    with console.progress(published.files, "footers", "file") as bar:
        return inspect(published, token, bar.update)


def show(report: DatasetReport, *, as_json: bool) -> None:
    """Print a report."""
    if as_json:
        console.say_json(report.values())
        return
    console.say(_headline(report))
    facts = [one.facts for one in report.splits]
    detailed = len(facts) <= _SPLITS_IN_DETAIL
    if len(facts) > 1:
        console.say()
        _overview(facts)
    for one in facts if detailed else ():
        console.say()
        _split(one, alone=len(facts) == 1)
    for other in report.others:
        console.say()
        console.say(
            f"config {other.config}: {counted(other.files, f'{other.format} file')}, not looked into: only Parquet streams now"
        )
        console.say("  -> convert it to Parquet")
    if facts:
        console.say()
        _advice(report.splits)
    if not detailed:
        console.say()
        console.say(f"columns and more of a split: pipeline inspect {report.dataset} --config CONFIG --split SPLIT")


def _headline(report: DatasetReport) -> str:
    facts = [one.facts for one in report.splits]
    name = f"{report.dataset}@{report.commit[:8]}"
    if not facts:
        return f"{name}: {'no Parquet files' if report.others else 'no files with rows'}"
    numbers = [
        counted(len({one.config for one in facts}), "config"),
        counted(len(facts), "split"),
        counted(sum(one.files for one in facts), "file"),
        counted(sum(one.rows for one in facts), "row"),
        format_bytes(sum(one.size for one in facts)),
    ]
    return f"{name}: {', '.join(numbers)}"


def _overview(facts: Sequence[SplitFacts]) -> None:
    sizes = _to_the_right(format_bytes(one.size) for one in facts)
    medians = _to_the_right(format_bytes(one.row_group_size.median) for one in facts)
    console.table(
        ("config", "split", "files", "rows", "size", "row groups", "median", "layout"),
        [
            (one.config, one.split, one.files, one.rows, size, one.row_groups, median, ", ".join(one.layouts))
            for one, size, median in zip(facts, sizes, medians, strict=True)
        ],
    )


def _split(facts: SplitFacts, *, alone: bool) -> None:
    if not alone or (facts.config, facts.split) != ("default", "train"):
        console.say(f"config {facts.config}, split {facts.split}")
        console.say()
    for name, text in _lines(facts):
        console.say(f"{name:<12} {text}")
    if facts.columns:
        console.say()
        _columns(facts.columns)


def _lines(facts: SplitFacts) -> list[tuple[str, str]]:
    of_files = facts.files
    lines = [("files", f"{of_files:,}{_sizes(facts.file_size, of_files)}")]
    if not facts.row_groups:
        return lines
    codecs = _shares(facts.codecs)
    features = ["the card"] * facts.features_on_card
    features += [_some(facts.files_with_features, of_files)] * bool(facts.files_with_features)
    return [
        *lines,
        ("row groups", f"{facts.row_groups:,}{_sizes(facts.row_group_size, facts.row_groups)}"),
        ("", _rows(facts.row_group_rows, facts.row_groups)),
        ("layout", _layouts(facts.layouts)),
        ("compression", ", ".join(f"{name} {_percent(share)}" for name, share in codecs)),
        ("statistics", f"in {_some(facts.files_with_statistics, of_files)}"),
        ("page index", f"in {_some(facts.files_with_page_index, of_files)}"),
        ("features", f"in {' and in '.join(features)}" if features else "nowhere"),
        ("on Xet", _some(facts.files_on_xet, of_files)),
    ]


def _columns(columns: Sequence[ColumnFacts]) -> None:
    """The largest columns first."""
    shown = sorted(columns, key=lambda column: -column.size)[:_COLUMNS]
    sizes = _to_the_right(format_bytes(column.size) for column in shown)
    shares = _to_the_right(f"{column.share:.1%}" for column in shown)
    rows = [
        (
            column.name.replace(".list.element", "[]"),
            f"{column.type} ({column.feature})" if column.feature else column.type,
            size,
            share,
            "/".join(column.codecs),
            "/".join(column.encodings),
        )
        for column, size, share in zip(shown, sizes, shares, strict=True)
    ]
    console.table(("column", "type", "size", "share", "codec", "encoding"), rows)
    if rest := sorted(columns, key=lambda column: -column.size)[_COLUMNS:]:
        share = sum(column.share for column in rest)
        console.say(f"and {counted(len(rest), 'smaller column')} with {share:.1%} of the bytes; --json lists all")


def _advice(splits: Sequence[SplitReport]) -> None:
    """Each finding once, with the first split that has it and the number of others."""
    found: dict[str, list[tuple[SplitFacts, Finding]]] = {}
    for one in splits:
        for finding in one.advice:
            found.setdefault(finding.name, []).append((one.facts, finding))
    if not found:
        console.say("nothing here would make it stream better")
        return
    console.say("what would make it stream better:")
    for (facts, finding), *others in found.values():
        where = f"{facts.config}/{facts.split}: " if len(splits) > 1 else ""
        more = f" (and so in {counted(len(others), 'other split')})" if others else ""
        console.say(f"* {where}{finding.what}{more}")
        console.say(f"  -> {finding.todo}")


def _layouts(layouts: Mapping[str, int]) -> str:
    if len(layouts) == 1:
        return ", ".join(_LAYOUTS.get(name, name) for name in layouts)
    return ", ".join(f"{_LAYOUTS.get(name, name)}: {counted(files, 'file')}" for name, files in layouts.items())


def _shares(sizes: Mapping[str, int]) -> list[tuple[str, float]]:
    total = max(1, sum(sizes.values()))
    return [(name, size / total) for name, size in sizes.items()]


def _sizes(spread: Spread, count: int) -> str:
    smallest, median, largest = map(format_bytes, (spread.min, spread.median, spread.max))
    return f", {_between(smallest, median, largest, count)}"


def _rows(spread: Spread, count: int) -> str:
    smallest, median, largest = (f"{rows:,}" for rows in (spread.min, spread.median, spread.max))
    return f"{_between(smallest, median, largest, count)} {'row' if largest == '1' else 'rows'}"


def _between(smallest: str, median: str, largest: str, count: int) -> str:
    if smallest == largest:
        return largest if count == 1 else f"each {largest}"
    return f"{smallest} to {largest}" if count < _FEW else f"{smallest} to {largest} (median {median})"


def _percent(share: float) -> str:
    """A share without decimals: neither none nor all of it where some is left."""
    return "<1%" if 0 < share < 0.01 else ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def _some(count: int, total: int) -> str:
    if count == total:
        return "all files" if total > 1 else "its file"
    return f"{count:,} of {total:,} files" if count else "no file"


def _to_the_right(texts: Iterable[str]) -> list[str]:
    cells = list(texts)
    return [cell.rjust(max(map(len, cells))) for cell in cells]
