"""What every window goes through before the classifier hears it, whatever it is: room, filter, noise, encoding, level, 16 kHz.

So neither the format in which a source happens to be stored, nor its loudness, nor its quiet tells the origin.

Shapes: S samples at 24 kHz, or at 16 kHz where said.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from voxbeam.safety.codec_trace import WINDOW_S
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE

from benchmarks.watermark import through

Wave = NDArray[np.float32]
SPAN = round(WINDOW_S * CODEC_RATE)
"""samples of a window at 24 kHz"""
ROOM, FILTER, NOISE, ENCODED = 0.12, 0.35, 0.35, 0.6
"""how often each is in a chain"""
ENCODINGS = {
    "mp3": [("libmp3lame", kbps, CODEC_RATE) for kbps in (48, 64, 96, 128)],
    "opus": [("libopus", kbps, 48_000) for kbps in (16, 24, 32, 64)],
}


def pass_through(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, str]:
    """The window at 16 kHz after a chain drawn at random, and the chain's name."""
    done: list[str] = []
    if rng.random() < ROOM:
        wave_S, done = _room(wave_S, rng), [*done, "room"]
    if rng.random() < FILTER:
        wave_S, done = _filter(wave_S, rng), [*done, "filter"]
    if rng.random() < NOISE:
        wave_S, done = _noise(wave_S, rng), [*done, "noise"]
    wave_S = _level(wave_S, rng)
    if rng.random() < ENCODED:
        kind = str(rng.choice(list(ENCODINGS)))
        codec, kbps, rate = ENCODINGS[kind][rng.integers(len(ENCODINGS[kind]))]
        wave_S, done = np.resize(through(codec, kbps, rate)(wave_S), SPAN), [*done, f"{kind} {kbps}"]
    wave_S = _level(wave_S, rng)
    return np.asarray(soxr.resample(wave_S, CODEC_RATE, ASR_RATE), np.float32), ", ".join(done) or "none"


def _level(wave_S: Wave, rng: np.random.Generator) -> Wave:
    return wave_S * np.float32(10 ** (rng.uniform(-20, -1) / 20) / max(1e-4, np.abs(wave_S).max()))


def _room(wave_S: Wave, rng: np.random.Generator) -> Wave:
    """A decaying noise as response, 5 to 15 dB below the direct sound."""
    length = CODEC_RATE // 2
    decay = np.exp(-6.9 * np.arange(length) / CODEC_RATE / rng.uniform(0.1, 0.5))
    tail = rng.normal(size=length) * decay
    tail *= 10 ** (-rng.uniform(5, 15) / 20) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    size = 1 << (len(wave_S) + length).bit_length()
    return np.fft.irfft(np.fft.rfft(wave_S, size) * np.fft.rfft(tail, size), size)[: len(wave_S)].astype(np.float32)


def _filter(wave_S: Wave, rng: np.random.Generator) -> Wave:
    """A smooth response, and one time in three an upper limit between 3.4 and 7.5 kHz."""
    hz = np.fft.rfftfreq(len(wave_S), 1 / CODEC_RATE)
    gain_db = np.interp(hz, [0, 150, 400, 1000, 2500, 5000, 8000, 12000], rng.normal(0, 4, 8))
    if rng.random() < 1 / 3:
        limit = rng.uniform(3400, 7500)
        gain_db = gain_db - 40 * np.clip((hz - limit) / (0.1 * limit), 0, 2)
    return np.fft.irfft(np.fft.rfft(wave_S) * 10 ** (gain_db / 20), len(wave_S)).astype(np.float32)


def _noise(wave_S: Wave, rng: np.random.Generator) -> Wave:
    """Noise of a random slope, 8 to 45 dB below the speech."""
    hz = np.fft.rfftfreq(len(wave_S), 1 / CODEC_RATE)
    shape = np.maximum(hz, 50) ** -rng.uniform(0, 1)
    noise = np.fft.irfft(np.fft.rfft(rng.normal(size=len(wave_S))) * shape, len(wave_S))
    snr_db = rng.uniform(8, 45)
    return wave_S + (noise * np.sqrt((wave_S**2).mean() / (noise**2).mean() / 10 ** (snr_db / 10))).astype(np.float32)
