"""The balance of losses, and the discriminator's side of the duel."""

from __future__ import annotations

import pytest
import torch

from voxbeam.trainer.codec.discriminator import AdversarialLoss, LossBalancer
from voxbeam.trainer.codec.stft_discriminator import WINDOWS, MultiScaleDiscriminator


def test_each_loss_gets_the_share_of_its_weight_whatever_its_scale() -> None:
    y = torch.ones(1, 1, 4, requires_grad=True)
    losses = {"loud": 1e6 * y[..., :2].sum(), "quiet": 1e-6 * y[..., 2:].sum(), "unused": y.sum()}
    gradient = LossBalancer().gradient(losses, {"loud": 1.0, "quiet": 3.0, "unused": 0.0}, y)[0, 0]
    torch.testing.assert_close(gradient, torch.tensor([0.25, 0.25, 0.75, 0.75]) / 2**0.5)


def test_the_discriminator_learns_to_tell_noise_from_a_tone() -> None:
    torch.manual_seed(0)
    adversarial_loss = AdversarialLoss(filters=2, lr=2e-2, device="cpu")
    tone = 0.3 * torch.sin(torch.arange(4_800) * 0.1)[None, None]
    noise = 0.3 * torch.randn(1, 1, 4_800)
    losses = [float(adversarial_loss.discriminator_step(tone, noise)) for _ in range(15)]
    assert losses[0] == pytest.approx(2, abs=0.2)
    assert losses[-1] < 0.8 * losses[0]
    assert adversarial_loss.generator_losses(tone, tone)["features"] == 0
    assert adversarial_loss.generator_losses(tone, noise)["features"] > 0


def test_each_window_length_judges_patches_of_time_and_frequency() -> None:
    x_B1S = torch.randn(2, 1, 4_800, requires_grad=True)
    logits, features = MultiScaleDiscriminator(filters=2)(x_B1S)
    for window, logits_B1TF, layers in zip(WINDOWS, logits, features, strict=True):
        assert logits_B1TF.shape[:3] == (2, 1, 1 + 4_800 // (window // 4))
        assert [h_BCTF.shape[1] for h_BCTF in layers] == [2] * 4
        bins = [h_BCTF.shape[3] for h_BCTF in layers]
        assert bins == [window // 2 + 2, window // 4 + 2, window // 8 + 2, window // 16 + 2]
    sum(each.sum() for each in logits).backward()
    assert x_B1S.grad is not None and x_B1S.grad.abs().sum() > 0


def test_half_precision_judges_alike() -> None:
    torch.manual_seed(0)
    discriminator, x_B1S = MultiScaleDiscriminator(filters=4), 0.1 * torch.randn(1, 1, 4_800)
    with torch.no_grad():
        whole, _ = discriminator(x_B1S)
        with torch.autocast("cpu", torch.bfloat16):
            half, features = discriminator(x_B1S)
    assert features[0][0].dtype == torch.bfloat16
    for one, other in zip(whole, half, strict=True):
        torch.testing.assert_close(one, other.float(), atol=0.02 * float(one.abs().max()), rtol=0.05)
