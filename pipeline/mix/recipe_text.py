"""A recipe as YAML, with the commits that its branches and tags stood for: what builds the same mix again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import yaml

from pipeline.mix.recipe import Recipe, Source

_NOT_KEYS = {"sources", "parquet_paths", "position", "positions", "file"}
_MAPPINGS = {"columns", "cast", "map", "splits"}


def recipe_text(recipe: Recipe, commits: Mapping[str, str] | None = None) -> str:
    """YAML that reads as this recipe; `commits` (source name -> commit) take the place of revisions."""
    values = _keys(recipe)
    values["sources"] = [_source(source, (commits or {}).get(source.name)) for source in recipe.sources]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)


def _source(source: Source, commit: str | None) -> dict[str, Any]:
    values = _keys(source)
    if commit is not None and source.dataset is not None:
        values["revision"] = commit
    return values


def _keys(value: Recipe | Source) -> dict[str, Any]:
    """The keys that do not have their default."""
    return {
        field.name: _plain(field.name, given)
        for field in dataclasses.fields(value)
        if field.name not in _NOT_KEYS and (given := getattr(value, field.name)) != field.default
    }


def _plain(name: str, value: Any) -> Any:
    if name == "source_column" and value is None:
        return False
    if name == "dedup_by" and value == ("*",):
        return "content"
    if isinstance(value, tuple):
        return dict(value) if name in _MAPPINGS else list(value)
    return value
