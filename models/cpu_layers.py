"""Linear layers of lower precision, with which a CPU generates codes faster.

A step of the AR model reads every weight for one frame, so its time is that of reading them: `EightBitLinear`. The NAR model
computes hundreds of frames at once, so its time is that of multiplying: `BFloat16Linear`. Sums are float32 in both, and so is all
between the layers. Codes are not those of float32 from the first frame on which two codes are nearly as likely.

Shapes: M rows, D inputs, N outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class EightBitLinear(nn.Module):
    """A linear layer with int8 weights and one float32 scale for each output, of bfloat16 inputs.

    A matrix that was stored by `quantize`, as those of the voice that ships, is read as it was stored; of another one, each
    weight changes by at most half a scale.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight_ND, scale_N1 = quantize(linear.weight.detach())
        self.scale_N, self.bias = scale_N1[:, 0], linear.bias
        self.ones_N = torch.ones_like(self.scale_N, dtype=torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [..., N] of inputs [..., D]."""
        x_MD = x.reshape(-1, x.shape[-1]).bfloat16()
        # the scales of this kernel are bfloat16, too coarse for the weights: they come after it
        y_MN = torch.ops.aten._weight_int8pack_mm(x_MD, self.weight_ND, self.ones_N)
        return torch.addcmul(self.bias, y_MN.float(), self.scale_N).view(*x.shape[:-1], -1)


class BFloat16Linear(nn.Module):
    """A linear layer of bfloat16 inputs and weights, twice as fast on a CPU that multiplies them (`multiplies_bfloat16`)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight_ND, self.bias = linear.weight.detach().bfloat16(), linear.bias.detach().bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [..., N] of inputs [..., D]."""
        return F.linear(x.bfloat16(), self.weight_ND, self.bias).float()


def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions that multiply bfloat16; where they are emulated, float32 is as fast."""
    return bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))


def with_layers(model: Model, layer: Callable[[nn.Linear], nn.Module]) -> Model:
    """A copy of a model with other linear layers; all other parameters are shared."""
    made = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, layer(child))
    return made


def quantize(value: Tensor) -> tuple[Tensor, Tensor]:
    """Values as int8, and the float32 scale of each row [..., 1]."""
    scale = value.float().abs().amax(-1, keepdim=True).clamp(min=1e-8) / 127
    return (value.float() / scale).round().to(torch.int8), scale


def dequantize(value: Tensor, scale: Tensor) -> Tensor:
    """The float32 values of `quantize`; each differs by at most half a scale."""
    return value.float() * scale
