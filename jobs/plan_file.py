"""A plan on disk: what was planned from which commits, so that it, and nothing else, can be built later.

The file holds the recipe, the commits, and a hash of everything that decides bytes; applying it plans again from these, and
refuses when the outcome is another one, or when a source or the target moved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jobs.mix_opening import Opened
from pipeline.errors import ConflictError, NotFoundError, OptionError
from pipeline.hub.split import Mode
from pipeline.mix.plan import MixPlan
from pipeline.mix.recipe import Recipe, Source

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """What a plan's file says: `commits` by source, `state` the target's, `plan_id` the hash; `path` is for errors."""

    path: str
    recipe: Recipe
    mode: str | None
    commits: Mapping[str, str | None]
    state: str | None
    exact: bool
    plan_id: str

    def check_plan(self, plan: MixPlan) -> None:
        """Raises ConflictError when this is another plan."""
        if plan.id != self.plan_id:
            raise ConflictError(
                f"{self.path}: planning again gives {plan.id[:16]} instead of {self.plan_id[:16]}: files that are on no Hub, "
                "a function's code or the versions of writers changed; make a new plan with 'pipeline plan'"
            )


def write_plan(
    path: Path, written: Recipe, opened: Opened, plan: MixPlan, values: Mapping[str, Any], mode: str | None
) -> None:
    """Write a plan's file: `values` are for people and programs, the rest is what applying it needs. Raises OptionError."""
    content = {
        **values,
        "apply": {
            "format": _FORMAT,
            "recipe": written.to_dict(),
            "mode": mode,
            "commits": {source.name: source.commit for source in opened.sources},
            "target": opened.target.state,
            "exact": plan.exact,
            "plan": plan.id,
        },
    }
    try:
        path.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
    except OSError as err:
        raise OptionError(f"--plan {str(path)!r} cannot be written ({err.strerror}); give another path") from err


def read_plan(path: Path) -> PlanFile:
    """Read a plan's file. Raises NotFoundError, OptionError for what is none or has upper bounds in it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["apply"]
        if found["format"] != _FORMAT:
            raise OptionError(f"{path}: is a plan of another version ({found['format']}); make a new one")
        plan = PlanFile(
            path=str(path),
            recipe=_recipe(found["recipe"]),
            mode=found["mode"] and Mode(found["mode"]).value,
            commits=found["commits"],
            state=found["target"],
            exact=found["exact"],
            plan_id=found["plan"],
        )
    except FileNotFoundError as err:
        raise NotFoundError(
            f"plan {str(path)!r} does not exist; write one with 'pipeline plan RECIPE --plan FILE'"
        ) from err
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise OptionError(
            f"{path}: is no plan ({err!r:.80}); write one with 'pipeline plan RECIPE --plan FILE'"
        ) from err
    if not plan.exact:
        raise OptionError(f"{path}: has upper bounds instead of counts; make it again with 'pipeline plan --count'")
    return plan


def check_applies(plan: PlanFile, opened: Opened) -> None:
    """Raises ConflictError when a source or the target is not where it was when the plan was made."""
    if opened.target.holds(plan.plan_id):
        return
    for source in opened.sources:
        planned = plan.commits.get(source.name)
        if planned != source.commit:
            raise ConflictError(
                f"{plan.path}: source {source.name!r} was planned at {_short(planned)} and is at {_short(source.commit)} now; "
                "make a new plan"
            )
    target = opened.target
    if plan.state == target.state:
        return
    if target.ref is None or target.ref.kind != "datasets":
        raise ConflictError(
            f"{plan.path}: target {opened.recipe.target!r} has other files than it had; make a new plan"
        )
    if plan.state is not None or target.has_rows:
        raise ConflictError(
            f"{plan.path}: target {opened.recipe.target!r} was planned at {_short(plan.state)} and is at "
            f"{_short(target.state)} now; make a new plan"
        )


def _short(commit: str | None) -> str:
    return commit[:8] if commit else "no commit"


def _recipe(written: Mapping[str, Any]) -> Recipe:
    sources = tuple(Source(**_frozen(one, Source)) for one in written["sources"])
    return Recipe(**{**_frozen(written, Recipe), "sources": sources})


def _frozen(values: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """JSON's lists as the tuples that they were."""
    names = {field.name for field in fields(kind)}
    return {name: _tuples(value) for name, value in values.items() if name in names}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
