"""`python -m trainer generate`, `edit` and `evaluate`: from a model to sound."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile as sf

from voxbeam.models.codec import Codec, load_codec
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.trainer.data.sampler import SamplerConfig
from voxbeam.trainer.data.stream import Stream, StreamConfig

if TYPE_CHECKING:
    from voxbeam.synthesis.synthesizer import Prompt, Voice

LONGEST_EDIT_S = 30.0
"""what the recognizer hears at once"""


def add_models(command: argparse.ArgumentParser) -> None:
    """What every command that makes sound lets its user choose."""
    command.add_argument("--recognizer", default="embedded", help="faster-whisper model, by path or name (default: embedded)")
    command.add_argument("--codec", default="embedded", help="the corpus's codec, named as `voxbeam build --codec` names it")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--device", default="cpu", choices=("cpu", "cuda"))


def add_sampling(command: argparse.ArgumentParser) -> None:
    """How codes are drawn, and in which language words are read."""
    command.add_argument("--language", default="en-us", help="by espeak's name (default: en-us)")
    command.add_argument("--top-p", type=float, default=0.9, help="share of probability to draw from (default: 0.9)")


def prepare(device: str) -> None:
    if device == "cpu":
        pin_threads()


def open_codec(arguments: argparse.Namespace) -> Codec:
    path, sha256 = codec_weights(arguments.codec)
    return load_codec(path, sha256=sha256, device=arguments.device)


def open_voice(arguments: argparse.Namespace, prompt: Prompt) -> Voice:
    """The models of a run behind a prompt."""
    from voxbeam.models.speech_metrics import Recognizer
    from voxbeam.synthesis.sampling import SamplingConfig
    from voxbeam.synthesis.synthesizer import Voice

    prepare(arguments.device)
    return Voice(
        arguments.run,
        prompt,
        codec=open_codec(arguments),
        recognizer=Recognizer(arguments.recognizer, arguments.device),
        sampling=SamplingConfig(top_p=arguments.top_p),
        language=arguments.language,
        device=arguments.device,
    )


def add_generate(rooms: argparse._SubParsersAction) -> None:
    generate = rooms.add_parser(
        "generate",
        help="speak a text in the voice of a recording",
        description="Speaks a text in the voice of the first seconds of a recording. Uses the last checkpoint of a run.",
    )
    generate.add_argument("run", help="what `fit --out` named, or a folder of two such: ar and nar")
    generate.add_argument("--text", required=True, help="what to say; several sentences are said one after the other")
    generate.add_argument("--prompt", type=Path, required=True, help="sound file of the voice")
    generate.add_argument("--prompt-text", help="what the prompt's seconds say; without it, the recognizer listens")
    generate.add_argument("--prompt-seconds", type=float, default=3.0, help="how much of the prompt to use (default: 3)")
    generate.add_argument("--out", type=Path, required=True, help="WAV file to write")
    how = generate.add_mutually_exclusive_group()
    how.add_argument("--best-of", type=int, default=1, metavar="N", help="make N takes of a sentence and keep the best")
    how.add_argument("--continue", dest="goes_on", action="store_true", help="let the prompt itself go on with the text")
    how.add_argument("--stream", action="store_true", help="write sound chunk by chunk, and tell when the first was there")
    add_sampling(generate)
    add_models(generate)
    generate.set_defaults(command=run_generate)


def run_generate(arguments: argparse.Namespace) -> None:
    from voxbeam.synthesis.synthesizer import Prompt

    voice = open_voice(arguments, Prompt.read(arguments.prompt, arguments.prompt_text, arguments.prompt_seconds))
    began = time.monotonic()
    if arguments.stream:
        with sf.SoundFile(arguments.out, "w", CODEC_RATE, 1) as file:
            for number, wave_S in enumerate(voice.stream(arguments.text, seed=arguments.seed)):
                if number == 0:
                    print(f"first sound after {time.monotonic() - began:.2f} s")
                file.write(wave_S)
            seconds = file.tell() / CODEC_RATE
    else:
        say = voice.continuation if arguments.goes_on else voice.say
        options = {} if arguments.goes_on else {"best_of": arguments.best_of}
        wave_S = say(arguments.text, seed=arguments.seed, **options)
        sf.write(arguments.out, wave_S, CODEC_RATE)
        seconds = len(wave_S) / CODEC_RATE
    print(f"{arguments.out}: {seconds:.2f} s of sound in {time.monotonic() - began:.2f} s")


def add_edit(rooms: argparse._SubParsersAction) -> None:
    edit = rooms.add_parser(
        "edit",
        help="replace words in a recording, in its own voice",
        description="Replaces words in a recording of up to half a minute, in its own voice; the rest of it is kept as it is.",
    )
    edit.add_argument("run", help="what `fit --out` named, or a folder of two such: ar and nar")
    edit.add_argument("--audio", type=Path, required=True, help="sound file")
    edit.add_argument("--replace", required=True, metavar="WORDS", help="what it says, as the recognizer hears it")
    edit.add_argument("--by", required=True, metavar="WORDS", help='what it shall say instead; "" takes the words out')
    edit.add_argument("--out", type=Path, required=True, help="WAV file to write")
    edit.add_argument("--best-of", type=int, default=1, metavar="N", help="make N takes and keep the best")
    add_sampling(edit)
    add_models(edit)
    edit.set_defaults(command=run_edit)


def run_edit(arguments: argparse.Namespace) -> None:
    from voxbeam.synthesis.edit import edit
    from voxbeam.synthesis.synthesizer import Prompt

    voice = open_voice(arguments, Prompt.read(arguments.audio, seconds=LONGEST_EDIT_S))
    take = edit(voice, arguments.replace, arguments.by, best_of=arguments.best_of, seed=arguments.seed)
    sf.write(arguments.out, take.wave_S, CODEC_RATE)
    heard = f"{take.errors:.0%} of its words are heard otherwise than they should be"
    print(f"{arguments.out}: {len(take.wave_S) / CODEC_RATE:.2f} s of sound; {heard}")


def add_evaluate(rooms: argparse._SubParsersAction) -> None:
    evaluate = rooms.add_parser(
        "evaluate",
        help="speak a corpus's utterances again, and measure",
        description="Speaks utterances of 4 to 10 s again, each prompted by another of its speaker. Writes a table and a page.",
    )
    evaluate.add_argument("run", help="what `fit --out` named, or a folder of two such: ar and nar")
    evaluate.add_argument("corpus", help="folder or bucket prefix that holds the release")
    evaluate.add_argument("--split", default="test", choices=("train", "valid", "test"))
    evaluate.add_argument("--count", type=int, default=40, help="utterances (default: 40)")
    evaluate.add_argument("--out", type=Path, required=True, help="folder for index.html and table.json")
    evaluate.add_argument("--continual", action="store_true", help="prompt each utterance by its own first 3 s instead")
    add_models(evaluate)
    evaluate.set_defaults(command=run_evaluate)


def run_evaluate(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from voxbeam.evaluation.html_page import write_page
    from voxbeam.evaluation.zero_shot import evaluate
    from voxbeam.models.speech_metrics import Recognizer

    prepare(arguments.device)
    # a few samples from anywhere: each is a block of its own
    settings = StreamConfig(sampler=SamplerConfig(block_samples=1))
    stream = Stream(arguments.corpus, split=arguments.split, config=settings)
    codec, recognizer = open_codec(arguments), Recognizer(arguments.recognizer, arguments.device)
    result = evaluate(
        arguments.run,
        stream,
        codec,
        recognizer,
        arguments.count,
        continual=arguments.continual,
        seed=arguments.seed,
        device=arguments.device,
    )
    write_page(result, arguments.out)
    table = Table("", "WER", "similarity", "duration", "unended", "RTF", title=f"{len(result.cases)} utterances", box=None)
    for row in result.rows:
        values = (row.word_errors, row.similarity, row.duration, row.unended, row.real_time_factor)
        table.add_row(row.name, *(f"{value:.3f}" for value in values))
    Console().print(table)
    print(f"to listen: {arguments.out / 'index.html'}")
