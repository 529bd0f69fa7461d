"""Synthetic utterances for the AR and the NAR model, at the paper's size or at one that a CPU runs in no time.

Shapes: as in `voxbeam.models.batch`.
"""

from __future__ import annotations

import numpy as np

from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ModelConfig
from voxbeam.schemas.formats import CODEBOOK_SIZE, N_CODEBOOKS

N_PHONES = 100
FRAMES_PER_PHONE = 6
PAPER = ModelConfig(n_phones=N_PHONES)
"""VALL-E's: 12 layers, 16 heads, d_model 1024, d_ff 4096"""
TINY = ModelConfig(n_phones=N_PHONES, transformer=TransformerConfig(n_layers=2, n_heads=2, d_model=32, d_ff=64))
WINDOW = 8192
"""utterances that the stream sorts by length, so that a batch has little padding"""


def synthetic_batch(max_frames: int, seed: int, shortest: int = 600, longest: int = 1500) -> Batch:
    """Utterances of similar lengths, as in the stream: at most `max_frames` frames with padding, but at least one utterance."""
    rng = np.random.default_rng(seed)
    lengths = np.sort(rng.integers(shortest, longest + 1, WINDOW))[::-1]
    start = int(rng.integers(0, WINDOW // 2))
    count = max(1, max_frames // int(lengths[start]))
    return collate([synthetic_utterance(rng, f"{seed}/{row}", int(n)) for row, n in enumerate(lengths[start : start + count])])


def synthetic_utterance(rng: np.random.Generator, key: str, frames: int) -> TokenizedUtterance:
    """Random phones and codes of that many frames."""
    phones_L = rng.integers(1, N_PHONES, max(1, frames // FRAMES_PER_PHONE))
    codes_KT = rng.integers(0, CODEBOOK_SIZE, (N_CODEBOOKS, frames), dtype=np.int16)
    return TokenizedUtterance(key=key, phones_L=phones_L, codes_KT=codes_KT)
