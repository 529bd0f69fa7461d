"""Layers of 8 bits a weight: they are the layers that they replace, up to the rounding of bfloat16."""

import pytest
import torch
from torch import nn

from voxbeam.models.eight_bits import EightBitLinear, dequantize, quantize, with_eight_bits
from voxbeam.trainer.lora import LoraLinear

STEP = 2.0**-8
"""of bfloat16, relative to a value"""


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(5)
    linear = nn.Linear(384, 1025)
    with torch.no_grad():
        linear.weight[3] *= 100  # a row with a scale of its own
        linear.weight.copy_(dequantize(*quantize(linear.weight)))
    return linear


@torch.inference_mode()
def test_a_layer_gives_what_the_one_in_its_place_gives(linear: nn.Linear) -> None:
    x = torch.randn(2, 7, 384)
    told, known = EightBitLinear(linear)(x), linear(x)
    assert told.dtype == torch.float32 and told.shape == known.shape
    size = (x.abs() @ linear.weight.abs().T) + linear.bias.abs()  # what rounding is relative to
    assert ((told - known).abs() <= 2 * STEP * size).all()
    assert (told - known).abs().mean() <= 0.1 * STEP * size.mean()  # errors are not all of one sign


def test_stored_weights_are_read_as_they_were_stored(linear: nn.Linear) -> None:
    layer = EightBitLinear(linear)
    assert torch.equal(dequantize(layer.weight_ND, layer.scale_N[:, None]), linear.weight)


def test_a_copy_shares_all_other_parameters_and_leaves_the_model() -> None:
    embedding, inner = nn.Embedding(9, 8), nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    copied, layers = with_eight_bits(nn.Sequential(embedding, inner)).children()
    assert isinstance(inner[0], nn.Linear) and isinstance(layers.get_submodule("0"), EightBitLinear)
    assert copied.weight is embedding.weight and layers.get_submodule("1").weight is inner[1].weight


def test_a_layer_with_an_adapter_keeps_it() -> None:
    adapted = LoraLinear(nn.Linear(8, 16), rank=2, alpha=4.0)
    with torch.no_grad():
        adapted.lora_up.fill_(3.0)
    made, x = with_eight_bits(nn.Sequential(adapted, nn.Linear(16, 16))), torch.randn(4, 8)
    assert torch.equal(made[0](x), adapted(x)) and isinstance(made[1], EightBitLinear)
