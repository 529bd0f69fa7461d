"""Scores on real speech: DNSMOS against its own package, and signal measures against sounds whose truth is known."""

import importlib
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import butter, sosfiltfilt

from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.dnsmos import WINDOW, dnsmos, model_path, windows
from voxbeam.pipeline.job import CODE_VERSION
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.fingerprint import stage_fingerprints
from voxbeam.transforms.audio.noise_and_clipping import clipping, snr_db
from voxbeam.transforms.audio.signal_quality import LOUDNESS_FLOOR_LUFS, bandwidth_hz, loudness_lufs
from voxbeam.transforms.score import load_dnsmos, score

from tests.audio_fixtures import SAMPLE

SPEECH = soundfile.read(SAMPLE, dtype="float32")[0][: 12 * 16_000]
SPEECH_24K = soxr.resample(SPEECH, 16_000, 24_000)
NOISE = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
SESSION = load_dnsmos("cpu")
LIBRISPEECH = Path(__file__).parents[2].parent / "shared" / "data" / "librispeech" / "test-other"


class NoP808:
    """Stands for the package's second model, which nobody asks here and whose input needs librosa."""

    def run(self, *_):
        return [[[0.0]]]


@pytest.fixture
def package(monkeypatch):
    """The package's own DNSMOS object."""
    for unused in ("librosa", "requests"):
        monkeypatch.setitem(sys.modules, unused, MagicMock())
    module = importlib.import_module("speechmos.dnsmos")
    model = module.DNSMOS(str(model_path()), str(model_path()))
    model.p808_onnx_sess = NoP808()
    monkeypatch.setattr(model, "audio_melspec", lambda audio: np.zeros((1, 1)))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.3, 12])
def test_dnsmos_is_that_of_the_package(package, seconds):
    waveform = SPEECH[: int(seconds * 16_000)]
    theirs, ours = package(waveform, 16_000, False), dnsmos(SESSION, waveform)
    assert [ours.ovrl, ours.sig, ours.bak] == pytest.approx([theirs["ovrl_mos"], theirs["sig_mos"], theirs["bak_mos"]], abs=1e-4)


def test_every_third_window_starts_three_seconds_apart():
    waveform = np.arange(20 * 16_000, dtype=np.float32)
    assert list(windows(waveform, 3)[:, 0]) == [0, 48_000, 96_000, 144_000]
    assert windows(waveform).shape == (11, WINDOW)
    with pytest.raises(ValueError, match="empty"):
        windows(waveform[:0])


def test_one_window_says_enough_far_from_where_it_is_asked():
    waveform = np.concatenate([SPEECH, SPEECH, NOISE])
    everything, middle = dnsmos(SESSION, waveform, every=3), windows(waveform, 3)[len(windows(waveform, 3)) // 2]
    assert everything.windows == len(windows(waveform, 3)) > 3
    near = dnsmos(SESSION, waveform, every=3, near=(0.0, 5.0))
    assert near.windows == everything.windows
    assert near.ovrl == pytest.approx(everything.ovrl)
    one = dnsmos(SESSION, middle)
    for limits in ((one.ovrl + 0.1, 5.0), (0.0, one.ovrl - 0.1)):
        assert dnsmos(SESSION, waveform, every=3, near=limits) == one
    scores = score(SESSION, waveform, waveform, speech_ratio=1.0, dnsmos_every=3, dnsmos_near=(4.9, 5.0))
    assert (scores.dnsmos_windows, scores.dnsmos_ovrl) == (1, one.ovrl)


def test_low_passed_speech_has_its_bandwidth():
    low = sosfiltfilt(butter(10, 4000, fs=24_000, output="sos"), SPEECH_24K).astype(np.float32)
    assert bandwidth_hz(low, 24_000) == pytest.approx(4000, abs=500)
    telephone = soxr.resample(soxr.resample(SPEECH, 16_000, 8_000), 8_000, 24_000)
    assert bandwidth_hz(telephone, 24_000) == pytest.approx(3900, abs=300)


def test_sixteen_khz_material_ends_at_its_nyquist_frequency():
    bursts = NOISE * (np.sin(2 * np.pi * 2 * np.arange(len(NOISE)) / 16_000) > 0)
    assert bandwidth_hz(soxr.resample(bursts, 16_000, 24_000), 24_000) == pytest.approx(8000, abs=300)
    assert bandwidth_hz(SPEECH_24K, 24_000) == pytest.approx(4000, abs=300), "the packaged sample is telephone speech"


@pytest.mark.parametrize("added_db", [0, 10, 20])
def test_snr_follows_the_noise_that_is_added(added_db):
    speech = SPEECH.copy()
    speech[: 3 * 16_000] = 0
    active = speech[np.abs(speech) > 0.01].std()
    noise = np.resize(NOISE, len(speech)) / NOISE.std() * active * 10 ** (-added_db / 20)
    assert snr_db(speech + noise, 16_000) == pytest.approx(added_db, abs=5)
    assert snr_db(NOISE, 16_000) < 0


def test_clipping_is_seen_at_full_scale_and_after_the_level_was_lowered():
    loud = np.clip(SPEECH / np.abs(SPEECH).max() * 4, -1, 1).astype(np.float32)
    assert clipping(SPEECH) < 0.001
    assert clipping(loud) > 0.005
    assert clipping(loud * 0.3) > 0.005
    assert clipping(np.zeros(1000, np.float32)) == 0


def test_loudness_of_a_known_tone_of_silence_and_of_a_short_clip():
    tone = np.sin(2 * np.pi * 997 * np.arange(32_000) / 16_000).astype(np.float32)
    assert loudness_lufs(tone, 16_000) == pytest.approx(-3.0, abs=0.2)
    assert loudness_lufs(tone[:1600], 16_000) == pytest.approx(-3.0, abs=0.5)
    assert loudness_lufs(0 * tone, 16_000) == LOUDNESS_FLOOR_LUFS


@given(
    st.one_of(
        arrays(np.float32, st.integers(1, 3000), elements=st.floats(-1, 1, width=32)),
        st.integers(1, 20_000).map(lambda n: np.zeros(n, np.float32)),
    )
)
@settings(deadline=None, max_examples=40)
def test_measures_of_any_waveform_are_finite(waveform):
    measures = (
        snr_db(waveform, 16_000),
        bandwidth_hz(waveform, 24_000),
        clipping(waveform),
        loudness_lufs(waveform, 16_000),
    )
    assert np.isfinite(measures).all()


@pytest.mark.parametrize("pcm", [np.zeros(48_000, np.float32), np.full(48_000, np.nan, np.float32)])
def test_scores_of_silence_and_of_broken_audio_are_finite(pcm):
    scores = score(SESSION, pcm, pcm, speech_ratio=0.5, dnsmos_every=3)
    assert np.isfinite([value for value in vars(scores).values() if value is not None]).all()
    assert scores == score(SESSION, pcm, pcm, speech_ratio=0.5, dnsmos_every=3)


@pytest.mark.skipif(not LIBRISPEECH.exists(), reason="shared LibriSpeech excerpts are not here")
def test_read_speech_sounds_better_than_noise():
    waveform, _ = soundfile.read(sorted(LIBRISPEECH.rglob("*.flac"))[3], dtype="float32")
    noise = dnsmos(SESSION, NOISE, every=3)
    assert dnsmos(SESSION, waveform[: 10 * 16_000], every=3).ovrl > noise.ovrl + 0.5


def test_the_trace_of_the_codec_is_a_score_only_where_it_is_asked():
    """Off, fingerprints are those of before there was such a key; on, the stage alone is another one."""
    codec = load_codec(EMBEDDED_WEIGHTS)
    copy = codec.decode([codec.encode([SPEECH_24K])[0]])[0]
    limit = FilterConfig().max_codec_trace
    recorded, made = (
        score(SESSION, soxr.resample(wave, 24_000, 16_000), wave, speech_ratio=0.9, codec_trace=True).codec_trace
        for wave in (SPEECH_24K, copy)
    )
    assert recorded is not None and made is not None and limit is not None and recorded < 0 < limit < made
    assert score(SESSION, SPEECH, SPEECH_24K, speech_ratio=0.9).codec_trace is None
    assert score(SESSION, SPEECH[:16_000], SPEECH_24K[:24_000], speech_ratio=0.9, codec_trace=True).codec_trace is None
    assert "codec_trace" not in CorpusConfig().model_dump()["score"]
    off, on = (stage_fingerprints(CorpusConfig(score={"codec_trace": asked}), {}, CODE_VERSION) for asked in (False, True))
    assert {stage for stage in off if off[stage] != on[stage]} == {"score"}
