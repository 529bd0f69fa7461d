"""The balance of losses, and the discriminator's side of the duel."""

from __future__ import annotations

import pytest
import torch

from voxbeam.trainer.codec.discriminator import Adversary, Balancer


def test_each_loss_gets_the_share_of_its_weight_whatever_its_scale() -> None:
    y = torch.ones(1, 1, 4, requires_grad=True)
    losses = {"loud": 1e6 * y[..., :2].sum(), "quiet": 1e-6 * y[..., 2:].sum(), "unused": y.sum()}
    gradient = Balancer().gradient(losses, {"loud": 1.0, "quiet": 3.0, "unused": 0.0}, y)[0, 0]
    torch.testing.assert_close(gradient, torch.tensor([0.25, 0.25, 0.75, 0.75]) / 2**0.5)


def test_the_discriminator_learns_to_tell_noise_from_a_tone() -> None:
    torch.manual_seed(0)
    adversary = Adversary(filters=2, lr=2e-2, device="cpu")
    tone = 0.3 * torch.sin(torch.arange(4_800) * 0.1)[None, None]
    noise = 0.3 * torch.randn(1, 1, 4_800)
    losses = [float(adversary.learn(tone, noise)) for _ in range(15)]
    assert losses[0] == pytest.approx(2, abs=0.2)
    assert losses[-1] < 0.8 * losses[0]
    assert adversary.judge(tone, tone)["features"] == 0
    assert adversary.judge(tone, noise)["features"] > 0
