"""Batch: what one training step sees. `stream` makes it; `model` and `fit` read it.

Shapes: B utterances, L phones, T frames (75 per second), K = 8 codebooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PAD_PHONE = 0
"""the phone set's `<pad>`"""


class Utterance(NamedTuple):
    """One sample, or a crop of one, as numbers; perhaps behind a prompt, another utterance of its speaker."""

    key: str
    phones_L: NDArray[np.integer[Any]]
    """ids of the release's phone set, the prompt's first"""
    codes_KT: NDArray[np.int16]
    """0..1023, coarsest book first"""
    prompt_frames: int = 0
    """how many frames the prompt has"""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Utterances of different lengths side by side. What lies beyond a length is padding, and must not change anything."""

    keys: tuple[str, ...]
    phones_BL: Tensor
    """int64; `PAD_PHONE` beyond the length"""
    phone_lengths_B: Tensor
    codes_BKT: Tensor
    """int16, as it travels; 0 beyond the length"""
    frame_lengths_B: Tensor
    prompt_lengths_B: Tensor
    """frames of another utterance of the speaker that stand first; 0 where there is none"""
    counted: bool = True
    """False where it only keeps a rank that has no sample in step with the others: its loss must not count"""

    @property
    def codes_BTK(self) -> Tensor:
        """The codes as models read them, int64."""
        return self.codes_BKT.transpose(1, 2).long()

    @property
    def frames(self) -> int:
        """Frames that are not padding."""
        return int(self.frame_lengths_B.sum())

    def to(self, device: torch.device | str) -> Batch:
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def collate(utterances: Sequence[Utterance]) -> Batch:
    """Pads utterances to the longest. Raises ValueError for none at all."""
    if not utterances:
        raise ValueError("a batch needs at least one utterance")
    phone_lengths = [len(u.phones_L) for u in utterances]
    frame_lengths = [u.codes_KT.shape[1] for u in utterances]
    phones_BL = np.full((len(utterances), max(phone_lengths)), PAD_PHONE, np.int64)
    codes_BKT = np.zeros((len(utterances), len(utterances[0].codes_KT), max(frame_lengths)), np.int16)
    for row, utterance in enumerate(utterances):
        phones_BL[row, : phone_lengths[row]] = utterance.phones_L
        codes_BKT[row, :, : frame_lengths[row]] = utterance.codes_KT
    return Batch(
        keys=tuple(u.key for u in utterances),
        phones_BL=torch.from_numpy(phones_BL),
        phone_lengths_B=torch.tensor(phone_lengths),
        codes_BKT=torch.from_numpy(codes_BKT),
        frame_lengths_B=torch.tensor(frame_lengths),
        prompt_lengths_B=torch.tensor([u.prompt_frames for u in utterances]),
    )
