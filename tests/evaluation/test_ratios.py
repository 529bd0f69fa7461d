"""Intervals of ratios."""

import numpy as np
import pytest

from voxbeam.evaluation.ratios import Ratio


def test_a_ratio_is_of_sums_not_a_mean_of_ratios():
    ratio = Ratio("wer", "")
    ratio.add("a", 1, 2)
    ratio.add("b", 0, 98)
    assert ratio.value == pytest.approx(0.01)
    assert ratio.interval() == ratio.interval()


def test_of_one_recording_or_none_nothing_is_said_about_others():
    ratio = Ratio("wer", "")
    assert ratio.value is None and ratio.interval() is None
    ratio.add("a", 1, 2)
    ratio.add("a", 1, 2)
    assert ratio.value == 0.5 and ratio.interval() is None


def test_the_interval_holds_the_truth_in_about_95_of_100_cases():
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        ratio = Ratio("x", "")
        for number in range(40):
            words = int(rng.integers(20, 60))
            ratio.add(str(number), int(rng.binomial(words, 0.1)), words)
        interval = ratio.interval()
        assert interval is not None
        held += interval[0] <= 0.1 <= interval[1]
    assert 180 <= held <= 198
