"""`python -m trainer`: the training commands."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from assets.encodec_model import CodecConfig
from trainer import codec
from trainer.commands import add_commands


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    return int(arguments.command(arguments) or 0)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainer", description=__doc__)
    rooms = parser.add_subparsers(required=True, metavar="ROOM")
    add_commands(rooms)
    add_codec_commands(rooms)
    return parser


def add_codec_commands(rooms: argparse._SubParsersAction) -> None:
    commands = rooms.add_parser("codec", help="the EnCodec that turns speech into codes").add_subparsers(
        required=True, metavar="COMMAND"
    )
    defaults = codec.TrainConfig()
    train = commands.add_parser("train", help="train on a folder of speech, or continue the run that --out holds")
    train.add_argument("--data", type=Path, required=True, help="folder of flac or wav files named SPEAKER-...")
    train.add_argument("--out", type=Path, required=True, help="folder for the checkpoint, the log and the weights")
    train.add_argument("--steps", type=int, default=defaults.steps)
    train.add_argument("--minutes", type=float, help="end by the clock: the learning rate then follows it too")
    train.add_argument("--warm-steps", type=int, default=defaults.warm_steps, help="steps before codebooks are seeded")
    train.add_argument("--batch", type=int, default=defaults.batch)
    train.add_argument("--crop-seconds", type=float, default=defaults.crop_seconds)
    train.add_argument("--lr", type=float, default=defaults.lr)
    train.add_argument("--time-weight", type=float, default=defaults.time_weight)
    train.add_argument("--seed", type=int, default=defaults.seed)
    train.add_argument("--held-out-speakers", type=int, default=defaults.held_out_speakers)
    train.add_argument("--n-filters", type=int, default=defaults.model.n_filters)
    train.add_argument("--lstm-layers", type=int, default=defaults.model.lstm_layers)
    train.add_argument("--codebook-size", type=int, default=defaults.model.codebook_size)
    train.add_argument("--ratios", type=int, nargs=4, default=list(defaults.model.ratios), metavar="STRIDE")
    train.add_argument("--device", default="cpu")
    train.add_argument("--threads", type=int, default=1, help="CPU threads")
    train.set_defaults(command=run_codec_train)

    export = commands.add_parser("export", help="write a checkpoint's weights as safetensors")
    export.add_argument("checkpoint", type=Path)
    export.add_argument("path", type=Path)
    export.set_defaults(command=lambda arguments: print(codec.export(arguments.checkpoint, arguments.path)))


def run_codec_train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    defaults = codec.TrainConfig()
    model = CodecConfig(
        n_filters=arguments.n_filters,
        lstm_layers=arguments.lstm_layers,
        ratios=tuple(arguments.ratios),
        codebook_size=arguments.codebook_size,
    )
    names = (
        "steps",
        "minutes",
        "warm_steps",
        "batch",
        "crop_seconds",
        "lr",
        "time_weight",
        "seed",
        "held_out_speakers",
    )
    config = replace(defaults, model=model, **{name: getattr(arguments, name) for name in names})
    codec.train(config, arguments.data, arguments.out, arguments.device)


if __name__ == "__main__":
    raise SystemExit(main())
