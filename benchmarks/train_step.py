"""Train step: frames per second of processor time of complete training steps, on one thread of a CPU.

    python benchmarks/train_step.py [--sizes tiny base] [--bf16]

Processor time, so that other work on the machine counts little; the better of two rounds over three batches of three utterances.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ModelConfig
from voxbeam.trainer.configs import overfit_cpu
from voxbeam.trainer.optimization import TrainState

SIZES = {
    "tiny": TransformerConfig(n_layers=3, n_heads=4, d_model=128, d_ff=512, dropout=0.0),
    "base": TransformerConfig(n_layers=6, n_heads=4, d_model=256, d_ff=1024, dropout=0.1),
}
N_PHONES = 70


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--bf16", action="store_true", help="bfloat16 as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    batches = [make_batch(rng, number) for number in range(3)]
    for size in arguments.sizes:
        for name in ("ar", "nar"):
            for bf16 in (False, True) if arguments.bf16 else (False,):
                rate = measure(name, SIZES[size], bf16, batches)
                print(f"{size} {name} {'bf16' if bf16 else 'fp32'}: {rate:,.0f} frames per second of processor time", flush=True)


def make_batch(rng: np.random.Generator, number: int) -> Batch:
    """Three utterances of 9 to 13 s."""
    rows = []
    for row, frames in enumerate(rng.integers(700, 1000, 3).tolist()):
        phones_L = rng.integers(1, N_PHONES, frames // 8)
        codes_KT = rng.integers(0, 1024, (8, frames), dtype=np.int16)
        rows.append(TokenizedUtterance(key=f"u{number}{row}", phones_L=phones_L, codes_KT=codes_KT))
    return collate(rows)


def measure(name: str, sizes: TransformerConfig, bf16: bool, batches: list[Batch]) -> float:
    config = replace(overfit_cpu(), transformer=sizes, bf16=bf16)
    state = TrainState(name, ModelConfig(n_phones=N_PHONES, transformer=sizes), config, torch.device("cpu"))
    state.update(batches[:1], 0, 0, state.count_frames(batches[:1]))
    seconds = []
    for _ in range(2):
        began = time.process_time()
        for number, batch in enumerate(batches):
            state.update([batch], number, 0, state.count_frames([batch]))
        seconds.append(time.process_time() - began)
    return sum(batch.frames for batch in batches) / min(seconds)


if __name__ == "__main__":
    main()
