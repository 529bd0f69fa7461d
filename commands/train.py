"""`voxbeam train`: from a release to a model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from voxbeam.commands.command import SettingsOption
from voxbeam.commands.exit_status import DONE
from voxbeam.commands.launch import run_ranks
from voxbeam.commands.model_command import CODEC_HELP, CODEC_NAME_HELP, ModelCommand, open_codec
from voxbeam.schemas.formats import FRAME_RATE
from voxbeam.schemas.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voxbeam.evaluation.spoken_validation import SpokenValidation
    from voxbeam.models.codec import Codec
    from voxbeam.safety.tombstones import Tombstones
    from voxbeam.trainer.configs import TrainConfig
    from voxbeam.trainer.data.stream import Stream

PRESETS = ("overfit_cpu", "small_cpu", "libritts_1gpu", "librilight_16gpu")
"""names of `trainer.configs.CONFIGS`, here without torch"""


@click.command(
    cls=ModelCommand,
    short_help="Train VALL-E on a corpus, or continue a run.",
    examples=[
        "voxbeam train /data/corpus --out runs/first",
        "voxbeam train s3://corpora/libritts --out s3://runs/libritts --config libritts_1gpu",
        "voxbeam train /data/mine --out runs/mine --init-from runs/libritts --config my.yaml",
        "voxbeam train /data/corpus --out runs/ar --set steps=500 train_models=ar",
        "voxbeam train /data/corpus --out runs/big --config libritts_1gpu --processes 8",
        "torchrun --nnodes 2 --nproc-per-node 8 --no-python voxbeam train /data/corpus --out runs/big --config librilight_16gpu",
    ],
)
@click.argument("corpus")
@click.option("--out", required=True, metavar="URI", help="Folder or bucket for checkpoints. A run that is there is continued.")
@click.option(
    "--config",
    default=PRESETS[0],
    show_default=True,
    metavar="NAME",
    help=f"Configuration: {', '.join(PRESETS)}, or a YAML file of settings.",
)
@click.option("--init-from", metavar="RUN", help="Run or exported file whose weights to begin with: fine-tuning.")
@click.option(
    "--set",
    "settings",
    cls=SettingsOption,
    multiple=True,
    metavar="NAME=VALUE ...",
    help="Settings that differ from the configuration, such as steps=500 train_models=ar.",
)
@click.option("--codec", metavar="NAME", help=f"{CODEC_HELP}  [default: embedded; with --codec-name, as the release says]")
@click.option("--codec-name", metavar="NAME", help=CODEC_NAME_HELP)
@click.option("--release", type=int, metavar="NUMBER", help="Release to train on.  [default: the latest]")
@click.option(
    "--tombstones",
    multiple=True,
    metavar="URI",
    help="Corpus where takedowns are published, if CORPUS is a copy of it; repeatable.",
)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Processes, one per GPU.")
@click.option("--no-validation", is_flag=True, help="Train without a valid split, for a corpus so small that it has none.")
def train(
    corpus: str,
    out: str,
    config: str,
    init_from: str | None,
    settings: tuple[str, ...],
    codec: str | None,
    codec_name: str | None,
    release: int | None,
    tombstones: tuple[str, ...],
    processes: int,
    no_validation: bool,
) -> int:
    """Train VALL-E (AR and NAR) on a release of CORPUS, or continue the run in --out.

    On several machines, start it with torchrun. A run that is stopped by Ctrl-C or SIGTERM saves a checkpoint first; one that
    is killed continues from its last checkpoint.
    """
    import torch
    import torch.distributed as dist

    from voxbeam.commands import terminal
    from voxbeam.commands.train_display import showing_training
    from voxbeam.models.threads import pin_threads
    from voxbeam.trainer.configs import load_config
    from voxbeam.trainer.training import Trainer, local_rank

    run_config = apply_settings(load_config(config), settings)
    if processes > 1:
        words = [corpus, "--out", out, "--config", config, *(f"--set={setting}" for setting in settings)]
        words += [f"--codec={codec}"] if codec is not None else []
        words += [f"--codec-name={codec_name}"] if codec_name is not None else []
        words += [f"--release={release}"] if release is not None else []
        words += ["--init-from", init_from] if init_from is not None else []
        words += [f"--tombstones={feed}" for feed in tombstones]
        return run_ranks(["train", *words, *(["--no-validation"] if no_validation else [])], processes)
    if not torch.cuda.is_available():
        pin_threads()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank())
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        feeds = read_feeds(corpus, release, tombstones)
        train_stream = open_stream(corpus, "train", release, run_config, run_config.prompt_fraction, codec_name, feeds)
        require_trainable(train_stream, run_config)
        valid = speaking = None
        if not no_validation:
            try:
                valid, speaking = (
                    open_stream(corpus, "valid", release, run_config, share, codec_name, feeds).steps for share in (0.0, 1.0)
                )
            except ValueError as error:
                raise ValueError(f"there is nothing to validate on ({error}); train without it: --no-validation") from error
        elif run_config.validate_sentences:
            raise click.UsageError("validate_sentences speaks utterances of the valid split, so it excludes --no-validation")
        model_codec = corpus_codec(codec, train_stream)
        speak = None
        if run_config.validate_sentences:
            speak = open_spoken_validation(corpus, release, run_config, model_codec, codec_name, feeds)
        console = terminal.stderr()
        if not dist.is_initialized() or dist.get_rank() == 0:
            if run_config.data_filter:
                console.print(describe_filter(train_stream))
            console.print(describe_prompts(run_config.prompt_fraction, train_stream.prompt_share))
        with showing_training(run_config.steps, console) as show:
            trainer = Trainer(
                run_config,
                train_stream.index.phones,
                train_stream.steps,
                valid,
                out,
                speaking_source=speaking,
                speak=speak,
                data=train_stream.facts,
                codec=model_codec,
                init_from=init_from,
                tombstones=feeds,
                on_log=show,
                on_message=console.print,
                watch=open_watch(train_stream, feeds),
            )
            progress = trainer.train()
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    if trainer.rank == 0:
        click.echo(f"Step {progress.step} of {run_config.steps}, in {out}")
    return DONE


def read_feeds(corpus: str, release: int | None, tombstones: tuple[str, ...]) -> dict[str, Tombstones]:
    """The tombstones of a corpus and of feeds elsewhere, by address, for a checkpoint to remember.

    They are read once: what is remembered is what the release was compared with. Raises StorageError for a feed without corpus,
    and for plain tars where feeds elsewhere are named: these name no recordings.
    """
    from voxbeam.safety.tombstones import read_feeds as read
    from voxbeam.storage.releases import load_release
    from voxbeam.storage.store import Store

    if tombstones:
        load_release(Store(corpus), release)
    return read(Store(corpus), [Store(feed) for feed in tombstones])


def open_watch(stream: Stream, feeds: Mapping[str, Tombstones]) -> Callable[[], None]:
    """What a run asks after every checkpoint; nothing of plain tars, which name no recordings."""
    from voxbeam.trainer.watch import TakedownWatch

    store, release = stream.index.store, stream.index.release
    return TakedownWatch(store, release, feeds) if release is not None else lambda: None


def describe_filter(stream: Stream) -> str:
    """What a filter leaves of a split."""
    from voxbeam.commands.display import plural

    hours = int(stream.index.arrays["frames"].sum(dtype="int64")) / FRAME_RATE / 3600
    return f"data_filter keeps {plural(len(stream.index), 'sample')} of {stream.index.split}, {hours:.2f} h"


def describe_prompts(asked: float, share: float) -> str:
    """How many utterances begin with a prompt, and why they are not as many as were asked for."""
    line = f"{share:.0%} of the utterances begin with other speech of the same person, as in synthesis"
    if share < 0.75 * asked:
        line += f"; prompt_fraction asks for {asked:.0%}, but too few people have other speech of 3 s or more near by"
    return line


def require_trainable(stream: Stream, config: TrainConfig) -> None:
    """Raises ConfigError for a corpus without a phone set, and for codes that the models do not have."""
    from voxbeam.schemas.errors import ConfigError
    from voxbeam.schemas.formats import CODEBOOK_SIZE

    if not stream.index.phones:
        raise ConfigError(
            f"{stream.index.store.root} has no phones.json, so nobody knows what its phone ids mean",
            remedy='put one beside the tars: {"phones": ["<pad>", "|", …]}, in the order of the ids',
        )
    if config.codebook_size < CODEBOOK_SIZE:
        raise ConfigError(
            f"codebook_size is {config.codebook_size}, and codes go up to {CODEBOOK_SIZE - 1}",
            remedy=f"leave codebook_size at {CODEBOOK_SIZE}",
        )


def apply_settings(config: TrainConfig, settings: tuple[str, ...]) -> TrainConfig:
    """The configuration with settings such as `steps=500`. Raises UsageError for a name that it does not have."""
    from voxbeam.trainer.configs import apply_overrides

    for name in (setting.partition("=")[0] for setting in settings):
        if not hasattr(config, name):
            raise click.UsageError(f"no such setting {name}{did_you_mean(name, vars(config))}")
    return apply_overrides(config, list(settings))


def corpus_codec(name: str | None, stream: Stream) -> Codec:
    """The codec of that name; without a name, the embedded one, or the further codec whose codes a stream has, as its release
    says. Raises ValueError when the codes were made with another one, ModelError when there is none.
    """
    from voxbeam.schemas.errors import ModelError
    from voxbeam.storage.releases import read_release

    index = stream.index
    if index.release is None:
        return open_codec(name or "embedded", "cpu")
    stated, made_with = read_release(index.store, index.release).codec(stream.codec)
    name = name or ("embedded" if stream.codec is None else stated)
    try:
        codec = open_codec(name, "cpu")
    except FileNotFoundError as error:
        raise ModelError(str(error), remedy="name the weights of the codec: --codec") from error
    if made_with != codec.sha256:
        setting = "tokenize.codec" if stream.codec is None else f"codecs.{stream.codec}.codec"
        raise ValueError(
            f"{index.store.root} was made with a codec of sha256 {made_with}, and {name} has {codec.sha256}; "
            f"give --codec what the build had as {setting}"
        )
    return codec


def open_spoken_validation(
    corpus: str,
    release: int | None,
    config: TrainConfig,
    codec: Codec,
    codec_name: str | None,
    feeds: Mapping[str, Tombstones],
) -> SpokenValidation | None:
    """What speaks at validation, on the first rank; None on others. Raises ValueError if the valid split has nothing to speak."""
    import torch.distributed as dist

    from voxbeam.evaluation.spoken_validation import SpokenValidation
    from voxbeam.models.speech_metrics import WhisperTranscriber
    from voxbeam.trainer.data.sampler import SamplerConfig
    from voxbeam.trainer.data.stream import Stream, StreamConfig

    if dist.is_initialized() and dist.get_rank() != 0:
        return None
    # A few samples from anywhere in the corpus: each is a block of its own.
    chosen = StreamConfig(sampler=SamplerConfig(block_samples=1), data_filter=config.data_filter)
    stream = Stream(corpus, split="valid", release=release, config=chosen, codec=codec_name, feeds=feeds)
    return SpokenValidation(stream, codec, WhisperTranscriber(), config.validate_sentences, config.seed)


def open_stream(
    corpus: str,
    split: str,
    release: int | None,
    config: TrainConfig,
    prompt_fraction: float,
    codec_name: str | None,
    feeds: Mapping[str, Tombstones],
) -> Stream:
    """This rank's part of a split."""
    import torch.distributed as dist

    from voxbeam.trainer.data.sampler import SamplerConfig
    from voxbeam.trainer.data.stream import Stream, StreamConfig

    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    sampler = SamplerConfig(batch_frames=config.batch_frames, prompt_fraction=prompt_fraction, seed=config.seed)
    stream_config = StreamConfig(
        sampler=sampler, data_filter=config.data_filter, rank_frames=config.rank_frames, cache_bytes=config.cache_gb << 30
    )
    return Stream(
        corpus, split=split, release=release, config=stream_config, codec=codec_name, feeds=feeds, rank=rank, world=world
    )
