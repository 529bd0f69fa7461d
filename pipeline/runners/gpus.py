"""GPUs of this machine: a local build with `device: cuda` has one worker per GPU, each with one set of models."""

import os

import torch

from voxbeam.schemas.errors import ModelError


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. Raises ModelError when there is none."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        gpus = [name for name in map(str.strip, named.split(",")) if name and name != "-1"]
    else:
        gpus = [str(number) for number in range(torch.cuda.device_count())]
    if not gpus:
        raise ModelError(
            "the configuration says `device: cuda`, and no GPU is visible here",
            remedy="set `device: cpu`, or check `nvidia-smi` and CUDA_VISIBLE_DEVICES",
        )
    return gpus


def assign_gpu(worker_id: str, gpus: list[str]) -> str:
    """The GPU of a local worker, which Beam names by number: `worker_3`. If there are more workers than GPUs, they share them."""
    return gpus[int(worker_id.rpartition("_")[2]) % len(gpus)]
