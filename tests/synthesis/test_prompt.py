"""The prompt: which channels are heard of it, and what about its sound is told since it costs words."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxbeam.assets import PROMPT, PROMPT_TEXT
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.recording import Recording

VOICE_S = Prompt.read(PROMPT).wave_S


def noisy(snr: float) -> np.ndarray:
    hiss = np.random.default_rng(0).normal(size=len(VOICE_S))
    return (VOICE_S + hiss * VOICE_S.std() * 10 ** (-snr / 20)).astype(np.float32)


def driven(gain: float) -> np.ndarray:
    return np.clip(VOICE_S / np.abs(VOICE_S).max() * gain, -1, 1)


@pytest.mark.parametrize(
    ("wave_S", "message"),
    [
        (noisy(10), "dB above what is between its words"),
        (noisy(0), "dB above what is between its words"),
        (driven(1000), "of the prompt is clipped"),
        (0.3 * driven(1000), "of the prompt is clipped"),
        (VOICE_S * 1e-3, "the prompt is almost silent (-6"),
        (noisy(30), ""),
        (driven(1.2), ""),
        (VOICE_S * 0.1, ""),
        (VOICE_S, ""),
    ],
    ids=["noise", "more noise", "square", "square, lower", "almost silent", "less noise", "few peaks", "quiet", "as it is"],
)
def test_what_costs_words_is_told(wave_S: np.ndarray, message: str) -> None:
    warnings = Prompt(wave_S.astype(np.float32)).warnings
    assert (not message and not warnings) or any(message in warning for warning in warnings)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize(
    ("left", "right"),
    [(1.0, -1.0), (1.0, -0.7), (1.0, 0.0), (0.001, 1.0), (1.0, 1.0)],
    ids=["opposite", "opposite, quieter", "left", "right", "both"],
)
def test_two_channels_are_one_voice(tmp_path: Path, left: float, right: float, subtype: str) -> None:
    """Of channels in opposite phase, and of one beside silence, the louder one is heard: their mean was silence, or half."""
    path = tmp_path / "prompt.wav"
    sf.write(path, np.stack([left * VOICE_S, right * VOICE_S], axis=1), CODEC_RATE, subtype=subtype)
    np.testing.assert_allclose(Prompt.read(path).wave_S, VOICE_S, atol=1e-3)


def test_a_channel_that_comes_later_makes_no_echo(tmp_path: Path) -> None:
    long_S = np.tile(Recording.read(PROMPT).wave_S, 4)
    path = tmp_path / "prompt.wav"
    sf.write(path, np.stack([np.roll(long_S, 2400), long_S], axis=1), CODEC_RATE)
    np.testing.assert_allclose(Prompt.read(path, PROMPT_TEXT, 8.0).wave_S, long_S[: 8 * CODEC_RATE], atol=1e-3)
