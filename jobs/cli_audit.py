"""The commands that look at what is published: layout, quality, history, what changed, whether it is true."""

from __future__ import annotations

from typing import Any

import click

from jobs.cli_options import endpoint_option


@click.command()
@click.argument("dataset")
@click.option("--config", help="Config.  [default: all]")
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@click.option("--split", help="Split.  [default: all]")
@click.option(
    "--quality", is_flag=True, help="Tell instead how well it is shuffled: of a mix, or by a column of sources."
)
@click.option(
    "--source-column",
    metavar="NAME",
    help="With --quality: the column that names each row's source.  [default: what the mix says, else source]",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@endpoint_option
def inspect(dataset: str, quality: bool, source_column: str | None, as_json: bool, **chosen: Any) -> None:
    """Tell what DATASET has published and how well it streams, without reading its rows.

    \b
    Example:
      pipeline inspect ns/name
      pipeline inspect ns/name --config de --split test --json
      pipeline inspect ns/mix --quality
    """
    if source_column is not None and not quality:
        raise click.UsageError("--source-column needs --quality")
    if quality:
        from jobs import quality as measuring

        measuring.show(measuring.measure(dataset, source_column=source_column, **chosen), as_json=as_json)
        return
    from jobs import inspect_dataset as job

    job.show(job.inspect_dataset(dataset, **chosen), as_json=as_json)


@click.command()
@click.argument("dataset")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many commits.")
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@endpoint_option
def history(dataset: str, limit: int, revision: str | None, as_json: bool, endpoint: str | None) -> None:
    """Print the commits of DATASET, newest first, with what each wrote.

    Rows and new bytes are known of our own commits; of others, files and bytes are counted that are new or changed.

    \b
    Example:
      pipeline history ns/name --limit 5
    """
    from jobs import history as job

    job.show(job.history(dataset, revision=revision, limit=limit, endpoint=endpoint), as_json=as_json)


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--config", help="Config.  [default: all]")
@click.option("--split", help="Split.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@endpoint_option
def diff(before: str, after: str, as_json: bool, **chosen: Any) -> None:
    """Tell what changed from BEFORE to AFTER: rows, files, bytes and columns; of mixes also shares, recipe and blocks.

    Both are datasets, each at a branch, tag or commit (7 digits or more). No rows are read.

    \b
    Example:
      pipeline diff ns/mix@1a2b3c4 ns/mix
      pipeline diff ns/mix@v1 ns/mix@v2 --split train --json
    """
    from jobs import diff as job

    job.show(job.diff(before, after, **chosen), as_json=as_json)


@click.command()
@click.argument("dataset")
@click.option("--config", help="Config.  [default: all]")
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@click.option("--split", help="Split.  [default: all]")
@click.option("--allow-code", is_flag=True, help="Import and run the Python functions that the recipe names.")
@click.option("--allow-files", is_flag=True, help="Read the files outside the Hub that the recipe names.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@endpoint_option
def verify(dataset: str, as_json: bool, **chosen: Any) -> None:
    """Read the mix DATASET and its sources, at the commits that it was made of, and prove that it has their rows.

    The plan is made again from the recorded recipe. Blocks are compared one by one; of shuffled rows, sums of 128-bit hashes
    by source and shard. Ends with exit code 1 when a row or a file is not what it should be. Relative paths and functions in
    the recipe are looked for in this folder.

    \b
    Example:
      pipeline verify ns/mix
      pipeline verify ns/mix --split train --revision v2 --json
    """
    from jobs import verify as job

    verified = job.verify(dataset, **chosen)
    job.show(verified, as_json=as_json)
    if not verified.equal:
        raise click.exceptions.Exit(1)
