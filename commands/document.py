"""Writes docs/cli.md: every command with its options, examples, exit statuses and JSON. `python -m voxbeam.commands.document`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from voxbeam.commands.command import VoxbeamCommand
from voxbeam.commands.documents import FIELDS
from voxbeam.commands.exit_status import MEANINGS
from voxbeam.commands.main import voxbeam

_INTRODUCTION = """# Command line

Made by `python -m voxbeam.commands.document`. `voxbeam`, `python -m voxbeam` and `python beam_runner.py` are the same program.

- An unknown option or a stray word is an error that names the nearest option; nothing has been done by then.
- Results go to standard output, progress and errors to standard error. An error is one sentence, and what to do about it after
  `Remedy:`.
- Ctrl-C stops a command; `build` and `train` resume where they were when the same command is run again.
- With `--json`, standard output is one JSON document and everything else goes to standard error. When a command fails
  (exit status 2, 4, 5 or 130) standard output is empty.

## Exit status

| status | meaning |
|---|---|
"""


def cli_markdown() -> str:
    """The document's text."""
    statuses = "".join(f"| {status} | {meaning} |\n" for status, meaning in MEANINGS.items())
    options = _options(voxbeam, click.Context(voxbeam, info_name="voxbeam"))
    commands = "".join(_command(command, context) for command, context in walk_commands(voxbeam))
    return f"{_INTRODUCTION}{statuses}\n## Options before the command\n\n{options}{commands}"


def walk_commands(group: click.Group, parent: click.Context | None = None) -> Iterator[tuple[VoxbeamCommand, click.Context]]:
    """Every command, with a context that knows its path."""
    context = click.Context(group, parent=parent, info_name=group.name)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from walk_commands(command, context)
        elif isinstance(command, VoxbeamCommand):
            yield command, click.Context(command, parent=context, info_name=name)


def _command(command: VoxbeamCommand, context: click.Context) -> str:
    paragraphs = [re.sub(r"\s+", " ", text).strip() for text in re.split(r"\n\s*\n", command.help or "")]
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    statuses = ", ".join(f"{status} {MEANINGS[status].partition(';')[0]}" for status in command.statuses)
    text = f"\n## {context.command_path}\n\n" + "\n\n".join(_wrapped(paragraph) for paragraph in paragraphs)
    text += f"\n\n```sh\n{usage}\n```\n\n{_options(command, context)}\nExamples:\n\n```sh\n"
    text += "\n".join(command.examples) + f"\n```\n\nExit status: {statuses}.\n"
    if any("--json" in param.opts for param in command.params):
        fields = FIELDS[context.command_path.removeprefix("voxbeam ")]
        text += "\nFields of `--json`:\n\n| field | meaning |\n|---|---|\n"
        text += "".join(f"| `{name}` | {meaning} |\n" for name, meaning in fields.items())
    return text


def _options(command: click.Command, context: click.Context) -> str:
    rows = ["| option | meaning |\n|---|---|\n"]
    for param in command.get_params(context):
        if isinstance(param, click.Option) and "--help" not in param.opts and (record := param.get_help_record(context)):
            option, meaning = (re.sub(r"\s+", " ", text).strip().replace("|", "\\|") for text in record)
            rows.append(f"| `{option}` | {meaning} |\n")
    return "".join(rows) if len(rows) > 1 else "No options.\n"


def _wrapped(text: str) -> str:
    return click.wrap_text(text, 130)


if __name__ == "__main__":
    Path("docs/cli.md").write_text(cli_markdown(), encoding="utf-8")
