"""Rooms and microphones through which made speech is heard: each channel is a filter, a noise and a level.

Shapes: C channels, B utterances, S samples at 24 kHz.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.voice.identities import CHANNELS
from benchmarks.voice.kokoro import RATE

ROOM_SAMPLES = 9_600


class Channels:
    """Impulse responses [C, S]; and [C] each: tilt of the noise's spectrum, ratio of speech to noise in dB, level in dB."""

    def __init__(self, device: str) -> None:
        rng = np.random.default_rng(2)
        drawn = [draw_channel(rng) if row else (plain_room(), 70.0) for row in range(CHANNELS)]
        tilt, level = rng.uniform(0, 1, CHANNELS), rng.uniform(-4, 6, CHANNELS)
        rooms, snr = np.stack([room for room, _ in drawn]), np.array([ratio for _, ratio in drawn])
        self.rooms_CS, self.tilt_C, self.snr_C, self.level_C = (
            torch.from_numpy(x.astype(np.float32)).to(device) for x in (rooms, tilt, snr, level)
        )

    def place(self, wave_BS: Tensor, lengths_B: Tensor, channel_B: NDArray[np.integer]) -> Tensor:
        """The speech [B, S] in its rooms, with noise and at its level. `lengths_B`: samples before the zeros at the end."""
        size, device = wave_BS.shape[1], wave_BS.device
        index = torch.from_numpy(channel_B.astype(np.int64)).to(device)
        n = 1 << (size + ROOM_SAMPLES - 1).bit_length()
        dry = wave_BS.square().sum(1, keepdim=True).sqrt()
        wave = torch.fft.irfft(torch.fft.rfft(wave_BS, n) * torch.fft.rfft(self.rooms_CS[index], n), n)[:, :size]
        wave = wave * dry / wave.square().sum(1, keepdim=True).sqrt().clamp(min=1e-6)
        rms = dry / lengths_B[:, None].float().sqrt()
        spectrum = torch.fft.rfft(torch.randn_like(wave))
        frequency = torch.arange(spectrum.shape[1], device=device) / spectrum.shape[1] + 0.01
        noise = torch.fft.irfft(spectrum * frequency ** -self.tilt_C[index][:, None], size)
        noise = noise / noise.square().mean(1, keepdim=True).sqrt()
        snr = self.snr_C[index][:, None] + 4 * torch.rand(len(wave), 1, device=device) - 2
        wave = wave + noise * rms * 10 ** (-snr / 20)
        level = 10 ** (-(26 + 4 * torch.rand(len(wave), 1, device=device) - 2 + self.level_C[index][:, None]) / 20)
        return wave * level / rms.clamp(min=1e-5)


def plain_room() -> NDArray[np.float64]:
    room = np.zeros(ROOM_SAMPLES)
    room[0] = 1
    return room


def draw_channel(rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """An impulse response [S] of a room and a microphone, and a ratio of speech to noise in dB."""
    t, frequency = np.arange(ROOM_SAMPLES) / RATE, np.fft.rfftfreq(ROOM_SAMPLES, 1 / RATE)
    octave = np.log2(np.maximum(frequency, 50) / 1_000)
    room = plain_room()
    if rng.random() < 0.45:
        decay = rng.uniform(0.12, 0.6)
        tail = rng.standard_normal(ROOM_SAMPLES) * 10 ** (-3 * t / decay) * (t > rng.uniform(0.001, 0.006))
        tail = np.convolve(tail, np.hanning(rng.integers(3, 9)), "same")  # walls take the high frequencies first
        room += tail / np.sqrt((tail**2).sum()) * 10 ** (-rng.uniform(3, 20) / 20)
    gain = np.zeros_like(octave)
    if rng.random() < 0.65:  # a microphone, and where it stands
        gain += rng.uniform(-2, 2) * octave
        for _ in range(rng.integers(1, 4)):
            gain += rng.uniform(-6, 6) * np.exp(-(((octave - rng.uniform(-3, 3)) / rng.uniform(0.3, 1.2)) ** 2))
        gain -= 40 * np.maximum(0, np.log2(rng.uniform(30, 130) / np.maximum(frequency, 5)))
    if rng.random() < 0.5:  # recorded at 16 kHz, compressed, or cheap
        cut = rng.choice((rng.uniform(3_300, 8_000), 7_800.0), p=(0.4, 0.6))
        gain -= 10 * np.log10(1 + (frequency / cut) ** rng.choice((8, 16, 48)))
    response = np.fft.irfft(np.fft.rfft(room) * minimum_phase(np.maximum(gain, -90)), ROOM_SAMPLES)
    return response, rng.uniform(16, 50) if rng.random() < 0.6 else 70.0


def minimum_phase(gain_dB: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The causal filter of a gain at the frequencies of a real Fourier transform."""
    cepstrum = np.fft.irfft(gain_dB * (np.log(10) / 20))
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    return np.exp(np.fft.rfft(cepstrum))
