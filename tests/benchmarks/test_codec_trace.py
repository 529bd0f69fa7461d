"""What the classifier of the codec's trace is fitted and measured with: metrics, parts, the chain of every window, the fit."""

import numpy as np
import pytest

from voxbeam.schemas.formats import ASR_RATE

from benchmarks.codec_trace.chain import SPAN, pass_through
from benchmarks.codec_trace.copies import embedded, griffin_lim
from benchmarks.codec_trace.fit import fit
from benchmarks.codec_trace.metrics import calibrate, cllr, eer, interval, min_dcf
from benchmarks.codec_trace.prepare import part_of


def test_error_rates_of_known_scores() -> None:
    wanted, other = np.array([1.0, 2.0, 3.0, 4.0]), np.array([-1.0, -2.0, 0.0, 2.5])
    assert eer(wanted, other) == pytest.approx(0.25)
    assert eer(wanted, wanted - 10) == 0 and min_dcf(wanted, wanted - 10) == 0
    assert eer(wanted - 10, wanted) == pytest.approx(1)
    assert min_dcf(wanted, wanted) == pytest.approx(1)
    assert cllr(np.zeros(3), np.zeros(3)) == pytest.approx(1)
    assert cllr(wanted + 20, other - 20) < 1e-6 < 1 < cllr(other - 20, wanted + 20)


def test_calibration_finds_the_ratio_of_two_normal_distributions() -> None:
    """Of N(±1, 1) the log-likelihood ratio of x is 2x; scores here are 3x + 5."""
    rng = np.random.default_rng(0)
    wanted, other = (3 * rng.normal(mean, 1, 20_000) + 5 for mean in (1, -1))
    scale, offset = calibrate(wanted, other)
    assert scale == pytest.approx(2 / 3, rel=0.05) and offset == pytest.approx(-10 / 3, rel=0.05)
    low, high = interval(eer, np.split(wanted, 100), np.split(other, 100), draws=50)
    assert low < 0.1587 < high < 0.18


def test_a_voice_is_in_one_part() -> None:
    parts = [part_of(str(number)) for number in range(400)]
    assert 200 < parts.count("train") < 280 and 40 < parts.count("calibrate") < 80 and 70 < parts.count("test") < 130


@pytest.mark.slow
def test_every_window_comes_out_of_the_chain_alike() -> None:
    wave_S = np.sin(np.arange(SPAN) * 0.1).astype(np.float32) * np.linspace(0, 1, SPAN, dtype=np.float32)
    rng, names = np.random.default_rng(0), set()
    for _ in range(16):
        passed_S, name = pass_through(wave_S, rng)
        assert passed_S.shape == (4 * ASR_RATE,) and np.isfinite(passed_S).all() and 0.05 < np.abs(passed_S).max() < 1.5
        names |= {part.split()[0] for part in name.split(", ")}
    assert {"mp3", "opus", "noise", "filter"} <= names
    for copy in (embedded, griffin_lim):
        copied_S, _ = copy(wave_S, rng)
        assert copied_S.shape == wave_S.shape and copied_S.dtype == np.float32


def test_the_fit_finds_what_tells_copies_from_the_rest() -> None:
    rng = np.random.default_rng(0)
    kinds = [("codec", 1.0), ("librispeech", 0.0), ("kokoro", 0.0)] * 40
    features_ND = rng.normal(size=(120, 6)).astype(np.float32)
    features_ND[:, 2] += [5 * shift for _, shift in kinds]
    scores = fit(features_ND, [{"kind": kind} for kind, _ in kinds]).scores(features_ND)
    assert eer(scores[::3], np.concatenate([scores[1::3], scores[2::3]])) < 0.02
