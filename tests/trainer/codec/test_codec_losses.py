"""The distances: zero for the same sound, and what each of them hears."""

from __future__ import annotations

import pytest
import torch

from voxbeam.models.mel import mel_filters
from voxbeam.trainer.codec.losses import low_distance, mel_distance, time_distance

NOISE = 0.1 * torch.randn(1, 1, 9_600, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("distance", [mel_distance, time_distance, low_distance])
def test_zero_for_the_same_sound_only(distance) -> None:
    assert distance(NOISE, NOISE) == 0
    assert distance(NOISE, 0.5 * NOISE) > 0.25


def test_mel_hears_level_and_low_hears_phase() -> None:
    assert mel_distance(NOISE, 0.5 * NOISE) > 0.5  # ln 2, less what lies near the floor
    assert mel_distance(NOISE, -NOISE) < 1e-6
    assert low_distance(NOISE, -NOISE) == pytest.approx(2)


@pytest.mark.parametrize("window", [128, 2048])
def test_every_mel_band_hears_something(window: int) -> None:
    bands = {128: 20, 2048: 128}[window]
    torch.testing.assert_close(mel_filters(24_000, window, bands).sum(dim=0), torch.ones(bands))
