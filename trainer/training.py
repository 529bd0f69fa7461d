"""Trains the AR and the NAR model, and resumes exactly where an interrupted run stopped.

A *batch source* maps a loader state, one integer, to an endless iterator of steps, as `Stream.steps` does. A step is this rank's
micro-batches, at least one and the same number on every rank, and the loader state of the next step.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist

from voxbeam.models import checkpoint
from voxbeam.models.batch import Batch
from voxbeam.models.codec import Codec
from voxbeam.models.lineage import Lineage
from voxbeam.models.valle import ModelConfig
from voxbeam.safety.tombstones import Tombstones
from voxbeam.schemas.errors import CheckpointError, TrainingError
from voxbeam.trainer.configs import TrainConfig
from voxbeam.trainer.data.inherited import require_nobody_taken_down
from voxbeam.trainer.meter import StepMeter
from voxbeam.trainer.optimization import TrainState
from voxbeam.trainer.resume import require_same_run, require_seen_tombstones, seen_tombstones
from voxbeam.trainer.run_lock import run_lock
from voxbeam.trainer.run_log import RunLog
from voxbeam.trainer.signals import graceful_signals
from voxbeam.trainer.start import start_from
from voxbeam.trainer.validation import Speak, speak_averaged, total_loss, validate

BatchSource = Callable[[int], Iterator[tuple[list[Batch], int]]]
_log_message = logging.getLogger(__name__).warning


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: int = 0
    loader_state: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainLog:
    """What `on_log` receives: metrics of the last `log_every` steps, or of a validation. The same go to `RunLog`.

    `train/<model>/{loss,gradient_norm,top1,top10,skipped}`, `train/learning_rate`, `train/frames_per_second` and, on a known GPU,
    `train/mfu`; or `{valid,speaking}/{loss,top1,top10}/<codebook>` (`voxbeam.trainer.validation`). Losses are nats per frame,
    accuracies are fractions; `skipped` is the number of steps without an update.
    """

    step: int
    total_steps: int
    metrics: dict[str, float]


class Trainer:
    """One run on `train_source`, validated on `valid_source`, with a phone set, in order of its ids.

    `speaking_source` has the utterances of `valid_source` after prompts, as in synthesis. `run_uri` is a folder or a bucket
    prefix: checkpoints go below `checkpoints/`, metrics to `metrics.jsonl`, and in a folder TensorBoard files beside them.
    `data`, such as `Stream.facts`, tells what the loader states mean: a run resumes only with the same. `codec` made the codes:
    the models start from its vectors, and the checkpoint records its hash. Without it they start at random. With `init_from` they
    start from the averaged weights of another run, or of an exported file. `tombstones`, by corpus, must go on from those that
    the checkpoint has seen, and name nobody whom these weights learned from. `speak` gets the averaged models at every validation
    and returns further metrics. It, `on_log`, and `on_message` for sentences to a person, are called on the first rank;
    so is `watch` after every checkpoint, which raises what stops the run.

    Example::

        stream = Stream("corpus")
        trainer = Trainer(overfit_cpu(), stream.index.phones, stream.steps, None, "runs/tiny", data=stream.facts)
        trainer.train()
    """

    def __init__(
        self,
        config: TrainConfig,
        phones: Sequence[str],
        train_source: BatchSource,
        valid_source: BatchSource | None,
        run_uri: str,
        *,
        speaking_source: BatchSource | None = None,
        speak: Speak | None = None,
        data: Mapping[str, Any] | None = None,
        codec: Codec | None = None,
        init_from: str | None = None,
        tombstones: Mapping[str, Tombstones] | None = None,
        on_log: Callable[[TrainLog], None] | None = None,
        on_message: Callable[[str], None] = _log_message,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.config, self.run_uri, self.data = config, run_uri, data or {}
        self.train_source, self.valid_source, self.speaking_source = train_source, valid_source, speaking_source
        self.speak, self.on_log, self.on_message, self.watch = speak, on_log, on_message, watch
        self.init_from, self.tombstones = init_from, tombstones or {}
        self.codec_sha256 = codec.sha256 if codec else ""
        self.model_config = ModelConfig(
            n_phones=len(phones), phones=tuple(phones), codebook_size=config.codebook_size, transformer=config.transformer
        )
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.device = torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves in float32
        self.store = checkpoint.checkpoint_store(run_uri)
        codebooks_KVC = codec.codebooks_KVC if codec else None
        self.states = [TrainState(name, self.model_config, config, self.device, codebooks_KVC) for name in config.train_models]
        self.progress, self.lineage = Progress(), Lineage()
        self.best_loss = math.inf
        self.stopping = self.interrupted = False
        self.log: RunLog | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def train(self) -> Progress:
        """Trains up to the last step, or until SIGTERM or Ctrl-C, which save a checkpoint first.

        Resumes from the last checkpoint. Raises CheckpointError if that was made with other settings or data, or if another run
        is in this folder, TrainingError for gradients or weights that are not finite, and KeyboardInterrupt after Ctrl-C.
        """
        with run_lock(self.run_uri) if self.rank == 0 else nullcontext(), graceful_signals(self):
            if checkpoint.saved_steps(self.store):
                self.resume()
            elif self.init_from is not None:
                self.start_from(self.init_from)
            elif self.config.lora_rank:
                raise CheckpointError(
                    "adapters (lora_rank) correct a model that is trained already, and none is given",
                    remedy="name one: --init-from RUN",
                )
            self.log = RunLog(self.run_uri, self.progress.step) if self.rank == 0 else None
            try:
                self._train()
            finally:
                self.finish_saving()
                if self.log is not None:
                    self.log.close()
                    self.log = None
        if self.interrupted:
            raise KeyboardInterrupt
        return self.progress

    def start_from(self, run_uri: str) -> None:
        """Begins with the averaged weights of another run. Raises what `trainer.start.start_from` does."""
        self.lineage, unknown = start_from(run_uri, self.states, self.model_config, self.codec_sha256, self.tombstones)
        self._tell(unknown)

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
            for state, frames in zip(self.states, all_frames, strict=True):
                losses, grad_norm = state.update(batches, step, self.rank, int(frames))
                meter.add(state.name, losses, grad_norm, state.flops(batches))
            meter.frames += sum(batch.frames for batch in batches if not batch.is_dummy)
            self.progress = Progress(step + 1, next_state)
            done = self.progress.step == config.steps
            if self.progress.step % config.log_every == 0 or done:
                self._write_log(
                    meter.metrics(config, self.progress.step, time.monotonic() - began, self.device, self._sum_over_ranks)
                )
                self._require_updates()
                began, meter = time.monotonic(), StepMeter()
            better = False
            if self.valid_source is not None and (self.progress.step % config.validate_every == 0 or done):
                paused = time.monotonic()
                loss = total_loss(self.validate())
                better = loss < self.best_loss
                self.best_loss = min(loss, self.best_loss)
                began += time.monotonic() - paused
            if self.progress.step % config.save_every == 0 or done or better:
                self.save(self.best_loss if better else None)
                if self.rank == 0:
                    self.watch()
            if done:
                return
        if self.progress.step:  # before the first step there is nothing to save
            self.save()

    def _require_updates(self) -> None:
        """Raises TrainingError when too many steps in a row had gradients that are not finite."""
        for state in self.states:
            if (skipped := int(state.skipped)) >= self.config.max_skipped:
                raise TrainingError(
                    f"the gradients of {state.name} were not finite in the last {skipped} steps, up to step {self.progress.step}",
                    remedy="run it again to continue from the last checkpoint, with a lower learning_rate or with bf16=false",
                )

    def validate(self) -> dict[str, float]:
        """Validates the averaged weights, on the same batches every time; `voxbeam.trainer.validation` says how.

        Raises ValueError without validation data.
        """
        if self.valid_source is None:
            raise ValueError("this run has no validation data")
        metrics: dict[str, float] = {}
        for condition, source in (("valid", self.valid_source), ("speaking", self.speaking_source)):
            if source is not None:
                metrics |= validate(self.states, source(0), self.config.validate_batches, condition, self._sum_over_ranks)
        if self.speak is not None and self.rank == 0:
            metrics |= speak_averaged(self.states, self.speak)
        self._write_log(metrics)
        return metrics

    def save(self, best_loss: float | None = None) -> None:
        """Writes a checkpoint, on the first rank and in a thread. `best_loss` is its validation loss, if it is the best so far.

        Raises TrainingError, and writes nothing, if a weight is not a number.
        """
        for state in self.states:
            if not state.is_finite():
                raise TrainingError(
                    f"weights of {state.name} are not finite after step {self.progress.step}; they are not saved",
                    remedy="run it again to continue from the last checkpoint, with a lower learning_rate or with bf16=false",
                )
        self.finish_saving()
        if self.rank != 0:
            return
        tensors = {name: value for state in self.states for name, value in state.tensors().items()}
        saved = checkpoint.Checkpoint(tensors, {**asdict(self.progress), **self._facts()})
        step, keep_last = self.progress.step, self.config.keep_last
        self._writing = self._writer.submit(checkpoint.write, self.store, step, saved, keep_last, best_loss)
        if self.log is not None:
            self.log.flush()

    def finish_saving(self) -> None:
        """Waits until the last checkpoint is written. Raises what the writing raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _facts(self) -> dict[str, Any]:
        """What a checkpoint says of its run."""
        return {
            "config": asdict(self.config),
            "model": asdict(self.model_config),
            "data": dict(self.data),
            "codec_sha256": self.codec_sha256,
            "init_from": self.init_from,
            "lineage": self.lineage.to_json(),
            "tombstones": seen_tombstones(self.tombstones),
        }

    def resume(self) -> None:
        """Loads the last checkpoint, and says which settings differ from its run.

        Raises CheckpointError if it was made with other models, another seed, data or codec, LedgerError if tombstones are gone,
        ConsentError if its first weights learned from somebody who was taken down since.
        """
        saved = checkpoint.read(self.store)
        checkpoint.require_codec(saved, self.codec_sha256, self.store.root)
        require_seen_tombstones(saved, self.tombstones, self.store.root)
        self.lineage = Lineage.from_json(saved.facts.get("lineage", {}))
        self._tell(require_nobody_taken_down(self.lineage, self.tombstones))
        if differing := require_same_run(saved, self._facts(), self.store.root):
            self._tell([f"Continuing with other settings than before: {'; '.join(differing)}"])
        self.progress = Progress(saved.facts["step"], saved.facts["loader_state"])
        if (best := checkpoint.best_step(self.store)) is not None:
            self.best_loss = best[1]
        for state in self.states:
            state.load(saved.tensors, self.progress.step)

    def _tell(self, sentences: Sequence[str]) -> None:
        for sentence in sentences if self.rank == 0 else ():
            self.on_message(sentence)

    def _write_log(self, metrics: dict[str, float]) -> None:
        if self.log is not None:
            self.log.write(self.progress.step, metrics)
        if self.on_log is not None and self.rank == 0:
            self.on_log(TrainLog(step=self.progress.step, total_steps=self.config.steps, metrics=metrics))

    def _sum_over_ranks(self, values: Sequence[float]) -> list[float]:
        """Sums over ranks, between the hosts: no device is waited for. Exact for integers below 2^53."""
        if not dist.is_initialized():
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(summed)
        return summed.tolist()


def local_rank() -> int:
    """This process's rank on its machine, as torchrun sets it."""
    return int(os.environ.get("LOCAL_RANK", "0"))
