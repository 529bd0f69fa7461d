"""Edges and pace of real speech: whole phrases pass, cut and sped-up ones do not."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.defect_effects import loudest, speed_up
from tools.plant_defects import split_phrases
from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.transforms.audio.word_edges import edge_jump, spectral_pace

from tests.audio_fixtures import reader

LIMIT, PACE = FilterConfig().max_edge_jump or 0.0, FilterConfig().max_spectral_pace or 0.0
Wave = NDArray[np.float32]


def between_pauses(wave_S: Wave, noise: float = 3e-4) -> Wave:
    random = np.random.default_rng(0)
    pause_S = np.zeros(ASR_RATE // 5, np.float32)
    padded_S = np.concatenate([pause_S, wave_S, pause_S])
    return (padded_S + random.normal(0, noise, len(padded_S))).astype(np.float32)


@pytest.fixture(scope="module")
def phrases() -> list[Wave]:
    """Twenty phrases of two readers who are not among those that the limits were chosen with."""
    return [phrase for name in ("1998", "2033") for wave_S in reader(name, 5) for phrase in split_phrases(wave_S)][:20]


def begin_cut(wave_S: Wave) -> Wave:
    return wave_S[loudest(wave_S, ASR_RATE // 4, ASR_RATE) :]


def end_cut(wave_S: Wave) -> Wave:
    return wave_S[: loudest(wave_S, len(wave_S) - ASR_RATE, len(wave_S) - ASR_RATE // 4)]


def jumps(phrases: list[Wave], change: Callable[[Wave], Wave], noise: float = 3e-4) -> list[float | None]:
    return [edge_jump(between_pauses(change(wave_S), noise), ASR_RATE) for wave_S in phrases]


def test_whole_phrases_have_soft_edges_and_cut_ones_do_not(phrases: list[Wave]) -> None:
    assert len(phrases) >= 10
    assert sum((jump or 0.0) > LIMIT for jump in jumps(phrases, lambda wave_S: wave_S)) <= 1
    for cut in (begin_cut, end_cut):
        assert np.mean([(jump or 0.0) > LIMIT for jump in jumps(phrases, cut)]) >= 0.8


def test_a_file_that_begins_within_a_word_needs_no_pause_before_it(phrases: list[Wave]) -> None:
    found = [edge_jump(between_pauses(begin_cut(wave_S))[ASR_RATE // 5 :], ASR_RATE) or 0.0 for wave_S in phrases]
    assert np.mean([jump > LIMIT for jump in found]) >= 0.8


def test_noise_hides_edges(phrases: list[Wave]) -> None:
    assert set(jumps(phrases, begin_cut, noise=0.01)) == {None}


def test_fast_speech_has_a_fast_spectrum(phrases: list[Wave]) -> None:
    random = np.random.default_rng(0)
    assert np.mean([(spectral_pace(between_pauses(wave_S), ASR_RATE) or 0.0) > PACE for wave_S in phrases]) <= 0.1
    fast = [spectral_pace(between_pauses(speed_up(wave_S, random)[0]), ASR_RATE) or 0.0 for wave_S in phrases]
    assert np.mean([pace > PACE for pace in fast]) >= 0.8


@pytest.mark.parametrize("samples", [0, 100, ASR_RATE])
def test_silence_has_neither(samples: int) -> None:
    silence = np.zeros(samples, np.float32)
    assert edge_jump(silence, ASR_RATE) is None and spectral_pace(silence, ASR_RATE) is None
