"""What a write must fit: the rows that its config keeps, those of other splits, and when it appends those of its own.

A config has one list of columns and features. So a column that is there already has its type and its feature, and a new one is
null in all other rows: what is written must never change how they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import SchemaError
from pipeline.hub.bucket import split_files
from pipeline.hub.formats import is_parquet
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.ranges import file_refs
from pipeline.hub.resolver import Snapshot
from pipeline.hub.split import Mode, config_splits, existing_files, folder_of
from pipeline.parquet.dataset import stored_schema
from pipeline.parquet.feature_meaning import in_words, same_meaning
from pipeline.parquet.features import Features, features_of, from_yaml, misfit
from pipeline.parquet.footer import read_footers
from spark_datasource.schemas import spark_arrow_type
from spark_datasource.write_options import WriteOptions
from spark_datasource.written import OwnFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The rows that a config has besides those that a write replaces: the schema of each split, `own` that of an append's.

    `features` are those of its columns, of all of them when they are `whole`.
    """

    own: pa.Schema | None
    others: dict[str, pa.Schema]
    features: Features
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The schema and the features of the files to write, and the features that the config then has."""

    arrow: pa.Schema
    features: Features | None
    card_features: Features | None


def split_now(options: WriteOptions, listing: Listing) -> tuple[DataFile, ...]:
    """The files that the split has: those of the card's config, or in a bucket those that are named like it in its folder."""
    if options.ref.kind == "buckets":
        return split_files(listing, folder_of(options.config, options.data_dir), options.split)
    return existing_files(listing, options.config, options.split)


def find_kept(options: WriteOptions, mode: Mode, listing: Listing) -> Kept | None:
    """What the config keeps, `None` when that is no file. Of each other split the first file tells."""
    info = listing.card.info(options.config) or {}
    told = from_yaml(info["features"]) if info.get("features") else None
    splits = {} if options.ref.kind == "buckets" else config_splits(listing, options.config)
    parquet = {split: [file for file in files if is_parquet(file.path)] for split, files in splits.items()}
    firsts = {split: files[0] for split, files in parquet.items() if files and split != options.split}
    refs = file_refs(Snapshot(ref=listing.ref, files=tuple(firsts.values())))
    footers = read_footers(refs, options.token)
    others = {split: footer.schema() for split, footer in zip(firsts, footers, strict=True)}
    own = None
    if mode is Mode.APPEND and (files := split_now(options, listing)):
        own = stored_schema(file_refs(Snapshot(ref=listing.ref, files=files)), list(told or {}), options.token)
    schemas = [*([own] if own else []), *others.values()]
    if not schemas:
        return None
    features = told if told is not None else _stored_features(schemas)
    whole = told is not None or all(name in features for schema in schemas for name in schema.names)
    return Kept(own=own, others=others, features=features, whole=whole)


def _stored_features(schemas: Sequence[pa.Schema]) -> Features:
    """The features of the files' columns, as the first that has a column tells; without those whose type has none."""
    found: Features = {}
    for schema in schemas:
        for column in schema:
            feature = features_of(pa.schema([column], schema.metadata))
            if feature and column.name not in found:
                found |= feature
    return found


def fit(kept: Kept | None, options: WriteOptions, arrow: pa.Schema, own: OwnFeatures) -> Fitted:
    """How to write columns next to those that the config keeps.

    Raises SchemaError naming a column that has another type or feature there, one that is new, or one that is missing.
    """
    if kept is None:
        features = own.whole(arrow.names)
        return Fitted(arrow=arrow, features=features, card_features=features)
    types = _common_types(kept, arrow, options.config)
    if kept.own is not None:
        _check_own_columns(kept, options, arrow)
    _check_new_columns(kept, options, arrow, own)
    first = [name for name in kept.own.names if name in types] if kept.own is not None else []
    names = [*first, *(name for name in arrow.names if name not in first)]
    schema = pa.schema([pa.field(name, types.get(name, arrow.field(name).type)) for name in names])
    found = OwnFeatures(columns=own.columns | _common_features(kept, options, arrow, own))
    card = kept.features | {name: one for name, one in found.columns.items() if name not in kept.features}
    return Fitted(arrow=schema, features=found.whole(names), card_features=card if kept.whole else None)


def _common_types(kept: Kept, arrow: pa.Schema, config: str) -> dict[str, pa.DataType]:
    """The types of columns that are there already."""
    found: dict[str, pa.DataType] = {}
    places = {"the split": kept.own} if kept.own is not None else {}
    for where, existing in (places | {f"split {split!r}": schema for split, schema in kept.others.items()}).items():
        for name in [name for name in existing.names if name in arrow.names]:
            mine, theirs = arrow.field(name).type, existing.field(name).type
            if spark_arrow_type(theirs) != spark_arrow_type(mine):
                raise SchemaError(
                    f"column {name!r} is {mine}, but {where} has {theirs} in config {config!r}; cast it, {_instead(kept)}"
                )
            found.setdefault(name, theirs)
    return found


def _check_own_columns(kept: Kept, options: WriteOptions, arrow: pa.Schema) -> None:
    """An append has the split's columns."""
    assert kept.own is not None
    there = kept.own.names
    added = [name for name in arrow.names if name not in there and name not in kept.features]
    missing = [name for name in there if name not in arrow.names]
    if (added or missing) and not options.merge_schema:
        raise SchemaError(
            f"the DataFrame's columns differ from those of split {options.split!r}: "
            f"{_listed('new', added)}{'; ' if added and missing else ''}{_listed('missing', missing)}; "
            "select the same columns, or set option 'mergeSchema' to true"
        )


def _check_new_columns(kept: Kept, options: WriteOptions, arrow: pa.Schema, own: OwnFeatures) -> None:
    """A column that the config has not is asked for, can be told from those that it has, and can be listed with them."""
    schemas = [*([kept.own] if kept.own is not None else []), *kept.others.values()]
    there = {*kept.features, *(name for schema in schemas for name in schema.names)}
    folded = {name.lower(): name for name in there}
    for name in [name for name in arrow.names if name not in there]:
        if not options.merge_schema:
            raise SchemaError(
                f"column {name!r} is new in config {options.config!r}, whose splits share their columns; leave it out, set "
                f"option 'mergeSchema' to true, {_instead(kept)}"
            )
        if same := folded.get(name.lower()):
            raise SchemaError(
                f"column {name!r} differs from {same!r} of config {options.config!r} in case only, which Spark cannot tell "
                "apart; rename it"
            )
        if kept.whole and name not in own.columns:
            raise SchemaError(
                f"column {name!r} is {arrow.field(name).type}, which has no Hugging Face feature, and config "
                f"{options.config!r} lists those of all columns; make it an array of structs or JSON, {_instead(kept)}"
            )


def _common_features(kept: Kept, options: WriteOptions, arrow: pa.Schema, own: OwnFeatures) -> Features:
    """The features of columns that are there already: what the config says, and the DataFrame does not deny."""
    found: Features = {}
    for name in [name for name in arrow.names if name in kept.features]:
        theirs, mine = kept.features[name], own.columns.get(name)
        if name in own.said and not same_meaning(mine, theirs):
            where = "option 'features'" if name in (options.features or {}) else "the DataFrame, which was read so"
            raise SchemaError(
                f"column {name!r} is {in_words(mine)} in {where}, and {in_words(theirs)} in config {options.config!r}, which "
                f"has one feature for all its rows; give it the same by option 'features', {_instead(kept)}"
            )
        if wrong := misfit(theirs, arrow.field(name).type):
            raise SchemaError(
                f"column {name!r} {wrong}, as in config {options.config!r}; make it that, {_instead(kept)}"
            )
        found[name] = theirs
    return found


def _instead(kept: Kept) -> str:
    """What else can be done: an overwrite changes columns only when no other split has them."""
    return "or write to another 'config'" if kept.others else "or overwrite the split"


def _listed(what: str, names: Sequence[str]) -> str:
    return f"{what} {', '.join(map(repr, names))}" if names else ""
