"""Dropouts and music, planted in clean speech: how many are found, and how much clean speech is lost."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.models.dnsmos import dnsmos
from voxbeam.schemas.config import FilterConfig
from voxbeam.transforms.audio.signal_quality import background_tonality, dropouts
from voxbeam.transforms.score import load_dnsmos

RATE = 16_000
CONFIG = FilterConfig()
Wave = NDArray[np.float32]


@pytest.fixture(scope="module")
def clean(shared_data: Path) -> list[Wave]:
    """Read speech, of 2 to 15 s each."""
    files = sorted((shared_data / "librispeech").rglob("*.flac"))[::4]
    return [sf.read(file, dtype="float32")[0][: 15 * RATE] for file in files]


def with_gaps(sound: Wave, rng: np.random.Generator) -> Wave:
    """Packets of 40 to 120 ms replaced by zeros, one every 0.8 s."""
    broken = sound.copy()
    for start in range(RATE * 2 // 5, len(sound) - RATE // 2, RATE * 4 // 5):
        broken[start : start + int(rng.uniform(0.04, 0.12) * RATE)] = 0
    return broken


def music(seconds: float, rng: np.random.Generator) -> Wave:
    """Chords of decaying or held notes with overtones."""
    out = np.zeros(int(seconds * RATE))
    start, decay = 0, rng.choice([0.3, 3.0])
    while start < len(out):
        time = np.arange(min(int(rng.choice([0.4, 0.8, 1.6]) * RATE), len(out) - start)) / RATE
        root = rng.choice([110.0, 130.8, 146.8, 164.8, 196.0, 220.0])
        for note in root * np.array([1, rng.choice([1.189, 1.26]), 1.498]):
            for overtone in range(1, 8):
                envelope = np.exp(-decay * time) * np.minimum(1, 50 * time) * overtone**-1.3
                out[start : start + len(time)] += envelope * np.sin(2 * np.pi * note * overtone * time)
        start += len(time)
    return out.astype(np.float32)


def with_music(sound: Wave, below_db: float, rng: np.random.Generator) -> Wave:
    speech = np.square(sound[np.abs(sound) > np.median(np.abs(sound))]).mean()
    tune = music(len(sound) / RATE, rng)[: len(sound)]
    level = np.sqrt(speech / np.square(tune).mean()) * 10 ** (-below_db / 20)
    return np.clip(sound + np.pad(tune, (0, len(sound) - len(tune))) * level, -1, 1).astype(np.float32)


def has_music(sound: Wave) -> bool:
    assert CONFIG.max_background_tonality is not None and CONFIG.max_music_dnsmos_bak is not None
    if background_tonality(sound, RATE) <= CONFIG.max_background_tonality:
        return False
    return dnsmos(load_dnsmos("cpu"), sound, 3).bak < CONFIG.max_music_dnsmos_bak


def fraction(found: Callable[[Wave], bool], sounds: list[Wave]) -> float:
    return float(np.mean([found(sound) for sound in sounds]))


def test_dropouts_are_found_and_clean_speech_is_kept(clean: list[Wave]) -> None:
    rng = np.random.default_rng(1)
    assert CONFIG.max_dropouts is not None
    limit = CONFIG.max_dropouts
    assert fraction(lambda sound: dropouts(sound, RATE) > limit, clean) == 0
    assert fraction(lambda sound: dropouts(sound, RATE) > limit, [with_gaps(sound, rng) for sound in clean]) >= 0.95


@pytest.mark.slow
def test_music_is_found_and_clean_speech_is_kept(clean: list[Wave]) -> None:
    rng = np.random.default_rng(2)
    assert fraction(has_music, clean) <= 0.01 + 1 / len(clean)
    for below_db, least in ((5, 0.9), (15, 0.6)):
        assert fraction(has_music, [with_music(sound, below_db, rng) for sound in clean[::4]]) >= least


def test_a_noise_gate_is_no_dropout(speech: Wave) -> None:
    pause = np.zeros(RATE, np.float32)
    faded = speech[8 * RATE : 10 * RATE] * np.minimum(1, np.minimum(np.arange(2 * RATE), np.arange(2 * RATE)[::-1]) / 800)
    assert dropouts(np.concatenate([pause, faded.astype(np.float32), pause, faded.astype(np.float32), pause]), RATE) == 0
    assert dropouts(pause, RATE) == dropouts(pause[:1], RATE) == background_tonality(pause, RATE) == 0


def test_packets_that_repeat_a_level_are_dropouts(speech: Wave) -> None:
    held = speech[8 * RATE : 12 * RATE].copy()
    loud = int(np.abs(held[RATE : 2 * RATE]).argmax()) + RATE
    held[loud : loud + 800] = held[loud]
    assert dropouts(held, RATE) > 0.01
