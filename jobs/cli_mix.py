"""The commands that make mixes: plan, build, and the layout that later mixes copy from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobs.cli_options import endpoint_option, if_interrupted

if TYPE_CHECKING:
    from pipeline.hub.split import Mode
    from pipeline.mix.recipe import Recipe

Command = TypeVar("Command", bound=Callable[..., Any])

_SHARED = [
    click.option("--output", metavar="TARGET", help="Where the mix goes, instead of the recipe's target."),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Instead of the recipe's seed."),
    click.option("--overwrite", is_flag=True, help="Replace the rows that the target's split has."),
    click.option("--append", is_flag=True, help="Add to the rows that the target's split has."),
    click.option("--allow-code", is_flag=True, help="Let the recipe's Python functions (map: module:function) run."),
]


def _recipe_options(command: Command) -> Command:
    for option in reversed(_SHARED):
        command = option(command)
    return command


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@_recipe_options
@click.option("--count", is_flag=True, help="Count the rows behind conditions; otherwise they are upper bounds.")
@click.option(
    "--plan", "plan_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan here, for --apply."
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@endpoint_option
def plan(
    recipe: Path, overwrite: bool, append: bool, count: bool, plan_path: Path | None, as_json: bool, **chosen: Any
) -> None:
    """Tell what the mix of RECIPE would be, and what it would cost to publish, from listings and footers alone.

    \b
    Example:
      pipeline plan mix.yaml
      pipeline plan mix.yaml --count --plan mix.plan.json
    """
    from jobs import build_mix as job
    from jobs import show_mix

    parsed, mode = _read(recipe, overwrite=overwrite, append=append, output=chosen["output"], seed=chosen["seed"])
    opened, planned = job.plan_only(
        parsed, endpoint=chosen["endpoint"], mode=mode, allow_code=chosen["allow_code"], count=count
    )
    show_mix.show_plan(parsed, opened, planned, as_json=as_json, path=plan_path, mode=mode)


@click.command("build-mix")
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@_recipe_options
@click.option(
    "--apply",
    "plan_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Build the plan in this file, and nothing else.",
)
@click.option(
    "--min-chunks-per-range",
    "min_chunks",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many chunks (64 KB) a range that deduplicates must have: fewer upload less, and make a mix of more pieces.  "
    "[default: 4; hf_xet's own is 8]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--master", metavar="URL", help="Spark's master.  [default: all cores of this machine, without Spark where it can]"
)
@endpoint_option
def build_mix(
    recipe: Path | None, overwrite: bool, append: bool, plan_path: Path | None, as_json: bool, **chosen: Any
) -> None:
    """Combine and shuffle several datasets into one, as RECIPE (a YAML file) or a plan says.

    Run again after a kill, it does what is left; run again after it has published, it does nothing.

    \b
    Example:
      pipeline build-mix mix.yaml --output hf://datasets/ns/name --overwrite
      pipeline build-mix --apply mix.plan.json
    """
    from jobs import build_mix as job
    from jobs import show_mix
    from jobs.plan_file import read_plan
    from pipeline.hub.split import Mode

    if (recipe is None) == (plan_path is None):
        raise click.UsageError("give either a RECIPE or --apply PLAN")
    applied = None
    if recipe is not None:
        parsed, mode = _read(recipe, overwrite=overwrite, append=append, output=chosen["output"], seed=chosen["seed"])
    else:
        assert plan_path is not None
        if overwrite or append or chosen["output"] or chosen["seed"] is not None:
            raise click.UsageError(
                "--apply builds the plan as it is: give --output, --seed and the mode to 'pipeline plan'"
            )
        applied = read_plan(plan_path)
        parsed, mode = applied.recipe, Mode(applied.mode) if applied.mode else None
    with if_interrupted("interrupted; nothing was published, what is stored stays: run it again to go on"):
        built = job.build_mix(
            parsed,
            endpoint=chosen["endpoint"],
            mode=mode,
            master=chosen["master"],
            allow_code=chosen["allow_code"],
            apply=applied,
            min_chunks=chosen["min_chunks"],
        )
    show_mix.show_report(built, as_json=as_json)


def _read(
    recipe: Path, *, overwrite: bool, append: bool, output: str | None, seed: int | None
) -> tuple[Recipe, Mode | None]:
    from pipeline.hub.split import Mode
    from pipeline.mix.recipe import load_recipe

    if overwrite and append:
        raise click.UsageError("--overwrite and --append exclude each other; give one")
    mode = Mode.OVERWRITE if overwrite else Mode.APPEND if append else None
    parsed = load_recipe(recipe, output)
    return (parsed if seed is None else replace(parsed, seed=seed)), mode


@click.command()
@click.argument("source")
@click.argument("target")
@click.option(
    "--layout", type=click.Choice(["blocks"]), default="blocks", show_default=True, help="How rows become Parquet."
)
@click.option("--block-rows", type=click.IntRange(min=1), help="How many rows a block has.  [default: by size]")
@click.option("--block-bytes", metavar="SIZE", help="How large a block gets, such as 4MB.  [default: about 1 MiB]")
@click.option("--config", help="Config.  [default: all]")
@click.option("--split", help="Split.  [default: all]")
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@click.option("--overwrite", is_flag=True, help="Replace the rows that the target's splits have.")
@click.option(
    "--master", metavar="URL", help="Spark's master.  [default: all cores of this machine, without Spark where it can]"
)
@endpoint_option
def convert(
    source: str,
    target: str,
    layout: str,  # noqa: ARG001  (there is one)
    block_bytes: str | None,
    overwrite: bool,
    master: str | None,
    endpoint: str | None,
    **chosen: Any,
) -> None:
    """Write the rows of SOURCE, a dataset on the Hub, to TARGET in a layout that mixes copy from.

    \b
    Example:
      pipeline convert ns/name ns/name-blocks --layout blocks
    """
    from jobs import convert as job
    from pipeline.sizes import parse_bytes

    if chosen["block_rows"] and block_bytes:
        raise click.UsageError("--block-rows and --block-bytes exclude each other; give one")
    try:
        size = parse_bytes(block_bytes) if block_bytes else None
    except ValueError as err:
        raise click.UsageError(f"--block-bytes must be a size such as 4MB, got {block_bytes!r}") from err
    wanted = job.Conversion(source=source, target=target, block_bytes=size, **chosen)
    with if_interrupted("interrupted; what was committed stays"):
        done = job.convert(wanted, endpoint=endpoint, overwrite=overwrite, master=master)
    job.show(done, wanted)
