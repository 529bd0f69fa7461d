"""Batch: what one training step sees. `stream` makes it; `model` and `fit` read it.

Shapes: B utterances, L phones, T frames (75 per second), K = 8 codebooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PAD_PHONE = 0
"""the inventory's `<pad>`"""


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One sample, or a crop of one, as numbers."""

    key: str
    speaker: str
    text: str
    phones_L: NDArray[np.int64]
    """ids of the release's phone inventory"""
    codes_KT: NDArray[np.int16]
    """0..1023, coarsest book first"""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Utterances of different lengths side by side. What lies beyond a length is padding, and must not change anything."""

    keys: tuple[str, ...]
    speakers: tuple[str, ...]
    phones_BL: Tensor
    """int64; `PAD_PHONE` beyond the length"""
    phone_lengths_B: Tensor
    codes_BTK: Tensor
    """int64; 0 beyond the length"""
    frame_lengths_B: Tensor
    counted: bool = True
    """False where it only keeps a rank that has no sample in step with the others: its loss must not count"""

    @property
    def frames(self) -> int:
        """Frames that are not padding."""
        return int(self.frame_lengths_B.sum())

    def to(self, device: torch.device | str) -> Batch:
        moved = {name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Batch(keys=self.keys, speakers=self.speakers, counted=self.counted, **moved)


def collate(utterances: Sequence[Utterance]) -> Batch:
    """Pads utterances to the longest. Raises ValueError for none at all."""
    if not utterances:
        raise ValueError("a batch needs at least one utterance")
    phone_lengths = [len(u.phones_L) for u in utterances]
    frame_lengths = [u.codes_KT.shape[1] for u in utterances]
    phones_BL = torch.full((len(utterances), max(phone_lengths)), PAD_PHONE, dtype=torch.int64)
    codes_BTK = torch.zeros(len(utterances), max(frame_lengths), len(utterances[0].codes_KT), dtype=torch.int64)
    for row, utterance in enumerate(utterances):
        phones_BL[row, : phone_lengths[row]] = torch.from_numpy(utterance.phones_L)
        codes_BTK[row, : frame_lengths[row]] = torch.from_numpy(utterance.codes_KT.T.astype(np.int64))
    return Batch(
        keys=tuple(u.key for u in utterances),
        speakers=tuple(u.speaker for u in utterances),
        phones_BL=phones_BL,
        phone_lengths_B=torch.tensor(phone_lengths),
        codes_BTK=codes_BTK,
        frame_lengths_B=torch.tensor(frame_lengths),
    )
