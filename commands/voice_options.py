"""Options of the commands that speak, and the voice that they name."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from voxbeam.commands.command import Finite
from voxbeam.commands.model_command import open_codec

if TYPE_CHECKING:
    from voxbeam.safety.gate import ConsentGate
    from voxbeam.synthesis.prompt import Prompt
    from voxbeam.synthesis.synthesizer import Synthesizer

F = TypeVar("F", bound=Callable[..., Any])

FilePath = click.Path(path_type=Path, dir_okay=False)
prompt_seconds_option = click.option(
    "--prompt-seconds", type=Finite(0.5, 30), default=3.0, show_default=True, help="Seconds of the recording to use."
)
best_of_option = click.option(
    "--best-of",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Make N candidates of a sentence, keep one.",
)


def sampling_options(command: F) -> F:
    """How codes are sampled, and the language of the text."""
    for option in (
        click.option(
            "--top-p",
            type=Finite(0, 1, min_open=True),
            default=0.8,
            show_default=True,
            help="Probability mass to sample from.",
        ),
        click.option("--language", default="en-us", show_default=True, metavar="NAME", help="Language, by espeak's name."),
    ):
        command = option(command)
    return command


def consent_options(command: F) -> F:
    """Whose consent is asked for, and for what."""
    for option in (
        click.option(
            "--purpose",
            default="personal",
            show_default=True,
            metavar="NAME",
            help="What the speech is for, as grants name it.",
        ),
        click.option("--ledger", metavar="URI", help="Consent ledger to ask.  [default: $VOXBEAM_LEDGER, or that of this user]"),
    ):
        command = option(command)
    return command


def open_gate(ledger: str | None, purpose: str) -> ConsentGate:
    """The gate of `--ledger` and `--purpose`."""
    from voxbeam.safety.gate import ConsentGate
    from voxbeam.safety.ledger import Ledger

    return ConsentGate(Ledger(ledger) if ledger is not None else None, purpose)


def open_voice(
    run: str, prompt: Prompt, consent: ConsentGate, *, codec: str, recognizer: str, top_p: float, language: str, device: str
) -> Synthesizer:
    """The models of a run, with a prompt."""
    from voxbeam.models.speech_metrics import WhisperTranscriber
    from voxbeam.synthesis.sampling import SamplingConfig
    from voxbeam.synthesis.synthesizer import Synthesizer

    transcriber = WhisperTranscriber(recognizer, device)
    with ThreadPoolExecutor(1) as beside:  # Whisper is read while torch reads the other models
        whisper = beside.submit(transcriber.load)
        voice = Synthesizer(
            run,
            prompt,
            codec=open_codec(codec, device),
            transcriber=transcriber,
            sampling=SamplingConfig(top_p=top_p),
            language=language,
            device=device,
            consent=consent,
        )
        whisper.result()
    return voice
