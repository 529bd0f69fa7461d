"""Joins the weights that `learn.py` left to a run that `Synthesizer.load` opens.

    python -m benchmarks.voice.assemble OUT RUN [--ship FILE]

RUN gets the runs `ar` and `nar`, one checkpoint each. --ship also writes both as the one file of 8 bits a value that
`models/embedded_voice.py` reads.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from voxbeam.models import checkpoint
from voxbeam.models.codec import EMBEDDED_WEIGHTS
from voxbeam.models.embedded_voice import pack_voice
from voxbeam.models.transformer import TransformerConfig
from voxbeam.storage.local_copies import sha256_of
from voxbeam.trainer.configs import TrainConfig


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--ship", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    checkpoints: dict[str, checkpoint.Checkpoint] = {}
    for name in ("ar", "nar"):
        files = sorted(arguments.out.glob(f"{name}-*.safetensors"))
        tensors: dict[str, Tensor] = {}
        for file in files:
            tensors |= load_file(file)
        with safe_open(files[0], framework="pt") as opened:
            facts = opened.metadata()
        model = json.loads(facts["model"])
        config = TrainConfig(
            transformer=TransformerConfig(**model["transformer"]),
            train_models=(name,),
            steps=int(facts["steps"]),
            warmup_steps=200,
        )
        contents = {
            "step": int(facts["steps"]),
            "loader_state": 0,
            "codec_sha256": sha256_of(EMBEDDED_WEIGHTS),
            "config": asdict(config),
            "model": model,
        }
        store = checkpoint.checkpoint_store(f"{arguments.run.resolve()}/{name}")
        weights = {f"{name}/average/{key}": value.to(torch.bfloat16).contiguous() for key, value in tensors.items()}
        checkpoints[name] = checkpoint.Checkpoint(weights, contents)
        checkpoint.write(store, int(facts["steps"]), checkpoints[name], keep_last=1)
        print(f"{name}: {sum(value.numel() for value in tensors.values()) / 1e6:.2f} million weights, {facts['steps']} steps")
    if arguments.ship:
        arguments.ship.write_bytes(pack_voice(checkpoints))
        print(f"{arguments.ship}: {arguments.ship.stat().st_size / 1e6:.2f} MB, sha256 {sha256_of(arguments.ship)}")


if __name__ == "__main__":
    main()
