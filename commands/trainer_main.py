"""`python -m trainer`: the training commands."""

from __future__ import annotations

import argparse

from voxbeam.commands.codec import add_codec_commands
from voxbeam.commands.synthesize import add_edit, add_evaluate, add_generate
from voxbeam.commands.train import add_fit
from voxbeam.schemas.errors import ModelError


def main(argv: list[str] | None = None) -> int:
    """Runs one command. What its user can mend ends it with a message, not a traceback."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.command(arguments) or 0)
    except (ModelError, OSError, ValueError) as error:
        raise SystemExit(f"trainer: {error}") from error


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainer", description=__doc__)
    rooms = parser.add_subparsers(required=True, metavar="ROOM")
    for add in (add_fit, add_generate, add_edit, add_evaluate, add_codec_commands):
        add(rooms)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
