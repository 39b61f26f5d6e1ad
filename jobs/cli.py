"""The `pipeline` command line: a thin skin. Bad input ends in one line on stderr and exit code 2 or 1."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

import click

from jobs import cli_audit, cli_mix, console
from jobs.cli_options import endpoint_option, if_interrupted
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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="xet-pipeline")
def main() -> None:
    """Move datasets between Spark, data lakes and the Hugging Face Hub, and build mixes of them."""


for _command in (
    cli_mix.plan,
    cli_mix.build_mix,
    cli_mix.convert,
    cli_audit.inspect,
    cli_audit.history,
    cli_audit.diff,
    cli_audit.verify,
):
    main.add_command(_command)


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
@endpoint_option
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
@click.option(
    "--to", required=True, metavar="COMMIT|TIME", help="A commit's sha (7 digits or more), or a time (ISO 8601)."
)
@click.option("--revision", help="Branch to change.  [default: main]")
@click.option("--dry-run", is_flag=True, help="Say what it would do, and do nothing.")
@endpoint_option
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
@endpoint_option
def compact(dataset: str, target_bytes: str, min_files: int, **chosen: Any) -> None:
    """Join the small files of DATASET's split, those of less than half of the target, in one commit.

    Rows, their order and features stay. What others append meanwhile is kept.

    \b
    Example:
      pipeline compact ns/name --split train --target-bytes 200MB
    """
    from jobs import compact as job

    with if_interrupted("interrupted; nothing was committed"):
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

    with if_interrupted("interrupted; run it again to start over"):
        run(folder)
