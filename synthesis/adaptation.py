"""Tunes both models to a prompt before they speak, so that what is said is more like it.

The prompt is all that is known of the voice. For a few steps, the AR model learns it as it learned speech, and the NAR model
continues its beginning, of random lengths, with the rest of it. docs/measured.md has the figures.

Shapes: L phones, P prompt frames, K codebooks.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.models.valle import ARModel, NARModel
from voxbeam.synthesis.generate import model_device
from voxbeam.synthesis.text import phone_ids

if TYPE_CHECKING:
    from voxbeam.synthesis.synthesizer import Synthesizer

AR_STEPS, NAR_STEPS = 6, 8
"""the loss of the AR model on a prompt falls to a third in as many"""
LEARNING_RATE = 1e-4
SHORTEST, LONGEST = 0.15, 0.6
"""of a prompt that the NAR model is given in a step, as a share of it"""


def adapted(voice: Synthesizer) -> Synthesizer:
    """A synthesizer whose models are tuned to its prompt. Raises ConsentError for a prompt without consent."""
    voice.require_consent()
    ids = np.array(phone_ids([voice.prompt_text], voice.phonemizer, voice.phone_set), np.int64)
    other = copy.copy(voice)
    other.ar, other.nar = adapt_ar(voice.ar, ids, voice.prompt_KP), adapt_nar(voice.nar, ids, voice.prompt_KP)
    return other


def adapt_ar(ar: ARModel, phones_L: NDArray[np.integer[Any]], prompt_KP: NDArray[np.int16]) -> ARModel:
    """A copy of the model after some steps on a prompt; the same for the same prompt. The end is no part of the lesson."""
    tuned, batch = copy.deepcopy(ar).eval(), _batch(ar, phones_L, prompt_KP, 1)  # no dropout: nothing is drawn from torch
    codes_BT = batch.codes_BKT[:, 0].long()
    optimizer = _optimizer(tuned)
    for _ in range(AR_STEPS):
        x_BSD, _ = tuned.text_embedding(batch.phones_BL, batch.phone_lengths_B)
        input_BT = nn.functional.pad(codes_BT, (1, 0), value=tuned.start_id)[:, :-1]
        y_BSD = tuned.transformer(torch.cat([x_BSD, tuned.embed_codes(input_BT, 0)], dim=1), None)
        logits_BTV = tuned.logits(y_BSD[:, x_BSD.shape[1] :])
        _step(tuned, optimizer, nn.functional.cross_entropy(logits_BTV.flatten(0, 1), codes_BT.flatten()))
    return tuned.requires_grad_(False)


def adapt_nar(nar: NARModel, phones_L: NDArray[np.integer[Any]], prompt_KP: NDArray[np.int16]) -> NARModel:
    """A copy of the model after some steps on a prompt; the same for the same prompt."""
    tuned, batch = copy.deepcopy(nar).eval(), _batch(nar, phones_L, prompt_KP, 3)
    optimizer, rng = _optimizer(tuned), np.random.default_rng(0)
    device, frames = model_device(nar), prompt_KP.shape[1]
    for _ in range(NAR_STEPS):
        # the second codebook, which is heard most, in every step
        level_B = torch.tensor([1, int(rng.integers(2, 4)), int(rng.integers(4, nar.n_codebooks))], device=device)
        given_B = torch.tensor([int(frames * share) for share in rng.uniform(SHORTEST, LONGEST, 3)], device=device)
        sums = tuned(batch, level_B, given_B)
        _step(tuned, optimizer, sums.loss / sums.frames)
    return tuned.requires_grad_(False)


def _batch(model: nn.Module, phones_L: NDArray[np.integer[Any]], prompt_KP: NDArray[np.int16], rows: int) -> Batch:
    return collate([TokenizedUtterance("prompt", phones_L, prompt_KP)] * rows).to(model_device(model))


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
