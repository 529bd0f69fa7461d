"""`voxbeam detect`: whether a sound has a watermark, and which event it names."""

from __future__ import annotations

from pathlib import Path

import click

from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.model_command import ModelCommand


@click.command(
    cls=ModelCommand,
    short_help="Read the watermark of a sound.",
    examples=["voxbeam detect hello.wav", "voxbeam detect hello.wav --ledger s3://voices/ledger"],
    statuses=[WRONG],
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--ledger",
    metavar="URI",
    help="Ledger whose event to look up.  [default: $VOXBEAM_LEDGER, or that of this user, if there is one]",
)
def detect(file: Path, ledger: str | None) -> int:
    """Read the watermark of FILE, by the key of this machine and by the public one: what it names, and how sure that is.

    C2PA metadata are shown too, with voxbeam[c2pa], and whether the sound itself has the trace of the embedded codec, through
    which voxbeam's voices speak, also when the sound was played up to 6 % faster or slower since. The trace names no event and is
    no proof: recordings pass through the codec too.

    Exit status 1: no mark was found. A machine may have made the sound all the same: marks can be removed, and others have none.
    """
    from voxbeam.safety.codec_trace import codec_score, trace_at_speed
    from voxbeam.safety.credentials import read_credentials
    from voxbeam.safety.keys import PUBLIC_KEY
    from voxbeam.safety.ledger import Ledger
    from voxbeam.safety.lookup import describe_event
    from voxbeam.safety.watermark import MORE_SPEEDS, SPEEDS, read_mark
    from voxbeam.synthesis.recording import Recording

    if (credentials := read_credentials(file)) is not None:
        state = "as it was signed" if credentials["valid"] else "changed since it was signed"
        event = credentials.get("event") or "not named"
        click.echo(f"{file}: C2PA metadata by {credentials['signer']}, a signer that nobody vouches for; {state}; event {event}")
    wave_S, opened = Recording.read(file).wave_S, Ledger(ledger)
    if (score := codec_score(wave_S)) is not None:
        trace = "the trace" if score >= 0 else "no trace"
        click.echo(f"{file}: {trace} of voxbeam's codec; score {score:+.1f} (above 0: likely passed through it)")
        if (found := trace_at_speed(wave_S, score)) is not None:
            click.echo(f"  as a sound that was played at {found[1]:g} times its speed since: the trace; score {found[0]:+.1f}")
    for key in dict.fromkeys((opened.keys.watermark(), PUBLIC_KEY)):
        mark = read_mark(wave_S, key, SPEEDS) or read_mark(wave_S, key, MORE_SPEEDS)
        if mark is not None:
            whose = "the public key" if key == PUBLIC_KEY else "the key of this machine"
            click.echo(f"{file}: watermark {mark.payload:08x}, by {whose}; made speech")
            click.echo(f"  strongest from {mark.start_s:.0f} s on, at {mark.speed:g} times the speed of the mark's writer")
            click.echo(f"  found by chance with a probability of at most {mark.false_alarm:.0e}")
            click.echo(f"  {describe_event(mark.payload, opened)}")
            return DONE
    click.echo(f"{file}: no watermark was found")
    return WRONG
