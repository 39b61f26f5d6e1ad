"""A recipe: what the user wants mixed, as they wrote it, checked as far as text alone can tell.

`load_recipe` reads a file. Every error names file, line and column of the value that is wrong. What needs the sources'
schemas (do the columns exist, do the types fit) is checked when the mix is planned, and `Recipe.where_is` says where to
point then. The readers of single keys are in `recipe_values.py`, the table of keys in `recipe_keys.py`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import NotFoundError, RecipeError
from pipeline.mix import recipe_values as values
from pipeline.mix.recipe_keys import RECIPE_KEYS, RecipeKey, key_names
from pipeline.mix.recipe_values import parse_target
from pipeline.mix.recipe_yaml import Value, error_at, read_yaml

__all__ = ["RECIPE_KEYS", "Recipe", "RecipeKey", "Source", "load_recipe", "parse_recipe", "parse_target"]

DEFAULT_SHARD_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of a mix: either `dataset` (a repo id) or `parquet` (as written; `parquet_paths` are resolved).

    `take` is rows if an int, a share in (0, 1] if a float; None is all. `columns` are pairs of mix column and source
    column (if one has exactly that name) or SQL; None keeps all. `position` is line and column, from 1.
    """

    name: str
    dataset: str | None = None
    parquet: tuple[str, ...] = ()
    parquet_paths: tuple[str, ...] = ()
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    columns: tuple[tuple[str, str], ...] | None = None
    where: str | None = None
    take: int | float | None = None
    repeat: int | float = 1
    weight: int | float | None = None
    position: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the user wants. `target` is a repo id, or a folder's path that starts with `/` or `.`.

    `block_bytes` None is decided by the planner, `private` None by the Hub.
    """

    target: str
    sources: tuple[Source, ...]
    seed: int = 0
    shuffle: str = "blocks"
    shard_bytes: int = DEFAULT_SHARD_BYTES
    block_bytes: int | None = None
    config: str = "default"
    split: str = "train"
    source_column: str | None = "source"
    total_rows: int | None = None
    private: bool | None = None
    file: str = "mix.yaml"
    positions: tuple[tuple[str, int, int], ...] = ()

    def where_is(self, path: str) -> str:
        """`file:line:column` of a value such as `sources[1].where`, else of the nearest thing around it."""
        places = {name: f"{self.file}:{line}:{column}" for name, line, column in self.positions}
        while path and path not in places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return places.get(path, f"{self.file}:1:1")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a plan's JSON."""
        return dataclasses.asdict(self)


def load_recipe(path: str | Path, output: str | None = None) -> Recipe:
    """Reads a recipe file; `output` replaces its target. Raises `NotFoundError` and `RecipeError`."""
    file = Path(path)
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as err:
        raise NotFoundError(f"recipe {str(path)!r} does not exist; give the path of a YAML file") from err
    except OSError as err:
        raise RecipeError(f"{path}:1:1: cannot read the recipe: {err.strerror}; give a YAML file you may read") from err
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        before = err.object[: err.start].decode("utf-8")
        position = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise error_at(str(path), position, "there is a byte that is not UTF-8; save the recipe as UTF-8") from err
    return _read(text, str(path), file.absolute().parent, output)


def parse_recipe(text: str, name: str = "mix.yaml", output: str | None = None) -> Recipe:
    """Reads a recipe from text; `name` stands in errors, and relative paths start from its folder."""
    return _read(text, name, Path(name).parent, output)


Readers = dict[str, Callable[[Value], Any]]


def _read(text: str, file: str, folder: Path, output: str | None) -> Recipe:
    top = read_yaml(text, file)
    positions: dict[str, tuple[int, int]] = {}
    fields = _fields(top, _recipe_readers(folder, positions), "recipe", positions)
    if output is not None:
        fields["target"] = parse_target(output, Path())
    for required, example in (("target", "target: ns/name"), ("sources", "sources: with one entry or more")):
        if required not in fields:
            hint = " or pass --output" if required == "target" else ""
            raise error_at(file, top.position, f"the recipe has no {required}; add {example}{hint}")
    drafts = fields["sources"]
    _check_weights(drafts, file, positions, total=fields.get("total_rows"))
    named = zip(drafts, _unique_names(drafts, file, positions), strict=True)
    fields["sources"] = tuple(Source(**{**draft, "name": name}) for draft, name in named)
    placed = tuple((path, line, column) for path, (line, column) in positions.items())
    return Recipe(**fields, file=file, positions=placed)


def _recipe_readers(folder: Path, positions: dict[str, tuple[int, int]]) -> Readers:
    return {
        "target": lambda v: values.target(v, folder),
        "seed": lambda v: v.integer(0),
        "shuffle": values.shuffle,
        "shard_bytes": values.size,
        "block_bytes": values.size,
        "config": values.target_config,
        "split": values.split,
        "source_column": values.source_column,
        "total_rows": lambda v: v.integer(1),
        "private": Value.boolean,
        "sources": lambda v: [_draft(s, folder, positions) for s in v.elements("be a list of sources")],
    }


def _source_readers(folder: Path) -> Readers:
    return {
        "dataset": values.dataset,
        "parquet": lambda v: values.parquet(v, folder),
        "name": Value.text,
        "config": values.config,
        "split": values.split,
        "revision": lambda v: v.text("be a branch, tag or commit"),
        "columns": values.columns,
        "where": values.where,
        "take": values.take,
        "repeat": values.repeat,
        "weight": Value.number,
    }


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


def _draft(value: Value, folder: Path, positions: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """The fields of a `Source`, with `name` only where it is given."""
    fields = _fields(value, _source_readers(folder), "source", positions)

    def clash(key: str, problem: str) -> RecipeError:
        return error_at(value.file, positions[value.member(key)], f"{value.member(key)} {problem}")

    if ("dataset" in fields) == ("parquet" in fields):
        if "dataset" in fields:
            raise clash("parquet", "cannot stand beside dataset; make it a source of its own")
        raise error_at(value.file, value.position, f"{value.path} has neither dataset nor parquet; add one of them")
    for key in ("config", "split", "revision"):
        if key in fields and "parquet" in fields:
            raise clash(key, "goes with dataset, not with parquet; remove it")
    for key in ("take", "repeat"):
        if key in fields and "weight" in fields:
            raise clash(key, "cannot stand beside weight, which decides the number of rows; remove one of them")
    if "dataset" in fields:
        fields["dataset"], revision = fields["dataset"]
        if revision and "revision" in fields:
            raise clash("revision", f"is given twice, the dataset ends in @{revision}; keep one")
        fields.setdefault("revision", revision)
    else:
        fields["parquet"], fields["parquet_paths"] = fields["parquet"]
    return fields | {"position": value.position}


def _check_weights(
    drafts: list[dict[str, Any]], file: str, positions: dict[str, tuple[int, int]], total: int | None
) -> None:
    """All sources have weights or none; `total_rows` needs them."""
    without = [n for n, draft in enumerate(drafts) if "weight" not in draft]
    if without and len(without) < len(drafts):
        path = f"sources[{without[0]}]"
        raise error_at(file, positions[path], f"{path} has no weight, others have; give all sources a weight or none")
    if total is not None and without:
        problem = "total_rows needs weights to share it by; give every source a weight, or remove it and use take"
        raise error_at(file, positions["total_rows"], problem)


def _unique_names(drafts: list[dict[str, Any]], file: str, positions: dict[str, tuple[int, int]]) -> list[str]:
    """Given names as they are; derived ones made unique, the first of several keeping the plain name."""
    given: dict[str, int] = {}
    for n, draft in enumerate(drafts):
        name = draft.get("name")
        if name in given:
            problem = f"sources[{n}].name {name!r} is also the name of sources[{given[name]}]; rename one"
            raise error_at(file, positions[f"sources[{n}].name"], problem)
        if name is not None:
            given[name] = n
    taken, names = set(given), []
    for draft in drafts:
        name = draft.get("name") or next(name for name in values.derived_names(draft) if name not in taken)
        taken.add(name)
        names.append(name)
    return names
