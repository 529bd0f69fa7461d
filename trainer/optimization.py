"""Learner: one model with its optimizer and its averaged weights, on one rank or many.

A step's gradient is the sum over all its frames, wherever they are, divided by their number: so it does not depend on how the
frames are dealt to micro-batches and ranks. Its random numbers follow from seed, step, rank and micro-batch alone; so nothing
random needs to be saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from voxbeam.models.batch import Batch
from voxbeam.models.valle import AR, NAR, ModelConfig, Score, draw_stages, prompt_lengths
from voxbeam.trainer.configs import TrainConfig

_PARTS = ("weight", "average", "moment1", "moment2")


class Learner:
    """AR or NAR in training. `name` is "ar" or "nar"; its tables begin with `books_KVC`, the codec's, where they are known."""

    def __init__(
        self, name: str, model_config: ModelConfig, config: TrainConfig, device: torch.device, books_KVC: Tensor | None = None
    ) -> None:
        torch.manual_seed(config.seed)  # every rank begins with the same weights
        self.name, self.config, self.device = name, config, device
        self.model: AR | NAR = (AR if name == "ar" else NAR)(model_config).to(device)
        if books_KVC is not None:
            self.model.begin_with(books_KVC)
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        if config.compile:
            for layer in self.model.transformer.layers:
                layer.compile(dynamic=True)
        self.wrapped: nn.Module = self.model
        if self.world > 1 and config.parallel == "fsdp":
            for layer in self.model.transformer.layers:
                fully_shard(layer)
            fully_shard(self.model)
        elif self.world > 1:
            self.wrapped = DistributedDataParallel(self.model)
        self.parameters = dict(self.model.named_parameters())
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.optimizer = build_optimizer(self.parameters, config)

    def frames(self, batches: Sequence[Batch]) -> int:
        """Positions of these batches on which this model has a loss."""
        own = [batch for batch in batches if batch.counted]
        if self.name == "ar":
            return sum(batch.frames + len(batch.keys) for batch in own)
        return sum(batch.frames - int(prompt_lengths(batch).sum()) for batch in own)

    def step(self, batches: Sequence[Batch], step: int, rank: int, frames: int) -> tuple[Score, float]:
        """One update on this rank's micro-batches; `frames` counts those of all ranks.

        Gives back this rank's score, and the norm of the gradient before it was clipped.
        """
        config = self.config
        self.model.train()
        rate = learning_rate(step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        scores = []
        for number, batch in enumerate(batches):
            torch.manual_seed(hash((config.seed, step, rank, number)))
            with self._synchronized(number == len(batches) - 1):
                score = counted(self._score(batch, step), batch)
                # DDP and FSDP take the mean over ranks; frames are those of all ranks
                (score.loss * (self.world / frames)).backward()
            scores.append(Score(*(value.detach() for value in score)))
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), config.max_grad_norm)
        self.optimizer.step()
        self._update_average(step)
        return total(scores), float(whole(norm))

    def _score(self, batch: Batch, step: int) -> Score:
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            if isinstance(self.model, AR):
                return self.wrapped(batch)
            return self.wrapped(batch, *draw_stages(batch, self.model.n_books, seed=self.config.seed + step))

    @contextmanager
    def _synchronized(self, last: bool) -> Iterator[None]:
        """Gradients travel between ranks with the last micro-batch only."""
        if isinstance(self.model, FSDPModule):
            self.model.set_requires_gradient_sync(last)
        waits = isinstance(self.wrapped, DistributedDataParallel) and not last
        with cast(DistributedDataParallel, self.wrapped).no_sync() if waits else nullcontext():
            yield

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        keep = min(self.config.ema_decay, (1 + step) / (10 + step))  # a young average forgets the random start sooner
        for name, value in self.parameters.items():
            self.average[name].lerp_(value, 1 - keep)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in the model's place, for as long as the context lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.parameters.items():
            kept = value.detach().clone()
            value.copy_(self.average[name])
            self.average[name].copy_(kept)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[int, Score]:
        """Score of every book that this model writes: book 0 for AR, each other one for NAR."""
        self.model.eval()
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            if isinstance(self.model, AR):
                return {0: counted(self.wrapped(batch), batch)}
            prompt_B = prompt_lengths(batch)
            books = range(1, self.model.n_books)
            return {book: counted(self.wrapped(batch, torch.full_like(prompt_B, book), prompt_B), batch) for book in books}

    def tensors(self) -> dict[str, Tensor]:
        """The state for a checkpoint, whole and on the CPU. All ranks must call it together."""
        found = {}
        for name, parameter in self.parameters.items():
            moments = self.optimizer.state[parameter]
            for part, value in zip(
                _PARTS, (parameter, self.average[name], moments["exp_avg"], moments["exp_avg_sq"]), strict=True
            ):
                found[f"{self.name}/{part}/{name}"] = whole(value.detach()).cpu().contiguous()
        return found

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor], step: int) -> None:
        """Takes up the state that `tensors` gave after `step` steps."""
        for name, parameter in self.parameters.items():
            first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
            for part, target in zip(_PARTS, (parameter, self.average[name], first, second), strict=True):
                fill(target, tensors[f"{self.name}/{part}/{name}"])
            # where the step lives is what AdamW itself chooses: on the CPU, except when fused
            self.optimizer.state[parameter] = {"step": torch.tensor(float(step)), "exp_avg": first, "exp_avg_sq": second}

    def flops(self, batches: Sequence[Batch]) -> float:
        """Floating-point operations of a step on these batches: 6 per weight and position, 12 D per pair of positions and layer.

        As in PaLM (arXiv 2204.02311, appendix B), without recomputation; padding does no useful work and is not counted.
        """
        sizes = self.model.transformer.config
        weights = sizes.n_layers * (4 * sizes.d_model**2 + 2 * sizes.d_model * sizes.d_ff)
        pairs = positions = 0
        for batch in batches:
            S_B = batch.phone_lengths_B + batch.frame_lengths_B + 2
            positions, pairs = positions + int(S_B.sum()), pairs + int(S_B.square().sum())
        return 6.0 * weights * positions + 12.0 * sizes.n_layers * sizes.d_model * pairs


def build_optimizer(parameters: dict[str, nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices and nothing else."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Up along a line for `warmup` steps, then down to zero along another (VALL-E, section 5.1). Steps count from 0."""
    rising = (step + 1) / config.warmup_steps
    falling = (config.steps - step) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * min(1.0, rising, falling)


def counted(score: Score, batch: Batch) -> Score:
    """The score, or zeros for a batch that only keeps this rank in step with the others."""
    return Score(*(value * batch.counted for value in score))


def total(scores: Sequence[Score]) -> Score:
    """The sum of scores."""
    return Score(*(torch.stack(column).sum(0) for column in zip(*scores, strict=True)))


def whole(value: Tensor) -> Tensor:
    """A tensor that FSDP has spread over ranks, in one piece."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def fill(target: Tensor, value: Tensor) -> None:
    """Copies a whole tensor into one that may be spread over ranks."""
    value = value.to(target.device)
    target.copy_(distribute_tensor(value, target.device_mesh, target.placements) if isinstance(target, DTensor) else value)
