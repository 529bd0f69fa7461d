"""The estimator: limits as the beta distribution gives them, and that intervals hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from voxbeam.audit.estimate import Count, estimate, estimate_stratum, exact_limits
from voxbeam.audit.strata import BANDS, allot, source_names, weakness_bands

HUGE = 10**9


@pytest.mark.parametrize(("errors", "heard"), [(0, 1), (0, 10), (1, 10), (15, 148), (81, 263), (10, 10), (399, 400)])
def test_exact_limits_are_those_of_the_beta_distribution(errors: int, heard: int) -> None:
    low = beta.ppf(0.025, errors, heard - errors + 1) if errors else 0.0
    high = beta.ppf(0.975, errors + 1, heard - errors) if errors < heard else 1.0
    assert exact_limits(errors, heard, 0.95) == pytest.approx((low, high), abs=1e-9)
    found = estimate_stratum(Count(population=HUGE, heard=heard, errors=errors))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


def test_one_stratum_is_itself() -> None:
    count = Count(population=HUGE, heard=40, errors=3)
    whole, part = estimate([count]), estimate_stratum(count)
    assert (whole.rate, whole.low, whole.high) == pytest.approx((part.rate, part.low, part.high))


def test_strata_count_by_their_size() -> None:
    found = estimate([Count(population=900, heard=20, errors=0), Count(population=100, heard=20, errors=10)])
    assert found.rate == pytest.approx(0.05) and 0.02 < found.low < 0.05 < found.high < 0.25


def test_a_stratum_that_was_heard_whole_adds_no_doubt() -> None:
    assert estimate([Count(population=8, heard=8, errors=2)]) == estimate_stratum(Count(population=8, heard=8, errors=2))
    found = estimate([Count(population=8, heard=8, errors=2), Count(population=8, heard=8, errors=0)])
    assert (found.rate, found.low, found.high) == (0.125, 0.125, 0.125)


def test_a_stratum_that_nobody_heard_may_be_anything() -> None:
    found = estimate([Count(population=50, heard=50, errors=0), Count(population=50, heard=0, errors=0)])
    assert (found.rate, found.low, found.high) == (0.0, 0.0, 0.5)
    nothing = estimate([Count(population=5, heard=0, errors=0)])
    assert (nothing.low, nothing.high) == (0.0, 1.0) and nothing.rate != nothing.rate


@pytest.mark.parametrize("rates", [(0.3, 0.08, 0.01), (0.02, 0.02, 0.02), (0.5, 0.1, 0.0), (0.01, 0.005, 0.001)])
def test_intervals_hold_the_truth_as_often_as_they_say(rates: tuple[float, ...]) -> None:
    sizes, heard = (1000, 3000, 6000), (87, 126, 187)
    truth = sum(size * round(rate * size) / size for size, rate in zip(sizes, rates, strict=True)) / sum(sizes)
    random = np.random.default_rng(7)
    drawn = [random.hypergeometric(round(r * s), s - round(r * s), n, 1500) for s, r, n in zip(sizes, rates, heard, strict=True)]
    inside = 0
    for errors in zip(*drawn, strict=True):
        found = estimate([Count(population=s, heard=n, errors=int(e)) for s, n, e in zip(sizes, heard, errors, strict=True)])
        inside += found.low <= truth <= found.high
    assert 0.95 <= inside / 1500 <= 0.985


@given(st.dictionaries(st.integers(0, 15), st.integers(1, 5000), min_size=1), st.integers(1, 400))
def test_clips_are_allotted_whole(sizes: dict[int, int], clips: int) -> None:
    given_ = allot(sizes, clips)
    assert sum(given_.values()) == min(clips, sum(sizes.values()))
    assert all(0 <= given_[cell] <= size for cell, size in sizes.items())
    assert clips < len(sizes) or all(given_.values())


def test_weak_samples_are_heard_more_often() -> None:
    assert allot({0: 1000, 1: 3000, 2: 6000}, 400) == {0: 87, 1: 126, 2: 187}


def test_bands_are_by_the_worst_score() -> None:
    good, bad = np.arange(100, dtype=np.float32), np.zeros(100, np.float32)
    bad[3] = 1
    none = np.full(100, np.nan, np.float32)
    bands = weakness_bands([good, bad, none])
    assert [int((bands == band).sum()) for band in range(len(BANDS))] == [10, 30, 60]
    assert bands[3] == 0 and bands[99] == 0 and bands[95] == 0 and bands[0] == 2
    assert set(weakness_bands([none]).tolist()) == {2}


def test_sources_are_the_first_folders_that_differ() -> None:
    uris = {"a": "s3://b/x/one/1/a.wav", "b": "s3://b/x/one/2/b.wav", "c": "s3://b/x/two/c.wav"}
    assert source_names(uris) == {"a": "one", "b": "one", "c": "two"}
    assert source_names({"a": "/in/a.wav", "b": "/in/b.wav"}) == {"a": "all", "b": "all"}
    many = {
        f"{folder}{n}": f"/in/{folder}/{n}.wav"
        for folder, count in zip("abcdef", range(6, 0, -1), strict=True)
        for n in range(count)
    }
    assert set(source_names(many).values()) == {"a", "b", "c", "other"}
