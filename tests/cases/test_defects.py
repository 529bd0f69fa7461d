"""Dropouts and music, planted in clean speech: how many are found, and how much clean speech is lost."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from numpy.typing import NDArray

from voxbeam.models.dnsmos import dnsmos
from voxbeam.schemas.config import DecodeConfig, ScoreConfig
from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.segment import Segment
from voxbeam.transforms.audio.repeats import repeated_stretches
from voxbeam.transforms.audio.signal_quality import background_tonality, dropouts, loops
from voxbeam.transforms.audio.similar_packets import similar_stretches
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.decode import DecodeAudio
from voxbeam.transforms.score import Score, load_dnsmos

from tests.pipeline.factories import rejection_reasons
from tests.transforms.test_decode import units_of

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


def with_repeats(sound: Wave, rng: np.random.Generator, rate: int = RATE, packet_ms: tuple[float, float] = (10, 60)) -> Wave:
    """A packet played again once to three times in place of what follows, every 0.8 s."""
    broken = sound.copy()
    for start in range(rate * 2 // 5, len(sound) - rate // 2, rate * 4 // 5):
        packet, times = int(rng.uniform(*packet_ms) * rate / 1000), int(rng.integers(1, 4))
        broken[start : start + times * packet] = np.tile(broken[start - packet : start], times)
    return broken


def at_rate(sound: Wave, rate: int) -> Wave:
    """Resampled, at 16 bits."""
    return (np.round(soxr.resample(sound, RATE, rate) * 32767) / 32768).astype(np.float32)


def repeated(sound: Wave, rate: int = RATE) -> float:
    return sum(end - start for start, end in repeated_stretches(sound, rate)) / len(sound)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_repeated_packets_are_found_at_every_rate_and_clean_speech_has_none(clean: list[Wave], rate: int) -> None:
    rng = np.random.default_rng(3)
    assert CONFIG.max_dropouts is not None
    sounds = [at_rate(sound, rate) for sound in clean[::4]]
    assert max(repeated(sound, rate) for sound in sounds) == 0
    assert min(repeated(with_repeats(sound, rng, rate), rate) for sound in sounds) > CONFIG.max_dropouts


def test_packets_of_whole_milliseconds_are_found_after_resampling(clean: list[Wave]) -> None:
    rng = np.random.default_rng(4)
    assert CONFIG.max_dropouts is not None
    broken = [with_repeats(at_rate(sound, 48_000), rng, 48_000, (20, 20)) for sound in clean[::4]]
    sounds = [(np.round(soxr.resample(sound, 48_000, RATE) * 32767) / 32768).astype(np.float32) for sound in broken]
    limit = CONFIG.max_dropouts
    assert fraction(lambda sound: repeated(sound) > limit, sounds) >= 0.85


def test_lossy_coding_hides_repeats(clean: list[Wave]) -> None:
    """The limit of the measure: copies are no longer exact."""
    coded = with_repeats(clean[0], np.random.default_rng(5)) + np.random.default_rng(6).normal(0, 1e-3, len(clean[0]))
    assert repeated(coded.astype(np.float32)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_hum_tones_vowels_and_silence_repeat_no_packet(clean: list[Wave], rate: int) -> None:
    time = np.arange(3 * rate) / rate
    speech = np.resize(at_rate(clean[0], rate), len(time))
    gate = np.clip(2 * np.sin(3 * time) ** 2 - 1, 0, 1)

    def rounded(sound: NDArray[np.float64]) -> Wave:
        return (np.round(sound * 32767) / 32768).astype(np.float32)

    for hz in (25, 50, 60, 77.3, 100):
        hum = sum(0.05 / k * np.sin(2 * np.pi * hz * k * time) for k in (1, 2, 3, 5))
        vowel = sum(0.1 / k * np.sin(2 * np.pi * hz * k * time) for k in range(1, 30))
        for sound in (hum, vowel, hum + speech * gate, hum + speech * (gate > 0.5)):
            assert repeated(rounded(np.asarray(sound)), rate) == 0
        square = np.sign(np.sin(2 * np.pi * hz * time + 0.1)) * np.repeat([1, 0, 1] * 5, rate // 5)
        assert repeated(rounded(0.1 * square), rate) == 0
    assert repeated(np.zeros(3 * rate, np.float32), rate) == repeated(np.zeros(5, np.float32), rate) == 0
    assert repeated(at_rate(music(6, np.random.default_rng(7)), rate), rate) == 0


@pytest.mark.slow
def test_synthetic_speech_repeats_no_packet(shared_data: Path) -> None:
    files = sorted((shared_data / "kokoro").rglob("*.ogg"))[:5]
    assert [file.name for file in files if repeated(*sf.read(file, dtype="float32"))] == []


@pytest.mark.slow
def test_repeated_packets_are_dropouts_of_a_segment(speech: Wave, tmp_path: Path) -> None:
    """Through the decoder's process: the places are found in the file, and count in the segments that they lie in."""
    sound = at_rate(speech[8 * RATE : 16 * RATE], 44_100)
    broken = np.concatenate([sound[: 4 * 44_100], with_repeats(sound[4 * 44_100 :], np.random.default_rng(8), 44_100)])
    sf.write(tmp_path / "a.flac", np.stack([broken, broken], axis=1), 44_100)
    [unit] = units_of(tmp_path / "a.flac", DecodeConfig())
    state = DecodeAudio(DecodeConfig()).run_timed(UnitState(unit=unit))
    segments = tuple(Segment(start_ms=start, end_ms=start + 4000, speaker="a") for start in (0, 4000))
    good, bad = Score(ScoreConfig(), "cpu").run_timed(replace(state, segments=segments)).segments
    assert good.scores is not None and bad.scores is not None and CONFIG.max_dropouts is not None
    assert good.scores.dropouts == 0
    assert bad.scores.dropouts > CONFIG.max_dropouts
    assert "dropouts" in rejection_reasons(bad, CONFIG, language=None)
    assert "dropouts" not in rejection_reasons(good, CONFIG, language=None)


def test_dropouts_of_a_recording_with_an_offset(clean: list[Wave], tmp_path: Path) -> None:
    """The filter that takes the offset off leaves no zeros: gaps are found before it. Clean speech with an offset has none."""
    for name, sound in (("clean", clean[0]), ("broken", with_gaps(clean[0], np.random.default_rng(9)))):
        sf.write(tmp_path / f"{name}.flac", np.where(sound == 0, 0, sound + 0.004), RATE)
    found = {}
    for name in ("clean", "broken"):
        [unit] = units_of(tmp_path / f"{name}.flac", DecodeConfig())
        audio = DecodeAudio(DecodeConfig()).run_timed(UnitState(unit=unit)).require_audio()
        assert dropouts(audio.pcm16k, RATE) == 0
        found[name] = audio.repeated(0, unit.source.duration_ms)
    assert CONFIG.max_dropouts is not None and found["clean"] == 0 and found["broken"] > 5 * CONFIG.max_dropouts


def test_a_noise_gate_is_no_dropout(speech: Wave) -> None:
    pause = np.zeros(RATE, np.float32)
    faded = speech[8 * RATE : 10 * RATE] * np.minimum(1, np.minimum(np.arange(2 * RATE), np.arange(2 * RATE)[::-1]) / 800)
    assert dropouts(np.concatenate([pause, faded.astype(np.float32), pause, faded.astype(np.float32), pause]), RATE) == 0
    assert dropouts(pause, RATE) == dropouts(pause[:1], RATE) == background_tonality(pause, RATE) == 0


@pytest.mark.parametrize("seconds", [0.8, 1.2, 1.6])
def test_a_stuck_player_is_found(speech: Wave, seconds: float) -> None:
    start, length = 9 * RATE, int(seconds * RATE)
    stuck = np.concatenate(
        [speech[8 * RATE : start], np.tile(speech[start : start + length], 3), speech[start + length : 14 * RATE]]
    )
    noisy = stuck * 0.5 + np.random.default_rng(0).normal(0, 1e-3, len(stuck))
    for sound in (stuck, noisy.astype(np.float32)):
        assert loops(sound, RATE) > 0.5 * 2 * length / len(sound)


def test_words_said_twice_hum_and_silence_are_no_loops(speech: Wave, clean: list[Wave]) -> None:
    assert max(loops(sound, RATE) for sound in clean[::3]) == 0
    slower = soxr.resample(speech[9 * RATE : 10 * RATE], RATE, RATE * 1.03).astype(np.float32)
    assert loops(np.concatenate([speech[8 * RATE : 10 * RATE], slower, speech[10 * RATE : 12 * RATE]]), RATE) == 0
    time = np.arange(4 * RATE) / RATE
    hum = sum(0.05 / k * np.sin(2 * np.pi * 50 * k * time) for k in (1, 2, 3, 5))
    for sound in (hum, speech[: 4 * RATE] + hum, np.zeros(RATE), np.zeros(0)):
        assert loops(np.asarray(sound, np.float32), RATE) == 0


def test_packets_that_repeat_a_level_are_dropouts(speech: Wave) -> None:
    held = speech[8 * RATE : 12 * RATE].copy()
    loud = int(np.abs(held[RATE : 2 * RATE]).argmax()) + RATE
    held[loud : loud + 800] = held[loud]
    assert dropouts(held, RATE) > 0.01


def with_loud_repeats(sound: Wave, lag: int, rng: np.random.Generator) -> tuple[Wave, list[int]]:
    """A loud packet in two seconds replaced by the one before it, and where."""
    packets = np.arange(lag, len(sound) - 2 * lag, lag)
    loud = [at for at in packets if np.square(sound[at : at + lag]).mean() > 0.09 * np.square(sound).mean()]
    chosen = sorted(rng.choice(loud, min(len(loud), max(1, len(sound) // RATE // 2)), replace=False))
    broken = sound.copy()
    for at in chosen:
        broken[at : at + lag] = sound[at - lag : at]
    return broken, [int(at) for at in chosen]


def encoded(sound: Wave, kind: str, subtype: str) -> Wave:
    sink = io.BytesIO()
    sf.write(sink, sound, RATE, format=kind, subtype=subtype)
    sink.seek(0)
    return sf.read(sink, dtype="float32")[0]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_repeated_packets_are_found_behind_a_codec(kind: str, subtype: str, clean: list[Wave]) -> None:
    rng = np.random.default_rng(3)
    planted = events = utterances = alarms = 0
    sounds = clean[::5]
    for sound in sounds:
        alarms += len(similar_stretches(encoded(sound, kind, subtype)))
        broken, places = with_loud_repeats(sound, RATE * 20 // 1000, rng)
        found = similar_stretches(encoded(broken, kind, subtype))
        hit = [any(abs(start - at) < 30 * RATE // 1000 for start, _ in found) for at in places]
        planted, events, utterances = planted + len(hit), events + sum(hit), utterances + any(hit)
    assert alarms <= 1 and events / planted > 0.3 and utterances / len(sounds) > 0.6, (alarms, events, planted, utterances)


def test_tones_and_noise_are_no_repeats() -> None:
    time = np.arange(4 * RATE) / RATE
    buzz = sum(np.sin(2 * np.pi * 103 * k * time) / k for k in range(1, 20))
    assert similar_stretches((0.1 * buzz).astype(np.float32)) == []
    assert similar_stretches(np.zeros(RATE, np.float32)) == [] == similar_stretches(np.zeros(0, np.float32))
    noise = np.random.default_rng(1).normal(0, 0.1, 4 * RATE).astype(np.float32)
    assert similar_stretches(noise) == []
