"""Standard output and standard error, and how tables and JSON are written to them."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""control characters, changes of writing direction and halves of surrogate pairs"""
_WIDE = 10_000
"""columns of an output that is no terminal: nothing is wrapped or cut there"""


def prepare_streams() -> None:
    """Makes output safe: a stream that was closed leads nowhere, and what an encoding lacks is written as an escape.

    A closed descriptor would be given to the next file that is opened, and whatever a library prints would go into that file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def stdout() -> Console:
    """The console for results."""
    return _console(sys.stdout)


def stderr() -> Console:
    """The console for progress and errors."""
    return _console(sys.stderr)


def results(as_json: bool) -> Console:
    """Where a command writes for people: standard output, or standard error when that is taken by a JSON document."""
    return stderr() if as_json else stdout()


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on standard output, in ASCII where that is not UTF-8."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=ascii_only) + "\n")


def print_table(console: Console, title: str, table: Table) -> None:
    """A table below its title; a title of the table itself would be wrapped to the table's width."""
    console.print(title, style="italic")
    console.print(table)


def new_table(*columns: str, left: tuple[str, ...] = ()) -> Table:
    """A table without borders. Columns are aligned to the right, but for the first one and those named in `left`."""
    table = Table(box=None, header_style="dim")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 or name in left else "right", overflow="fold")
    return table


class _PlainConsole(Console):
    """A console that shows control characters of file names and messages as such, instead of sending them to the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def printable(text: str) -> str:
    """Text with control characters, and what no terminal can encode, as escapes such as `\\x1b`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() else _WIDE
    return _PlainConsole(file=stream, width=width, markup=False, highlight=False, emoji=False)
