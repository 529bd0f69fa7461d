"""`voxbeam takedown`: a person out of a corpus, and that recordings are gone from it, said so that others can check it."""

from __future__ import annotations

from pathlib import Path

import click

from voxbeam.commands.command import VoxbeamCommand, VoxbeamGroup
from voxbeam.commands.exit_status import DONE

File = click.Path(path_type=Path, dir_okay=False)


class TakedownGroup(VoxbeamGroup):
    """The commands of takedown; without the name of one, options are those of `person`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["person", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=TakedownGroup,
    lazy={
        **{name: f"voxbeam.commands.takedown_person:{name}" for name in ("person", "purge", "checkpoints")},
        **{name: f"{__name__}:{name}" for name in ("publish", "verify")},
    },
    short_help="Take a person out of a corpus, with proof.",
)
def takedown() -> None:
    """Takedown: a release without a person, tombstones that keep older ones out of training, and a signed statement with proofs.

    `voxbeam takedown --corpus URI --speaker NAME …` is `voxbeam takedown person …`. docs/safety.md explains it.
    """


@click.command(
    cls=VoxbeamCommand,
    short_help="State that recordings are gone from a corpus.",
    examples=[
        "voxbeam takedown publish --corpus /data/corpus --before 3 --recording talk_01 --out statement.json",
        'voxbeam takedown publish --corpus /data/corpus --before 3 --recording talk_01 --name "Ann Lee" --out statement.json',
    ],
)
@click.option("--corpus", required=True, metavar="URI", help="Corpus whose latest release does not have the recordings.")
@click.option("--before", type=int, required=True, metavar="NUMBER", help="Release that has them.")
@click.option("--recording", "recordings", multiple=True, required=True, metavar="ID", help="Recording; repeatable.")
@click.option("--name", metavar="TEXT", help="Person whose grants end too, and whose personal data are shredded.")
@click.option("--reason", metavar="TEXT", help="Why; it is public.")
@click.option("--out", type=File, required=True, help="File for the statement.")
@click.option("--ledger", metavar="URI", help="Consent ledger.  [default: $VOXBEAM_LEDGER, or that of this user]")
def publish(
    corpus: str, before: int, recordings: tuple[str, ...], name: str | None, reason: str | None, out: Path, ledger: str | None
) -> int:
    """Publish tombstones in CORPUS, and write a signed statement that the recordings were in a release and are not in the latest.

    For a latest release that is without them already, such as after `voxbeam build --remove-unlisted`; `voxbeam takedown person`
    makes one itself. From now on nothing trains on a release that has them. The old release stays readable.
    """
    from voxbeam.safety.enrol import find_subject
    from voxbeam.safety.keys import public_hex
    from voxbeam.safety.ledger import Ledger
    from voxbeam.safety.takedown import publish_takedown
    from voxbeam.storage.store import Store

    opened = Ledger(ledger)
    subject = find_subject(opened, name) if name is not None else None
    out.write_bytes(publish_takedown(opened, Store(corpus), before, recordings, subject, reason))
    click.echo(f"{out}: signed by {public_hex(opened.keys.operator())}")
    return DONE


@click.command(
    cls=VoxbeamCommand,
    short_help="Check the statement of a takedown.",
    examples=["voxbeam takedown verify statement.json --key 9f2c… --corpus /data/corpus"],
)
@click.argument("statement", type=File)
@click.option("--key", required=True, metavar="HEX", help="Public key of the operator, from a source that you trust.")
@click.option("--corpus", metavar="URI", help="Corpus with both releases: their roots are made anew, tables and new shards read.")
@click.option("--copy", metavar="URI", help="Where the release before is, if it is not in CORPUS any more.")
def verify(statement: Path, key: str, corpus: str | None, copy: str | None) -> int:
    """Check STATEMENT: its signature and its proofs, and with --corpus the releases themselves."""
    from voxbeam.safety.takedown import check_releases, check_statement
    from voxbeam.storage.store import Store

    tree = check_statement(statement.read_bytes(), key)
    if corpus is not None:
        check_releases(tree, Store(copy or corpus), Store(corpus))
    for recording in tree["recordings"]:
        click.echo(f"{recording}: was in release {tree['before']['release']}, is not in release {tree['after']['release']}")
    click.echo("Checked: signature and proofs" + (", and both releases" if corpus is not None else ""))
    return DONE
