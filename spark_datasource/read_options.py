"""What to read, parsed once from Spark's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast, get_args

from pipeline.errors import OptionError
from pipeline.hub.ranges import Transport
from pipeline.hub.repo import DatasetRef, Secret, find_token
from pipeline.hub.resolver import DataFiles
from pipeline.parquet.task import ScanOptions
from pipeline.streaming.source import parse_timestamp
from spark_datasource import option_values as values
from spark_datasource.filters import Filters, parse_filters
from spark_datasource.options import READ_OPTIONS, STREAM_READ_OPTIONS, match_options, parse_value, target_of

_PARTITION_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What to read, and how; `partition_bytes` is `None` unless the user set it. `settings` are those of the files' format."""

    ref: DatasetRef
    token: Secret | None
    columns: tuple[str, ...] | None = None
    where: str | None = None
    filters: Filters | None = None
    data_files: DataFiles | None = None
    data_dir: str | None = None
    timestamp: datetime | None = None
    transport: Transport = "auto"
    partition_bytes: int = _PARTITION_BYTES
    scan: ScanOptions = field(default_factory=ScanOptions)
    truncate_ns: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReadOptions:
    """Which branch to follow from which commit on. `starting_commit` is a sha, `latest`, `None` for all rows that are there."""

    read: ReadOptions
    starting_commit: str | None
    max_files: int | None
    ignore_deletes: bool
    ignore_changes: bool


def parse_read(options: Mapping[str, str]) -> ReadOptions:
    """Read options as Spark gives them. Raises OptionError."""
    return _read(options, match_options(options, READ_OPTIONS, "reading"))


def parse_stream_read(options: Mapping[str, str]) -> StreamReadOptions:
    """The options of `spark.readStream`. Raises OptionError."""
    given = match_options(options, STREAM_READ_OPTIONS, "reading a stream")
    return StreamReadOptions(
        read=_read(options, given),
        starting_commit=given.get("startingCommit"),
        max_files=parse_value(given, "maxFilesPerTrigger", values.whole),
        ignore_deletes=parse_value(given, "ignoreDeletes", values.boolean, False),
        ignore_changes=parse_value(given, "ignoreChanges", values.boolean, False),
    )


def _read(options: Mapping[str, str], given: Mapping[str, str]) -> ReadOptions:
    ref = target_of(options, given, split=given.get("split"))
    if "where" in given and "filters" in given:
        raise OptionError("options 'where' and 'filters' are both given; join them into 'where'")
    if "timestamp" in given and "revision" in given and ref.revision and len(ref.revision) == 40:
        raise OptionError("option 'timestamp' chooses a commit of a branch, but 'revision' is a commit; give one")
    parse_value(given, "streaming", values.boolean)
    return ReadOptions(
        ref=ref,
        token=find_token(ref.endpoint, given.get("token")),
        columns=parse_value(given, "columns", values.names),
        where=given.get("where"),
        filters=parse_value(given, "filters", parse_filters),
        data_files=parse_value(given, "data_files", values.data_files),
        data_dir=given.get("data_dir"),
        timestamp=parse_timestamp(given["timestamp"]) if "timestamp" in given else None,
        transport=cast(Transport, _choice(given, "transport", get_args(Transport), "auto")),
        partition_bytes=parse_value(given, "maxPartitionBytes", values.size, _PARTITION_BYTES),
        scan=_scan_options(given),
        truncate_ns=_choice(given, "timestampNs", ("error", "truncate"), "error") == "truncate",
        settings={name: given[name] for name in ("sep", "field", "sample_by") if name in given},
    )


def _scan_options(given: Mapping[str, str]) -> ScanOptions:
    parsers: dict[str, Any] = {
        "prefetch_bytes": values.size_or_zero,
        "prefetch_requests": values.whole,
        "block_bytes": values.size,
        "cache_bytes": values.size_or_zero,
    }
    return ScanOptions(**{name: parse_value(given, name, parse) for name, parse in parsers.items() if name in given})


def _choice(given: Mapping[str, str], name: str, known: tuple[str, ...], default: str) -> str:
    value = given.get(name, default).lower()
    if value not in known:
        raise OptionError(f"option {name!r} must be {' or '.join(map(repr, known))}, got {given[name]!r}")
    return value
