"""What would make a split stream better: one finding per thing that its facts show, each with its number. Pure.

The numbers behind the thresholds were measured on the embedded Hub and with `datasets` 5.2; where they come from stands at each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.audit.facts import PLAIN, ColumnFacts, SplitFacts
from pipeline.sizes import counted, format_bytes

# What one reader fetches ahead (`ScanOptions.prefetch_bytes`): behind a larger row group, nothing is fetched meanwhile.
LARGE_ROW_GROUP_BYTES = 64_000_000
# Row groups that stream and shuffle well: a request's latency (20 to 100 ms) is paid for by 1 MB, and 16 MB are still fetched
# in one request (`scan` cuts longer ranges).
GOOD_ROW_GROUP_BYTES = (1_000_000, 16_000_000)
# A row group is a request. At 100 ms with 8 in flight, 100 kB each are 8 MB/s: what a slow disk gives.
SMALL_ROW_GROUP_BYTES = 100_000
# A training run as large as they were when their start-up requests got a network blocked: 64 GPUs with 4 workers each.
WORKERS = 64 * 4
# Where one file has more rows than this share, and than 1.5 times an equal one, most workers wait for its reader.
UNEVEN_SHARE = 0.5
# Compression that saves less costs time, and shifts bytes so that they deduplicate less (images: 96 % new, against 3 %).
WORTHWHILE_SAVING = 0.05
# Below this a split is read in a request or two, whatever its layout.
SMALL_SPLIT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`what` is there, resting on the number `value`, and what `todo` about it; each is one line."""

    name: str
    value: float
    what: str
    todo: str


def advise(facts: SplitFacts) -> tuple[Finding, ...]:
    """The findings of a split, those that stop readers first."""
    if not facts.files:
        what = "its patterns match no Parquet file"
        return (Finding(name="no-files", value=0, what=what, todo="mend 'configs' in README.md"),)
    found = [*_wrong(facts)]
    if facts.size >= SMALL_SPLIT_BYTES:
        found += [*_row_groups(facts), *_files(facts), *_skipping(facts), *_storage(facts)]
    return (*found, *_card(facts))


def _wrong(facts: SplitFacts) -> Iterator[Finding]:
    if facts.rows_on_card not in (None, facts.rows):
        yield Finding(
            name="wrong-row-count",
            value=facts.rows_on_card or 0,
            what=f"the card says {facts.rows_on_card:,} rows, the files have {facts.rows:,}: `datasets` refuses to load it",
            todo="correct num_examples under 'dataset_info' in README.md",
        )
    if facts.varying:
        names = ", ".join(map(repr, facts.varying[:3])) + (", ..." if len(facts.varying) > 3 else "")
        yield Finding(
            name="mixed-schemas",
            value=len(facts.varying),
            what=f"{counted(len(facts.varying), 'column')} ({names}) are not the same in all {facts.files:,} files: "
            "rows are cast while they are read, or refused",
            todo="write all files with one schema",
        )


def _row_groups(facts: SplitFacts) -> Iterator[Finding]:
    smallest, largest = (size // 1_000_000 for size in GOOD_ROW_GROUP_BYTES)
    good = f"row groups of {smallest} to {largest} MB"
    if facts.large_row_groups:
        limit, largest_size = LARGE_ROW_GROUP_BYTES // 1_000_000, format_bytes(facts.row_group_size.max)
        which = _of(facts.large_row_groups, facts.row_groups, "row group")
        up_to = "up to " if facts.large_row_groups > 1 else ""
        yield Finding(
            name="large-row-groups",
            value=facts.row_group_size.max,
            what=f"{which} over {limit} MB ({up_to}{largest_size}): a worker fetches that for one row, "
            "and needs several to shuffle",
            todo=f"train from a copy with {good}; `pipeline build-mix` writes such",
        )
    if facts.row_groups >= WORKERS and facts.row_group_size.median < SMALL_ROW_GROUP_BYTES:
        yield Finding(
            name="small-row-groups",
            value=facts.row_group_size.median,
            what=f"half of the {facts.row_groups:,} row groups have at most {format_bytes(facts.row_group_size.median)}: "
            "each is a request of its own",
            todo=f"rewrite with {good}",
        )
    if facts.row_groups < WORKERS and facts.size >= WORKERS * GOOD_ROW_GROUP_BYTES[0]:
        size = min(facts.size // WORKERS, GOOD_ROW_GROUP_BYTES[1])
        yield Finding(
            name="few-row-groups",
            value=facts.row_groups,
            what=f"{counted(facts.row_groups, 'row group')} for {WORKERS} workers (64 GPUs x 4): several fetch the same one",
            todo=f"rewrite with row groups of at most {format_bytes(size)}",
        )


def _files(facts: SplitFacts) -> Iterator[Finding]:
    if facts.files < WORKERS and facts.size >= WORKERS * GOOD_ROW_GROUP_BYTES[1]:
        yield Finding(
            name="few-files",
            value=facts.files,
            what=f"{counted(facts.files, 'file')} for {WORKERS} workers (64 GPUs x 4): `datasets` gives whole files to "
            f"workers, so {WORKERS - facts.files:,} get none",
            todo=f"write {WORKERS} files or a multiple of it, of about {format_bytes(facts.size / WORKERS)}",
        )
    share = facts.largest_file_rows / max(1, facts.rows)
    if share > UNEVEN_SHARE and share > 1.5 / facts.files:
        yield Finding(
            name="uneven-files",
            value=share,
            what=f"{facts.largest_file} holds {share:.0%} of the rows of {facts.files:,} files: who reads it is last",
            todo="write files of equal size",
        )


def _skipping(facts: SplitFacts) -> Iterator[Finding]:
    if missing := facts.files - facts.files_with_statistics:
        yield Finding(
            name="no-statistics",
            value=missing,
            what=f"{_of(missing, facts.files, 'file')} without statistics: a filter reads every row of such a file",
            todo="write with statistics (pyarrow: write_statistics=True, its default)",
        )
    if missing := facts.files - facts.files_with_page_index:
        yield Finding(
            name="no-page-index",
            value=missing,
            what=f"{_of(missing, facts.files, 'file')} without a page index: filters and the Hub's viewer read whole row "
            f"groups ({format_bytes(facts.row_group_size.median)})",
            todo="write with a page index (pyarrow: write_page_index=True)",
        )


def _storage(facts: SplitFacts) -> Iterator[Finding]:
    if plain := facts.layouts.get(PLAIN, 0):
        yield Finding(
            name="no-dedup-layout",
            value=plain,
            what=f"{_of(plain, facts.files, 'file')} without a sign of content-defined chunking or blocks: after a "
            "change most of a file is uploaded again",
            todo="write with content-defined chunking (pyarrow: use_content_defined_chunking=True)",
        )
    if missing := facts.files - facts.files_on_xet:
        yield Finding(
            name="not-on-xet",
            value=missing,
            what=f"{_of(missing, facts.files, 'file')} not in Xet storage: nothing in them deduplicates",
            todo="upload again with huggingface_hub 0.32 or newer",
        )
    wasted = [column for column in facts.columns if _is_wasted(column)]
    if wasted:
        size, before = sum(column.size for column in wasted), sum(column.num_bytes for column in wasted)
        codecs = " and ".join(sorted({codec for column in wasted for codec in column.codecs if codec != "none"}))
        saved = max(0.0, 1 - size / before)
        yield Finding(
            name="compressed-media",
            value=saved,
            what=f"{codecs} saves {saved:.1%} of {format_bytes(before)} in {', '.join(column.name for column in wasted)}: "
            "time for nothing, and less of it deduplicates",
            todo="write such columns uncompressed and without dictionary",
        )


def _card(facts: SplitFacts) -> Iterator[Finding]:
    if not facts.features_on_card:
        yield Finding(
            name="no-card-features",
            value=len(facts.columns),
            what=f"the card lists none of its {counted(len(facts.columns), 'column')}: a first read must ask a file for them",
            todo="add 'dataset_info' with features to README.md; push_to_hub and this project's writers do",
        )


def _is_wasted(column: ColumnFacts) -> bool:
    """Whether a column of bytes is large and compression saves next to nothing."""
    return (
        "binary" in column.type
        and set(column.codecs) != {"none"}
        and column.num_bytes >= SMALL_SPLIT_BYTES
        and 1 - column.size / column.num_bytes < WORTHWHILE_SAVING
    )


def _of(some: int, total: int, what: str) -> str:
    """`3 of 5 files are`, `its only file is`, `all 5 files are`."""
    if total == 1:
        return f"its only {what} is"
    if some == total:
        return f"all {total:,} {what}s are"
    return f"{some:,} of {total:,} {what}s {'is' if some == 1 else 'are'}"
