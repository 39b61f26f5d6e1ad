"""Which options there are, for reading and writing, at once and as streams; and how given ones are matched with them.

Names match whatever their case and underscores; an unknown one is an error with a suggestion. Parsing (read_options.py,
write_options.py) and the README's tables both come from these lists.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import OptionError
from pipeline.hub.repo import DatasetRef, parse_ref

# What Spark itself adds to a data source's options, in tables, INSERTs and streams.
_SPARKS_OWN = ("path", "paths", "owner", "provider", "location", "checkpointlocation", "queryname")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option as the README shows it."""

    name: str
    default: str
    meaning: str


_TOKEN = Option(name="token", default="that of the environment or login", meaning="Hub token")
_ENDPOINT = Option(name="endpoint", default="`HF_ENDPOINT`, or the public Hub", meaning="address of the Hub")
_SPLIT = Option(
    name="split",
    default="`train`",
    meaning="split to read; `*`, `train*` or `a+b` reads several, with a column `split`",
)
_WHAT = (
    Option(name="config", default="the card's default", meaning="config (subset) to read"),
    Option(
        name="data_files", default="the card's", meaning="which files: a pattern, a JSON list, or `{split: pattern}`"
    ),
    Option(name="data_dir", default="the repo", meaning="folder that the files are in"),
    _TOKEN,
    _ENDPOINT,
    Option(
        name="columns",
        default="all",
        meaning="columns to read: `a,b` or a JSON list, parts of nested ones by path (`image.path`); no others are fetched",
    ),
    Option(
        name="where",
        default="all rows",
        meaning="SQL condition on a row (times without a zone are UTC); row groups that it rules out are not fetched",
    ),
    Option(
        name="filters",
        default="all rows",
        meaning='the same as `datasets` takes it: `[("score", ">", 0.9)]`, or a list of such lists, one of which must hold',
    ),
)
_HOW = (
    Option(name="maxPartitionBytes", default="`128m`", meaning="size of a task: bytes of the chosen columns"),
    Option(name="transport", default="`auto`", meaning="`xet` or `http` to insist on one"),
    Option(name="prefetch_bytes", default="`128m`", meaning="bytes that a task fetches ahead"),
    Option(name="prefetch_requests", default="`16`", meaning="requests that a task has under way"),
    Option(name="block_bytes", default="`8m`", meaning="size of a request, at most"),
    Option(name="cache_bytes", default="`0`", meaning="bytes of ranges kept on each executor's disk for later reads"),
    Option(
        name="timestampNs",
        default="`error`",
        meaning="`truncate` cuts nanoseconds that Spark's microseconds cannot hold; `error` refuses them",
    ),
    Option(name="streaming", default="`true`", meaning="taken for compatibility: reads are never downloaded first"),
)
_FORMATS = (
    Option(name="sep", default="by format", meaning="csv: what separates values (also `delimiter`)"),
    Option(name="field", default="none", meaning="json: the key that holds the records"),
    Option(name="sample_by", default="`line`", meaning="text: a row is a `line`, `paragraph` or `document`"),
)
READ_OPTIONS = (
    _SPLIT,
    Option(name="revision", default="`main`", meaning="branch, tag, commit sha, `refs/convert/parquet` or `refs/pr/N`"),
    Option(name="timestamp", default="none", meaning="the branch as it was then: `2026-11-01T12:00:00Z`"),
    *_WHAT,
    *_HOW,
    *_FORMATS,
)
STREAM_READ_OPTIONS = (
    Option(name="split", default="`train`", meaning="split whose new files are read"),
    Option(name="revision", default="`main`", meaning="branch that is followed"),
    *_WHAT,
    Option(
        name="startingCommit",
        default="the rows that are there",
        meaning="first commit whose rows are read; `latest` for those after now",
    ),
    Option(name="maxFilesPerTrigger", default="no limit", meaning="files per micro-batch, at most"),
    Option(name="ignoreDeletes", default="`false`", meaning="pass over commits that only delete files"),
    Option(
        name="ignoreChanges", default="`false`", meaning="read again, as new, what commits rewrite; pass over deletions"
    ),
    *_HOW,
)
_TARGET = (
    Option(name="split", default="`train`", meaning="split to write"),
    Option(name="config", default="`default`", meaning="config (subset) to write"),
    Option(name="revision", default="`main`", meaning="branch to write to; made from `main` if it is not there"),
    Option(name="data_dir", default="`data`, or the config's name", meaning="folder that files are written to"),
    _TOKEN,
    _ENDPOINT,
)
_LAYOUT = (
    Option(name="maxRecordsPerFile", default="no limit", meaning="rows per file, at most"),
    Option(name="max_bytes_per_file", default="`500MB`", meaning="size at which a file is ended and the next begun"),
    Option(name="row_group_bytes", default="`32MB`", meaning="size of a row group before compression, at most"),
    Option(name="row_group_size", default="by bytes", meaning="rows per row group, at most"),
    Option(
        name="partition_columns",
        default="none",
        meaning="columns whose values name folders (`lang=en/`), as `partitionBy` does; they stay in the files too; "
        "for few files, `repartition` and `sortWithinPartitions` by them first",
    ),
    Option(
        name="features",
        default="from the columns",
        meaning='Hugging Face features as JSON, `{"image": {"_type": "Image"}}`, or the path of a `.json` file',
    ),
    Option(
        name="mergeSchema",
        default="`false`",
        meaning="let a write add columns to the config, or an append leave some out",
    ),
    Option(name="private", default="the Hub's", meaning="make the repo private if it is created"),
    Option(name="commit_message", default="what was written", meaning="title of the commit"),
    Option(name="commit_description", default="none", meaning="text of the commit"),
)
WRITE_OPTIONS = (
    *_TARGET,
    *_LAYOUT,
    Option(
        name="allowEmptyOverwrite",
        default="`false`",
        meaning="let an overwrite by no rows delete the rows that are there",
    ),
    Option(name="create_pr", default="`false`", meaning="commit to a new pull request instead of the branch"),
    Option(
        name="max_operations_per_commit",
        default="none",
        meaning="taken for compatibility: a write is one commit, whatever it holds",
    ),
)
STREAM_WRITE_OPTIONS = (
    *_TARGET,
    *_LAYOUT,
    Option(
        name="autoCompactMinFiles",
        default="off",
        meaning="after a micro-batch, compact the split's small files when there are so many",
    ),
)


def match_options(options: Mapping[str, str], known: tuple[Option, ...], doing: str) -> dict[str, str]:
    """The options under their documented names. Raises OptionError for one that is not known."""
    names = {_plain(option.name): option.name for option in known}
    names |= {"delimiter": "sep"} if "sep" in names else {}
    found: dict[str, str] = {}
    for key, value in options.items():
        if key.lower() in _SPARKS_OWN or key.lower().startswith("option."):
            continue
        name = names.get(_plain(key))
        if name is None:
            raise OptionError(f"unknown option {key!r} for {doing}; {_hint(_plain(key), names)}")
        found[name] = value
    return found


def only_for_streams(options: Mapping[str, str]) -> bool:
    """Whether an option is given that only the reader of a stream has, or that is meant to be one."""
    batch = {_plain(option.name) for option in READ_OPTIONS}
    stream = {_plain(option.name) for option in STREAM_READ_OPTIONS} - batch
    unknown = {_plain(key) for key in options} - batch
    return any(difflib.get_close_matches(key, stream, n=1, cutoff=0.8) for key in unknown)


def _hint(key: str, names: Mapping[str, str]) -> str:
    """What may have been meant: an option of like name, or one that is for something else."""
    every = {"reading": READ_OPTIONS, "reading a stream": STREAM_READ_OPTIONS, "writing": WRITE_OPTIONS}
    for doing, options in (every | {"writing a stream": STREAM_WRITE_OPTIONS}).items():
        if found := next((option.name for option in options if _plain(option.name) == key), None):
            return f"{found!r} is for {doing}"
    close = difflib.get_close_matches(key, names, n=1)
    return f"did you mean {names[close[0]]!r}?" if close else f"known are {', '.join(dict.fromkeys(names.values()))}"


def parse_value(given: Mapping[str, str], name: str, parse: Callable[[str], Any], default: Any = None) -> Any:
    """One option's value. Raises OptionError with what was expected."""
    if name not in given:
        return default
    try:
        return parse(given[name])
    except ValueError as err:
        raise OptionError(f"option {name!r} must be {err}, got {given[name]!r:.200}") from None


def target_of(options: Mapping[str, str], given: Mapping[str, str], *, split: str | None) -> DatasetRef:
    """The dataset that the path names. Raises OptionError when there is none, as for a catalog table that lost its options."""
    plain = {key.lower(): value for key, value in options.items()}
    if not plain.get("path"):
        several = (
            f", got several paths {plain['paths']}; read them one by one and union them" if "paths" in plain else ""
        )
        raise OptionError(
            f"no dataset given; expected load('ns/name'), save('ns/name') or the option 'path'{several or _TABLES}"
        )
    return parse_ref(
        plain["path"],
        revision=given.get("revision"),
        config=given.get("config"),
        split=split,
        endpoint=given.get("endpoint"),
    )


_TABLES = "; Spark does not keep the options of catalog tables: use a temporary view, or SELECT ... FROM t WITH (path='ns/name')"


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
