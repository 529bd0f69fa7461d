"""YAML from anywhere, as plain values: bounded in size and depth, without aliases, which could stand for billions of values."""

import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

MAX_YAML_BYTES = 1 << 20
_MAX_SCALAR = 10_000
_MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not read: write the value out", problem_mark=mark)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MAX_SCALAR:
            raise yaml.MarkedYAMLError(problem=f"a value has more than {_MAX_SCALAR} characters", problem_mark=mark)
        if self.depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"more than {_MAX_DEPTH} levels", problem_mark=mark)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in found:
                    raise yaml.MarkedYAMLError(problem=f"{key.value!r} is there twice", problem_mark=key.start_mark)
                found.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made

    def construct_int(self, node: yaml.ScalarNode) -> int:
        self._require_decimal(node)
        value: int = self.construct_yaml_int(node)
        if value.bit_length() > 63:
            raise yaml.MarkedYAMLError(problem="a number is larger than 64 bits", problem_mark=node.start_mark)
        return value

    def construct_float(self, node: yaml.ScalarNode) -> float:
        self._require_decimal(node)
        value: float = self.construct_yaml_float(node)
        return value

    @staticmethod
    def _require_decimal(node: yaml.ScalarNode) -> None:
        """YAML 1.1 reads 1:30 as 90 and 010 as 8, which nobody means here."""
        if ":" in node.value or re.fullmatch(r"[-+]?0[0-9_]+", node.value):
            raise yaml.MarkedYAMLError(
                problem=f"{node.value[:40]} is not a plain number: write it in decimal, or in quotes",
                problem_mark=node.start_mark,
            )


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_float)


def read_yaml_file(path: Path) -> bytes:
    """The bytes of a file, or one more than `parse_yaml` takes: a device has no end."""
    with path.open("rb") as file:
        return file.read(MAX_YAML_BYTES + 1)


def parse_yaml(content: bytes) -> Any:
    """The value of a YAML text. Raises ValueError, with the place where it is known, for anything else or too much."""
    if len(content) > MAX_YAML_BYTES:
        raise ValueError(f"it has more than {MAX_YAML_BYTES} bytes")
    try:
        return yaml.load(content.decode(), Loader=_Loader)
    except Exception as error:  # numbers and dates that are none raise many types of errors
        raise ValueError(f"{error}" if isinstance(error, yaml.YAMLError) else f"{type(error).__name__}: {error}") from error


def shorten(value: Any) -> str:
    """A value for a message, of bounded length."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
