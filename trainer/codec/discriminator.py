"""Phase two of training a codec: a discriminator that hears spectra, and the balance between it and the other losses.

The discriminator is `stft_discriminator.py`, the balancer that of EnCodec, section 3.4. Every loss acts on the decoder's
output alone, so what is balanced is its gradient there.

Shapes: B batch, S samples at 24 kHz.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from voxbeam.trainer.codec.stft_discriminator import MultiScaleDiscriminator

LEARNING_SHARE = 2 / 3  # of the steps: otherwise the discriminator outruns a 24 kHz codec (section 4.4)


class Adversary:
    """The discriminator, its optimizer and the balancer: what a checkpoint keeps of phase two."""

    def __init__(self, filters: int, lr: float, device: str) -> None:
        self.discriminator = MultiScaleDiscriminator(filters).to(device)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=lr, betas=(0.5, 0.9))
        self.balancer = Balancer()

    def learn(self, x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
        """One update towards telling x, recorded, from y, decoded; gives back the hinge loss."""
        real, _ = self.discriminator(x_B1S)
        made, _ = self.discriminator(y_B1S.detach())
        loss = torch.stack([F.relu(1 - r.float()).mean() + F.relu(1 + m.float()).mean() for r, m in zip(real, made, strict=True)])
        self.optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        self.optimizer.step()
        return loss.mean().detach()

    def judge(self, x_B1S: Tensor, y_B1S: Tensor) -> dict[str, Tensor]:
        """The losses of the decoder: how surely y is told from x, and how far apart the discriminator's features of them are."""
        with torch.no_grad():
            _, features_x = self.discriminator(x_B1S)
        made, features_y = self.discriminator(y_B1S)
        pairs = [pair for xs, ys in zip(features_x, features_y, strict=True) for pair in zip(xs, ys, strict=True)]
        features = [(x.float() - y.float()).abs().mean() / x.float().abs().mean().clamp(min=1e-4) for x, y in pairs]
        return {
            "adversarial": torch.stack([F.relu(1 - m.float()).mean() for m in made]).mean(),
            "features": torch.stack(features).mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "balancer": self.balancer.norms,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.balancer.norms = dict(state["balancer"])


class Balancer:
    """Gives each loss the share of the gradient that its weight says, whatever its own scale (section 3.4)."""

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self.norms: dict[str, float] = {}  # moving averages

    def gradient(self, losses: Mapping[str, Tensor], weights: Mapping[str, float], y_B1S: Tensor) -> Tensor:
        """The gradient [B, 1, S] of all the losses for y: norm 1 when each is as large as it is on average."""
        total = sum(weights[name] for name in losses)
        balanced = torch.zeros_like(y_B1S)
        for name, loss in losses.items():
            if not weights[name]:
                continue
            (gradient,) = torch.autograd.grad(loss, y_B1S, retain_graph=True)
            norm = float(gradient.norm())
            self.norms[name] = self.decay * self.norms.get(name, norm) + (1 - self.decay) * norm
            balanced += weights[name] / total * gradient / max(self.norms[name], 1e-12)
        return balanced
