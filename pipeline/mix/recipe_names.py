"""What sources are called: as the recipe says, else after their repo or folder, no two alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.mix.recipe_places import folder_name
from pipeline.mix.recipe_rules import Draft
from pipeline.mix.recipe_values import ALL_CONFIGS


def unique_names(recipe: Draft) -> list[str]:
    """Given names as they are; derived ones made unique, the first of several keeping the plain name."""
    drafts = recipe.fields["sources"]
    given: dict[str, int] = {}
    for n, draft in enumerate(drafts):
        name = draft.get("name")
        if name in given:
            problem = f"{name!r} is also the name of sources[{given[name]}]; rename one"
            raise recipe.error(f"sources[{n}].name", problem)
        if name is not None:
            given[name] = n
    taken, names = set(given), []
    for draft in drafts:
        name = draft.get("name") or next(name for name in _derived_names(draft) if name not in taken)
        taken.add(name)
        names.append(name)
    return names


def _derived_names(draft: Mapping[str, Any]) -> Iterator[str]:
    """Names for a source that has none, best first, without end."""
    if draft.get("dataset"):
        plain = str(draft["dataset"]).rpartition("/")[2]
        extras = [draft[key] for key in ("config", "split") if draft.get(key, ALL_CONFIGS) != ALL_CONFIGS]
    else:
        plain, extras = folder_name(draft["parquet"][0]), []
    yield plain
    for count in range(len(extras)):
        yield "-".join([plain, *extras[: count + 1]])
    number = 2
    while True:
        yield f"{plain}-{number}"
        number += 1
