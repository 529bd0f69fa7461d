"""`voxbeam codec train`, `export` and `evaluate`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click

from voxbeam.commands.command import VoxbeamGroup
from voxbeam.commands.exit_status import DONE
from voxbeam.commands.model_command import ModelCommand, open_codec

File = click.Path(path_type=Path, dir_okay=False)
Folder = click.Path(path_type=Path, file_okay=False)


@click.group(
    cls=VoxbeamGroup,
    lazy={name: f"{__name__}:{name}" for name in ("train", "export", "evaluate")},
    short_help="Train, export and measure the codec.",
)
def codec() -> None:
    """The neural codec (EnCodec) that turns speech into codes: train it, export its weights, measure it."""


def setting(name: str, type: Any, default: str | None, help: str, **attributes: Any) -> Any:
    """An option of `codec train`. The default is the library's, named here so that the help needs no torch."""
    return click.option(name, type=type, help=help + (f"  [default: {default}]" if default else ""), **attributes)


@click.command(
    cls=ModelCommand,
    short_help="Train a codec on speech, or continue a run.",
    examples=[
        "voxbeam codec train --data train-clean-100 --out runs/codec --bf16 --steps 100000 --minutes 80 --asr-loss-start 5000",
        "voxbeam codec train --data s3://corpora/libritts --out runs/codec --device cuda --batch 64 --gan-start 20000",
    ],
)
@click.option("--data", required=True, metavar="URI", help="Folder of .flac or .wav files named SPEAKER-…, listing, or corpus.")
@click.option("--out", type=Folder, required=True, help="Folder of the run; a run that is there is continued.")
@setting("--steps", int, "20000", "Steps to train.")
@setting("--minutes", float, None, "End after this time; the learning rate then follows the clock.")
@setting("--codebook-warmup-steps", int, "600", "Steps before the codebooks are initialized.")
@setting("--asr-loss-start", int, None, "Step from which a loss on Whisper's encoder is added.", metavar="STEP")
@setting("--gan-start", int, None, "Step from which a discriminator is trained; for GPUs.", metavar="STEP")
@setting("--batch", int, "8", "Clips in a batch.")
@setting("--crop-seconds", float, "1.0", "Length of a clip.")
@click.option("--bf16", is_flag=True, help="Mixed precision, for a GPU or a CPU that multiplies bfloat16.")
@setting("--lr", float, "0.002", "Learning rate.")
@setting("--time-weight", float, "0.0", "Weight of the waveform loss.")
@setting("--low-weight", float, "0.1", "Weight of the loss on low frequencies.")
@setting("--seed", int, "0", "Seed of everything random.")
@setting("--held-out-speakers", int, "8", "Speakers to measure on.")
@setting("--layers", click.Choice(["seanet", "frame"]), "frame", "Architecture; seanet needs voxbeam[encodec] (CC BY-NC 4.0).")
@setting("--dimension", int, "64", "Values of a latent frame.")
@setting("--codebook-size", int, "1024", "Codes of a codebook.")
@setting("--n-filters", int, "32", "Filters of SEANet's first layer.")
@setting("--lstm-layers", int, "2", "LSTM layers of SEANet.")
@setting("--ratios", int, "8 5 4 2", "Strides of SEANet.", nargs=4, metavar="STRIDE ...")
@click.option("--device", default="cpu", show_default=True, help="Device to train on.")
@click.option("--threads", type=int, default=1, show_default=True, help="CPU threads.")
def train(data: str, out: Path, device: str, threads: int, **settings: Any) -> int:
    """Train a codec on speech, or continue the run in --out.

    Leaves in --out: checkpoint.pt, log.jsonl, tensorboard/ and, once the codebooks are initialized, codec_24khz.safetensors.
    """
    import torch

    from voxbeam.commands import terminal
    from voxbeam.commands.train_display import showing_codec_training
    from voxbeam.trainer.codec import train as library

    torch.set_num_threads(threads)
    with showing_codec_training(terminal.stderr()) as show:
        library.train(train_config(settings), data, out, device, on_log=show)
    return DONE


def train_config(settings: dict[str, Any]) -> Any:
    """The library's CodecTrainConfig with the settings that were given (not None)."""
    from dataclasses import fields, replace

    from voxbeam.models.codec_model import CodecConfig
    from voxbeam.trainer.codec.config import CodecTrainConfig

    given = {name: value for name, value in settings.items() if value is not None}
    config = CodecTrainConfig()
    of_model = {field.name for field in fields(CodecConfig)} & given.keys()
    model = replace(config.model, **{name: given.pop(name) for name in of_model})
    return replace(config, model=model, **given)


@click.command(
    cls=ModelCommand,
    short_help="Write a checkpoint's weights as safetensors.",
    examples=["voxbeam codec export runs/codec/checkpoint.pt codec_24khz.safetensors"],
)
@click.argument("checkpoint", type=File)
@click.argument("path", type=File)
def export(checkpoint: Path, path: Path) -> int:
    """Write the weights of CHECKPOINT to PATH as safetensors, and print their SHA-256."""
    from voxbeam.trainer.codec.train import export as write_weights

    click.echo(write_weights(checkpoint, path))
    return DONE


@click.command(
    cls=ModelCommand,
    short_help="Measure a codec beside Opus.",
    examples=["voxbeam codec evaluate --codec runs/codec/codec_24khz.safetensors --data test-other --out report"],
)
@click.option("--codec", "codec_name", default="embedded", show_default=True, metavar="NAME", help="As tokenize.codec names it.")
@click.option("--data", metavar="URI", help="Folder, listing or corpus; no speaker of it may be in the training data.")
@click.option("--held-out-of", metavar="URI", help="Training data of the codec: its held-out speakers are used.")
@click.option("--held-out-speakers", type=int, default=8, show_default=True, metavar="N", help="Speakers held out in training.")
@click.option("--per-speaker", type=int, default=5, show_default=True, metavar="N", help="Utterances of each speaker.")
@click.option("--recognizer", default="embedded", show_default=True, metavar="NAME", help="Whisper model, by name or path.")
@click.option("--text-by", metavar="NAME", help="Recognizer that transcribes the originals where the data has no text.")
@click.option("--out", type=Folder, required=True, help="Folder for report.md and report.json.")
@click.option("--device", default="cpu", show_default=True, help="Device of the codec.")
@click.option("--threads", type=int, default=2, show_default=True, help="CPU threads.")
def evaluate(
    codec_name: str,
    data: str | None,
    held_out_of: str | None,
    held_out_speakers: int,
    per_speaker: int,
    recognizer: str,
    text_by: str | None,
    out: Path,
    device: str,
    threads: int,
) -> int:
    """Measure a codec on speech that it was not trained on, beside Opus at 6 and 12 kbit/s."""
    if not data and not held_out_of:
        raise click.UsageError("there is no speech to measure on; give --data, --held-out-of, or both")

    import torch

    from voxbeam.commands import terminal
    from voxbeam.commands.train_display import showing_report
    from voxbeam.evaluation.codec_report import report, write_report
    from voxbeam.trainer.codec.data import AudioUtterance, find_utterances, split_speakers

    torch.set_num_threads(threads)
    utterances: list[AudioUtterance] = []
    if data:
        utterances += find_utterances(data)
    if held_out_of:
        utterances += split_speakers(find_utterances(held_out_of), held_out_speakers)[1]
    utterances.sort(key=lambda utterance: (utterance.speaker, utterance.name))
    groups = itertools.groupby(utterances, key=lambda utterance: utterance.speaker)
    chosen = [utterance for _, group in groups for utterance in itertools.islice(group, per_speaker)]
    with showing_report(terminal.stderr()) as show:
        result = report(open_codec(codec_name, device), chosen, recognizer, text_by, on_progress=show)
    write_report(result, out)
    click.echo(result.to_markdown())
    return DONE
