"""The `pipeline` command line: a thin skin. Bad input ends in one line on stderr and exit code 2 or 1."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from jobs import console
from pipeline.errors import DatasetError


class _Commands(click.Group):
    """Turns our errors into a line and an exit code: 2 for what the user wrote, 1 for what happened, 130 for Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DatasetError as err:
            console.error(err)
            ctx.exit(err.exit_code)
        except KeyboardInterrupt as err:
            for line in err.args:
                console.note(line)
            ctx.exit(130)
        except BrokenPipeError:  # whoever reads our output has enough; Python must not find the pipe at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)


@contextmanager
def _if_interrupted(line: str) -> Iterator[None]:
    """What to say after Ctrl-C, where nothing closer to it has said more."""
    try:
        yield
    except KeyboardInterrupt as err:
        raise KeyboardInterrupt(*(err.args or (line,))) from err


_endpoint = click.option(
    "--endpoint",
    metavar="URL",
    help="Address of the Hub. A token is sent only to the Hub that HF_ENDPOINT names: "
    "with a token, set HF_ENDPOINT and HF_TOKEN instead.  [default: HF_ENDPOINT or the public Hub]",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="xet-pipeline")
def main() -> None:
    """Move datasets between Spark, data lakes and the Hugging Face Hub, and build mixes of them."""


@main.group(cls=_Commands)
def hub() -> None:
    """The embedded Hub: a Hugging Face Hub on this machine."""


@hub.command()
@click.option(
    "--root", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder that holds it all."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 for any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Anything but loopback needs --accounts.")
@click.option(
    "--accounts", type=click.Path(path_type=Path, dir_okay=False), help="JSON file of accounts and their tokens."
)
def serve(root: Path, port: int, host: str, accounts: Path | None) -> None:
    """Serve a folder as a Hub until Ctrl-C.

    \b
    Example:
      pipeline hub serve --root ~/hub
      HF_ENDPOINT=http://127.0.0.1:8787 python -c "import datasets; print(datasets.load_dataset('ns/name'))"
    """
    from pipeline.localhub import serve as serve_hub

    serve_hub(root, host=host, port=port, accounts=accounts, on_start=_announce)


def _announce(endpoint: str) -> None:
    console.say(f"Hub at {endpoint}")
    console.say(f"use it with: export HF_ENDPOINT={endpoint}")


@main.command("build-mix")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--output", metavar="TARGET", help="Where the mix goes, instead of the recipe's target.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Instead of the recipe's seed.")
@click.option("--overwrite", is_flag=True, help="Replace the rows that the target's split has.")
@click.option("--append", is_flag=True, help="Add to the rows that the target's split has.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and build nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print plan or report as JSON.")
@click.option("--master", metavar="URL", help="Spark's master.  [default: all cores of this machine]")
@_endpoint
def build_mix(
    recipe: Path,
    output: str | None,
    seed: int | None,
    overwrite: bool,
    append: bool,
    dry_run: bool,
    as_json: bool,
    master: str | None,
    endpoint: str | None,
) -> None:
    """Combine and shuffle several datasets into one, as RECIPE (a YAML file) says.

    \b
    Example:
      pipeline build-mix mix.yaml --dry-run
      pipeline build-mix mix.yaml --output hf://datasets/ns/name --overwrite
    """
    if overwrite and append:
        raise click.UsageError("--overwrite and --append exclude each other; give one")
    from jobs import build_mix as job
    from jobs.session import check_java
    from pipeline.hub.split import Mode
    from pipeline.mix.recipe import load_recipe

    if not dry_run:
        check_java()
    mode = Mode.OVERWRITE if overwrite else Mode.APPEND if append else None
    parsed = load_recipe(recipe, output)
    parsed = parsed if seed is None else replace(parsed, seed=seed)
    if dry_run:
        job.show_plan(job.plan_only(parsed, endpoint=endpoint, mode=mode), as_json=as_json)
        return
    with _if_interrupted("interrupted; nothing was published"):
        built = job.build_mix(parsed, endpoint=endpoint, mode=mode, master=master)
    job.show_report(built, as_json=as_json)


@main.command()
@click.argument("dataset")
@click.option("--rows", type=click.IntRange(min=0), help="How many rows.  [default: all]")
@click.option("--split", help="Split.  [default: train]")
@click.option("--config", help="Config.  [default: the dataset's own]")
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@click.option("--columns", metavar="A,B", help="Columns; no others are fetched.  [default: all]")
@click.option("--filter", "where", metavar="SQL", help="Only rows for which this is true: \"id > 7 and lang = 'en'\".")
@click.option("--shuffle", is_flag=True, help="In shuffled order.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the shuffled order.")
@click.option(
    "--transport",
    type=click.Choice(["auto", "xet", "http"]),
    default="auto",
    show_default=True,
    help="How ranges come.",
)
@click.option("--bench", is_flag=True, help="Print no rows but how fast they come, and what was fetched for them.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line, binary values as base64.")
@_endpoint
def stream(dataset: str, rows: int | None, bench: bool, columns: str | None, as_json: bool, **chosen: Any) -> None:
    """Print the rows of DATASET, read as they are printed.

    \b
    Example:
      pipeline stream ns/name --rows 5
      pipeline stream ns/name --split test --columns question,answer --json
      pipeline stream ns/name --shuffle --bench
    """
    import pipeline
    from jobs import bench as benchmark

    names = [name.strip() for name in columns.split(",")] if columns else None
    options = {"filter": chosen.pop("where"), "columns": names, "decode": False, "ref_ttl_s": 0.0, **chosen}
    if bench:
        measured = benchmark.measure(lambda: pipeline.stream(dataset, format="arrow", **options), rows)
        benchmark.show(measured, as_json=as_json)
        return
    for row in itertools.islice(pipeline.stream(dataset, **options), rows):
        console.row(row, as_json=as_json)


@main.command()
@click.argument("dataset")
@click.option("--config", help="Config.  [default: all]")
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@click.option("--split", help="Split.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@_endpoint
def inspect(
    dataset: str, config: str | None, revision: str | None, split: str | None, as_json: bool, endpoint: str | None
) -> None:
    """Tell what DATASET has published and how well it streams, without reading its rows.

    \b
    Example:
      pipeline inspect ns/name
      pipeline inspect ns/name --config de --split test --json
    """
    from jobs import inspect as job

    found = job.inspect_dataset(dataset, config=config, split=split, revision=revision, endpoint=endpoint)
    job.show(found, as_json=as_json)


@main.command()
@click.argument("dataset")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many commits.")
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@_endpoint
def history(dataset: str, limit: int, revision: str | None, as_json: bool, endpoint: str | None) -> None:
    """Print the commits of DATASET, newest first, with what each wrote.

    Rows and new bytes are known of our own commits; of others, files and bytes are counted that are new or changed.

    \b
    Example:
      pipeline history ns/name --limit 5
    """
    from jobs import history as job

    job.show(job.history(dataset, revision=revision, limit=limit, endpoint=endpoint), as_json=as_json)


@main.command()
@click.argument("dataset")
@click.option(
    "--to", required=True, metavar="COMMIT|TIME", help="A commit's sha (7 digits or more), or a time (ISO 8601)."
)
@click.option("--revision", help="Branch to change.  [default: main]")
@click.option("--dry-run", is_flag=True, help="Say what it would do, and do nothing.")
@_endpoint
def revert(dataset: str, to: str, revision: str | None, dry_run: bool, endpoint: str | None) -> None:
    """Make DATASET what it was at an old commit, by a new one. Nothing is uploaded, and the history stays.

    \b
    Example:
      pipeline revert ns/name --to 1a2b3c4
      pipeline revert ns/name --to 2026-01-31T12:00
    """
    from jobs import revert as job

    job.revert_dataset(dataset, to=to, revision=revision, dry_run=dry_run, endpoint=endpoint)


@main.command()
@click.argument("dataset")
@click.option("--split", help="Split.  [default: train]")
@click.option("--config", help="Config.  [default: the dataset's own]")
@click.option("--revision", help="Branch to change.  [default: main]")
@click.option("--target-bytes", default="500MB", show_default=True, metavar="SIZE", help="How large files get.")
@click.option(
    "--min-files",
    type=click.IntRange(min=2),
    default=2,
    show_default=True,
    metavar="N",
    help="With fewer files to join, do nothing.",
)
@_endpoint
def compact(dataset: str, target_bytes: str, min_files: int, **chosen: Any) -> None:
    """Join the small files of DATASET's split, those of less than half of the target, in one commit.

    Rows, their order and features stay. What others append meanwhile is kept.

    \b
    Example:
      pipeline compact ns/name --split train --target-bytes 200MB
    """
    from jobs import compact as job

    with _if_interrupted("interrupted; nothing was committed"):
        done = job.compact(dataset, target_bytes=target_bytes, min_files=min_files, **chosen)
    job.show(done, dataset)


@main.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("quickstart"),
    show_default=True,
    help="Where everything goes.",
)
def quickstart(folder: Path) -> None:
    """See it all once: publish three datasets, mix them, stream the mix, grow a source, mix again.

    \b
    Example:
      pipeline quickstart --folder ~/try
    """
    from jobs.quickstart import run

    with _if_interrupted("interrupted; run it again to start over"):
        run(folder)
