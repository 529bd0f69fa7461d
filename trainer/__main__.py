"""`python -m trainer`: the training commands."""

from __future__ import annotations

import argparse

from trainer.codec_commands import add_codec_commands
from trainer.voice_commands import add_voice_commands


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    return int(arguments.command(arguments) or 0)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainer", description=__doc__)
    rooms = parser.add_subparsers(required=True, metavar="ROOM")
    add_voice_commands(rooms)
    add_codec_commands(rooms)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
