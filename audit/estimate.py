"""Estimate: the label error of a release from a stratified sample of it, with a confidence interval.

In a stratum, the interval of the error is Wilson's (E. B. Wilson, Probable inference, the law of succession, and statistical
inference, JASA 22, 1927), which is right also for few or no errors, with the correction for a finite population (W. G. Cochran,
Sampling Techniques, 3rd edition, 1977, section 2.6). The strata are combined by their sizes: the estimate is the weighted
mean, and its limits come from those of the strata by the method of variance estimates recovery (G. Y. Zou, W. Huang, X. Zhang,
A note on confidence interval estimation for a linear function of binomial proportions, Computational Statistics & Data
Analysis 53, 2009):
lower = p − √Σ Wₕ²(pₕ − lₕ)², upper = p + √Σ Wₕ²(uₕ − pₕ)².
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

CONFIDENCE = 0.95


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
    """The error of one stratum: Wilson's interval, narrower as less of it is left, and a point if all of it was heard."""
    n, total = count.heard, count.population
    if n == 0:
        return Estimate(rate=float("nan"), low=0.0, high=1.0)
    p, z = count.errors / n, NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    left = sqrt((total - n) / (total - 1)) if total > 1 else 0.0
    low = 0.0 if count.errors == 0 else p - left * (p - (middle - half))
    high = 1.0 if count.errors == n else p + left * ((middle + half) - p)
    if n == total:
        low = high = p
    return Estimate(rate=p, low=max(0.0, low), high=min(1.0, high))


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
