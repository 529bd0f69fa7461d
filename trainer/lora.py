"""Adapters of low rank (LoRA, Hu et al. 2021, arXiv 2106.09685): fine-tuning that changes few weights.

The linear layers of attention and MLP get a correction of rank R beside their weight, which is frozen with everything else. It
begins as zero. Merged into the weight, it costs nothing in synthesis: a checkpoint's averaged weights are merged ones, so that
whatever reads a run need not know of adapters.

Shapes: I inputs, O outputs, R rank; others as in the models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ADAPTED = ("qkv_proj", "out_proj", "up_proj", "down_proj")
"""the linear layers of a Transformer block"""
_DOWN, _UP = "lora_down", "lora_up"


class LoraLinear(nn.Linear):
    """A linear layer W x + b with a correction (alpha / R) U D x. W and b keep their names and are frozen."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.scale = base.in_features, base.out_features, alpha / rank
        self.weight, self.bias = base.weight, base.bias
        device = base.weight.device
        self.lora_down = nn.Parameter(torch.randn(rank, base.in_features, device=device) / math.sqrt(base.in_features))
        self.lora_up = nn.Parameter(torch.zeros(base.out_features, rank, device=device))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + F.linear(F.linear(input, self.lora_down), self.lora_up) * self.scale


def add_adapters(model: nn.Module, rank: int, alpha: float) -> None:
    """Gives a model's `ADAPTED` layers adapters that change nothing yet, and freezes all other weights."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in ADAPTED and isinstance(child, nn.Linear):
                setattr(module, name, LoraLinear(child, rank, alpha))


@torch.no_grad()
def merged(model: nn.Module, adapters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the plain model that computes what this one does with these adapters, by the names of its parameters."""
    weights = {name: value.detach() for name, value in model.named_parameters() if not is_adapter(name)}
    for prefix, module in model.named_modules():
        if isinstance(module, LoraLinear):
            change_OI = adapters[f"{prefix}.{_UP}"] @ adapters[f"{prefix}.{_DOWN}"] * module.scale
            weights[f"{prefix}.weight"] = module.weight + change_OI
    return weights


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return name.endswith((_UP, _DOWN))
