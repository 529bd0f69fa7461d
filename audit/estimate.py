"""Estimate: the label error of a release from a stratified sample of it, with a confidence interval.

In a stratum, the interval of the error is the exact one (C. J. Clopper, E. S. Pearson, The use of confidence or fiducial limits
illustrated in the case of the binomial, Biometrika 26, 1934), with the correction for a finite population (W. G. Cochran,
Sampling Techniques, 3rd edition, 1977, section 2.6). The strata are combined by their sizes: the estimate is the weighted
mean, and its limits come from those of the strata by the method of variance estimates recovery (G. Y. Zou, W. Huang, X. Zhang,
A note on confidence interval estimation for a linear function of binomial proportions, Computational Statistics & Data
Analysis 53, 2009):
lower = p − √Σ Wₕ²(pₕ − lₕ)², upper = p + √Σ Wₕ²(uₕ − pₕ)². With Wilson's limits for the
strata, which are narrower, the interval misses the truth too often where errors are rare.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, fsum, lgamma, log, log1p, sqrt

CONFIDENCE = 0.95
_HALVINGS = 40


@dataclass(frozen=True, kw_only=True)
class Count:
    """What was heard of a stratum."""

    population: int
    """samples of the release in it"""
    heard: int
    """of these, judged by a person"""
    errors: int
    """of these, with an error"""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A rate between 0 and 1, and its limits. Without any sample: 0 to 1, and the rate is not a number."""

    rate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.rate:.1f} % ({100 * self.low:.1f}–{100 * self.high:.1f})"


def estimate_stratum(count: Count, confidence: float = CONFIDENCE) -> Estimate:
    """The error of one stratum: the exact interval, narrower as less of it is left, and a point if all of it was heard."""
    n, total = count.heard, count.population
    if n == 0:
        return Estimate(rate=float("nan"), low=0.0, high=1.0)
    rate = count.errors / n
    low, high = exact_limits(count.errors, n, confidence)
    left = sqrt((total - n) / (total - 1)) if total > 1 else 0.0
    return Estimate(rate=rate, low=rate - left * (rate - low), high=rate + left * (high - rate))


@cache
def exact_limits(errors: int, heard: int, confidence: float) -> tuple[float, float]:
    """The rates at which so many errors, or more, and so many, or fewer, have half of the chance that remains."""
    tail = (1 - confidence) / 2
    low = _solve(lambda rate: _at_most(errors - 1, heard, rate) > 1 - tail) if errors else 0.0
    high = _solve(lambda rate: _at_most(errors, heard, rate) > tail) if errors < heard else 1.0
    return low, high


def _solve(is_below: Callable[[float], bool]) -> float:
    """The rate at which a condition that holds for all lower rates ends, by halving."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def _at_most(errors: int, heard: int, rate: float) -> float:
    """Chance of at most so many errors in a binomial sample, for a rate between 0 and 1."""
    ways = lgamma(heard + 1)
    return fsum(
        exp(ways - lgamma(k + 1) - lgamma(heard - k + 1) + k * log(rate) + (heard - k) * log1p(-rate)) for k in range(errors + 1)
    )


def estimate(counts: Sequence[Count], confidence: float = CONFIDENCE) -> Estimate:
    """The error of the whole. A stratum of which nothing was heard may be right or wrong; the rate is that of the others."""
    heard = [count for count in counts if count.heard]
    if not heard:
        return Estimate(rate=float("nan"), low=0.0, high=1.0)
    known, unknown = (sum(count.population for count in counts if bool(count.heard) is is_heard) for is_heard in (True, False))
    rate = below = above = 0.0
    for count in heard:
        weight, stratum = count.population / known, estimate_stratum(count, confidence)
        rate += weight * stratum.rate
        below += (weight * (stratum.rate - stratum.low)) ** 2
        above += (weight * (stratum.high - stratum.rate)) ** 2
    share = known / (known + unknown)
    low, high = max(0.0, rate - sqrt(below)), min(1.0, rate + sqrt(above))
    return Estimate(rate=rate, low=share * low, high=share * high + 1 - share)
