"""What several commands of the command line share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

endpoint_option = click.option(
    "--endpoint",
    metavar="URL",
    help="Address of the Hub. A token is sent only to the Hub that HF_ENDPOINT names: "
    "with a token, set HF_ENDPOINT and HF_TOKEN instead.  [default: HF_ENDPOINT or the public Hub]",
)


@contextmanager
def if_interrupted(line: str) -> Iterator[None]:
    """What to say after Ctrl-C, where nothing closer to it has said more."""
    try:
        yield
    except KeyboardInterrupt as err:
        raise KeyboardInterrupt(*(err.args or (line,))) from err
