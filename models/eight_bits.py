"""Weights of 8 bits, as the voice that ships is stored, and linear layers that compute with them on a CPU.

A step of the AR model reads every weight for one frame, so its time is that of reading them: a quarter of the bytes halves it.

Shapes: M rows, D inputs, N outputs.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
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


def with_eight_bits(model: Model) -> Model:
    """A copy of a model whose linear layers have 8 bits a weight; all other parameters are shared.

    Layers that are more than linear ones, as those with adapters, stay as they are.
    """
    made = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, EightBitLinear(child))
    return made


def quantize(value: Tensor) -> tuple[Tensor, Tensor]:
    """Values as int8, and the float32 scale of each row [..., 1]."""
    scale = value.float().abs().amax(-1, keepdim=True).clamp(min=1e-8) / 127
    return (value.float() / scale).round().to(torch.int8), scale


def dequantize(value: Tensor, scale: Tensor) -> Tensor:
    """The float32 values of `quantize`; each differs by at most half a scale."""
    return value.float() * scale
