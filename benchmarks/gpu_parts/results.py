"""Results of one run on a GPU: a header and rows in one JSON file, which is complete after every row.

`docs/gpu.md` describes the file. `Results.from_json` is its schema: it accepts what `to_json` writes and nothing else.
"""

from __future__ import annotations

import json
import os
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

VERSION = 1
FILE = "gpu.json"
PARTS = ("ceilings", "codec", "diarize", "transcribe", "train", "speak", "learn")
"""in the order in which they run"""

Scalar = str | int | float | bool | None


class ResultsError(ValueError):
    """A file that is not a results file. The message says what is wrong with it and what to do."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """Where and when a run was made."""

    version: int
    card: str
    """name of the GPU; "cpu" without one"""
    driver: str
    torch: str
    cuda: str
    """version that torch was built for; "" for none"""
    python: str
    date: str
    """UTC, ISO 8601"""
    commit: str
    """of the repository; "" if unknown"""
    dry_run: bool
    """tiny sizes: the figures show that the program works and nothing else"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement, or the sentence that says why there is none."""

    part: str
    name: str
    settings: dict[str, Scalar] = field(default_factory=dict)
    """two rows of a part differ in name or settings"""
    value: float | None = None
    unit: str = ""
    extra: dict[str, Scalar] = field(default_factory=dict)
    """further readings, such as `peak_bytes` or `tflops`, and notes"""
    seconds: float = 0.0
    """wall time of the measurement, with warm-up and compilation"""
    error: str | None = None

    def line(self) -> str:
        """The row as one line of text."""
        settings = " ".join(f"{name}={_short(value)}" for name, value in self.settings.items())
        what = f"{self.part}: {self.name}{' ' + settings if settings else ''}"
        if self.error is not None:
            return f"{what}: {self.error}"
        more = ", ".join(f"{name} {_short(value)}" for name, value in self.extra.items() if not isinstance(value, str))
        return f"{what}: {_short(self.value)} {self.unit}{f' ({more})' if more else ''} [{self.seconds:.1f} s]"


@dataclass(frozen=True, kw_only=True)
class Results:
    """All of one run."""

    header: Header
    rows: list[Row] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The results in a text. Raises ResultsError if it does not follow the schema."""
        try:
            tree = json.loads(text)
        except ValueError as error:
            raise ResultsError(f"not JSON ({error}): name the {FILE} that benchmarks/gpu.py wrote") from error
        _require(isinstance(tree, dict) and set(tree) == {"header", "rows"}, "the file", "an object with header and rows")
        _require(isinstance(tree["rows"], list), "rows", "a list")
        header = _record(Header, tree["header"], "header")
        _require(header.version == VERSION, "header.version", str(VERSION))
        rows = [_record(Row, row, f"rows[{number}]") for number, row in enumerate(tree["rows"])]
        for number, row in enumerate(rows):
            _require(row.part in PARTS, f"rows[{number}].part", f"one of {', '.join(PARTS)}")
            one_of_two = (row.value is None) != (row.error is None)
            _require(one_of_two, f"rows[{number}]", "a value or an error, not both and not neither")
        return cls(header=header, rows=rows)


class ResultsFile:
    """The file of a run. One process at a time writes it: the parent between the parts, a part while it runs."""

    def __init__(self, out: Path) -> None:
        self.path = out / FILE

    def begin(self, header: Header) -> None:
        """A file without rows."""
        self._write(Results(header=header))

    def read(self) -> Results:
        return Results.from_json(self.path.read_text())

    def add(self, row: Row) -> None:
        """Prints a row and adds it. A process killed at any moment leaves a complete file, with or without the row."""
        print(row.line(), flush=True)
        results = self.read()
        self._write(Results(header=results.header, rows=[*results.rows, row]))

    def _write(self, results: Results) -> None:
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w") as file:
            file.write(results.to_json())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


def _record(record: type[Any], tree: object, where: str) -> Any:
    """A dataclass of plain fields from a JSON object with exactly these fields."""
    names = {item.name for item in fields(record)}
    _require(isinstance(tree, dict) and set(tree) == names, where, f"an object with {', '.join(sorted(names))}")
    assert isinstance(tree, dict)
    for name, hint in get_type_hints(record).items():
        _require(_fits(tree[name], hint), f"{where}.{name}", str(hint))
    return record(**tree)


def _fits(value: object, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        return any(_fits(value, each) for each in get_args(hint))
    if origin is dict:
        key, each = get_args(hint)
        return isinstance(value, Mapping) and all(_fits(k, key) and _fits(v, each) for k, v in value.items())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _require(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise ResultsError(f"{where} must be {what}: the file was edited, or written by another version of benchmarks/gpu.py")


def _short(value: Scalar) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
