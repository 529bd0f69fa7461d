"""A training batch: padded phones and codes of several utterances.

Shapes: B utterances, L phones, T frames (75 per second), K = 8 codebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PAD_PHONE = 0
"""id of `<pad>` in the phone set"""


class TokenizedUtterance(NamedTuple):
    """One sample, or a crop of one, as integers. An acoustic prompt, if any, stands before it in both sequences."""

    key: str
    phones_L: NDArray[np.integer[Any]]
    """ids in the release's phone set, the prompt's first"""
    codes_KT: NDArray[np.int16]
    """codes 0 to 1023, first codebook first"""
    prompt_frames: int = 0
    """frames of the prompt; 0 without one"""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Utterances of different lengths, padded to the longest. Padding never changes a result."""

    keys: tuple[str, ...]
    phones_BL: Tensor
    """int64; `PAD_PHONE` beyond each length"""
    phone_lengths_B: Tensor
    codes_BKT: Tensor
    """int16, to save bandwidth; 0 beyond each length"""
    frame_lengths_B: Tensor
    prompt_lengths_B: Tensor
    """frames of the acoustic prompt, which is another utterance of the same speaker; 0 without one"""
    is_dummy: bool = False
    """True for the stand-in of a rank that has no samples in a step: its loss is masked"""

    @property
    def codes_BTK(self) -> Tensor:
        """Codes as the models read them, int64."""
        return self.codes_BKT.transpose(1, 2).long()

    @property
    def frames(self) -> int:
        """Number of frames without padding."""
        return int(self.frame_lengths_B.sum())

    def to(self, device: torch.device | str) -> Batch:
        return self._map(lambda value: value.to(device, non_blocking=True))

    def pin(self) -> Batch:
        """The batch in page-locked memory, from which a copy to a GPU does not wait."""
        return self._map(Tensor.pin_memory)

    def take(self, rows: Tensor) -> Batch:
        """Some of the utterances, by a mask [B] or by numbers."""
        kept = torch.arange(len(self.keys))[rows].tolist()
        return replace(self._map(lambda value: value[rows]), keys=tuple(self.keys[row] for row in kept))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {name: function(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **changed)


def collate(utterances: Sequence[TokenizedUtterance]) -> Batch:
    """Pads utterances to the longest. Raises ValueError for an empty list."""
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
