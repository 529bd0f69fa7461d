"""`voxbeam generate` and `edit`: from a model to speech."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.model_command import ModelCommand, model_options, pin_threads_on_cpu
from voxbeam.commands.voice_options import (
    FilePath,
    best_of_option,
    consent_options,
    open_gate,
    open_voice,
    prompt_seconds_option,
    sampling_options,
)
from voxbeam.schemas.formats import SOUND_ENDINGS

if TYPE_CHECKING:
    from voxbeam.safety.gate import ConsentGate


@click.command(
    cls=ModelCommand,
    short_help="Speak a text in the voice of a recording.",
    examples=[
        'voxbeam generate --prompt me.wav --text "Hello." --out hello.wav',
        'voxbeam generate runs/first --prompt me.wav --text "Hello." --out hello.wav',
        'voxbeam generate runs/first --prompt me.wav --text "Hello." --out hello.wav --best-of 4',
        "voxbeam generate --prompt me.wav --script lines.jsonl --out sounds",
    ],
    statuses=[WRONG],
)
@click.argument("run", default="embedded")
@click.option("--text", help="Text to speak; sentences are spoken one after the other.")
@click.option(
    "--script",
    type=FilePath,
    help="Speak the lines of a file instead: .txt, or .jsonl with text, voice, prompt_text, out and seed.",
)
@click.option("--prompt", type=FilePath, help="Recording of the voice; a line of a script may name another.")
@click.option(
    "--prompt-text",
    metavar="TEXT",
    help="Text of the recording, of its first seconds or of more.  [default: the recognizer transcribes it]",
)
@prompt_seconds_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="WAV file to write; with --script, the folder of the sounds and their report.",
)
@best_of_option
@click.option("--continue", "continue_prompt", is_flag=True, help="Continue the prompt itself with the text.")
@click.option("--c2pa", is_flag=True, help="Sign the WAV file with C2PA metadata too; needs voxbeam[c2pa].")
@click.option("--stream", is_flag=True, help="Write the sound in chunks, and print the time to the first one.")
@consent_options
@sampling_options
@model_options
def generate(
    run: str,
    text: str | None,
    script: Path | None,
    prompt: Path | None,
    prompt_text: str | None,
    prompt_seconds: float,
    out: Path,
    best_of: int,
    continue_prompt: bool,
    stream: bool,
    c2pa: bool,
    ledger: str | None,
    purpose: str,
    seed: int,
    **models: Any,
) -> int:
    """Speak a text in the voice of the first seconds of a recording, with the last checkpoint of RUN.

    Whose voice it is must have allowed it: a grant in the consent ledger covers the recording or the voice, or nothing is spoken
    (docs/safety.md). `voxbeam consent own-voice` makes a grant of your own voice in a minute.

    RUN is what `voxbeam train --out` wrote, or a folder with two of them: ar and nar. Without it, the voice that ships with
    voxbeam speaks English. `voxbeam say` is another name of this command.

    With --script, every line is a sound in the folder --out. Consent is asked for every voice, and every line is read, before
    anything is spoken. The same command goes on after a stop: it passes over the sounds that are there. A line whose takes all
    failed, or that has something unspoken, is in report.jsonl with its errors, and the exit status is 1.

    Whisper listens to every sentence. One that has more word errors than half of its words is made again, twice at most (not with
    --stream); if none is better, that is told, and the exit status is 1. A prompt that costs words (clipped, noisy, almost
    silent) is a warning. The real-time factor is the time to make, hear and mark the sound, once models and prompt are ready,
    divided by its length.
    """
    if (text is None) == (script is None):
        raise click.UsageError("give --text or --script, one of them")
    if script is not None:
        if best_of > 1 or continue_prompt or stream or c2pa:
            raise click.UsageError("--script excludes --best-of, --continue, --stream and --c2pa")
        from voxbeam.commands.speak_script import speak_script

        return speak_script(run, script, out, prompt, prompt_text, prompt_seconds, open_gate(ledger, purpose), seed, models)
    assert text is not None
    if prompt is None:
        raise click.UsageError("give the recording of the voice (--prompt)")
    if (best_of > 1) + continue_prompt + stream > 1:
        raise click.UsageError("--best-of, --continue and --stream exclude each other")

    require_usable(out, models["device"])
    if c2pa and out.suffix.lower() != ".wav":
        raise click.UsageError("--c2pa writes to .wav files only")

    import soundfile as sf

    from voxbeam.schemas.formats import CODEC_RATE
    from voxbeam.synthesis.prompt import Prompt

    consent, heard = open_gate(ledger, purpose), Prompt.read(prompt, prompt_text, prompt_seconds)
    consent.require(heard.wave_S, run)  # before models are loaded
    for warning in heard.warnings:
        click.echo(f"warning: {warning}", err=True)
    voice = open_voice(run, heard, consent, **models)
    voice.prepare()
    started = time.monotonic()
    if stream:
        problems = list[str]()
        with sf.SoundFile(out, "w", CODEC_RATE, 1) as file:
            for number, wave_S in enumerate(voice.stream(text, seed=seed, problems=problems)):
                if number == 0:
                    click.echo(f"Time to first audio: {time.monotonic() - started:.2f} s")
                file.write(wave_S)
            seconds = file.tell() / CODEC_RATE
    else:
        made = voice.continue_prompt(text, seed=seed) if continue_prompt else voice.speak(text, seed=seed, candidates=best_of)
        seconds, problems = len(made.wave_S) / CODEC_RATE, list(made.problems)
        sf.write(out, made.wave_S, CODEC_RATE)
    made_s = time.monotonic() - started
    click.echo(f"{out}: {seconds:.2f} s of speech, made in {made_s:.2f} s (real-time factor {made_s / seconds:.2f})")
    click.echo(describe_mark(out, consent))
    if c2pa:
        from voxbeam.safety.credentials import sign_file
        from voxbeam.safety.keys import KeyRing, key_folder

        sign_file(out, voice.require_consent().event, KeyRing(key_folder()))
    return report_problems(problems)


@click.command(
    cls=ModelCommand,
    short_help="Replace words in a recording, in its own voice.",
    examples=['voxbeam edit runs/first --audio talk.wav --replace "on Monday" --by "on Friday" --out talk2.wav'],
    statuses=[WRONG],
)
@click.argument("run", default="embedded")
@click.option("--audio", type=FilePath, required=True, help="Recording to edit.")
@click.option("--replace", required=True, metavar="WORDS", help="Words of the recording, as the recognizer transcribes them.")
@click.option("--by", required=True, metavar="WORDS", help='Words to speak instead; "" removes the old ones.')
@click.option("--out", type=FilePath, required=True, help="File to write: WAV, or FLAC.")
@click.option(
    "--best-of", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Make N candidates and keep the best."
)
@consent_options
@sampling_options
@model_options
def edit(
    run: str,
    audio: Path,
    replace: str,
    by: str,
    out: Path,
    best_of: int,
    ledger: str | None,
    purpose: str,
    seed: int,
    **models: Any,
) -> int:
    """Replace words in a recording, in its own voice. The rest is kept as it is, sample by sample.

    Whose voice it is must have allowed it, as for `voxbeam generate`. If Whisper does not hear the new words, they are made
    again, twice at most; if that does not help, it is told, and the exit status is 1.

    RUN is what `voxbeam train --out` wrote, or a folder with two of them: ar and nar. Without it, the voice that ships with
    voxbeam speaks English.
    """
    require_usable(out, models["device"])

    from voxbeam.synthesis.edit import edit as edit_words
    from voxbeam.synthesis.prompt import Prompt
    from voxbeam.synthesis.recording import Recording
    from voxbeam.synthesis.text import left_out

    recording = Recording.read(audio)
    voice = open_voice(run, Prompt(recording.wave_S), open_gate(ledger, purpose), **models)
    edited = edit_words(voice, recording, replace, by, candidates=best_of, seed=seed)
    edited.recording.write(out)
    seconds = len(edited.recording.samples_SC) / recording.rate
    click.echo(f"{out}: {seconds:.2f} s of speech; WER of the edit with the words around it: {edited.candidate.wer:.0%}")
    click.echo(describe_mark(out, voice.consent))
    problem = edited.candidate.problem
    return report_problems((*left_out(by), *((f"{by!r}: {problem}",) if problem else ())))


def describe_mark(out: Path, consent: ConsentGate) -> str:
    """The watermark as it is read from the file that was written; a sound that is short or quiet may not show it by itself."""
    from voxbeam.synthesis.recording import Recording

    mark = consent.read_mark(Recording.read(out).wave_S)
    return (
        f"Watermark: {mark.payload:08x}"
        if mark
        else "Watermark: there, but the new sound is too short to read it from this file alone"
    )


def require_usable(out: Path, device: str) -> None:
    """Raises UsageError for what would fail only after a model has worked: a folder, a format or a GPU that is not there."""
    if out.suffix.lower() not in SOUND_ENDINGS:
        raise click.UsageError(f"--out {out} has none of the endings {', '.join(SOUND_ENDINGS)}, which tell its format")
    if out.is_dir():
        raise click.UsageError(f"--out {out} is a folder; name a file")
    if not out.absolute().parent.is_dir():
        raise click.UsageError(f"the folder of --out, {out.absolute().parent}, does not exist; create it first")
    pin_threads_on_cpu(device)


def report_problems(problems: Sequence[str]) -> int:
    """Says what did not succeed; returns the exit status."""
    for problem in problems:
        click.echo(f"not as asked: {problem}", err=True)
    return WRONG if problems else DONE
