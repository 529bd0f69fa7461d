"""`voxbeam consent`: the ledger of who allowed what."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from voxbeam.commands.command import Finite, VoxbeamCommand, VoxbeamGroup
from voxbeam.commands.exit_status import DONE

if TYPE_CHECKING:
    from voxbeam.safety.challenge import Challenge
    from voxbeam.safety.enrol import Terms
    from voxbeam.safety.events import Event
    from voxbeam.safety.ledger import Ledger

F = TypeVar("F", bound=Callable[..., Any])
SCOPES = ("commercial", "finetune", "prompt", "redistribute", "train")
VERBS = ("own-voice", "grant", "narrow", "renew", "revoke", "licence", "show", "export", "rotate-key")
_POLL_S = 0.5

ledger_option = click.option(
    "--ledger", metavar="URI", help="Folder or bucket of the ledger.  [default: $VOXBEAM_LEDGER, or that of this user]"
)
grant_argument = click.argument("grant")
name_option = click.option(
    "--name", required=True, metavar="TEXT", help="Name of the person; the ledger keeps a pseudonym of it."
)


@click.group(
    cls=VoxbeamGroup,
    lazy={verb: f"{__name__}:{verb.replace('-', '_')}" for verb in VERBS},
    other_names={"enrol": "own-voice"},
    short_help="Record who allowed what to be done with a voice.",
)
def consent() -> None:
    """The consent ledger: signed events that say who allowed what, and until when. docs/safety.md explains it."""


def terms_options(command: F) -> F:
    """What is allowed."""
    for option in (
        click.option("--days", type=click.IntRange(1, 366), default=365, show_default=True, help="Days until it ends."),
        click.option(
            "--model", "models", multiple=True, metavar="RUN", help="Model that may use it; repeatable.  [default: any]"
        ),
        click.option("--purpose", "purposes", multiple=True, metavar="NAME", help="What for; repeatable.  [default: personal]"),
    ):
        command = option(command)
    return command


def make_terms(scopes: tuple[str, ...], purposes: tuple[str, ...], models: tuple[str, ...], days: int) -> Terms:
    from voxbeam.safety.enrol import Terms
    from voxbeam.safety.events import ANY_MODEL
    from voxbeam.safety.gate import PERSONAL, model_name

    named = [one if one == ANY_MODEL else model_name(one) for one in models] or [ANY_MODEL]
    return Terms(scopes=scopes, purposes=purposes or (PERSONAL,), models=named, term=timedelta(days=days))


def open_ledger(uri: str | None) -> Ledger:
    from voxbeam.safety.ledger import Ledger

    return Ledger(uri)


def report(event: Event) -> int:
    click.echo(f"Event {event.seq}: {event.kind} {event.digest[:12]}")
    return DONE


@click.command(
    name="own-voice",
    cls=VoxbeamCommand,
    short_help="Allow your own voice to be spoken in, by saying a statement.",
    examples=['voxbeam consent own-voice --name "Ann Lee" --recording say.wav'],
)
@ledger_option
@name_option
@click.option("--organisation", default="voxbeam", show_default=True, metavar="TEXT", help="Who may speak in your voice.")
@click.option(
    "--recording", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File that you record the statement into."
)
@terms_options
@click.option("--recognizer", default="embedded-base", show_default=True, metavar="NAME", help="Whisper model that listens.")
def own_voice(
    ledger: str | None, name: str, organisation: str, recording: Path, recognizer: str, days: int, **terms: tuple[str, ...]
) -> int:
    """Enroll the person at this machine: shows a statement with fresh words, and waits 120 s for a recording of it.

    Record it with any program into the file of --recording, which must not exist yet. The words and the voice are checked; then
    generate and edit speak in this voice, and in no other, until the grant ends or is revoked. `voxbeam consent enrol` is another
    name of this command.
    """
    from voxbeam.models.speech_metrics import WhisperTranscriber
    from voxbeam.models.threads import pin_threads
    from voxbeam.safety.challenge import new_challenge
    from voxbeam.safety.enrol import enrol_own_voice

    if recording.exists():
        raise click.UsageError(f"{recording} is there already; name a new file, and record into it after the statement is shown")
    pin_threads()
    allowed = make_terms(("prompt",), days=days, **terms)
    transcriber = WhisperTranscriber(recognizer)
    opened = open_ledger(ledger)
    challenge = new_challenge(name, organisation, tuple(allowed.purposes), opened.clock())
    click.echo(f"Say this within 120 s, and save it as {recording}:\n\n    {challenge.statement}\n")
    wave_S = wait_for_recording(recording, challenge, opened)
    return report(enrol_own_voice(opened, challenge, wave_S, allowed, transcriber))


def wait_for_recording(path: Path, challenge: Challenge, ledger: Ledger) -> Any:
    """The sound of a file that appears and is whole, before the challenge ends. Raises ConsentError if it does not."""
    from voxbeam.schemas.errors import ConsentError, SynthesisError
    from voxbeam.synthesis.recording import Recording

    size, problem = -1, "it did not appear"
    while not challenge.late(ledger.clock()):
        if path.exists() and (size_now := path.stat().st_size) > 0:
            if size_now == size:  # nobody writes to it any more
                try:
                    return Recording.read(path).wave_S
                except SynthesisError as error:
                    problem = error.message
            size = size_now
        time.sleep(_POLL_S)
    raise ConsentError(f"no statement in {path} within 120 s: {problem}", remedy="run the command again: it shows a new one")


@click.command(
    cls=VoxbeamCommand,
    short_help="Write down what a person has allowed.",
    examples=[
        'voxbeam consent grant --name "Ann Lee" --scope train --scope redistribute --purpose research',
        'voxbeam consent grant --name "Ann Lee" --scope prompt --sound me.wav --purpose "audio book"',
    ],
)
@ledger_option
@name_option
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="What is allowed; repeatable.")
@click.option(
    "--sound", "sounds", type=click.Path(path_type=Path, dir_okay=False), multiple=True, help="Recording that may be the prompt."
)
@click.option("--prompt-seconds", type=Finite(0.5, 30), default=3.0, show_default=True, help="Seconds of it to use.")
@terms_options
def grant(
    ledger: str | None,
    name: str,
    scopes: tuple[str, ...],
    sounds: tuple[Path, ...],
    prompt_seconds: float,
    days: int,
    **terms: tuple[str, ...],
) -> int:
    """Write a grant, signed by the operator's key and by a key of the person that is kept on this machine.

    It is the operator who vouches that the person agreed. With the scope prompt, it covers the recordings of --sound only.
    """
    from voxbeam.safety.enrol import put_grant, vouch
    from voxbeam.safety.sounds import sound_hash
    from voxbeam.synthesis.prompt import Prompt
    from voxbeam.synthesis.recording import Recording

    opened = open_ledger(ledger)
    if not opened.exists():
        opened.create("voxbeam")
    hashes = [sound_hash(Prompt.read(path, seconds=prompt_seconds).wave_S) for path in sounds]
    hashes += [sound_hash(Recording.read(path).wave_S) for path in sounds]  # whole, for `voxbeam edit`
    event = put_grant(opened, name, make_terms(scopes, days=days, **terms), sounds=hashes)
    if sounds:
        vouch(opened, event)
    return report(event)


@click.command(
    cls=VoxbeamCommand, short_help="Allow less than before.", examples=["voxbeam consent narrow 3f2a9c01 --scope train"]
)
@grant_argument
@ledger_option
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, help="Scope that stays; repeatable.  [default: all]")
@click.option("--purpose", "purposes", multiple=True, metavar="NAME", help="Purpose that stays; repeatable.  [default: all]")
def narrow(grant: str, ledger: str | None, scopes: tuple[str, ...], purposes: tuple[str, ...]) -> int:
    """Leave of GRANT only these scopes and purposes."""
    from voxbeam.safety.enrol import narrow as narrow_grant

    return report(narrow_grant(open_ledger(ledger), grant, scopes=scopes, purposes=purposes))


@click.command(cls=VoxbeamCommand, short_help="Prolong a grant.", examples=["voxbeam consent renew 3f2a9c01"])
@grant_argument
@ledger_option
@click.option("--days", type=click.IntRange(1, 366), default=365, show_default=True, help="Days from now until it ends.")
def renew(grant: str, ledger: str | None, days: int) -> int:
    """Prolong GRANT, with the person's key on this machine."""
    from voxbeam.safety.enrol import renew as renew_grant

    return report(renew_grant(open_ledger(ledger), grant, timedelta(days=days)))


@click.command(cls=VoxbeamCommand, short_help="End a grant now.", examples=["voxbeam consent revoke 3f2a9c01"])
@grant_argument
@ledger_option
@click.option("--reason", metavar="TEXT", help="Why; it is public.")
def revoke(grant: str, ledger: str | None, reason: str | None) -> int:
    """End GRANT now. Speech that is being made in that voice stops."""
    from voxbeam.safety.enrol import revoke as revoke_grant

    return report(revoke_grant(open_ledger(ledger), grant, reason))


@click.command(
    cls=VoxbeamCommand,
    short_help="Write down the licence of recordings.",
    examples=['voxbeam consent licence --work "LibriVox readings" --license LicenseRef-Public-Domain --recording austen_01'],
)
@ledger_option
@click.option("--work", required=True, metavar="TEXT", help="What it is.")
@click.option("--license", "license_", required=True, metavar="SPDX", help="Its licence: open, or public domain.")
@click.option("--recording", "recordings", multiple=True, metavar="ID", help="Recording of a listing; repeatable.")
def licence(ledger: str | None, work: str, license_: str, recordings: tuple[str, ...]) -> int:
    """Write down that recordings may be trained on and passed on, by their licence. It never allows to speak in their voices."""
    from voxbeam.safety.enrol import put_licence

    return report(put_licence(open_ledger(ledger), work, license_, recordings))


@click.command(cls=VoxbeamCommand, short_help="List the grants of a ledger.", examples=["voxbeam consent show"])
@ledger_option
def show(ledger: str | None) -> int:
    """Check the whole ledger, and list its grants: what is allowed, until when, and what ended."""
    from voxbeam.commands import terminal
    from voxbeam.safety.events import from_time

    opened = open_ledger(ledger)
    state, now = opened.state_and_time()
    table = terminal.new_table(
        "grant", "person", "allows", "for", "models", "until", "", left=("person", "allows", "for", "models", "")
    )
    for one in state.grants.values():
        ended = f"revoked {from_time(one.revoked)}" if one.revoked else "expired" if now >= one.expires else ""
        lists = (", ".join(sorted(values)) for values in (one.scopes, one.purposes, one.models))
        table.add_row(one.digest[:12], one.subject[:12], *lists, from_time(one.expires), ended)
    title = f"{opened.store.root}: {state.last.seq if state.last else 0} events, all in order and rightly signed"
    terminal.print_table(terminal.stdout(), title, table)
    return DONE


@click.command(
    cls=VoxbeamCommand, short_help="Write a ledger as a Parquet table.", examples=["voxbeam consent export --out consent.parquet"]
)
@ledger_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Parquet file to write.")
def export(ledger: str | None, out: Path) -> int:
    """Write every event as a row of a table, for DuckDB and others. Personal data stays sealed."""
    from voxbeam.safety.tables import to_parquet

    events = open_ledger(ledger).events()
    out.write_bytes(to_parquet(events))
    click.echo(f"{out}: {len(events)} events")
    return DONE


@click.command(
    name="rotate-key", cls=VoxbeamCommand, short_help="Replace the operator's key.", examples=["voxbeam consent rotate-key"]
)
@ledger_option
def rotate_key(ledger: str | None) -> int:
    """Make a new key of the operator and retire the old one. What the old one signed before stays valid."""
    return report(open_ledger(ledger).rotate_operator())
