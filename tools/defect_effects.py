"""Defects to plant in clean speech: each a function of a phrase and a random generator. Shapes: S samples at 16 kHz."""

from collections.abc import Callable

import av
import av.filter
import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, firwin

from voxbeam.schemas.formats import ASR_RATE

Wave = NDArray[np.float32]
Span = tuple[int, int]
"""samples of a phrase in which a defect is heard"""


def _rms(wave_S: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(wave_S, dtype=np.float64)))) or 1e-9


def _f32(wave_S: NDArray[np.floating]) -> Wave:
    return np.asarray(wave_S, np.float32)


def pink(samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise whose power falls with frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 20))
    return np.fft.irfft(spectrum, samples)


def chords(samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Music: chords of decaying or held notes with overtones."""
    out_S = np.zeros(samples)
    start, decay = 0, rng.choice([0.3, 3.0])
    while start < samples:
        time = np.arange(min(int(rng.choice([0.4, 0.8, 1.6]) * ASR_RATE), samples - start)) / ASR_RATE
        root = rng.choice([110.0, 130.8, 146.8, 164.8, 196.0, 220.0])
        for note in root * np.array([1, rng.choice([1.189, 1.26]), 1.498]):
            for overtone in range(1, 8):
                envelope = np.exp(-decay * time) * np.minimum(1, 50 * time) * overtone**-1.3
                out_S[start : start + len(time)] += envelope * np.sin(2 * np.pi * note * overtone * time)
        start += len(time)
    return out_S


def music(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """Music 3 to 12 dB below the voice, from half a second before to half a second after it."""
    long_S = np.pad(wave_S, ASR_RATE // 2)
    tune_S = chords(len(long_S), rng)
    level = _rms(wave_S) / _rms(tune_S) * 10 ** (-rng.uniform(3, 12) / 20)
    return _f32(long_S + tune_S * level), (0, len(long_S))


def noise(wave_S: Wave, rng: np.random.Generator, babble: list[Wave]) -> tuple[Wave, Span]:
    """White or pink noise or the babble of six people, 0 to 8 dB below the voice."""
    long_S = np.pad(wave_S, ASR_RATE // 2)
    kind = int(rng.integers(3))
    if kind == 2:
        chosen = rng.choice(len(babble), 6, replace=False)
        other_S = np.sum([np.resize(babble[i], len(long_S)) for i in chosen], axis=0)
    else:
        other_S = pink(len(long_S), rng) if kind else rng.standard_normal(len(long_S))
    level = _rms(wave_S) / _rms(other_S) * 10 ** (-rng.uniform(0, 8) / 20)
    return _f32(long_S + other_S * level), (0, len(long_S))


def clipping(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """2 to 10 % of the loud samples are cut off; half of the phrases are then lowered in level."""
    level = float(np.quantile(np.abs(wave_S[np.abs(wave_S) > 0.01]), 1 - rng.uniform(0.02, 0.1)))
    cut_S = np.clip(wave_S / level, -1, 1)
    return _f32(cut_S * (0.6 if rng.random() < 0.5 else 1.0)), (0, len(wave_S))


def dropouts(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """Packets of 40 to 120 ms replaced by zeros, one every 0.8 s."""
    broken_S = wave_S.copy()
    for start in range(ASR_RATE * 2 // 5, len(wave_S) - ASR_RATE // 4, ASR_RATE * 4 // 5):
        broken_S[start : start + int(rng.uniform(0.04, 0.12) * ASR_RATE)] = 0
    return broken_S, (0, len(wave_S))


def repeated_packets(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """A packet of 10 to 60 ms played again once to three times in place of what follows, every 0.8 s."""
    broken_S = wave_S.copy()
    for start in range(ASR_RATE * 2 // 5, len(wave_S) - ASR_RATE // 2, ASR_RATE * 4 // 5):
        packet, times = int(rng.uniform(0.01, 0.06) * ASR_RATE), int(rng.integers(1, 4))
        broken_S[start : start + times * packet] = np.tile(broken_S[start - packet : start], times)
    return broken_S, (0, len(wave_S))


def band_limit(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """Nothing above 2 to 3.1 kHz."""
    return _f32(np.convolve(wave_S, firwin(255, rng.uniform(2000, 3100), fs=ASR_RATE), "same")), (0, len(wave_S))


def reverberation(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """A hall: 0.8 to 1.6 s until −60 dB, the direct sound 0 to 8 dB below what it throws back."""
    length = int(rng.uniform(0.8, 1.6) * ASR_RATE)
    room_S = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    room_S *= 10 ** (rng.uniform(0, 8) / 20) / np.sqrt((room_S**2).sum())
    room_S[0] += 1
    wet_S = fftconvolve(wave_S.astype(np.float64), room_S)[: len(wave_S) + length // 2]
    return _f32(wet_S * (_rms(wave_S) / _rms(wet_S))), (0, len(wet_S))


def level(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """Almost silent: 30 to 38 dB down."""
    return _f32(wave_S * 10 ** (-rng.uniform(30, 38) / 20)), (0, len(wave_S))


def speed_up(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """1.8 to 2.2 times as fast, at the same pitch (FFmpeg's atempo)."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=ASR_RATE, format="flt", layout="mono", time_base=f"1/{ASR_RATE}")
    tempo, sink = graph.add("atempo", f"{rng.uniform(1.8, 2.2):.3f}"), graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave_S[None]), format="flt", layout="mono")
    frame.sample_rate = ASR_RATE
    source.push(frame)
    source.push(None)
    parts: list[Wave] = []
    while True:
        try:
            parts.append(sink.pull().to_ndarray().ravel())
        except (av.EOFError, BlockingIOError):
            break
    fast_S = np.concatenate(parts)
    return _f32(fast_S), (0, len(fast_S))


def repeated_phrase(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """A stuck player: 0.7 to 1.1 s of the phrase four to six times in a row."""
    length = int(rng.uniform(0.7, 1.1) * ASR_RATE)
    start = quietest(wave_S, len(wave_S) // 3, len(wave_S) - length - ASR_RATE // 2)
    end = quietest(wave_S, start + length - ASR_RATE // 8, start + length + ASR_RATE // 8)
    times = int(rng.integers(4, 7))
    looped_S = np.concatenate([wave_S[:start], np.tile(wave_S[start:end], times), wave_S[end:]])
    return looped_S, (start, start + times * (end - start))


def cut_word(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """The file begins or ends in the middle of a word, or a piece of 0.25 to 0.45 s is missing from one."""
    kind = int(rng.integers(3))
    at = (
        loudest(wave_S, ASR_RATE // 4, ASR_RATE)
        if kind == 0
        else loudest(wave_S, len(wave_S) - ASR_RATE, len(wave_S) - ASR_RATE // 4)
    )
    if kind == 0:
        return wave_S[at:], (0, ASR_RATE // 4)
    if kind == 1:
        return wave_S[:at], (at - ASR_RATE // 4, at)
    at = loudest(wave_S, len(wave_S) // 3, len(wave_S) * 2 // 3)
    missing = int(rng.uniform(0.25, 0.45) * ASR_RATE)
    return np.concatenate([wave_S[:at], wave_S[at + missing :]]), (at - ASR_RATE // 8, at + ASR_RATE // 8)


def second_voice(wave_S: Wave, rng: np.random.Generator, other_S: Wave) -> tuple[Wave, Span]:
    """Someone else for 1.2 to 2.5 s at the same time, 3 dB softer to 3 dB louder."""
    piece_S = _faded(other_S[: int(rng.uniform(1.2, 2.5) * ASR_RATE)])[: len(wave_S) - ASR_RATE]
    return _mixed(wave_S, piece_S * np.float32(10 ** (rng.uniform(-3, 3) / 20)), rng)


def backchannel(wave_S: Wave, rng: np.random.Generator, other_S: Wave) -> tuple[Wave, Span]:
    """A listener's word of 0.3 to 0.45 s, 4 dB softer to as loud."""
    length = int(rng.uniform(0.3, 0.45) * ASR_RATE)
    start = max(0, loudest(other_S, length, len(other_S) - length) - length // 2)
    return _mixed(wave_S, _faded(other_S[start : start + length]) * np.float32(10 ** (rng.uniform(-4, 0) / 20)), rng)


def no_speech(rng: np.random.Generator, babble: list[Wave]) -> Wave:
    """3 to 5 s that recognizers write words for: music, breath-like bursts, hum, a crowd, or speech played backwards."""
    samples, kind = int(rng.uniform(3, 5) * ASR_RATE), int(rng.integers(5))
    sound_S: NDArray[np.floating]
    if kind == 0:
        sound_S = chords(samples, rng)
    elif kind == 1:
        bursts_S = np.maximum(0, np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * np.arange(samples) / ASR_RATE)) ** 2
        sound_S = pink(samples, rng) * bursts_S
    elif kind == 2:
        time = np.arange(samples) / ASR_RATE
        sound_S = sum(np.sin(2 * np.pi * rng.choice([50, 60]) * k * time) / k for k in (1, 2, 3, 5)) + 0.05 * pink(samples, rng)
    elif kind == 3:
        chosen = rng.choice(len(babble), 12, replace=False)
        sound_S = np.sum([np.resize(babble[i], samples) for i in chosen], axis=0)
    else:
        sound_S = np.resize(babble[int(rng.integers(len(babble)))], samples)[::-1]
    return _faded(_f32(sound_S * (0.04 / _rms(sound_S))))


def quietest(wave_S: Wave, start: int, end: int) -> int:
    """The middle of the quietest 20 ms between two samples."""
    return _extreme(wave_S, start, end, np.argmin)


def loudest(wave_S: Wave, start: int, end: int) -> int:
    """The middle of the loudest 20 ms between two samples."""
    return _extreme(wave_S, start, end, np.argmax)


def _extreme(wave_S: Wave, start: int, end: int, choose: Callable[..., np.intp]) -> int:
    width = ASR_RATE // 50
    start = max(0, min(start, len(wave_S) - 2 * width))
    end = max(start + width, min(end, len(wave_S)))
    frames = wave_S[start : start + (end - start) // width * width].reshape(-1, width)
    return start + int(choose(np.square(frames).mean(axis=1))) * width + width // 2


def _faded(wave_S: Wave) -> Wave:
    out_S = wave_S.copy()
    ramp = np.linspace(0, 1, min(400, len(out_S) // 3), dtype=np.float32)
    out_S[: len(ramp)] *= ramp
    out_S[len(out_S) - len(ramp) :] *= ramp[::-1]
    return out_S


def _mixed(wave_S: Wave, other_S: Wave, rng: np.random.Generator) -> tuple[Wave, Span]:
    """Another sound somewhere in the middle of a phrase."""
    start = int(rng.uniform(0.2, 0.8) * max(1, len(wave_S) - len(other_S)))
    out_S = wave_S.copy()
    out_S[start : start + len(other_S)] += other_S[: len(out_S) - start]
    return out_S, (start, min(len(out_S), start + len(other_S)))
