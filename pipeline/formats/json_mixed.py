"""Parts of JSON rows that have no one type: `datasets` keeps them as JSON, in strings with the feature Json.

A part is named by its path, keys and 0 for a list's elements: `["a", 0, "b"]`. Which parts are mixed is told as in
`datasets.utils.json` (`find_mixed_struct_types_field_paths`, `json_encode_field`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Path = tuple[str | int, ...]


def mixed_paths(rows: Sequence[Any]) -> list[Path]:
    """The parts that hold objects with different keys or none, or objects or lists beside other values."""
    found: list[Path] = []
    pending: list[tuple[Path, list[Any]]] = [((), [row for row in rows if row is not None])]
    while pending:
        path, values = pending.pop(0)
        if not values:
            continue
        if all(isinstance(value, dict) for value in values):
            if path and (not values[0] or any(value.keys() != values[0].keys() for value in values)):
                found.append(path)
                continue
            pending += [
                ((*path, key), [one for value in values if (one := value.get(key)) is not None])
                for key in dict.fromkeys(key for value in values for key in value)
            ]
        elif all(isinstance(value, list) for value in values):
            pending.append(((*path, 0), [one for value in values for one in value if one is not None]))
        elif any(isinstance(value, dict | list) for value in values):
            found.append(path)
    return found


def path_in_error(message: str, rows: Iterable[Any]) -> Path | None:
    """The part that pyarrow names, whose types it found to differ: `Column(/a/[]/b) changed from ...`; `None` for none."""
    column = message.split("Column(", 1)[1].rsplit(") changed from", 1)[0] if "Column(" in message else ""
    if not column or ") changed from" not in message:
        return None
    pending: list[tuple[Any, str, Path]] = [(row, column, ()) for row in rows]
    while pending:
        value, rest, path = pending.pop()
        if not rest:
            return path
        if isinstance(value, dict):
            for key, child in value.items():
                if rest == f"/{key}" or rest.startswith(f"/{key}/"):
                    pending.append((child, rest[len(key) + 1 :], (*path, key)))
        elif isinstance(value, list) and (rest == "/[]" or rest.startswith("/[]/")):
            pending.extend((child, rest[3:], (*path, 0)) for child in value)
    return None


def add_path(paths: Sequence[Path], path: Path) -> list[Path]:
    """The paths with one more, instead of those that lead into it."""
    return [*(one for one in paths if one[: len(path)] != path), path]


def encode_lines(block: bytes, paths: Sequence[Path]) -> bytes:
    """JSON lines with these parts as strings of JSON."""
    if not paths:
        return block
    rows = [json.loads(line) for line in block.splitlines() if line.strip()]
    for path in paths:
        rows = [encode_value(row, path) for row in rows]
    return "\n".join(json.dumps(row, separators=(",", ":")) for row in rows).encode()


def encode_value(value: Any, path: Path = ()) -> Any:
    """A value with the part at this path as a string of JSON; strings that are JSON stay as they are, null stays null."""
    if value is None:
        return None
    if path and path[0] == 0 and isinstance(value, list):
        return [encode_value(one, path[1:]) for one in value]
    if path and isinstance(value, dict):
        return {**value, path[0]: encode_value(value.get(path[0]), path[1:])}
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return json.dumps(value)
        return value
    return json.dumps(value, separators=(",", ":"))


def json_paths(feature: Any, path: Path = ()) -> list[Path]:
    """The parts of features that are Json."""
    if isinstance(feature, list):
        return json_paths(feature[0], (*path, 0))
    if not isinstance(feature, Mapping):
        return []
    kind = feature.get("_type")
    if kind == "Json":
        return [path]
    if kind in ("List", "LargeList", "Sequence"):
        return json_paths(feature["feature"], (*path, 0))
    if isinstance(kind, str):
        return []
    return [found for name, one in feature.items() for found in json_paths(one, (*path, name))]


def with_json(feature: Any, paths: Sequence[Path]) -> Any:
    """Features with these parts as Json."""
    if () in paths:
        return {"_type": "Json"}
    if not paths:
        return feature
    if feature.get("_type") in ("List", "LargeList"):
        return {**feature, "feature": with_json(feature["feature"], [path[1:] for path in paths if path[0] == 0])}
    return {
        name: with_json(one, [path[1:] for path in paths if path[0] == name]) if isinstance(one, Mapping) else one
        for name, one in feature.items()
    }
