"""`voxbeam whois`: where a voice is, and under which consent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.model_command import ModelCommand

if TYPE_CHECKING:
    from rich.console import Console

    from voxbeam.pipeline.takedown.whois import Whois

_SHOWN = 5


@click.command(
    cls=ModelCommand,
    short_help="Show where a voice is, and under which consent.",
    examples=["voxbeam whois me.wav --corpus /data/corpus", "voxbeam whois me.wav --corpus s3://corpora/talks"],
    statuses=[WRONG],
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--corpus", required=True, metavar="URI", help="Folder or bucket of the corpus.")
@click.option(
    "--ledger", metavar="URI", help="Consent ledger.  [default: $VOXBEAM_LEDGER, or that of this user, if there is one]"
)
def whois(file: Path, corpus: str, ledger: str | None) -> int:
    """Show in which recordings, samples, shards and releases the voice of FILE is, and what its owner has allowed.

    FILE has 5 s or more of one person. A voice is taken for the same from the similarity on at which the release joins voices to
    identities (docs/identities.md); the next nearest are shown too. Exit status 1: no release has the voice.
    """
    from voxbeam.commands import terminal
    from voxbeam.pipeline.takedown.whois import whois as search
    from voxbeam.safety.ledger import Ledger
    from voxbeam.storage.store import Store
    from voxbeam.synthesis.recording import Recording

    found = search(Store(corpus), Recording.read(file).wave_S, Ledger(ledger))
    print_whois(found, terminal.stdout())
    return DONE if found.places else WRONG


def print_whois(found: Whois, console: Console) -> None:
    """Places, grants and what is near."""
    threshold = f"a similarity of {found.latest.threshold:.2f} or more is the same person"
    console.print(f"{len(found.places)} recordings have this voice ({threshold})")
    for place in found.places:
        voices = ", ".join(
            f"{one.voice} {one.similarity:.2f}{' by its identity' if one.by_identity else ''}" for one in place.voices
        )
        console.print(f"{place.recording}: {voices}; {place.ms / 1000:.0f} s in samples; {place.basis}")
        for number, keys in sorted(place.samples.items()):
            more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
            where = ", ".join(place.shards.get(number, [])) or "no shard"
            console.print(f"  release {number:06d}: {len(keys)} samples ({', '.join(keys[:_SHOWN])}{more}) in {where}")
    for grant, similarity, why in found.grants:
        scopes = f"{', '.join(sorted(grant.scopes))} for {', '.join(sorted(grant.purposes))}"
        console.print(
            f"Grant {grant.digest[:12]} of {grant.subject[:12]} (similarity {similarity:.2f}): {scopes}; {why or 'it holds'}"
        )
    if not found.grants:
        console.print("No grant of the ledger is of this voice")
    for one in found.latest.near:
        console.print(f"Near: {one.voice} of {one.recording}, similarity {one.similarity:.2f}, probability {one.probability:.2f}")
    for identity, similarity in found.latest.identities:
        console.print(
            f"Identity {identity}{f' ({name})' if (name := found.names.get(identity)) else ''}: similarity {similarity:.2f}"
        )
