"""One model in training, with its optimizer and its averaged weights, on one rank or several (DDP).

The gradient of a step is the sum over all its frames, on all ranks, divided by their number. It does not depend on how the frames
are split into micro-batches and ranks. The random numbers of a micro-batch follow from seed, step, rank and micro-batch, so a
checkpoint needs no random state.

A step waits for nothing that the device computes: whether a gradient is finite is decided there, and what it found is read with
the next log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from voxbeam.models.batch import Batch
from voxbeam.models.valle import ARModel, LossSums, ModelConfig, NARModel, draw_levels, prompt_lengths
from voxbeam.schemas.errors import CheckpointError
from voxbeam.trainer.configs import TrainConfig
from voxbeam.trainer.lora import add_adapters, is_adapter, merged

_PARTS = ("weight", "average", "moment1", "moment2")
_ADAPTER_PARTS = ("adapter_weight", "adapter_average", "adapter_moment1", "adapter_moment2")
_FROZEN = "frozen"


class TrainState:
    """The AR or the NAR model with optimizer and averaged weights.

    `name` is "ar" or "nar". The code embeddings start as the codec's vectors `codebooks_KVC`, or at random without them. With a
    `lora_rank`, only adapters are trained and averaged, and `parameters` has no others.
    """

    def __init__(
        self,
        name: str,
        model_config: ModelConfig,
        config: TrainConfig,
        device: torch.device,
        codebooks_KVC: Tensor | None = None,
    ) -> None:
        torch.manual_seed(config.seed)  # the same initial weights on every rank
        self.name, self.config, self.device = name, config, device
        self.model: ARModel | NARModel = (ARModel if name == "ar" else NARModel)(model_config).to(device)
        if codebooks_KVC is not None:
            self.model.init_from_codec(codebooks_KVC)
        if config.lora_rank:
            add_adapters(self.model, config.lora_rank, config.lora_alpha)
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        if config.compile:
            for layer in self.model.transformer.layers:
                layer.compile(dynamic=True)
        self.wrapped: nn.Module = DistributedDataParallel(self.model) if self.world > 1 else self.model
        everything = dict(self.model.named_parameters())
        self.parameters = {name: value for name, value in everything.items() if value.requires_grad}
        self.frozen = {name: value for name, value in everything.items() if not value.requires_grad}
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.optimizer = build_optimizer(self.parameters, config)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        """steps in a row, up to the last one, that were skipped because their gradient was not finite"""

    @torch.no_grad()
    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begins with the weights of a trained model. Raises CheckpointError, naming a weight, for a model of other sizes."""
        for name, parameter in (self.parameters | self.frozen).items():
            if is_adapter(name):
                continue
            if name not in weights or weights[name].shape != parameter.shape:
                there = "is missing" if name not in weights else f"has the shape {list(weights[name].shape)}"
                raise CheckpointError(
                    f"the {self.name} model to begin with has other sizes: {name} {there}, not {list(parameter.shape)}",
                    remedy="train with the sizes of that model (--config)",
                )
            for target in (parameter, *([self.average[name]] if name in self.average else [])):
                target.copy_(weights[name])

    def count_frames(self, batches: Sequence[Batch]) -> int:
        """Positions in these batches that have a loss in this model."""
        real = [batch for batch in batches if not batch.is_dummy]
        if self.name == "ar":
            return sum(batch.frames + len(batch.keys) for batch in real)
        return sum(batch.frames - int(prompt_lengths(batch).sum()) for batch in real)

    def update(self, batches: Sequence[Batch], step: int, rank: int, frames: int) -> tuple[LossSums, Tensor]:
        """One optimizer step on this rank's micro-batches; `frames` is the number of loss positions on all ranks.

        A gradient that is not finite changes nothing but `skipped`. Returns this rank's loss sums, 0 for such a step, and the
        gradient norm before clipping, all on the device.
        """
        config = self.config
        self.model.train()
        rate = learning_rate(step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        sums = []
        for number, batch in enumerate(batches):
            torch.manual_seed(hash((config.seed, step, rank, number)))
            with self._gradient_sync(number == len(batches) - 1):
                losses = mask_loss(self._forward(batch, step), batch)
                # DDP averages gradients over ranks, while `frames` counts all ranks
                (losses.loss * (self.world / frames)).backward()
            sums.append(LossSums(*(value.detach() for value in losses)))
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), config.max_grad_norm, foreach=True)
        unusable = ~norm.isfinite()  # of the gradient of all ranks, so that all ranks decide alike
        self.optimizer.found_inf = unusable.float()  # type: ignore[attr-defined]  # what a gradient scaler sets
        self.optimizer.step()
        self.skipped = torch.where(unusable, self.skipped + 1, 0)
        self._update_average(step)
        return LossSums(*(torch.where(unusable, 0, value) for value in sum_losses(sums))), norm

    def _forward(self, batch: Batch, step: int) -> LossSums:
        levels: tuple[Tensor, ...] = ()
        if isinstance(self.model, NARModel):  # drawn on the host, since what a list becomes on the device is waited for
            levels = draw_levels(batch, self.model.n_codebooks, seed=self.config.seed + step)
        if self.device.type == "cuda":  # only from pinned memory is a copy not waited for
            batch, levels = batch.pin(), tuple(level.pin_memory() for level in levels)
        batch = batch.to(self.device)
        levels = tuple(level.to(self.device, non_blocking=True) for level in levels)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            losses: LossSums = self.wrapped(batch, *levels)
        return losses

    @contextmanager
    def _gradient_sync(self, last: bool) -> Iterator[None]:
        """Ranks exchange gradients only with the last micro-batch of a step."""
        deferred = isinstance(self.wrapped, DistributedDataParallel) and not last
        with cast(DistributedDataParallel, self.wrapped).no_sync() if deferred else nullcontext():
            yield

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        # a lower decay in the first steps, so that the average forgets the initial weights sooner
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.values()), list(self.parameters.values()), 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside this context the model has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.parameters.items():
            saved = value.detach().clone()
            value.copy_(self.average[name])
            self.average[name].copy_(saved)

    def is_finite(self) -> bool:
        """Whether all weights, averages and moments are numbers."""
        tensors = [*self.parameters.values(), *self.average.values()]
        tensors += [value for moments in self.optimizer.state.values() for value in moments.values()]
        norms = torch.stack([norm.to(self.device) for norm in torch._foreach_norm(tensors, torch.inf)])
        return bool(norms.isfinite().all())

    @property
    def codebooks(self) -> range:
        """The codebooks that this model predicts."""
        return range(1) if isinstance(self.model, ARModel) else range(1, self.model.n_codebooks)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[int, LossSums]:
        """Loss sums per codebook: codebook 0 for the AR model, each further one for the NAR model.

        The AR model is judged on all frames of an utterance, but for those of a prompt that is other speech.
        """
        self.model.eval()
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            if isinstance(self.model, ARModel):
                return {0: mask_loss(self.model(batch, after_prompt=True), batch)}
            prompt_B = prompt_lengths(batch)
            return {
                level: mask_loss(self.model(batch, torch.full_like(prompt_B, level), prompt_B), batch) for level in self.codebooks
            }

    def tensors(self) -> dict[str, Tensor]:
        """The state for a checkpoint: copies on the CPU. `average` has the weights to speak with, with adapters merged."""
        found = {}
        for name, parameter in self.parameters.items():
            moments = self.optimizer.state[parameter]
            for part, value in zip(
                self._parts, (parameter, self.average[name], moments["exp_avg"], moments["exp_avg_sq"]), strict=True
            ):
                found[f"{part}/{name}"] = value
        if self.frozen:
            found |= {f"{_FROZEN}/{name}": value for name, value in self.frozen.items()}
            found |= {f"average/{name}": value for name, value in merged(self.model, self.average).items()}
        return {f"{self.name}/{key}": value.detach().to("cpu", copy=True).contiguous() for key, value in found.items()}

    @property
    def _parts(self) -> tuple[str, ...]:
        """What a checkpoint calls the tensors of a parameter."""
        return _ADAPTER_PARTS if self.frozen else _PARTS

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor], step: int) -> None:
        """Restores the state that `tensors()` returned after `step` steps."""
        for name, parameter in self.parameters.items():
            first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
            for part, target in zip(self._parts, (parameter, self.average[name], first, second), strict=True):
                target.copy_(tensors[f"{self.name}/{part}/{name}"])
            # a fused AdamW has the step on the device
            count = torch.tensor(float(step), device=self.device)
            self.optimizer.state[parameter] = {"step": count, "exp_avg": first, "exp_avg_sq": second}
        for name, parameter in self.frozen.items():
            parameter.copy_(tensors[f"{self.name}/{_FROZEN}/{name}"])

    def flops(self, batches: Sequence[Batch]) -> float:
        """Floating-point operations of a training step on these batches.

        6 per weight and position, 4 per weight that is frozen, and 12 D per layer and pair of positions (PaLM, arXiv 2204.02311,
        appendix B). Padding and recomputation are not counted.
        """
        sizes = self.model.transformer.config
        weights = sizes.n_layers * (4 * sizes.d_model**2 + 2 * sizes.d_model * sizes.d_ff)
        pairs = positions = 0
        for batch in batches:
            S_B = batch.phone_lengths_B + batch.frame_lengths_B + 2
            positions, pairs = positions + int(S_B.sum()), pairs + int(S_B.square().sum())
        return (4.0 if self.frozen else 6.0) * weights * positions + 12.0 * sizes.n_layers * sizes.d_model * pairs


def build_optimizer(parameters: dict[str, nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only. The fused form can skip a step without asking the host."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up for `warmup_steps`, then linear decay to zero (VALL-E, section 5.1). Steps count from 0."""
    rising = (step + 1) / config.warmup_steps
    falling = (config.steps - step) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * min(1.0, rising, falling)


def mask_loss(losses: LossSums, batch: Batch) -> LossSums:
    """The loss sums, or zeros for a dummy batch."""
    return LossSums(*(value * 0 for value in losses)) if batch.is_dummy else losses


def sum_losses(losses: Sequence[LossSums]) -> LossSums:
    """The element-wise sum."""
    return LossSums(*(torch.stack(column).sum(0) for column in zip(*losses, strict=True)))
