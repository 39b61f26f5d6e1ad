"""Plans and reports of mixes, printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs import console
from jobs.mix_opening import Opened
from jobs.plan_file import write_plan
from jobs.publish_mix import Built
from pipeline.hub.split import Mode
from pipeline.mix.plan import MixPlan
from pipeline.mix.plan_lines import plan_lines
from pipeline.mix.plan_values import plan_values
from pipeline.mix.recipe import Recipe
from pipeline.mix.report import report_folder
from pipeline.mix.told import pinned, quality_line
from pipeline.sizes import counted, format_bytes


def show_plan(
    written: Recipe, opened: Opened, plan: MixPlan, *, as_json: bool, path: Path | None, mode: Mode | None
) -> None:
    """Print a plan, and write it to a file. Raises OptionError for a file that cannot be written."""
    values = plan_values(plan, opened.predict(plan))
    if path is not None:
        write_plan(path, written, opened, plan, values, mode.value if mode else None)
    if as_json:
        console.say_json(values)
        return
    for line in plan_lines(values):
        console.say(line)
    if path is not None:
        hint = f"build it with: pipeline build-mix --apply {path}" if plan.exact else "make it with --count to apply it"
        console.note(f"written to {path}; {hint}")


def show_report(built: Built, *, as_json: bool) -> None:
    """Print what was built."""
    if as_json:
        console.say_json(
            {"plan_id": built.plan.id, "commit": built.commit, "repeated": built.repeated, "splits": built.reports}
        )
        return
    target = built.plan.recipe.target
    if built.repeated:
        console.say(f"{target} has this mix already (plan {built.plan.id[:16]}); nothing to do")
        return
    for split, values in built.reports.items():
        _show_split(split, values, several=len(built.reports) > 1)
    if built.restricted:
        console.say(f"private      {target}, because these sources are private or gated: {', '.join(built.restricted)}")
    console.say(f"time         {built.seconds:.1f} s")
    console.say()
    _show_next(built)


def _show_split(split: str, values: dict[str, Any], *, several: bool) -> None:
    if several:
        console.say(f"split {split}")
    names = [(one["name"], pinned(one), one["wanted"], one["drawn"]) for one in values["sources"]]
    console.table(("source", "from", "wanted", "got"), names)
    console.say()
    size = values["bytes"]
    console.say(f"rows         {values['rows']:,} in {counted(len(values['shards']), 'shard')}")
    console.say(f"read         {format_bytes(values['bytes_to_read'])}")
    console.say(f"written      {format_bytes(size['published'])}")
    if size["uploaded"] is not None:
        share = size["uploaded"] / max(1, size["published"])
        foreseen = f", {format_bytes(size['predicted'])} were foreseen" if size["predicted"] is not None else ""
        console.say(f"uploaded     {format_bytes(size['uploaded'])} ({share:.1%} of what was written{foreseen})")
        console.say(f"deduplicated {format_bytes(size['deduplicated'])}")
    if size["prevented"]:
        console.say(f"prevented    {format_bytes(size['prevented'])} were stored, but in pieces too small to refer to")
    if values["quality"]:
        console.say(f"shuffle      {quality_line(values['quality'])}")
        if not values["quality"]["meets_gate"]:
            console.say("             for a better one: shuffle: rows, smaller blocks (block_rows), or a larger buffer")


def _show_next(built: Built) -> None:
    recipe, plan = built.plan.recipe, built.plan.splits[0]
    where = f"--config {recipe.config} " if recipe.config != "default" else ""
    split = f"--split {plan.split} " if plan.split != "train" else ""
    report = f"{report_folder(recipe.config, plan.split)}report.md"
    if built.commit is not None:
        console.say(f"committed {built.commit[:8]} to {recipe.target}, report in {report}; stream it with:")
        console.say(f"  pipeline stream {recipe.target} {where}{split}--rows 5")
    else:
        console.say(f"written to {recipe.target}, report in {report}; read it with:")
        console.say(f"  python -c \"import datasets; print(datasets.load_dataset('{recipe.target}'))\"")
