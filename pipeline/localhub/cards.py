"""The YAML at the top of a README.md."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

_FRONT_MATTER: Final = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)(?:\r?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def front_matter(readme: str) -> dict[str, Any]:
    """The card data of a README, {} if it has none; ValueError, in one line, if it is not a YAML mapping."""
    match = _FRONT_MATTER.match(readme)
    if match is None:
        return {}
    try:
        data = yaml.safe_load(match.group(1))
    except yaml.YAMLError as err:
        raise ValueError("YAML of the README cannot be read: " + " ".join(str(err).split())) from err
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ValueError(f"YAML of the README must be a mapping, got {type(data).__name__}")  # noqa: TRY004 - one error for all
    return data
