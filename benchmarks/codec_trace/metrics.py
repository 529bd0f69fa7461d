"""Error rates of scores, larger for what is wanted than for the other: EER, minDCF and CLLR, with intervals over voices.

Shapes: N scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
P_WANTED, C_MISS, C_FALSE_ALARM = 0.05, 10.0, 1.0
"""as in ASVspoof 5, from the other side: made speech is rare, and to miss it costs ten times as much as to suspect a person"""


def error_rates(wanted_N: Scores, other_N: Scores) -> tuple[Scores, Scores]:
    """Shares of the wanted below, and of the other at or above, every threshold."""
    thresholds = np.unique(np.concatenate([wanted_N, other_N, [np.inf]]))
    miss = np.searchsorted(np.sort(wanted_N), thresholds, side="left") / len(wanted_N)
    alarm = 1 - np.searchsorted(np.sort(other_N), thresholds, side="left") / len(other_N)
    return miss, alarm


def eer(wanted_N: Scores, other_N: Scores) -> float:
    """The rate at which both errors are equal."""
    miss, alarm = error_rates(wanted_N, other_N)
    best = int(np.argmin(np.abs(miss - alarm)))
    return float((miss[best] + alarm[best]) / 2)


def min_dcf(wanted_N: Scores, other_N: Scores) -> float:
    """The least cost of any threshold; 1 is that of an answer without listening."""
    miss, alarm = error_rates(wanted_N, other_N)
    cost = C_MISS * P_WANTED * miss + C_FALSE_ALARM * (1 - P_WANTED) * alarm
    return float(cost.min() / min(C_MISS * P_WANTED, C_FALSE_ALARM * (1 - P_WANTED)))


def cllr(wanted_N: Scores, other_N: Scores) -> float:
    """The cost in bits of log-likelihood ratios; 1 is that of ratios that say nothing."""
    return float((np.logaddexp(0, -wanted_N).mean() + np.logaddexp(0, other_N).mean()) / 2 / np.log(2))


def interval(
    measure: Callable[[Scores, Scores], float],
    wanted: Sequence[Scores],
    other: Sequence[Scores],
    draws: int = 500,
) -> tuple[float, float]:
    """95 % by resampling; scores come in groups of one voice, or of one file where all are of one voice."""
    rng = np.random.default_rng(0)

    def resampled(groups: Sequence[Scores]) -> Scores:
        return np.concatenate([groups[place] for place in rng.integers(len(groups), size=len(groups))])

    values = [measure(resampled(wanted), resampled(other)) for _ in range(draws)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def calibrate(wanted_N: Scores, other_N: Scores, steps: int = 50) -> tuple[float, float]:
    """Scale and offset that make scores log-likelihood ratios: logistic regression, both kinds counted alike (Newton)."""
    x = np.concatenate([wanted_N, other_N])
    y = np.concatenate([np.ones(len(wanted_N)), np.zeros(len(other_N))])
    weight = np.concatenate([np.full(len(wanted_N), 0.5 / len(wanted_N)), np.full(len(other_N), 0.5 / len(other_N))])
    X, w = np.stack([x, np.ones_like(x)], axis=1), np.zeros(2)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(X @ w, -30, 30)))
        gradient = X.T @ (weight * (p - y)) + 1e-3 * w
        hessian = X.T @ (X * (weight * p * (1 - p))[:, None]) + 1e-3 * np.eye(2)
        w = w - np.linalg.solve(hessian, gradient)
    return float(w[0]), float(w[1])
