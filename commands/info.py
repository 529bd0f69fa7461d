"""`voxbeam config` and `licenses`: what can be configured, and under which terms it all comes."""

from __future__ import annotations

import sys

import click

from voxbeam.commands.command import VoxbeamCommand
from voxbeam.commands.exit_status import DONE


@click.command(
    cls=VoxbeamCommand, short_help="Print the default configuration, with comments.", examples=["voxbeam config > corpus.yaml"]
)
def config() -> int:
    """Print the whole configuration with its defaults, as commented YAML."""
    from voxbeam.schemas.config import CorpusConfig
    from voxbeam.schemas.config_text import commented_yaml

    sys.stdout.write(commented_yaml(CorpusConfig()))
    return DONE


@click.command(
    cls=VoxbeamCommand,
    short_help="List the licenses of everything installed and shipped.",
    examples=["voxbeam licenses"],
)
def licenses() -> int:
    """List the licenses of the installed packages, models, weights and speech, and what each kind of license means.

    docs/licences.md has the same list with notes.
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.licenses import print_licenses

    print_licenses(terminal.stdout())
    return DONE
