"""Sampling of the next code: nucleus sampling with VALL-E 2's repetition-aware fallback (arXiv 2406.05370, section 3.3).

A sampled code that already fills too much of the recent past is sampled again from the full distribution.

Shapes: B utterances, V codes (the last is the end token), H recent codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Sampling parameters. `repetition_window` and `max_repetition` are K and t_r of VALL-E 2.

    With `guidance` above zero, codes that the text makes likelier count more (classifier-free guidance, Ho and Salimans 2022,
    arXiv 2207.12598), for models that also learned speech without its text, as the voice that ships did. None is what is best
    for that voice (`models/embedded_voice.py`), and zero for another.
    """

    top_p: float = 0.8
    temperature: float = 1.0
    repetition_window: int = 10
    max_repetition: float = 0.1
    guidance: float | None = None

    def with_guidance(self, default: float) -> SamplingConfig:
        """With this guidance if it has none."""
        return self if self.guidance is not None else replace(self, guidance=default)


def nucleus(logits_BV: Tensor, top_p: float) -> Tensor:
    """Sets all logits to −∞ except those of the most likely codes that together reach `top_p`; at least one code remains."""
    sorted_BV, order_BV = logits_BV.sort(dim=1, descending=True)
    probability_BV = sorted_BV.softmax(1)
    beyond_BV = probability_BV.cumsum(1) - probability_BV >= top_p
    beyond_BV[:, 0] = False
    return logits_BV.masked_fill(beyond_BV.scatter(1, order_BV, beyond_BV), -torch.inf)


def guided(logits_CV: Tensor, guidance: float) -> Tensor:
    """Logits [B, V] of `C` = 2 B utterances, of which the second half are the first without their text.

    The end token keeps its probability: it has none without a text, which would count for far too much.
    """
    with_BV, without_BV = logits_CV.float().log_softmax(1).chunk(2)
    codes_BV = (with_BV + guidance * (with_BV - without_BV))[:, :-1].log_softmax(1)
    end_B1 = with_BV[:, -1:]
    going_on_B1 = torch.log1p(-end_B1.exp().clamp(max=1 - 1e-6))
    return torch.cat([codes_BV + going_on_B1, end_B1], 1)


def sample_codes(logits_BV: Tensor, recent_BH: Tensor, config: SamplingConfig, generator: torch.Generator) -> Tensor:
    """The next code of every utterance [B]. `recent_BH` has the previous codes, the newest last, −1 where there is none.

    The end token occurs only once, so it never counts as repeated.
    """
    logits_BV = logits_BV.float() / config.temperature
    code_B = torch.multinomial(nucleus(logits_BV, config.top_p).softmax(1), 1, generator=generator)[:, 0]
    again_B = torch.multinomial(logits_BV.softmax(1), 1, generator=generator)[:, 0]
    window = config.repetition_window
    repeated_B = (recent_BH[:, -window:] == code_B[:, None]).sum(1) / window > config.max_repetition
    return torch.where(repeated_B, again_B, code_B)
