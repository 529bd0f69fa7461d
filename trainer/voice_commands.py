"""`python -m trainer fit`, `generate` and `evaluate`: from a release to a model, and from a model to sound."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import soundfile as sf
import torch
import torch.distributed as dist

from assets.encodec_model import EMBEDDED_WEIGHTS, SAMPLE_RATE
from assets.threads import pin_threads
from trainer.configs import CONFIGS, FitConfig, changed
from trainer.epoch import EpochSettings
from trainer.fit import Fit, local_rank
from trainer.stream import Stream, StreamSettings


def add_voice_commands(rooms: argparse._SubParsersAction) -> None:
    add_fit(rooms)
    add_generate(rooms)
    add_evaluate(rooms)


def told(command: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """The command, ending with the message, not a traceback, on what its user can mend."""

    def run(arguments: argparse.Namespace) -> None:
        try:
            command(arguments)
        except (OSError, ValueError) as error:
            raise SystemExit(f"trainer: {error}") from error

    return run


def add_fit(rooms: argparse._SubParsersAction) -> None:
    fit = rooms.add_parser(
        "fit",
        help="train VALL-E on a release",
        description="Trains AR and NAR on a release, or continues the run that --out holds. Several GPUs: torchrun.",
    )
    fit.add_argument("corpus", help="folder or bucket prefix that holds the release")
    fit.add_argument("--out", required=True, help="folder or bucket prefix for checkpoints")
    fit.add_argument("--config", choices=sorted(CONFIGS), default="tiny_cpu", help="configuration (default: tiny_cpu)")
    fit.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="settings that differ, such as steps=500 models=ar",
    )
    fit.add_argument("--release", type=int, help="number of the release to train on (default: the latest)")
    fit.add_argument("--no-validation", action="store_true", help="for a corpus so small that its valid split is empty")
    fit.set_defaults(command=told(run_fit))


def run_fit(arguments: argparse.Namespace) -> None:
    config = changed(CONFIGS[arguments.config](), arguments.set)
    if not torch.cuda.is_available():
        pin_threads()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank())
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        train = open_stream(arguments, "train", config)
        try:
            valid = None if arguments.no_validation else open_stream(arguments, "valid", config).steps
        except ValueError as error:
            raise ValueError(f"nothing to validate on ({error}); --no-validation trains without") from error
        position = Fit(config, len(train.index.phones), train.steps, valid, arguments.out, data=train.fingerprint).run()
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    print(f"step {position.step} of {config.steps}, in {arguments.out}")


def open_stream(arguments: argparse.Namespace, split: str, config: FitConfig) -> Stream:
    """A split of a release, as far as it is this rank's."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    epochs = EpochSettings(
        batch_frames=config.batch_frames, prompt_share=config.prompt_share if split == "train" else 0.0, seed=config.seed
    )
    settings = StreamSettings(epochs=epochs, rank_frames=config.rank_frames)
    return Stream(arguments.corpus, split=split, release=arguments.release, settings=settings, rank=rank, world=world)


def add_generate(rooms: argparse._SubParsersAction) -> None:
    generate = rooms.add_parser(
        "generate",
        help="speak a text in the voice of a recording",
        description="Speaks a text in the voice of the first seconds of a recording. Uses the last checkpoint of a run.",
    )
    generate.add_argument("run", help="folder or bucket prefix that `fit --out` named")
    generate.add_argument("--text", required=True, help="what to say; several sentences are said one after the other")
    generate.add_argument("--prompt", type=Path, required=True, help="sound file of the voice")
    generate.add_argument("--prompt-text", help="what the prompt's seconds say; without it, the recognizer listens")
    generate.add_argument("--prompt-seconds", type=float, default=3.0, help="how much of the prompt to use (default: 3)")
    generate.add_argument("--out", type=Path, required=True, help="WAV file to write")
    how = generate.add_mutually_exclusive_group()
    how.add_argument("--best-of", type=int, default=1, metavar="N", help="make N takes of a sentence and keep the best")
    how.add_argument("--continue", dest="goes_on", action="store_true", help="let the prompt itself go on with the text")
    how.add_argument("--stream", action="store_true", help="write sound chunk by chunk, and tell when the first was there")
    generate.add_argument("--recognizer", default="embedded", help="faster-whisper model, by path or name (default: embedded)")
    generate.add_argument("--codec", type=Path, default=EMBEDDED_WEIGHTS, help="the codec that the corpus was made with")
    generate.add_argument("--language", default="en-us", help="by espeak's name (default: en-us)")
    generate.add_argument("--top-p", type=float, default=0.9, help="share of probability to draw from (default: 0.9)")
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    generate.set_defaults(command=told(run_generate))


def run_generate(arguments: argparse.Namespace) -> None:
    from trainer.listen import Recognizer
    from trainer.sampling import SamplingConfig
    from trainer.voice import Prompt, Voice

    if arguments.device == "cpu":
        pin_threads()
    voice = Voice(
        arguments.run,
        Prompt.read(arguments.prompt, arguments.prompt_text, arguments.prompt_seconds),
        codec_path=arguments.codec,
        recognizer=Recognizer(arguments.recognizer, arguments.device),
        sampling=SamplingConfig(top_p=arguments.top_p),
        language=arguments.language,
        device=arguments.device,
    )
    began = time.monotonic()
    if arguments.stream:
        with sf.SoundFile(arguments.out, "w", SAMPLE_RATE, 1) as file:
            for number, wave_S in enumerate(voice.stream(arguments.text, seed=arguments.seed)):
                if number == 0:
                    print(f"first sound after {time.monotonic() - began:.2f} s")
                file.write(wave_S)
            seconds = file.tell() / SAMPLE_RATE
    else:
        say = voice.continuation if arguments.goes_on else voice.say
        options = {} if arguments.goes_on else {"best_of": arguments.best_of}
        wave_S = say(arguments.text, seed=arguments.seed, **options)
        sf.write(arguments.out, wave_S, SAMPLE_RATE)
        seconds = len(wave_S) / SAMPLE_RATE
    print(f"{arguments.out}: {seconds:.2f} s of sound in {time.monotonic() - began:.2f} s")


def add_evaluate(rooms: argparse._SubParsersAction) -> None:
    evaluate = rooms.add_parser(
        "evaluate",
        help="speak a corpus's utterances again, and measure",
        description="Speaks utterances of 4 to 10 s again, each prompted by another of its speaker. Writes a table and a page.",
    )
    evaluate.add_argument("run", help="folder or bucket prefix that `fit --out` named")
    evaluate.add_argument("corpus", help="folder or bucket prefix that holds the release")
    evaluate.add_argument("--split", default="test", choices=("train", "valid", "test"))
    evaluate.add_argument("--count", type=int, default=40, help="utterances (default: 40)")
    evaluate.add_argument("--out", type=Path, required=True, help="folder for index.html and table.json")
    evaluate.add_argument("--continual", action="store_true", help="prompt each utterance by its own first 3 s instead")
    evaluate.add_argument("--recognizer", default="embedded", help="faster-whisper model, by path or name (default: embedded)")
    evaluate.add_argument("--codec", type=Path, default=EMBEDDED_WEIGHTS, help="the codec that the corpus was made with")
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    evaluate.set_defaults(command=told(run_evaluate))


def run_evaluate(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from assets.encodec_model import load_codec
    from trainer.evaluate import evaluate
    from trainer.evaluation_page import write_page
    from trainer.listen import Recognizer

    if arguments.device == "cpu":
        pin_threads()
    # a few samples from anywhere: each is a block of its own
    settings = StreamSettings(epochs=EpochSettings(block=1))
    stream = Stream(arguments.corpus, split=arguments.split, settings=settings)
    codec = load_codec(arguments.codec, device=arguments.device)
    recognizer = Recognizer(arguments.recognizer, arguments.device)
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
