"""What the values of a recipe must be to each other: which exclude and which need another, each an error at its place."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import RecipeError
from pipeline.mix.recipe_columns import CONTENT
from pipeline.mix.recipe_yaml import error_at

_EITHER = (
    ("shards", "shard_bytes"),
    ("shards", "shard_rows"),
    ("shards", "shards_multiple_of"),
    ("shard_rows", "shard_bytes"),
    ("block_rows", "block_bytes"),
    ("splits", "split"),
)
_DECIDED = ("take", "repeat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The fields that were read of a recipe (`path` is "") or of a source, and where everything stands."""

    fields: Mapping[str, Any]
    path: str
    file: str
    positions: Mapping[str, tuple[int, int]]

    def error(self, key: str, problem: str) -> RecipeError:
        """An error at one of its keys, or at itself for ""."""
        path = ".".join(part for part in (self.path, key) if part)
        return error_at(self.file, self.positions[path], f"{path} {problem}")


def check_source(source: Draft) -> None:
    """Raises `RecipeError`. What a source has to do with the others is checked with the recipe."""
    fields = source.fields
    if ("dataset" in fields) == ("parquet" in fields):
        if "dataset" in fields:
            raise source.error("parquet", "cannot stand beside dataset; make it a source of its own")
        raise source.error("", "has neither dataset nor parquet; add one of them")
    for key in ("config", "split", "revision"):
        if key in fields and "parquet" in fields:
            raise source.error(key, "goes with dataset, not with parquet; remove it")
    for key in _DECIDED:
        if key in fields and "weight" in fields:
            problem = "cannot stand beside weight, which decides the number of rows; remove one of them"
            raise source.error(key, problem)


def check_recipe(recipe: Draft) -> None:
    """Raises `RecipeError`."""
    fields = recipe.fields
    for key, other in _EITHER:
        if key in fields and other in fields:
            raise recipe.error(key, f"cannot stand beside {other}; keep one of them")
    if "spread" in fields and fields.get("shuffle", "blocks") != "blocks":
        raise recipe.error("spread", f"goes with shuffle: blocks, not with {fields['shuffle']}; remove it")
    _check_quantities(recipe)
    _check_columns(recipe)
    _check_public(recipe)


def _check_quantities(recipe: Draft) -> None:
    """All sources have weights or none; the mix's own quantities need weights or a temperature, which exclude each other."""
    sources, tempered = recipe.fields["sources"], "temperature" in recipe.fields
    without = [n for n, source in enumerate(sources) if "weight" not in source]
    if without and len(without) < len(sources):
        problem = "has no weight, others have; give all sources a weight or none"
        raise recipe.error(f"sources[{without[0]}]", problem)
    if tempered and not without:
        raise recipe.error("temperature", "cannot stand beside the sources' weights; keep one of them")
    if "total_rows" in recipe.fields and without and not tempered:
        problem = "needs weights to share it by; give every source a weight, or the mix a temperature, or use take"
        raise recipe.error("total_rows", problem)
    for n, source in enumerate(sources):
        if tempered and (key := next((key for key in _DECIDED if key in source), None)):
            problem = "cannot stand beside the mix's temperature, which decides the number of rows; remove one of them"
            raise recipe.error(f"sources[{n}].{key}", problem)
        if "max_repeat" in source and without and not tempered:
            problem = "needs a weight or the mix's temperature to limit; use repeat for a fixed number"
            raise recipe.error(f"sources[{n}].max_repeat", problem)


def _check_columns(recipe: Draft) -> None:
    """The columns that the mix adds have names of their own; those to deduplicate by are among the declared ones."""
    declared = [name for name, _ in recipe.fields.get("columns", ())]
    added = {"source_column": recipe.fields.get("source_column", "source")}
    added |= {"source_row_column": recipe.fields.get("source_row_column")}
    for key, name in added.items():
        if name in declared:
            there = key if key in recipe.fields else f"columns.{name}"
            problem = f"{name!r} is a declared column and the one that {key} adds; rename one, or set {key}: false"
            raise recipe.error(there, problem)
    if added["source_row_column"] is not None and len(set(added.values())) == 1:
        raise recipe.error("source_row_column", f"{added['source_row_column']!r} is also the source_column; rename one")
    for n, name in enumerate(recipe.fields.get("dedup_by", ())):
        if declared and name not in declared and name != CONTENT:
            close = difflib.get_close_matches(name, declared, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            problem = f"{name!r} is no declared column; {hint}there are {', '.join(declared[:30])}"
            raise recipe.error(f"dedup_by[{n}]", problem)


def _check_public(recipe: Draft) -> None:
    """Only repos that are mixed can be published."""
    public = recipe.fields.get("public", ())
    if public and recipe.fields.get("private"):
        raise recipe.error("public", "cannot stand beside private: true; remove one of them")
    used = {source["dataset"] for source in recipe.fields["sources"] if "dataset" in source}
    uris = [path for source in recipe.fields["sources"] for path in source.get("parquet_paths", ())]
    for n, repo in enumerate(public):
        if repo not in used and not any(uri.startswith(_addresses(repo)) for uri in uris):
            close = difflib.get_close_matches(repo, used, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise recipe.error(
                f"public[{n}]", f"{repo!r} is no source of this mix; {hint}name one that is, or remove it"
            )


def _addresses(repo: str) -> tuple[str, str]:
    return f"hf://datasets/{repo}/", f"hf://datasets/{repo}@"
