"""Fit: trains AR and NAR on batches from any source, and continues exactly where a killed run stopped.

A *source* is a function from one integer (where the loader stood) to an endless iterator of steps, such as `Stream.steps`; a
step is this rank's micro-batches, at least one and on every rank as many, and the integer from which the next step is read.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from types import FrameType

import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from voxbeam.models import checkpoint
from voxbeam.models.batch import Batch
from voxbeam.models.codec import Codec
from voxbeam.models.valle import ModelConfig, Score
from voxbeam.storage.store import is_bucket, local_path
from voxbeam.trainer.configs import TrainConfig
from voxbeam.trainer.optimization import Learner, learning_rate, total

Source = Callable[[int], Iterator[tuple[list[Batch], int]]]
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""dense bf16, from the makers' data sheets; by a part of the device's name"""


@dataclass
class Position:
    """How far a run is."""

    step: int = 0
    stream: int = 0


class Fit:
    """One run over `train`, validated on `valid`, with a phone set of `phones` phones.

    `data` tells what the source's integers mean, such as `Stream.fingerprint`: a run goes on only where that is the same.
    `codec` made the codes: the models begin with its vectors, and speak through no other. Without one they begin at random.
    `run_uri` is a folder or a bucket prefix: checkpoints lie below `checkpoints/`, and in a folder also TensorBoard's files.
    """

    def __init__(
        self,
        config: TrainConfig,
        phones: int,
        train: Source,
        valid: Source | None,
        run_uri: str,
        *,
        data: str = "",
        codec: Codec | None = None,
    ) -> None:
        self.config, self.train, self.valid, self.data = config, train, valid, data
        self.codec = codec.sha256 if codec else ""
        self.model_config = ModelConfig(n_phones=phones, codebook_size=config.codebook_size, transformer=config.transformer)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.device = torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        self.store = checkpoint.checkpoint_store(run_uri)
        books_KVC = codec.books_KVC if codec else None
        self.learners = [Learner(name, self.model_config, config, self.device, books_KVC) for name in config.train_models]
        self.position = Position()
        self.stopping = False
        self.writer: SummaryWriter | None = None
        if self.rank == 0 and not is_bucket(run_uri):
            self.writer = SummaryWriter(str(local_path(run_uri) / "tensorboard"))

    def run(self) -> Position:
        """Trains until the last step, or until SIGTERM, which saves first; gives back how far it came."""
        if checkpoint.saved_steps(self.store):
            self.resume()
        with stops_on_sigterm(self), progress_bar(self.config.steps, self.rank) as show:
            self._train(show)
        if self.writer is not None:
            self.writer.close()
        return self.position

    def _train(self, show: Callable[[int, str], None]) -> None:
        config, began, since = self.config, time.monotonic(), Tally()
        for batches, after in self.train(self.position.stream):
            if self.position.step >= config.steps:
                break
            step = self.position.step
            own = [learner.frames(batches) for learner in self.learners]
            *counted, stopping = self._sum([*own, int(self.stopping)])
            if stopping:
                break
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            for learner, frames in zip(self.learners, counted, strict=True):
                score, norm = learner.step(batches, step, self.rank, int(frames))
                since.add(learner.name, score, norm, learner.flops(batches))
            since.frames += sum(batch.frames for batch in batches if batch.counted)
            self.position = Position(step + 1, after)
            if self.position.step % config.log_every == 0:
                show(self.position.step, self._log(since, time.monotonic() - began))
                began, since = time.monotonic(), Tally()
            done = self.position.step == config.steps
            if self.valid is not None and (self.position.step % config.validate_every == 0 or done):
                paused = time.monotonic()
                self.validate()
                began += time.monotonic() - paused
            if self.position.step % config.save_every == 0 or done:
                self.save()
            if done:
                return
        if self.position.step:  # before the first step there is nothing to continue
            self.save()

    def validate(self) -> dict[str, float]:
        """Loss (nats) and top-1 and top-10 accuracy of each book, of the averaged weights, on the same batches every time."""
        if self.valid is None:
            raise ValueError("this run has no validation data")
        batches = [batch for step, _ in islice(self.valid(0), self.config.validate_batches) for batch in step]
        told: dict[str, float] = {}
        for learner in self.learners:
            with learner.averaged():
                rows = [learner.evaluate(batch) for batch in batches]
            for book in rows[0]:
                loss, frames, top1, top10 = self._sum([value.item() for value in total([row[book] for row in rows])])
                told |= {f"valid/loss/{book}": loss / frames}
                told |= {f"valid/top1/{book}": top1 / frames, f"valid/top10/{book}": top10 / frames}
        self._record(told)
        return told

    def save(self) -> None:
        """Writes a checkpoint; all ranks take part, the first one writes."""
        tensors: dict[str, Tensor] = {}
        for learner in self.learners:
            tensors |= learner.tensors()
        if self.rank == 0:
            facts = {
                **asdict(self.position),
                "data": self.data,
                "codec": self.codec,
                "config": asdict(self.config),
                "model": asdict(self.model_config),
            }
            held = checkpoint.Checkpoint(tensors, facts)
            checkpoint.write(self.store, self.position.step, held, self.config.keep_last)
        if dist.is_initialized():
            dist.barrier()

    def resume(self) -> None:
        """Takes up the last checkpoint. Raises CheckpointError when it was made with other models, another seed or other data."""
        held = checkpoint.read(self.store)
        then = held.facts["config"]
        now = json.loads(json.dumps({"config": asdict(self.config), "model": asdict(self.model_config)}))
        differing = [name for name in ("train_models", "seed") if then[name] != now["config"][name]]
        differing += ["model"] if held.facts["model"] != now["model"] else []
        if differing:
            raise checkpoint.CheckpointError(
                f"{self.store.root} holds a run with another {', '.join(differing)}: choose another folder, or its settings"
            )
        if held.facts["data"] != self.data:
            raise checkpoint.CheckpointError(
                f"the run in {self.store.root} had other data: another release or split, or batches of other settings. Name the "
                "release that it began with (--release) and its settings, or choose another folder"
            )
        checkpoint.require_codec(held, self.codec, self.store.root)
        self.position = Position(held.facts["step"], held.facts["stream"])
        for learner in self.learners:
            learner.load(held.tensors, self.position.step)

    def _log(self, tally: Tally, seconds: float) -> str:
        """Records the steps since the last log; gives back a line for people."""
        values, line = {"train/learning_rate": learning_rate(self.position.step - 1, self.config)}, []
        for name, scores in tally.scores.items():
            loss, frames, top1, top10 = self._sum([value.item() for value in total(scores)])
            values |= {f"train/{name}/loss": loss / frames, f"train/{name}/gradient_norm": tally.norms[name]}
            values |= {f"train/{name}/top1": top1 / frames, f"train/{name}/top10": top10 / frames}
            line.append(f"{name} {loss / frames:.3f} top-10 {top10 / frames:.0%}")
        frames, flops = self._sum([tally.frames, tally.flops])
        values["train/frames_per_second"] = frames / seconds
        line.append(f"{frames / seconds:,.0f} frames/s")
        if peak := peak_flops(self.device):
            world = dist.get_world_size() if dist.is_initialized() else 1
            values["train/mfu"] = flops / seconds / (peak * world)
            line.append(f"MFU {values['train/mfu']:.0%}")
        self._record(values)
        return ", ".join(line)

    def _record(self, values: dict[str, float]) -> None:
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, self.position.step)

    def _sum(self, values: Sequence[float]) -> list[float]:
        """Sums over ranks; exact for whole numbers below 2^53."""
        if not dist.is_initialized():
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return summed.tolist()


class Tally:
    """What happened since the last log."""

    def __init__(self) -> None:
        self.scores: dict[str, list[Score]] = {}
        self.norms: dict[str, float] = {}
        self.frames, self.flops = 0, 0.0

    def add(self, name: str, score: Score, norm: float, flops: float) -> None:
        self.scores.setdefault(name, []).append(score)
        self.norms[name], self.flops = norm, self.flops + flops


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def peak_flops(device: torch.device) -> float | None:
    """Peak bf16 operations per second of a GPU that is known; None for others and for a CPU."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


@contextmanager
def stops_on_sigterm(fit: Fit) -> Iterator[None]:
    """SIGTERM, which schedulers send before they kill, ends the run after the step it is in."""

    def stop(number: int, frame: FrameType | None) -> None:
        fit.stopping = True

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def progress_bar(steps: int, rank: int) -> Iterator[Callable[[int, str], None]]:
    """A function that shows a step and a line about it: a bar on a terminal, plain lines elsewhere."""
    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    terminal = Console().is_terminal
    with Progress(*columns, disable=rank != 0 or not terminal) as bar:
        task = bar.add_task("", total=steps)

        def show(step: int, line: str) -> None:
            bar.update(task, completed=step, description=line)
            if rank == 0 and not terminal:
                print(f"{step}: {line}", flush=True)

        yield show
