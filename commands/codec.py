"""`python -m trainer codec train`, `export` and `evaluate`."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import fields, replace
from pathlib import Path

import torch

from voxbeam.models.codec import load_codec
from voxbeam.models.codec_model import CodecConfig
from voxbeam.models.codec_weights import codec_weights
from voxbeam.trainer.codec import train as codec
from voxbeam.trainer.codec.data import Utterance, find_utterances, split_speakers


def add_codec_commands(rooms: argparse._SubParsersAction) -> None:
    commands = rooms.add_parser("codec", help="the EnCodec that turns speech into codes").add_subparsers(
        required=True, metavar="COMMAND"
    )
    add_codec_train(commands)
    export = commands.add_parser("export", help="write a checkpoint's weights as safetensors")
    export.add_argument("checkpoint", type=Path)
    export.add_argument("path", type=Path)
    export.set_defaults(command=lambda arguments: print(codec.export(arguments.checkpoint, arguments.path)))

    report = commands.add_parser("evaluate", help="measure a codec on speech that it was not trained on, beside Opus")
    report.add_argument("--codec", default="embedded", help="embedded, encodec_24khz, a path, a bucket address or a hub's file")
    report.add_argument("--data", help="folder, listing or corpus, all of whose speakers are new to the codec")
    report.add_argument("--held-out-of", metavar="DATA", help="what the codec was trained on: its held-out speakers")
    report.add_argument("--held-out-speakers", type=int, default=codec.TrainConfig().held_out_speakers)
    report.add_argument("--per-speaker", type=int, default=5, help="utterances of each speaker")
    report.add_argument("--recognizer", default="embedded", help="Whisper: embedded, embedded-base, a path or a hub name")
    report.add_argument("--text-by", metavar="RECOGNIZER", help="writes down what is said where the data does not tell")
    report.add_argument("--out", type=Path, required=True, help="folder for report.md and report.json")
    report.add_argument("--device", default="cpu", help="of the codec")
    report.add_argument("--threads", type=int, default=2, help="CPU threads")
    report.set_defaults(command=run_codec_evaluate)


def add_codec_train(commands: argparse._SubParsersAction) -> None:
    defaults = codec.TrainConfig()
    train = commands.add_parser("train", help="train on speech, or continue the run that --out holds")
    train.add_argument("--data", required=True, help="folder of .flac or .wav files named SPEAKER-..., listing, or corpus")
    train.add_argument("--out", type=Path, required=True, help="folder for the checkpoint, the log and the weights")
    train.add_argument("--steps", type=int, default=defaults.steps)
    train.add_argument("--minutes", type=float, help="end by the clock: the learning rate then follows it too")
    train.add_argument("--warm-steps", type=int, default=defaults.warm_steps, help="steps before codebooks are seeded")
    train.add_argument("--words-from", type=int, metavar="STEP", help="from here on Whisper's encoder listens")
    train.add_argument("--adversarial-from", type=int, metavar="STEP", help="from here on a discriminator listens; for GPUs")
    train.add_argument("--batch", type=int, default=defaults.batch)
    train.add_argument("--crop-seconds", type=float, default=defaults.crop_seconds)
    train.add_argument("--bf16", action="store_true", help="mixed precision, on a GPU or a CPU that multiplies bfloat16")
    train.add_argument("--lr", type=float, default=defaults.lr)
    train.add_argument("--time-weight", type=float, default=defaults.time_weight)
    train.add_argument("--low-weight", type=float, default=defaults.low_weight)
    train.add_argument("--seed", type=int, default=defaults.seed)
    train.add_argument("--held-out-speakers", type=int, default=defaults.held_out_speakers)
    train.add_argument(
        "--layers", choices=["seanet", "frame"], default=defaults.model.layers, help="seanet needs voxbeam[encodec], CC BY-NC 4.0"
    )
    train.add_argument("--dimension", type=int, default=defaults.model.dimension)
    train.add_argument("--codebook-size", type=int, default=defaults.model.codebook_size)
    train.add_argument("--n-filters", type=int, default=defaults.model.n_filters, help="of SEANet layers")
    train.add_argument("--lstm-layers", type=int, default=defaults.model.lstm_layers, help="of SEANet layers")
    train.add_argument("--ratios", type=int, nargs=4, default=defaults.model.ratios, metavar="STRIDE", help="of SEANet layers")
    train.add_argument("--device", default="cpu")
    train.add_argument("--threads", type=int, default=1, help="CPU threads")
    train.set_defaults(command=run_codec_train)


def run_codec_train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    given = vars(arguments) | {"ratios": tuple(arguments.ratios)}
    model = CodecConfig(**{f.name: given[f.name] for f in fields(CodecConfig) if f.name in given})
    names = [f.name for f in fields(codec.TrainConfig) if f.name in given]
    config = replace(codec.TrainConfig(model=model), **{name: given[name] for name in names})
    codec.train(config, arguments.data, arguments.out, arguments.device)


def run_codec_evaluate(arguments: argparse.Namespace) -> None:
    # Imported here: the judges are large, and training needs none of them.
    from voxbeam.evaluation.codec_report import report, write_report

    torch.set_num_threads(arguments.threads)
    utterances: list[Utterance] = []
    if arguments.data:
        utterances += find_utterances(arguments.data)
    if arguments.held_out_of:
        utterances += split_speakers(find_utterances(arguments.held_out_of), arguments.held_out_speakers)[1]
    if not utterances:
        raise SystemExit("name speech to evaluate on: --data, --held-out-of, or both")
    utterances.sort(key=lambda utterance: (utterance.speaker, utterance.name))
    groups = itertools.groupby(utterances, key=lambda utterance: utterance.speaker)
    chosen = [utterance for _, group in groups for utterance in itertools.islice(group, arguments.per_speaker)]
    path, sha256 = codec_weights(arguments.codec)
    result = report(load_codec(path, sha256=sha256, device=arguments.device), chosen, arguments.recognizer, arguments.text_by)
    write_report(result, arguments.out)
    print(result.to_markdown())
