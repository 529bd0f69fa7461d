"""The command line: its verbs, and how an error ends a command."""

from __future__ import annotations

import logging
import sys

import click

from voxbeam import __version__
from voxbeam.commands.command import VoxbeamGroup
from voxbeam.commands.exit_status import DONE, INTERRUPTED, UNUSABLE
from voxbeam.schemas.errors import VoxbeamError

STOPPED = "stopped; run the same command again to resume"
_WHERE = "check that the place exists, its owner and mode, and the space on its disk; --log-level=DEBUG shows where it happened"
VERBS = {
    "demo": "voxbeam.commands.demo:demo",
    "plan": "voxbeam.commands.corpus:plan",
    "build": "voxbeam.commands.corpus:build",
    "release": "voxbeam.commands.release:release",
    "diff": "voxbeam.commands.release:diff",
    "status": "voxbeam.commands.corpus:status",
    "verify": "voxbeam.commands.corpus:verify",
    "show": "voxbeam.commands.show:show",
    "report": "voxbeam.commands.corpus_report:report",
    "gc": "voxbeam.commands.corpus:gc",
    "remove": "voxbeam.commands.remove:remove",
    "audit": "voxbeam.commands.audit:audit",
    "config": "voxbeam.commands.info:config",
    "licenses": "voxbeam.commands.info:licenses",
    "train": "voxbeam.commands.train:train",
    "export": "voxbeam.commands.export:export",
    "generate": "voxbeam.commands.synthesize:generate",
    "serve": "voxbeam.commands.serve:serve",
    "edit": "voxbeam.commands.synthesize:edit",
    "evaluate": "voxbeam.commands.evaluate:evaluate",
    "codec": "voxbeam.commands.codec:codec",
    "consent": "voxbeam.commands.consent:consent",
    "detect": "voxbeam.commands.detect:detect",
    "takedown": "voxbeam.commands.takedown:takedown",
    "whois": "voxbeam.commands.whois:whois",
}


@click.group(cls=VoxbeamGroup, lazy=VERBS, other_names={"say": "generate"}, context_settings={"max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]),
    default="ERROR",
    show_default=True,
    help="Lowest level of log messages to show.",
)
def voxbeam(log_level: str) -> None:
    """Builds speech corpora of codec tokens, and trains VALL-E on them.

    `voxbeam COMMAND --help` explains a command, with examples.
    """
    logging.basicConfig(level=log_level, format="%(levelname)s %(name)s: %(message)s", force=True)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    try:
        with voxbeam.make_context("voxbeam", list(sys.argv[1:] if argv is None else argv)) as ctx:
            return int(voxbeam.invoke(ctx) or DONE)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say(STOPPED)
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        _say(error.format_message())
        return UNUSABLE
    except click.UsageError as error:
        message, path = error.format_message().rstrip("."), error.ctx.command_path if error.ctx else "voxbeam"
        _say(f"error: {message}", None if "did you mean" in message else f"see `{path} --help`")
        return UNUSABLE
    except VoxbeamError as error:
        _say(f"error: {error.message}", error.remedy)
        if error.worker_log:
            _say(f"Worker log: {error.worker_log}")
        return error.exit_status
    except OSError as error:
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            raise
        _say(f"error: {': '.join(str(part) for part in (error.filename, error.strerror or error) if part)}", _WHERE)
        return UNUSABLE
    except Exception as error:
        from obstore.exceptions import BaseError

        from voxbeam.storage.store_errors import summarize_error

        if not isinstance(error, BaseError):
            raise
        _say(f"error: storage: {summarize_error(error)}", "check the address, the credentials and the endpoint")
        return UNUSABLE


def _say(message: str, remedy: str | None = None) -> None:
    """A message on standard error, and what to do about it."""
    from voxbeam.commands.terminal import printable

    click.echo(printable(message), err=True)
    if remedy:
        click.echo(f"Remedy: {printable(remedy)}", err=True)
