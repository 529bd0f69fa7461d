"""Sampling: which code comes next.

Nucleus sampling, and VALL-E 2's answer to loops of one code (arXiv 2406.05370, section 3.3): a drawn code that fills too much
of the recent past is drawn again, from everything.

Shapes: B utterances, V codes (the last is the end mark), H recent codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How codes are drawn. `window` and `ratio` are VALL-E 2's K and t_r."""

    top_p: float = 0.9
    temperature: float = 1.0
    window: int = 10
    ratio: float = 0.1


def nucleus(logits_BV: Tensor, top_p: float) -> Tensor:
    """Logits in which all but the likeliest codes that together reach `top_p` are -inf. The likeliest always stays."""
    sorted_BV, order_BV = logits_BV.sort(dim=1, descending=True)
    probability_BV = sorted_BV.softmax(1)
    beyond_BV = probability_BV.cumsum(1) - probability_BV >= top_p
    beyond_BV[:, 0] = False
    return logits_BV.masked_fill(beyond_BV.scatter(1, order_BV, beyond_BV), -torch.inf)


def draw(logits_BV: Tensor, recent_BH: Tensor, config: SamplingConfig, generator: torch.Generator) -> Tensor:
    """The next code of every utterance [B]. `recent` holds the codes before it, the newest last, -1 where there is none.

    The end mark is never drawn again: it can stand only once.
    """
    logits_BV = logits_BV.float() / config.temperature
    code_B = torch.multinomial(nucleus(logits_BV, config.top_p).softmax(1), 1, generator=generator)[:, 0]
    again_B = torch.multinomial(logits_BV.softmax(1), 1, generator=generator)[:, 0]
    repeated_B = (recent_BH[:, -config.window :] == code_B[:, None]).sum(1) / config.window > config.ratio
    return torch.where(repeated_B, again_B, code_B)
