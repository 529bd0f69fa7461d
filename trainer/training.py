"""Trains the AR and the NAR model, and resumes exactly where an interrupted run stopped.

A *batch source* maps a loader state, one integer, to an endless iterator of steps, as `Stream.steps` does. A step is this rank's
micro-batches, at least one and the same number on every rank, and the loader state of the next step.
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
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from voxbeam.models import checkpoint
from voxbeam.models.batch import Batch
from voxbeam.models.codec import Codec
from voxbeam.models.valle import LossSums, ModelConfig
from voxbeam.schemas.errors import CheckpointError
from voxbeam.storage.store import is_bucket, local_path
from voxbeam.trainer.configs import TrainConfig
from voxbeam.trainer.optimization import TrainState, learning_rate, sum_losses

BatchSource = Callable[[int], Iterator[tuple[list[Batch], int]]]
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""dense bf16 operations per second, from the vendors' data sheets, by a part of the device's name"""


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: int = 0
    loader_state: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainLog:
    """What `on_log` receives: metrics of the last `log_every` steps, or of a validation. The same go to TensorBoard.

    `train/<model>/{loss,gradient_norm,top1,top10}`, `train/learning_rate`, `train/frames_per_second` and, on a known GPU,
    `train/mfu`; or `valid/{loss,top1,top10}/<codebook>`. Losses are nats per frame, accuracies are fractions.
    """

    step: int
    total_steps: int
    metrics: dict[str, float]


class Trainer:
    """One run on `train_source`, validated on `valid_source`, with a phone set of `n_phones` phones.

    `run_uri` is a folder or a bucket prefix: checkpoints go below `checkpoints/`, and in a folder TensorBoard files beside them.
    `data_fingerprint`, such as `Stream.fingerprint`, tells what the loader states mean: a run resumes only with the same one.
    `codec` made the codes: the models start from its vectors, and the checkpoint records its hash. Without it they start at
    random. `on_log` is called on the first rank.

    Example::

        stream = Stream("corpus")
        trainer = Trainer(overfit_cpu(), len(stream.index.phones), stream.steps, None, "runs/tiny")
        trainer.train()
    """

    def __init__(
        self,
        config: TrainConfig,
        n_phones: int,
        train_source: BatchSource,
        valid_source: BatchSource | None,
        run_uri: str,
        *,
        data_fingerprint: str = "",
        codec: Codec | None = None,
        on_log: Callable[[TrainLog], None] | None = None,
    ) -> None:
        self.config, self.train_source, self.valid_source = config, train_source, valid_source
        self.data_fingerprint, self.on_log = data_fingerprint, on_log
        self.codec_sha256 = codec.sha256 if codec else ""
        self.model_config = ModelConfig(n_phones=n_phones, codebook_size=config.codebook_size, transformer=config.transformer)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.device = torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        self.store = checkpoint.checkpoint_store(run_uri)
        codebooks_KVC = codec.codebooks_KVC if codec else None
        self.states = [TrainState(name, self.model_config, config, self.device, codebooks_KVC) for name in config.train_models]
        self.progress = Progress()
        self.stopping = False
        self.writer: SummaryWriter | None = None
        if self.rank == 0 and not is_bucket(run_uri):
            self.writer = SummaryWriter(str(local_path(run_uri) / "tensorboard"))

    def train(self) -> Progress:
        """Trains up to the last step, or until SIGTERM, which saves a checkpoint first. Resumes from the last checkpoint.

        Raises CheckpointError if that checkpoint was made with other settings or data.
        """
        if checkpoint.saved_steps(self.store):
            self.resume()
        with graceful_sigterm(self):
            self._train()
        if self.writer is not None:
            self.writer.close()
        return self.progress

    def _train(self) -> None:
        config, began, meter = self.config, time.monotonic(), StepMeter()
        for batches, next_state in self.train_source(self.progress.loader_state):
            if self.progress.step >= config.steps:
                break
            step = self.progress.step
            own_frames = [state.count_frames(batches) for state in self.states]
            *all_frames, stopping = self._sum_over_ranks([*own_frames, int(self.stopping)])
            if stopping:
                break
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            for state, frames in zip(self.states, all_frames, strict=True):
                losses, grad_norm = state.update(batches, step, self.rank, int(frames))
                meter.add(state.name, losses, grad_norm, state.flops(batches))
            meter.frames += sum(batch.frames for batch in batches if not batch.is_dummy)
            self.progress = Progress(step + 1, next_state)
            if self.progress.step % config.log_every == 0:
                self._log(self._train_metrics(meter, time.monotonic() - began))
                began, meter = time.monotonic(), StepMeter()
            done = self.progress.step == config.steps
            if self.valid_source is not None and (self.progress.step % config.validate_every == 0 or done):
                paused = time.monotonic()
                self.validate()
                began += time.monotonic() - paused
            if self.progress.step % config.save_every == 0 or done:
                self.save()
            if done:
                return
        if self.progress.step:  # before the first step there is nothing to save
            self.save()

    def validate(self) -> dict[str, float]:
        """Validates the averaged weights, on the same batches every time.

        Returns loss (nats per frame), top-1 and top-10 accuracy of each codebook. Raises ValueError without validation data.
        """
        if self.valid_source is None:
            raise ValueError("this run has no validation data")
        batches = [batch for step, _ in islice(self.valid_source(0), self.config.validate_batches) for batch in step]
        metrics: dict[str, float] = {}
        for state in self.states:
            with state.averaged():
                rows = [state.evaluate(batch) for batch in batches]
            for codebook in rows[0]:
                sums = sum_losses([row[codebook] for row in rows])
                loss, frames, top1, top10 = self._sum_over_ranks([value.item() for value in sums])
                metrics |= {f"valid/loss/{codebook}": loss / frames}
                metrics |= {f"valid/top1/{codebook}": top1 / frames, f"valid/top10/{codebook}": top10 / frames}
        self._log(metrics)
        return metrics

    def save(self) -> None:
        """Writes a checkpoint. All ranks must call it; the first one writes."""
        tensors: dict[str, Tensor] = {}
        for state in self.states:
            tensors |= state.tensors()
        if self.rank == 0:
            facts = {
                **asdict(self.progress),
                "data_fingerprint": self.data_fingerprint,
                "codec_sha256": self.codec_sha256,
                "config": asdict(self.config),
                "model": asdict(self.model_config),
            }
            checkpoint.write(self.store, self.progress.step, checkpoint.Checkpoint(tensors, facts), self.config.keep_last)
        if dist.is_initialized():
            dist.barrier()

    def resume(self) -> None:
        """Loads the last checkpoint. Raises CheckpointError if it was made with other models, another seed, data or codec."""
        saved = checkpoint.read(self.store)
        saved_config = saved.facts["config"]
        current = json.loads(json.dumps({"config": asdict(self.config), "model": asdict(self.model_config)}))
        differing = [name for name in ("train_models", "seed") if saved_config[name] != current["config"][name]]
        differing += ["model"] if saved.facts["model"] != current["model"] else []
        if differing:
            raise CheckpointError(
                f"{self.store.root} contains a run with another {', '.join(differing)}",
                remedy="choose another folder, or the settings of that run",
            )
        if saved.facts["data_fingerprint"] != self.data_fingerprint:
            raise CheckpointError(
                f"the run in {self.store.root} was trained on other data: another release or split, or other batch settings",
                remedy="name the release that it began with (--release) and its settings, or choose another folder",
            )
        checkpoint.require_codec(saved, self.codec_sha256, self.store.root)
        self.progress = Progress(saved.facts["step"], saved.facts["loader_state"])
        for state in self.states:
            state.load(saved.tensors, self.progress.step)

    def _train_metrics(self, meter: StepMeter, seconds: float) -> dict[str, float]:
        metrics = {"train/learning_rate": learning_rate(self.progress.step - 1, self.config)}
        for name, losses in meter.losses.items():
            loss, frames, top1, top10 = self._sum_over_ranks([value.item() for value in sum_losses(losses)])
            metrics |= {f"train/{name}/loss": loss / frames, f"train/{name}/gradient_norm": meter.grad_norms[name]}
            metrics |= {f"train/{name}/top1": top1 / frames, f"train/{name}/top10": top10 / frames}
        frames, flops = self._sum_over_ranks([meter.frames, meter.flops])
        metrics["train/frames_per_second"] = frames / seconds
        if peak := peak_flops(self.device):
            world = dist.get_world_size() if dist.is_initialized() else 1
            metrics["train/mfu"] = flops / seconds / (peak * world)
        return metrics

    def _log(self, metrics: dict[str, float]) -> None:
        if self.writer is not None:
            for name, value in metrics.items():
                self.writer.add_scalar(name, value, self.progress.step)
        if self.on_log is not None and self.rank == 0:
            self.on_log(TrainLog(step=self.progress.step, total_steps=self.config.steps, metrics=metrics))

    def _sum_over_ranks(self, values: Sequence[float]) -> list[float]:
        """Sums over ranks; exact for integers below 2^53."""
        if not dist.is_initialized():
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return summed.tolist()


class StepMeter:
    """Loss sums, gradient norms and work since the last log."""

    def __init__(self) -> None:
        self.losses: dict[str, list[LossSums]] = {}
        self.grad_norms: dict[str, float] = {}
        self.frames, self.flops = 0, 0.0

    def add(self, name: str, losses: LossSums, grad_norm: float, flops: float) -> None:
        self.losses.setdefault(name, []).append(losses)
        self.grad_norms[name], self.flops = grad_norm, self.flops + flops


def local_rank() -> int:
    """This process's rank on its machine, as torchrun sets it."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def peak_flops(device: torch.device) -> float | None:
    """Peak bf16 operations per second of a known GPU; None for others and for a CPU."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


@contextmanager
def graceful_sigterm(trainer: Trainer) -> Iterator[None]:
    """SIGTERM, which schedulers send before they kill a job, ends the run after the current step."""

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stopping = True

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
