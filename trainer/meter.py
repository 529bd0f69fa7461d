"""What a training run measures of its own steps: losses, gradient norms, speed, and the fraction of the device's peak (MFU)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from voxbeam.models.valle import LossSums
from voxbeam.trainer.configs import TrainConfig
from voxbeam.trainer.optimization import learning_rate, sum_losses

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""dense bf16 operations per second, from the vendors' data sheets, by a part of the device's name"""


class StepMeter:
    """Loss sums, gradient norms and work since the last log. What is on the device is read when it is logged."""

    def __init__(self) -> None:
        self.losses: dict[str, list[LossSums]] = {}
        self.grad_norms: dict[str, list[Tensor]] = {}
        self.frames, self.flops = 0, 0.0

    def add(self, name: str, losses: LossSums, grad_norm: Tensor, flops: float) -> None:
        self.losses.setdefault(name, []).append(losses)
        self.grad_norms.setdefault(name, []).append(grad_norm)
        self.flops += flops

    def metrics(
        self,
        config: TrainConfig,
        step: int,
        seconds: float,
        device: torch.device,
        sum_over_ranks: Callable[[Sequence[float]], list[float]],
    ) -> dict[str, float]:
        """The metrics of these steps, the last of which was number `step`, over all ranks."""
        metrics = {"train/learning_rate": learning_rate(step - 1, config)}
        for name, losses in self.losses.items():
            loss, frames, top1, top10 = sum_over_ranks([float(value) for value in sum_losses(losses)])
            frames = frames or math.nan  # no step had an update
            norms = torch.stack(self.grad_norms[name])
            metrics |= {f"train/{name}/loss": loss / frames, f"train/{name}/gradient_norm": float(norms[-1])}
            metrics |= {f"train/{name}/top1": top1 / frames, f"train/{name}/top10": top10 / frames}
            metrics |= {f"train/{name}/skipped": float((~norms.isfinite()).sum())}
        frames, flops = sum_over_ranks([self.frames, self.flops])
        metrics["train/frames_per_second"] = frames / seconds
        if peak := peak_flops(device):
            world = dist.get_world_size() if dist.is_initialized() else 1
            metrics["train/mfu"] = flops / seconds / (peak * world)
        return metrics


def peak_flops(device: torch.device) -> float | None:
    """Peak bf16 operations per second of a known GPU; None for others and for a CPU."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)
