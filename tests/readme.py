"""The generated parts of README.md: `make docs` writes them, a test checks that they are as written.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; NAME is a table of options or types, the recipe's keys, or
the `--help` of a command.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from jobs.cli import main
from pipeline import predicate
from pipeline.mix.recipe import RECIPE_KEYS
from spark_datasource.options import READ_OPTIONS, STREAM_READ_OPTIONS, STREAM_WRITE_OPTIONS, WRITE_OPTIONS
from spark_datasource.type_table import TYPE_TABLE

README = Path(__file__).parent.parent / "README.md"
_PART = re.compile(r"(<!-- generated: (?P<name>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def generate(text: str) -> str:
    """The README with its generated parts as they must be."""
    return _PART.sub(lambda found: f"{found[1]}{_part(found['name'])}\n{found[3]}", text)


def _part(name: str) -> str:
    kind, _, argument = name.partition(" ")
    if kind == "help":
        return _help(argument.split())
    if kind == "sql":
        return "\n".join(line for line in (predicate.__doc__ or "").splitlines() if line.startswith("|"))
    if kind == "options":
        lists = {"read": READ_OPTIONS, "write": WRITE_OPTIONS}
        options = (lists | {"read-stream": STREAM_READ_OPTIONS, "write-stream": STREAM_WRITE_OPTIONS})[argument]
        return _table(("option", "default", "meaning"), [(f"`{o.name}`", o.default, o.meaning) for o in options])
    if kind == "types":
        found = [(row.arrow, row.huggingface, row.spark or "", row.note) for row in TYPE_TABLE]
        return _table(("Arrow", "Hugging Face", "Spark", "values"), found)
    rows = [(f"`{k.name}`", k.type, k.default, k.meaning, f"`{k.example}`") for k in RECIPE_KEYS if k.scope == argument]
    return _table(("key", "type", "default", "meaning", "example"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _help(path: Sequence[str]) -> str:
    command: click.Command = main
    context = click.Context(main, info_name="pipeline", terminal_width=100, max_content_width=100)
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
        context = click.Context(command, info_name=name, parent=context, terminal_width=100, max_content_width=100)
    command._help_option = None  # click keeps the first one that it made, whoever asked for it
    return f"```text\n{command.get_help(context).rstrip()}\n```"


if __name__ == "__main__":
    if "--write" in sys.argv:
        README.write_text(generate(README.read_text()))
