"""Tunes the NAR model to a prompt before it speaks, so that what is said is more like it.

The prompt is all that is known of the voice: for a few steps, the model continues its beginning, of random lengths, with the rest
of it. The AR model stays as it is. docs/measured.md has the figures.

Shapes: P prompt frames, B = 3 levels, K codebooks.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from voxbeam.models.batch import TokenizedUtterance, collate
from voxbeam.models.valle import NARModel
from voxbeam.synthesis.generate import model_device
from voxbeam.synthesis.text import phone_ids

if TYPE_CHECKING:
    from voxbeam.synthesis.synthesizer import Synthesizer

STEPS = 5
"""more steps know the prompt by heart, and are no more like the voice"""
LEARNING_RATE = 3e-4
SHORTEST, LONGEST = 0.15, 0.6
"""of a prompt that are given in a step, as a share of it"""


def adapted(voice: Synthesizer) -> Synthesizer:
    """A synthesizer whose NAR model is tuned to its prompt. Raises ConsentError for a prompt without consent."""
    voice.require_consent()
    ids = phone_ids([voice.prompt_text], voice.phonemizer, voice.phone_set)
    other = copy.copy(voice)
    other.nar = adapt(voice.nar, np.array(ids, np.int64), voice.prompt_KP)
    return other


def adapt(nar: NARModel, phones_L: NDArray[np.integer], prompt_KP: NDArray[np.int16], steps: int = STEPS) -> NARModel:
    """A copy of the model after some steps on a prompt; the same for the same prompt."""
    tuned = copy.deepcopy(nar).eval()  # without dropout, so that nothing is drawn from torch's generator
    optimizer = torch.optim.AdamW(tuned.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    rng = np.random.default_rng(0)
    frames, device = prompt_KP.shape[1], model_device(nar)
    batch = collate([TokenizedUtterance("prompt", phones_L, prompt_KP)] * 3).to(device)
    for _ in range(steps):
        # the first of the levels is what a listener hears most
        level_B = torch.tensor([1, int(rng.integers(2, 4)), int(rng.integers(4, nar.n_codebooks))], device=device)
        given_B = torch.tensor([max(1, int(frames * share)) for share in rng.uniform(SHORTEST, LONGEST, 3)], device=device)
        sums = tuned(batch, level_B, given_B)
        optimizer.zero_grad(set_to_none=True)
        (sums.loss / sums.frames).backward()
        torch.nn.utils.clip_grad_norm_(tuned.parameters(), 1.0)
        optimizer.step()
    return tuned.requires_grad_(False)
