"""YAML values that know where they stand: the reading half of a recipe.

PyYAML composes nodes with marks; nothing is constructed from tags. Each reader returns a plain value or raises `RecipeError`
that starts with file:line:column of the value.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import yaml

from pipeline.errors import RecipeError

_TAG = "tag:yaml.org,2002:"
_KINDS = {"bool": "the boolean", "timestamp": "the date", "int": "the number", "float": "the number"}
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A node, its path from the top such as `sources[1].where`, the file's name, and the key that it stands behind."""

    node: yaml.Node
    path: str
    file: str
    key: yaml.Node | None = None

    @property
    def position(self) -> tuple[int, int]:
        """Line and column, both from 1, of its key; of itself where it has none."""
        mark = (self.key or self.node).start_mark
        return mark.line + 1, mark.column + 1

    def error(self, problem: str) -> RecipeError:
        """An error that stands at this value and names its path."""
        return error_at(self.file, self.position, f"{self.path or 'the recipe'} {problem}")

    def must(self, expected: str) -> RecipeError:
        """An error that says what was expected, and what is there."""
        return self.error(f"must {expected}, got {self.shown()}")

    def shown(self) -> str:
        """What is there, in a few words."""
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        kind, written = self.kind, str(self.node.value)
        written = written if len(written) <= 60 else f"{written[:57]}..."
        if kind in {"int", "float"}:
            return written
        if kind == "null":
            return "nothing (null)"
        return repr(written) if kind == "str" else f"{_KINDS.get(kind, kind)} {written}"

    @property
    def kind(self) -> str:
        """str, int, float, bool, null, timestamp, map or seq; other tags are errors."""
        tag = str(self.node.tag)
        kind = tag.removeprefix(_TAG)
        if kind == "value" and tag.startswith(_TAG):  # a lone "="
            return "str"
        if not tag.startswith(_TAG) or kind not in {"str", "int", "float", "bool", "null", "timestamp", "map", "seq"}:
            raise self.error(f"has the tag {tag[:60]}, which a recipe cannot hold; remove it")
        return kind

    def text(self, what: str = "be text") -> str:
        """A string that is not empty."""
        if not isinstance(self.node, yaml.ScalarNode) or self.kind == "null":
            raise self.must(what)
        written = str(self.node.value)
        if self.kind != "str":
            raise self.error(f'must {what}, got {_KINDS[self.kind]} {written[:60]}; put it in quotes: "{written[:60]}"')
        if not written.strip():
            raise self.must(what + " that is not empty")
        return written

    def boolean(self) -> bool:
        """True or false, as YAML 1.1 writes them."""
        if not isinstance(self.node, yaml.ScalarNode) or self.kind != "bool":
            raise self.must("be true or false")
        return str(self.node.value).lower() in {"true", "yes", "on", "y"}

    def integer(self, least: int, most: int = 2**63 - 1, what: str = "be a whole number") -> int:
        """A decimal whole number between two bounds."""
        written = str(self.node.value)
        if not isinstance(self.node, yaml.ScalarNode) or self.kind != "int" or not _INT.fullmatch(written):
            raise self.must(what)
        value = int(written.replace("_", "")) if len(written) <= 30 else most + 1 if written[0] != "-" else least - 1
        if not least <= value <= most:
            raise self.must(f"be at least {least}" if value < least else f"be at most {most}")
        return value

    def number(self, what: str = "be a number greater than 0") -> int | float:
        """A finite number above 0: an int if it is written as one."""
        written = str(self.node.value).replace("_", "")
        if not isinstance(self.node, yaml.ScalarNode) or self.kind not in {"int", "float"}:
            raise self.must(what)
        if not (_INT if self.kind == "int" else _FLOAT).fullmatch(written):
            raise self.must(what)
        if float(written) <= 0:
            raise self.must("be greater than 0")
        if self.kind == "int":
            return self.integer(1)
        if math.isinf(float(written)):
            raise self.must("be less than 1.8e308")
        return float(written)

    def items(self) -> list[tuple[Value, Value]]:
        """Keys (strings, each once) and values of a mapping, in the order of the document."""
        if not isinstance(self.node, yaml.MappingNode) or self.kind != "map":
            raise self.must("be a mapping of keys to values")
        pairs, seen = [], set[str]()
        for key_node, node in self.node.value:
            key = Value(node=key_node, path=f"{self.path or 'the recipe'}: the key", file=self.file)
            name = key.text("be text") if str(key_node.tag) != f"{_TAG}merge" else "<<"
            if name in seen:
                raise error_at(self.file, key.position, f"{self.member(name)} is given twice; keep one")
            seen.add(name)
            pairs.append((key, Value(node=node, path=self.member(name), file=self.file, key=key_node)))
        return pairs

    def elements(self, what: str) -> list[Value]:
        """The elements of a list that is not empty."""
        if not isinstance(self.node, yaml.SequenceNode) or self.kind != "seq":
            raise self.must(what)
        if not self.node.value:
            raise self.error("must have at least one entry, got an empty list")
        return [
            Value(node=node, path=f"{self.path}[{index}]", file=self.file) for index, node in enumerate(self.node.value)
        ]

    def children(self) -> list[Value]:
        """What a mapping or a list holds, if it holds anything."""
        if isinstance(self.node, yaml.MappingNode):
            return [member for _, member in self.items()]
        return self.elements("be a list") if isinstance(self.node, yaml.SequenceNode) else []

    def member(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def error_at(file: str, position: tuple[int, int], problem: str) -> RecipeError:
    """One line that starts with file:line:column."""
    return RecipeError(f"{file}:{position[0]}:{position[1]}: {' '.join(problem.split())}")


def read_yaml(text: str, file: str) -> Value:
    """The top of a YAML text. Raises `RecipeError` where it is not YAML, is empty, or has several documents."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise error_at(file, position, f"this is not YAML: {err.problem}; fix the syntax here or just above") from err
    except yaml.reader.ReaderError as err:
        before = text[: err.position]
        position = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise error_at(file, position, "there is a character that YAML does not allow; remove it") from err
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as err:
        raise error_at(file, (1, 1), f"this cannot be read as YAML ({type(err).__name__}); simplify it") from err
    if node is None:
        raise error_at(file, (1, 1), "the recipe is empty; start with target: and sources:")
    return Value(node=node, path="", file=file)
