"""`python -m trainer fit`: from a release to a model."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from voxbeam.models.codec import Codec, load_codec
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.threads import pin_threads
from voxbeam.storage.releases import read_release
from voxbeam.trainer.configs import CONFIGS, TrainConfig, apply_overrides
from voxbeam.trainer.data.sampler import SamplerConfig
from voxbeam.trainer.data.stream import Stream, StreamConfig
from voxbeam.trainer.training import Trainer, TrainLog, local_rank


def add_fit(rooms: argparse._SubParsersAction) -> None:
    fit = rooms.add_parser(
        "fit",
        help="train VALL-E on a release",
        description="Trains AR and NAR on a release, or continues the run that --out holds. Several GPUs: torchrun.",
    )
    fit.add_argument("corpus", help="folder or bucket prefix that holds the release")
    fit.add_argument("--out", required=True, help="folder or bucket prefix for checkpoints")
    fit.add_argument("--config", choices=sorted(CONFIGS), default="overfit_cpu", help="configuration (default: overfit_cpu)")
    fit.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="settings that differ, such as steps=500 train_models=ar",
    )
    fit.add_argument("--codec", default="embedded", help="the corpus's codec, named as `voxbeam build --codec` names it")
    fit.add_argument("--release", type=int, help="number of the release to train on (default: the latest)")
    fit.add_argument("--no-validation", action="store_true", help="for a corpus so small that its valid split is empty")
    fit.set_defaults(command=run_fit)


def run_fit(arguments: argparse.Namespace) -> None:
    config = apply_overrides(CONFIGS[arguments.config](), arguments.set)
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
        codec = corpus_codec(arguments.codec, train)
        with progress_bar(config.steps) as show:
            trainer = Trainer(
                config,
                len(train.index.phones),
                train.steps,
                valid,
                arguments.out,
                data_fingerprint=train.fingerprint,
                codec=codec,
                on_log=show,
            )
            progress = trainer.train()
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    print(f"step {progress.step} of {config.steps}, in {arguments.out}")


def corpus_codec(name: str, stream: Stream) -> Codec:
    """The codec of that name. Raises ValueError when a release was made with another one."""
    path, sha256 = codec_weights(name)
    codec = load_codec(path, sha256=sha256)
    index = stream.index
    made_with = read_release(index.store, index.release).models["tokenize"] if index.release is not None else codec.sha256
    if made_with != codec.sha256:
        raise ValueError(
            f"{index.store.root} was made with a codec of sha256 {made_with}, and {name} has {codec.sha256}: "
            "name (--codec) what the build had as tokenize.codec"
        )
    return codec


def open_stream(arguments: argparse.Namespace, split: str, config: TrainConfig) -> Stream:
    """A split of a release, as far as it is this rank's."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    sampler = SamplerConfig(
        batch_frames=config.batch_frames, prompt_fraction=config.prompt_fraction if split == "train" else 0.0, seed=config.seed
    )
    stream_config = StreamConfig(sampler=sampler, rank_frames=config.rank_frames)
    return Stream(arguments.corpus, split=split, release=arguments.release, config=stream_config, rank=rank, world=world)


@contextmanager
def progress_bar(steps: int) -> Iterator[Callable[[TrainLog], None]]:
    """A function that shows training logs: a progress bar on a terminal, one line per log elsewhere."""
    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    terminal = Console().is_terminal and not (dist.is_initialized() and dist.get_rank())
    with Progress(*columns, disable=not terminal) as bar:
        task = bar.add_task("", total=steps)

        def show(log: TrainLog) -> None:
            line = describe_log(log.metrics)
            if line and terminal:
                bar.update(task, completed=log.step, description=line)
            elif line:
                print(f"{log.step}: {line}", flush=True)

        yield show


def describe_log(metrics: dict[str, float]) -> str:
    """A line about training metrics, such as "ar 3.210 top-10 80%, 5,000 frames/s"; "" for validation metrics."""
    if "train/frames_per_second" not in metrics:
        return ""
    models = [name for name in ("ar", "nar") if f"train/{name}/loss" in metrics]
    parts = [f"{name} {metrics[f'train/{name}/loss']:.3f} top-10 {metrics[f'train/{name}/top10']:.0%}" for name in models]
    parts.append(f"{metrics['train/frames_per_second']:,.0f} frames/s")
    if "train/mfu" in metrics:
        parts.append(f"MFU {metrics['train/mfu']:.0%}")
    return ", ".join(parts)
