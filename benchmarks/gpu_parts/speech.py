"""Speech that the parts measure with: the demo's, or a synthetic voice where it cannot be read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxbeam.assets import DEMO
from voxbeam.schemas.formats import CODEC_RATE


def load_speech(seconds: float) -> tuple[NDArray[np.float32], str]:
    """A waveform at 24 kHz, and what it is: the demo's speech if `soundfile` is installed, else a synthetic voice."""
    n_samples = round(seconds * CODEC_RATE)
    try:
        import soundfile as sf
    except ImportError:
        return synthetic_voice(n_samples), "synthetic voice: soundfile is missing"
    waves = []
    for path in sorted(DEMO.rglob("*.flac")):
        wave_S, rate = sf.read(path, dtype="float32", always_2d=True)
        # linear interpolation: the quality of the resampling does not matter here
        at = np.arange(0, len(wave_S), rate / CODEC_RATE)
        waves.append(np.interp(at, np.arange(len(wave_S)), wave_S.mean(1)).astype(np.float32))
    if not waves:
        return synthetic_voice(n_samples), "synthetic voice: assets/demo has no FLAC files"
    return np.resize(np.concatenate(waves), n_samples), "the demo's speech, repeated"


def synthetic_voice(n_samples: int) -> NDArray[np.float32]:
    """Harmonics of a varying pitch with three varying formants, in syllables, and a little noise."""
    rng = np.random.default_rng(0)
    t = np.arange(n_samples) / CODEC_RATE
    pitch = 130 + 25 * np.sin(2 * np.pi * 0.7 * t) + 10 * np.sin(2 * np.pi * 2.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / CODEC_RATE
    formants = [(500, 200, 0.9), (1500, 500, 1.7), (2600, 200, 2.9)]
    wave_S = np.zeros(n_samples)
    for harmonic in range(1, 25):
        frequency = harmonic * pitch
        gain = sum(np.exp(-(((frequency - f - w * np.sin(2 * np.pi * r * t)) / 250) ** 2)) for f, w, r in formants)
        wave_S += gain * np.sin(harmonic * phase)
    wave_S = wave_S * np.clip(np.sin(2 * np.pi * 2 * t), 0, 1) + 0.02 * rng.standard_normal(n_samples)
    return (0.3 * wave_S / np.abs(wave_S).max()).astype(np.float32)
