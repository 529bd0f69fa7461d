"""Adversarial training of a codec: discriminator steps, generator losses and loss balancing (EnCodec, section 3.4).

The network is in `stft_discriminator.py`. Every loss depends only on the decoder's output, so gradients are balanced there.

Shapes: B batch, S samples at 24 kHz.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from voxbeam.trainer.codec.stft_discriminator import MultiScaleDiscriminator

DISCRIMINATOR_STEP_FRACTION = 2 / 3
"""fraction of steps that train the discriminator; more would let it overpower a 24 kHz codec (section 4.4)"""


class AdversarialLoss:
    """The discriminator, its optimizer and the loss balancer."""

    def __init__(self, filters: int, lr: float, device: str) -> None:
        self.discriminator = MultiScaleDiscriminator(filters).to(device)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=lr, betas=(0.5, 0.9))
        self.balancer = LossBalancer()

    def discriminator_step(self, x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
        """One optimizer step of the discriminator, on recorded x and decoded y. Returns the hinge loss."""
        real, _ = self.discriminator(x_B1S)
        made, _ = self.discriminator(y_B1S.detach())
        loss = torch.stack([F.relu(1 - r.float()).mean() + F.relu(1 + m.float()).mean() for r, m in zip(real, made, strict=True)])
        self.optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        self.optimizer.step()
        return loss.mean().detach()

    def generator_losses(self, x_B1S: Tensor, y_B1S: Tensor) -> dict[str, Tensor]:
        """The decoder's losses: `adversarial`, and `features`, the relative distance of the hidden features."""
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


class LossBalancer:
    """Scales the gradient of each loss to its weight, whatever the scale of the loss (section 3.4)."""

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self.norms: dict[str, float] = {}  # moving averages of gradient norms

    def gradient(self, losses: Mapping[str, Tensor], weights: Mapping[str, float], y_B1S: Tensor) -> Tensor:
        """The balanced gradient [B, 1, S] of all losses with respect to y; on average each has its normalized weight as norm."""
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
