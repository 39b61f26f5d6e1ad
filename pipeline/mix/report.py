"""The report of a mix beside its data: `report.md` for people, and all files that go with it. Pure, from `report_values`."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.mix.figures import HOW_TO_GET, draw_figures
from pipeline.mix.plan_lines import how
from pipeline.mix.provenance import FILE_NAME, write_blocks
from pipeline.mix.told import (
    MEASURES,
    cell,
    changed_by,
    code,
    gate,
    linked,
    markdown_table,
    marks,
    order_of,
    quality_rows,
    repeats,
    spread_of,
    top_sources,
    whole_of,
)
from pipeline.sizes import counted, format_bytes

if TYPE_CHECKING:
    from pipeline.mix.plan import Plan

REPORT, VALUES = "report.md", "report.json"
_TOP = 20
_MOST_SHARDS = 50
_BLOCKS = (
    f"[`{FILE_NAME}`]({FILE_NAME}) has a row per block, in the order of the mix: its file here (`shard`), first row there "
    "(`row`) and `rows`; its `source`, `origin`, `commit`, `file`, and first `row_group` there, of `row_groups`; `start`, its "
    "first row in that file, of those that the source's conditions keep; whether it was `copied` byte for byte; and its "
    "content's `name`. So, for row 1,234 of file 5:"
)
_ROWS = (
    "Rows are ordered one by one, so there is no table of blocks. Places follow from the seed: the drawn rows, source after "
    "source in the order above, each in the order of its files, are numbered n = 0, 1, ...; row n stands at place "
    "`pipeline.permutation.Permutation({rows}, {seed}, {purpose!r}).one(n)` of the mix."
)


def report_folder(config: str, split: str, transaction: str | None = None) -> str:
    """Where a split's report lies in the repo, up to the slash; a build that is appended has a folder of its own there."""
    return f"mix/{config}/{split}/" + (f"{transaction}/" if transaction is not None else "")


def report_files(plan: Plan, values: dict[str, Any]) -> dict[str, bytes]:
    """Everything that stands in the report's folder, by name: the report, its values, the table of blocks, the figures."""
    files = draw_figures(values)
    if plan.blocks:
        sink = io.BytesIO()
        write_blocks(plan, sink)
        files[FILE_NAME] = sink.getvalue()
    files[VALUES] = (json.dumps(values, ensure_ascii=False) + "\n").encode()
    files[REPORT] = report_markdown(values, sorted(files)).encode()
    return files


def report_markdown(values: dict[str, Any], files: Sequence[str] = ()) -> str:
    """The report as Markdown; `files` are the names of those beside it."""
    parts = (_head, _sources, _order, _shards, _upload, _provenance, _again, _recipe)
    return "\n".join(line for part in parts for line in [*part(values, files), ""]).rstrip() + "\n"


def _head(values: dict[str, Any], _: Sequence[str]) -> Iterator[str]:
    yield f"# How {whole_of(values)} was mixed"
    yield ""
    size = values["bytes"]
    yield (
        f"{values['rows']:,} rows of {counted(len(values['sources']), 'source')} in {counted(len(values['shards']), 'file')} of "
        f"{spread_of(values['shards'])} rows: {format_bytes(size['published'])}, {format_bytes(size['arrow'])} in memory. "
        f"Built in {values['measured']['seconds']:,.0f} s from plan `{values['plan_id']}`."
    )
    if kept := values["measured"]["shards_kept"]:
        yield f"{counted(kept, 'file')} of them had been stored by a run before, which this one carried on."


def _sources(values: dict[str, Any], files: Sequence[str]) -> Iterator[str]:
    yield "## Sources"
    yield ""
    header = (
        "source",
        "from",
        "licence",
        "filter",
        "available",
        "wanted",
        "rows",
        "times",
        "share wanted",
        "share",
        "bytes per row",
    )
    rows = [
        (
            cell(one["name"]),
            linked(one),
            cell(marks(one)),
            changed_by(one),
            f"{one['available']:,}",
            f"{one['wanted']:,}",
            f"{one['drawn']:,}",
            repeats(one),
            f"{one['wanted_share']:.2%}",
            f"{one['share']:.2%}",
            f"{one['bytes_per_row']:,.0f}",
        )
        for one in values["sources"]
    ]
    yield from markdown_table(header, rows, left=4)
    yield ""
    yield "*Bytes per row* are those of the columns that were read, as the source's files store them."
    if values["source_column"]:
        yield f"The column {code(values['source_column'])} names each row's source."
    if duplicates := values["measured"]["duplicates"]:
        yield ""
        dropped = [(cell(name), *(f"{n:,}" for n in rows)) for name, rows in duplicates.items()]
        yield from markdown_table(
            ("source", "rows dropped: equal to one of its own", "equal to one of a source before it"), dropped
        )
    yield from _figure("shares.png", "Shares of rows, wanted and got", files)


def _order(values: dict[str, Any], files: Sequence[str]) -> Iterator[str]:
    yield "## Order"
    yield ""
    blocks = (
        f" {values['blocks']:,} blocks, of {values['block_rows']:,.0f} rows on average." if values["blocks"] else ""
    )
    yield f"{order_of(values).capitalize()}. Seed: {values['seed']}.{blocks}"
    yield ""
    if values["quality"] is None:
        yield "The order is uniformly random by construction; it is too long to be measured here."
    else:
        yield from markdown_table(("chi2/dof of source counts", *MEASURES), quality_rows(values["quality"]))
        yield ""
        yield (
            "*chi2/dof* is 1 for independent draws, and about B for randomly placed blocks of B rows. *Adjacency excess* is how "
            f"much likelier than by chance a row has the source of the row before. Gate: **{gate(values['quality'])}**."
        )
    yield from _figure("order.png", "Share of each source along the mix", files)


def _shards(values: dict[str, Any], _: Sequence[str]) -> Iterator[str]:
    by_source = values["per_shard"]["by_source"]
    yield "## Rows of each source per file"
    yield ""
    if by_source is None:
        yield "They are too many to be counted here." + (f" `{FILE_NAME}` tells them." if values["blocks"] else "")
        return
    columns = _top_columns(values, by_source)
    if len(values["shards"]) > _MOST_SHARDS:
        told = [(name, f"{min(n):,}", f"{sum(n) / len(n):,.1f}", f"{max(n):,}") for name, n in columns]
        yield from markdown_table(("source", "least", "mean", "most"), told)
        return
    by_shard = zip(values["per_shard"]["rows"], *(rows for _, rows in columns), strict=True)
    cells = [(str(shard), *(f"{rows:,}" for rows in counts)) for shard, counts in enumerate(by_shard)]
    yield from markdown_table(("file", "rows", *(name for name, _ in columns)), cells)


def _top_columns(values: dict[str, Any], by_source: dict[str, list[int]]) -> list[tuple[str, list[int]]]:
    """The largest sources with their rows per file, and all others as one."""
    names = top_sources(values, _TOP)
    columns = [(cell(name), by_source[name]) for name in names]
    if rest := [by_source[name] for name in by_source.keys() - set(names)]:
        columns.append((f"{len(rest)} others", [sum(rows) for rows in zip(*rest, strict=True)]))
    return columns


def _upload(values: dict[str, Any], files: Sequence[str]) -> Iterator[str]:
    size = values["bytes"]
    yield f"## {'Upload' if size['uploaded'] is not None else 'Bytes'}"
    yield ""
    rows = [("published", format_bytes(size["published"]))]
    if size["uploaded"] is not None:
        rows += [
            ("uploaded", f"{format_bytes(size['uploaded'])} ({size['uploaded'] / max(1, size['published']):.2%})"),
            ("uploaded, as the plan predicted", _size(size["predicted"])),
            ("deduplicated", format_bytes(size["deduplicated"])),
            ("stored before, but in pieces too small to refer to", format_bytes(size["prevented"])),
        ]
    yield from markdown_table(("bytes", ""), rows)
    yield ""
    keys = {"read": "bytes_to_read", "written": "bytes_written", "uploaded, predicted": "bytes_new"}
    if size["uploaded"] is None:
        del keys["uploaded, predicted"]
    told = [
        (
            cell(one["name"]),
            cell(how(one, uploads=size["uploaded"] is not None)),
            *(_size(one[key]) for key in keys.values()),
        )
        for one in values["sources"]
    ]
    yield from markdown_table(("source", "how", *keys), told, left=2)
    if size["uploaded"] is not None:
        yield from _figure("upload.png", "Bytes uploaded and deduplicated, by file", files)


def _provenance(values: dict[str, Any], files: Sequence[str]) -> Iterator[str]:
    yield "## Where each row came from"
    yield ""
    if FILE_NAME in files:
        yield _BLOCKS
        yield ""
        yield "```sql"
        yield 'SELECT origin, "commit", file, start + 1234 - "row" AS row_there'
        yield f'FROM \'{FILE_NAME}\' WHERE shard = 5 AND 1234 >= "row" AND 1234 < "row" + rows'
        yield "```"
        return
    yield _ROWS.format(rows=values["rows"], seed=values["seed"], purpose=values["permutation"])
    if values["source_row_column"]:
        yield f"The column {code(values['source_row_column'])} has each row's number in its source."


def _again(values: dict[str, Any], _: Sequence[str]) -> Iterator[str]:
    writers = ", ".join(f"{name} {version}" for name, version in values["writers"].items())
    where = f" --config {shlex.quote(values['config'])}" if values["config"] != "default" else ""
    where += f" --split {values['split']}" if values["split"] != "train" else ""
    target = shlex.quote(values["target"])
    yield "## Build it again, or check it"
    yield ""
    yield f"Save the recipe below as `mix.yaml`. The same writers ({writers}) build the same bytes."
    yield ""
    yield "```bash"
    commands = {
        "pipeline plan mix.yaml": "what it will read and upload, and how well it will be shuffled",
        "pipeline build-mix mix.yaml --output ns/name": "build it, into another repo",
        f"pipeline verify {target}{where}": "read the sources and the mix, and compare their rows",
        f"pipeline inspect {target}{where} --quality": "measure how well it is shuffled",
    }
    width = max(map(len, commands))
    yield from (f"{command:<{width}}  # {what}" for command, what in commands.items())
    yield "```"


def _recipe(values: dict[str, Any], _: Sequence[str]) -> Iterator[str]:
    ticks = max((len(run) for run in re.findall(r"`{3,}", values["recipe"])), default=2) + 1
    yield "## Recipe"
    yield ""
    yield "Revisions are pinned to the commits that were read."
    yield ""
    yield f"{'`' * ticks}yaml"
    yield values["recipe"].rstrip("\n")
    yield "`" * ticks


def _figure(name: str, what: str, files: Sequence[str]) -> Iterator[str]:
    if name in files:
        yield from ("", f"![{what}]({name})")
    elif not any(one.endswith(".png") for one in files):
        yield from ("", f"*{what}: no figure, as matplotlib was not installed (`{HOW_TO_GET}`).*")


def _size(value: int | None) -> str:
    return "" if value is None else format_bytes(value)
