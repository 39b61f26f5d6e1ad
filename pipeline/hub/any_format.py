"""A ref -> its splits whatever format their files are in: the format is told by endings, as `datasets` tells it.

The most common ending of each split's files counts, and all splits of a config must agree. Then only files of that format are
data (metadata files too, for folders of media). How they are to be read, the card says next to their patterns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from pipeline.errors import NotFoundError, OptionError, SchemaError
from pipeline.hub.card import ConfigEntry
from pipeline.hub.formats import PARQUET, READABLE, FileKind, infer_format, is_known, is_parquet, kind_of
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.repo import DatasetRef
from pipeline.hub.resolver import (
    PARQUET_FILES,
    DataFiles,
    Snapshot,
    files_by_split,
    select_split,
    wanted_config,
)

_DISPLAYED = {"csv": "CSV", "json": "JSON", "arrow": "Arrow", "text": "text", "webdataset": "TAR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Splits of one config, pinned: those `wanted`, in order, and the files of all `splits` of the config in its order (of
    Parquet, whose schema is in each file, those wanted may be all).

    `format` is one of READABLE. `reading` says how its files are read, in the words of `datasets` (`sep`, `field`, ...); it may
    hold keys that mean nothing to the format. `features` is the card's, `None` when it has none for these files.
    """

    format: str
    reading: Mapping[str, Any] = field(default_factory=dict)
    wanted: Mapping[str, Snapshot]
    splits: Mapping[str, tuple[DataFile, ...]]
    features: tuple[Any, ...] | None = None


def resolve_any(
    listing: Listing, ref: DatasetRef, *, data_files: DataFiles | None = None, data_dir: str | None = None
) -> Resolved:
    """The ref's split, or its splits: `*`, `train*` and `train+test` are several, `None` is the default one. No network.

    `data_files` and `data_dir` as in `resolve`. Raises what that raises, NotFoundError for a format that cannot be read and for a
    pattern that no split has, SchemaError for splits of different formats.
    """
    config, _ = wanted_config(listing, ref, data_files=data_files, data_dir=data_dir)
    format, ending = _format_of(listing, config)
    kind = PARQUET_FILES if format == PARQUET else replace(kind_of(format), name=_DISPLAYED.get(format, format))
    names: Sequence[str | None] = [ref.split]
    splits: Mapping[str, tuple[DataFile, ...]] = {}
    several = is_several(ref.split)
    if several or format != PARQUET:
        splits = files_by_split(listing, config, kind.holds)
    if several and ref.split is not None:
        names = _matching(ref.split, list(splits), f"{listing.ref}: config {config.name!r}")
    found = [
        select_split(listing, replace(ref, split=name), data_files=data_files, data_dir=data_dir, kind=kind)
        for name in names
    ]
    _check_no_zip(found, kind)
    reading = {**({"sep": "\t"} if ending == "tsv" else {}), **config.reading}
    return Resolved(
        format=format,
        reading=reading,
        wanted={one.ref.split or "train": one for one in found},
        splits=splits or {one.ref.split or "train": one.files for one in found},
        features=found[0].features,
    )


def is_several(split: str | None) -> bool:
    """Whether a split is a pattern (`*`, `train*`) or a sum (`train+test`), and so may be several."""
    return split is not None and any(sign in split for sign in "*?+")


def _format_of(listing: Listing, config: ConfigEntry) -> tuple[str, str]:
    """The format of a config's files, and the ending that told it."""
    known = [file.path for file in listing.files if is_known(file.path)]
    if all(map(is_parquet, known)):
        return PARQUET, PARQUET  # nearly every repo: nothing has to be matched
    splits = files_by_split(listing, config, is_known)
    told = {split: infer_format(file.path for file in files) for split, files in splits.items() if files}
    formats = {split: format for split, (format, _) in told.items()}
    if not formats:
        return PARQUET, PARQUET
    if len(set(told.values())) > 1:
        shown = ", ".join(f"{split!r} {ending}" for split, (_, ending) in told.items())
        raise SchemaError(
            f"{listing.ref}: the splits of config {config.name!r} are of different formats ({shown}); "
            "expected one; choose files of one with 'data_files'"
        )
    format, ending = next(iter(told.values()))
    if format not in READABLE:
        raise NotFoundError(
            f"{listing.ref}: the data of config {config.name!r} is {format}, and only {', '.join(READABLE)} can be read; "
            "choose other files with 'data_files', or convert it"
        )
    return format, ending


def _matching(pattern: str, splits: Sequence[str], about: str) -> list[str]:
    """The splits that the parts of a sum match, each once, in the sum's order and in the config's within a part."""
    found: dict[str, None] = {}
    for part in pattern.split("+"):
        matched = [split for split in splits if fnmatchcase(split, part.strip())]
        if not matched:
            known = ", ".join(map(repr, splits))
            raise NotFoundError(f"{about} has no split {part.strip()!r}; those that exist: {known or 'none'}")
        found.update(dict.fromkeys(matched))
    return list(found)


def _check_no_zip(snapshots: Sequence[Snapshot], kind: FileKind) -> None:
    for snapshot in snapshots:
        for file in snapshot.files:
            if file.path.endswith((".zip", ".ZIP")):
                raise OptionError(
                    f"{snapshot.rows_url}: {file.path!r} is a ZIP archive, which cannot be read; unpack it on the Hub, "
                    f"or choose {kind.name} files with 'data_files'"
                )
