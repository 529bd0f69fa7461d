"""Pauses: found where sound falls to the background, whatever its level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.transforms.audio.pauses import find_longest_pause, frame_levels_db, pause_mask, true_runs

from tests import audio_fixtures

RATES = [16_000, 24_000, 44_100]


def bursts(rate: int, pauses: list[tuple[float, float]], seconds: float, background: float = 1e-3) -> np.ndarray:
    """Noise bursts with pauses (start, end in seconds), on a quiet background."""
    rng = np.random.default_rng(0)
    at = np.arange(int(rate * seconds)) / rate
    loud = np.full(len(at), 0.1)
    for start, end in pauses:
        loud[(at >= start) & (at < end)] = background
    return (rng.normal(0, 1, len(at)) * loud).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("background", [0.0, 1e-5, 1e-3, 2e-2])
def test_finds_every_pause_to_two_frames(rate, background):
    pcm = bursts(rate, [(1.0, 1.3), (2.5, 2.7), (4.0, 5.0)], 6.0, background)
    found = [r / 100 for r in true_runs(pause_mask(frame_levels_db(pcm, rate))) if r[1] - r[0] > 5]
    assert np.allclose(found, [(1.0, 1.3), (2.5, 2.7), (4.0, 5.0)], atol=0.025)


def test_the_threshold_follows_the_level():
    """A recording whose second half is 30 dB lower has pauses in both halves."""
    half = bursts(16_000, [(s + 0.5, s + 0.8) for s in range(30)], 30.0)
    found = true_runs(pause_mask(frame_levels_db(np.concatenate([half, half * 0.03]), 16_000)))
    long = found[found[:, 1] - found[:, 0] >= 15]
    assert len(long) >= 58


@pytest.mark.parametrize("rate", RATES)
def test_pause_near_takes_the_longest(rate):
    pcm = bursts(rate, [(1.0, 1.3), (2.0, 2.6), (4.0, 4.2)], 6.0)
    assert abs(find_longest_pause(pcm, rate) / rate - 2.3) < 0.03


def test_pause_near_without_a_pause_or_without_sound():
    assert find_longest_pause(np.zeros(0, np.float32), 16_000) == 0
    assert find_longest_pause(np.zeros(1, np.float32), 16_000) == 0
    assert find_longest_pause(np.zeros(32_000, np.float32), 16_000) == 16_000
    tone = np.sin(np.arange(32_000)).astype(np.float32)
    assert 0 <= find_longest_pause(tone, 16_000) < 32_000


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(0, 20_000), scale=st.floats(0, 1), rate=st.sampled_from(RATES))
def test_any_sound_gives_an_index_inside_it_again_and_again(seed, n, scale, rate):
    pcm = (np.random.default_rng(seed).normal(0, 1, n) * scale).clip(-1, 1).astype(np.float32)
    at = find_longest_pause(pcm, rate)
    assert 0 <= at < max(1, n) and at == find_longest_pause(pcm.copy(), rate)


def test_pause_near_falls_between_the_words_of_real_speech():
    pcm = audio_fixtures.reader("2033", 1)[0]
    at = find_longest_pause(pcm, 16_000)
    around = frame_levels_db(pcm, 16_000)[at // 160 - 5 : at // 160 + 5]
    assert around.max() < np.percentile(frame_levels_db(pcm, 16_000), 50)
