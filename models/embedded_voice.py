"""The voice that ships with voxbeam: the averaged weights of an AR and a NAR model in one safetensors file of 8 bits a value.

A matrix is stored as int8 with one float32 scale for each row (the last dimension); vectors are stored as float16. Both become
float32 when they are loaded. Of a matrix that only ever reads the embeddings of the NAR model's levels, its products with them
are stored, as float16: they are fewer. assets/weights/voice.md says what the models learned from and what they can do.

Shapes: L levels, D = d_model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from voxbeam.assets import VOICE_WEIGHTS
from voxbeam.models.checkpoint import Checkpoint
from voxbeam.models.eight_bits import dequantize, quantize
from voxbeam.schemas.errors import CheckpointError
from voxbeam.storage.safetensors_io import pack, unpack

EMBEDDED_VOICE = "embedded"
"""what is given in place of a run"""
EMBEDDED_GUIDANCE = 0.5
"""of the sampling; chosen on other sentences and voices than those of its card"""
_KIND = "voice"
_SCALE = "/scale"
_MODULATION = "modulation.weight"
_AT_LEVELS = "/at_levels"
_LEVELS = "transformer.level_embedding.weight"


@cache
def embedded_voice() -> dict[str, Checkpoint]:
    """The checkpoints of the models `ar` and `nar` that ship with voxbeam."""
    return read_voice(VOICE_WEIGHTS)


def pack_voice(checkpoints: Mapping[str, Checkpoint]) -> bytes:
    """The file of the averaged weights of the models `ar` and `nar`."""
    tensors: dict[str, Tensor] = {}
    for name, checkpoint in checkpoints.items():
        for key, value in checkpoint.tensors.items():
            if not key.startswith(f"{name}/average/"):
                continue
            if value.ndim < 2:
                tensors[key] = value.to(torch.float16)
            elif key.endswith(_MODULATION):
                levels_LD = checkpoint.tensors[f"{name}/average/{_LEVELS}"].float()
                tensors[key + _AT_LEVELS] = (levels_LD @ value.float().T).to(torch.float16)
            else:
                tensors[key], tensors[key + _SCALE] = quantize(value)
    return pack(tensors, _KIND, {name: checkpoint.facts for name, checkpoint in checkpoints.items()})


def read_voice(path: Path) -> dict[str, Checkpoint]:
    """The checkpoints of the models of a file of `pack_voice`. Raises CheckpointError for another file, or none."""
    try:
        tensors, facts = unpack(path.read_bytes(), _KIND)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a voice ({error})", remedy="install voxbeam again") from error
    whole = {
        key: dequantize(value, tensors[key + _SCALE]) if value.dtype == torch.int8 else value.float()
        for key, value in tensors.items()
        if not key.endswith((_SCALE, _AT_LEVELS))
    }
    for key, value in tensors.items():
        if key.endswith(_AT_LEVELS):
            levels_LD = whole[f"{key.partition('/')[0]}/average/{_LEVELS}"]
            # the smallest of the matrices with these products
            whole[key.removesuffix(_AT_LEVELS)] = (torch.linalg.pinv(levels_LD) @ value.float()).T.contiguous()
    return {
        name: Checkpoint({key: value for key, value in whole.items() if key.startswith(f"{name}/")}, facts[name])
        for name in facts
    }
