"""A recipe: what the user wants mixed, as they wrote it, checked as far as text alone can tell.

`load_recipe` reads a file. Every error names file, line and column of the value that is wrong. What needs the sources'
schemas (do the columns exist, do the types fit) is checked when the mix is planned, and `Recipe.where_is` says where to
point then. `recipe_reader.py` reads the text, `recipe_keys.py` has the table of keys.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import NotFoundError, RecipeError
from pipeline.mix.recipe_keys import RECIPE_KEYS, RecipeKey
from pipeline.mix.recipe_places import parse_target
from pipeline.mix.recipe_reader import read_recipe
from pipeline.mix.recipe_yaml import error_at

__all__ = ["RECIPE_KEYS", "Recipe", "RecipeKey", "Source", "load_recipe", "parse_recipe", "parse_target"]

DEFAULT_SHARD_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of a mix: either `dataset` (a repo id) or `parquet` (as written; `parquet_paths` are resolved).

    `config` may be `*`: each config of the dataset is a source. `columns` are pairs of mix column and source column (if one has
    exactly that name), path, SQL or constant, (`*`, `*`) standing for all others; None keeps all. `map` is pairs of mix column
    and SQL over those columns, or `module:function`; `cast` is pairs of mix column and type. `take` is rows if an int, a share
    in (0, 1] if a float; None is all. `max_repeat` bounds what `weight` or the mix's temperature asks of a row. `position` is
    line and column, from 1.
    """

    name: str
    dataset: str | None = None
    parquet: tuple[str, ...] = ()
    parquet_paths: tuple[str, ...] = ()
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    columns: tuple[tuple[str, str], ...] | None = None
    map: str | tuple[tuple[str, str], ...] = ()
    cast: tuple[tuple[str, str], ...] = ()
    where: str | None = None
    copy: str = "auto"
    take: int | float | None = None
    repeat: int | float = 1
    weight: int | float | None = None
    max_repeat: int | float | None = None
    position: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the user wants. `target` is a repo id, `hf://buckets/ns/name`, or a folder's path that starts with `/` or `.`.

    `shuffle`, `block_rows` and `block_bytes` None are decided by the planner, `private` None by the sources and the Hub. Of
    `shards`, `shard_rows` and `shard_bytes` the first that is set counts. `splits` are names and shares that make up 1, instead
    of `split`. `columns` are names and types of the whole mix, None where the sources decide. `dedup_by` are columns of the mix,
    or ("*",) for all of them. `public` names the private or gated repos whose rows may be published openly.
    """

    target: str
    sources: tuple[Source, ...]
    seed: int = 0
    shuffle: str | None = None
    spread: str = "balanced"
    block_rows: int | None = None
    block_bytes: int | None = None
    shard_bytes: int = DEFAULT_SHARD_BYTES
    shard_rows: int | None = None
    shards: int | None = None
    shards_multiple_of: int = 1
    config: str = "default"
    split: str = "train"
    splits: tuple[tuple[str, float], ...] = ()
    source_column: str | None = "source"
    source_row_column: str | None = None
    columns: tuple[tuple[str, str], ...] | None = None
    dedup_by: tuple[str, ...] | None = None
    total_rows: int | None = None
    temperature: float | None = None
    layout: str = "blocks"
    private: bool | None = None
    public: tuple[str, ...] = ()
    file: str = "mix.yaml"
    positions: tuple[tuple[str, int, int], ...] = ()

    @property
    def folder(self) -> str:
        """The folder of its file: where the modules of `map` functions are looked for first."""
        return str(Path(self.file).absolute().parent)

    def where_is(self, path: str) -> str:
        """`file:line:column` of a value such as `sources[1].where`, else of the nearest thing around it."""
        places = {name: f"{self.file}:{line}:{column}" for name, line, column in self.positions}
        while path and path not in places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return places.get(path, f"{self.file}:1:1")

    def place_of(self, source: Source, key: str = "") -> str:
        """`file:line:column` of a source's value such as `where`; those that were expanded from `config: "*"` share theirs."""
        path = next(
            (path for path, *at in self.positions if tuple(at) == source.position and path[-1:] == "]"), "sources"
        )
        return self.where_is(f"{path}.{key}" if key else path)

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
    return _recipe(text, str(path), file.absolute().parent, output)


def parse_recipe(text: str, name: str = "mix.yaml", output: str | None = None) -> Recipe:
    """Reads a recipe from text; `name` stands in errors, and relative paths start from its folder."""
    return _recipe(text, name, Path(name).parent, output)


def _recipe(text: str, file: str, folder: Path, output: str | None) -> Recipe:
    read = read_recipe(text, file, folder, output)
    sources = tuple(Source(**fields) for fields in read.fields["sources"])
    placed = tuple((path, line, column) for path, (line, column) in read.positions.items())
    return Recipe(**(read.fields | {"sources": sources}), file=file, positions=placed)
