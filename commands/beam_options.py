"""`voxbeam build` takes the options of Beam's runners too, and refuses the ones that no runner knows."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import cache

import click

from voxbeam.commands.command import Arity, VoxbeamCommand

COMMON = ("--runner", "--direct_num_workers")
"""options that need no look at Beam's own list, which takes seconds to import"""
JOB_SERVER = ("--storage_level",)
"""options of Beam's Spark job server that Beam's Python side does not know"""


class BuildCommand(VoxbeamCommand):
    """A command whose other options go to the Beam runner, checked; what follows a bare `--` goes there unread."""

    def other_options(self, names: set[str]) -> Mapping[str, Arity]:
        ours: dict[str, Arity] = dict.fromkeys((*COMMON, *JOB_SERVER), 1)
        return ours if names <= ours.keys() else {**ours, **beam_options()}

    def after_dashes(self, ctx: click.Context, words: list[str]) -> list[str]:
        return words


@cache
def beam_options() -> dict[str, Arity]:
    """Every option that Beam's own parsers know, and how many values it takes."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    return {name: 1 if action.nargs is None else action.nargs for action in parser._actions for name in action.option_strings}
