"""A recipe's text -> the fields of a `Recipe`, each read by its own reader, then checked together by `recipe_rules.py`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.mix import recipe_columns as columns
from pipeline.mix import recipe_places as places
from pipeline.mix import recipe_rules as rules
from pipeline.mix import recipe_values as values
from pipeline.mix.recipe_keys import key_names
from pipeline.mix.recipe_names import unique_names
from pipeline.mix.recipe_rules import Draft
from pipeline.mix.recipe_yaml import Value, error_at, read_yaml

Readers = dict[str, Callable[[Value], Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a recipe's text says: fields by name (those of the sources as a list of dicts), and where each stands."""

    fields: dict[str, Any]
    positions: dict[str, tuple[int, int]] = field(default_factory=dict)


def read_recipe(text: str, file: str, folder: Path, output: str | None) -> Read:
    """Raises `RecipeError` with the place of what is wrong. `output` stands for the target."""
    top = read_yaml(text, file)
    positions: dict[str, tuple[int, int]] = {}
    fields = _fields(top, recipe_readers(folder, positions), "recipe", positions)
    if output is not None:
        fields["target"] = places.parse_target(output, Path())
    for required, example in (("target", "target: ns/name"), ("sources", "sources: with one entry or more")):
        if required not in fields:
            hint = " or pass --output" if required == "target" else ""
            raise error_at(file, top.position, f"the recipe has no {required}; add {example}{hint}")
    draft = Draft(fields=fields, path="", file=file, positions=positions)
    rules.check_recipe(draft)
    sources = [source | {"name": name} for source, name in zip(fields["sources"], unique_names(draft), strict=True)]
    return Read(fields=fields | {"sources": sources}, positions=positions)


def recipe_readers(folder: Path, positions: dict[str, tuple[int, int]]) -> Readers:
    return {
        "target": lambda v: places.target(v, folder),
        "seed": lambda v: v.integer(0),
        "shuffle": lambda v: values.choice(v, values.SHUFFLES),
        "spread": lambda v: values.choice(v, values.SPREADS),
        "block_rows": lambda v: v.integer(1),
        "block_bytes": values.size,
        "shard_bytes": values.size,
        "shard_rows": lambda v: v.integer(1),
        "shards": lambda v: v.integer(1, values.MOST_SHARDS),
        "shards_multiple_of": lambda v: v.integer(1, values.MOST_SHARDS),
        "config": values.target_config,
        "split": values.split,
        "splits": values.splits,
        "source_column": columns.own_column,
        "source_row_column": columns.own_column,
        "columns": columns.types,
        "dedup_by": columns.dedup_by,
        "total_rows": lambda v: v.integer(1),
        "temperature": values.temperature,
        "layout": lambda v: values.choice(v, values.LAYOUTS),
        "private": Value.boolean,
        "public": places.repos,
        "sources": lambda v: [_source(s, folder, positions) for s in v.elements("be a list of sources")],
    }


def source_readers(folder: Path) -> Readers:
    return {
        "dataset": places.dataset,
        "parquet": lambda v: places.parquet(v, folder),
        "name": values.name,
        "config": values.config,
        "split": values.split,
        "revision": lambda v: v.text("be a branch, tag or commit"),
        "columns": columns.columns,
        "map": columns.row_map,
        "cast": columns.types,
        "where": columns.where,
        "copy": lambda v: values.choice(v, values.COPIES),
        "take": values.take,
        "repeat": values.repeat,
        "weight": Value.number,
        "max_repeat": values.max_repeat,
    }


def _source(value: Value, folder: Path, positions: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """The fields of a `Source`, with `name` only where it is given."""
    fields = _fields(value, source_readers(folder), "source", positions)
    draft = Draft(fields=fields, path=value.path, file=value.file, positions=positions)
    rules.check_source(draft)
    if "dataset" in fields:
        fields["dataset"], revision = fields["dataset"]
        if revision and "revision" in fields:
            raise draft.error("revision", f"is given twice, the dataset ends in @{revision}; keep one")
        fields.setdefault("revision", revision)
    else:
        fields["parquet"], fields["parquet_paths"] = fields["parquet"]
    return fields | {"position": value.position}


def _fields(value: Value, readers: Readers, scope: str, positions: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """The keys of a mapping, read in the order of the document."""
    positions[value.path] = value.position
    fields: dict[str, Any] = {}
    for key, member in value.items():
        name = str(key.node.value)
        if name not in readers:
            raise error_at(value.file, key.position, _unknown_key(member.path, name, scope))
        positions[member.path] = member.position
        fields[name] = readers[name](member)
        positions |= {child.path: child.position for child in member.children()}
    return fields


def _unknown_key(path: str, name: str, scope: str) -> str:
    names = key_names(scope)
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{path} is not a key of a {scope}; {hint}the keys are {', '.join(names)}"
