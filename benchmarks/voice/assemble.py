"""Joins the weights that `learn.py` left to a run that `Synthesizer.load` opens.

    python -m benchmarks.voice.assemble OUT RUN [--int8]

RUN gets the runs `ar` and `nar`, one checkpoint each. --int8 rounds the matrices to 8 bits per value with one scale per row, to
hear what that costs; the file stays bfloat16.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from voxbeam.models import checkpoint
from voxbeam.models.codec import EMBEDDED_WEIGHTS
from voxbeam.models.transformer import TransformerConfig
from voxbeam.trainer.configs import TrainConfig


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--int8", action="store_true")
    arguments = parser.parse_args()
    for name in ("ar", "nar"):
        files = sorted(arguments.out.glob(f"{name}-*.safetensors"))
        tensors: dict[str, Tensor] = {}
        for file in files:
            tensors |= load_file(file)
        with safe_open(files[0], framework="pt") as opened:
            facts = opened.metadata()
        model = json.loads(facts["model"])
        if arguments.int8:
            tensors = {key: round_to_8_bits(value) if value.ndim >= 2 else value for key, value in tensors.items()}
        config = TrainConfig(
            transformer=TransformerConfig(**model["transformer"]),
            train_models=(name,),
            steps=int(facts["steps"]),
            warmup_steps=200,
        )
        contents = {
            "step": int(facts["steps"]),
            "loader_state": 0,
            "data_fingerprint": "",
            "codec_sha256": hashlib.sha256(EMBEDDED_WEIGHTS.read_bytes()).hexdigest(),
            "config": asdict(config),
            "model": model,
        }
        store = checkpoint.checkpoint_store(f"{arguments.run.resolve()}/{name}")
        weights = {f"{name}/average/{key}": value.to(torch.bfloat16).contiguous() for key, value in tensors.items()}
        checkpoint.write(store, int(facts["steps"]), checkpoint.Checkpoint(weights, contents), keep_last=1)
        print(f"{name}: {sum(value.numel() for value in tensors.values()) / 1e6:.2f} million weights, {facts['steps']} steps")


def round_to_8_bits(value: Tensor) -> Tensor:
    scale = value.float().abs().amax(-1, keepdim=True).clamp(min=1e-8) / 127
    return (value.float() / scale).round() * scale


if __name__ == "__main__":
    main()
