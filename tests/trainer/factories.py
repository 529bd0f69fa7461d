"""Synthetic data for the trainer's tests: utterances of random codes, a batch source of them, and a tiny trainer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ModelConfig
from voxbeam.trainer.configs import TrainConfig
from voxbeam.trainer.training import Trainer

SIZES = TransformerConfig(n_layers=2, n_heads=2, d_model=32, d_ff=64, dropout=0.1)
PHONES = [f"p{number}" for number in range(20)]
MODEL = ModelConfig(n_phones=len(PHONES), phones=tuple(PHONES), codebook_size=32, transformer=SIZES)
CONFIG = TrainConfig(
    transformer=SIZES,
    codebook_size=32,
    steps=8,
    warmup_steps=2,
    learning_rate=3e-3,
    bf16=False,
    log_every=4,
    save_every=3,
    validate_every=4,
)


def utterance(number: int) -> TokenizedUtterance:
    rng = np.random.default_rng(number)
    return TokenizedUtterance(
        key=f"u{number}",
        phones_L=rng.integers(1, 20, rng.integers(3, 9)),
        codes_KT=rng.integers(0, 32, (8, rng.integers(8, 20)), dtype=np.int16),
    )


def fake_steps(state: int, rank: int = 0, world: int = 1, pieces: int = 1) -> Iterator[tuple[list[Batch], int]]:
    """Endless steps of four of twelve utterances, divided among ranks and into micro-batches, the last of which may be empty."""
    while True:
        rows = [(4 * state + i) % 12 for i in range(4)][rank::world]
        state += 1
        parts = [rows[piece::pieces] for piece in range(pieces)]
        batches = [collate([utterance(number) for number in part or rows[-1:]]) for part in parts]
        yield [replace(batch, is_dummy=len(part) == 0) for batch, part in zip(batches, parts, strict=True)], state


def make_trainer(uri: str, config: TrainConfig = CONFIG, *, rank: int = 0, world: int = 1, pieces: int = 1) -> Trainer:
    source = partial(fake_steps, rank=rank, world=world, pieces=pieces)
    return Trainer(config, PHONES, source, fake_steps, uri)


if __name__ == "__main__":  # a run that a test may kill: factories.py FOLDER STEPS SAVE_EVERY
    torch.set_num_threads(1)
    steps, save_every = map(int, sys.argv[2:])
    make_trainer(sys.argv[1], replace(CONFIG, steps=steps, save_every=save_every, validate_every=steps, log_every=1)).train()
