"""What to write, and how, parsed once from Spark's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.errors import OptionError
from pipeline.hub.repo import DatasetRef, Secret, find_token
from pipeline.hub.split import folder_of
from pipeline.parquet.features import Features
from pipeline.parquet.layout import ROW_GROUP_BYTES
from spark_datasource import option_values as values
from spark_datasource.options import STREAM_WRITE_OPTIONS, WRITE_OPTIONS, match_options, parse_value, target_of

_FILE_BYTES = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """What to write, and how. Sizes in bytes; `None` for no limit, and for what the Hub decides.

    `data_dir` is the folder of the files, "" for the repo itself; by default it is the config's.
    """

    ref: DatasetRef
    token: Secret | None
    config: str
    split: str
    data_dir: str | None
    max_records_per_file: int | None
    max_bytes_per_file: int
    row_group_bytes: int
    row_group_rows: int | None
    partition_columns: tuple[str, ...]
    features: Features | None
    merge_schema: bool
    allow_empty_overwrite: bool
    private: bool | None
    commit_message: str | None
    commit_description: str
    create_pr: bool
    auto_compact_min_files: int | None


def parse_write(options: Mapping[str, str]) -> WriteOptions:
    """Write options as Spark gives them. Raises OptionError."""
    given = match_options(options, WRITE_OPTIONS, "writing")
    parse_value(given, "max_operations_per_commit", values.whole)
    return _write(options, given)


def parse_stream_write(options: Mapping[str, str]) -> WriteOptions:
    """The options of `df.writeStream`. Raises OptionError."""
    return _write(options, match_options(options, STREAM_WRITE_OPTIONS, "writing a stream"))


def _write(options: Mapping[str, str], given: Mapping[str, str]) -> WriteOptions:
    split = given.get("split", "train")
    ref = target_of(options, given, split=split)
    config = given.get("config", "default")
    create_pr = parse_value(given, "create_pr", values.boolean, False)
    if ref.kind == "buckets":
        _check_bucket(ref, given, create_pr=create_pr)
    elif create_pr and ref.revision not in (None, "main"):
        raise OptionError(
            f"option 'create_pr' opens a pull request to main, got revision {ref.revision!r}; leave one of them out"
        )
    return WriteOptions(
        ref=replace(ref, path=""),
        token=find_token(ref.endpoint, given.get("token")),
        config=config,
        split=split,
        data_dir=_data_dir(ref, config, parse_value(given, "data_dir", values.folder)),
        max_records_per_file=parse_value(given, "maxRecordsPerFile", values.whole_or_none),
        max_bytes_per_file=parse_value(given, "max_bytes_per_file", values.size, _FILE_BYTES),
        row_group_bytes=parse_value(given, "row_group_bytes", values.size, ROW_GROUP_BYTES),
        row_group_rows=parse_value(given, "row_group_size", values.whole),
        partition_columns=parse_value(given, "partition_columns", values.names, ()),
        features=parse_value(given, "features", values.features),
        merge_schema=parse_value(given, "mergeSchema", values.boolean, False),
        allow_empty_overwrite=parse_value(given, "allowEmptyOverwrite", values.boolean, False),
        private=parse_value(given, "private", values.boolean),
        commit_message=given.get("commit_message"),
        commit_description=given.get("commit_description", ""),
        create_pr=create_pr,
        auto_compact_min_files=parse_value(given, "autoCompactMinFiles", values.whole),
    )


def _check_bucket(ref: DatasetRef, given: Mapping[str, str], *, create_pr: bool) -> None:
    """Raises OptionError for what needs commits."""
    wrong = [name for name in ("commit_message", "commit_description") if given.get(name)]
    if wrong or create_pr:
        name = "create_pr" if create_pr else wrong[0]
        raise OptionError(f"option {name!r} needs commits, and 'hf://{ref}' is a bucket, which has none; leave it out")


def _data_dir(ref: DatasetRef, config: str, given: str | None) -> str | None:
    """The folder of the files: the option's, in that of the path."""
    if not ref.path:
        return given
    inner = folder_of(config, given).strip("/")
    return f"{ref.path}/{inner}" if inner else ref.path
