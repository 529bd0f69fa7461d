"""Evidence: how much a similarity says that two voices are one person, as calibrated, and what follows for a whole corpus.

The odds that two voices with mean similarity s are one person are exp(slope · s + offset) times the odds before hearing them. Those
fall with the size of the corpus: among n voices, one given other voice is the same person's with odds of about 1 : n. So the
similarity from which voices are joined grows with the corpus. n is rounded up to a power of ten, so that it changes rarely.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.config import IdentifyConfig

_LEAST_VOICES = 100
_Z = 1.96
"""half the width of a 95 % interval, in standard deviations"""


def rounded_up(voices: int) -> int:
    """The number of voices, rounded up to a power of ten from 100 on."""
    return 10 ** max(math.ceil(math.log10(max(voices, 1))), round(math.log10(_LEAST_VOICES)))


@dataclass(frozen=True)
class Evidence:
    """The calibration of an encoder, applied to a corpus of `voices` voices."""

    config: IdentifyConfig
    voices: int

    @property
    def threshold(self) -> float:
        """Groups of voices with at least this mean similarity are joined."""
        if self.config.min_similarity is not None:
            return self.config.min_similarity
        odds = self.config.min_probability / (1 - self.config.min_probability)
        return (math.log(odds * rounded_up(self.voices)) - self.config.offset) / self.config.slope

    def probability(
        self, similarity: NDArray[np.float64], *, listed: NDArray[np.bool_] | bool = False, slope: float = 0.0, offset: float = 0.0
    ) -> NDArray[np.float64]:
        """Probability that voices of a similarity are one person; `listed` where they have the same listed name, which then counts
        as much as not knowing (even odds). `slope` and `offset` are added to the calibrated ones."""
        logit = (self.config.slope + slope) * similarity + self.config.offset + offset
        logit = logit - np.where(listed, 0.0, math.log(rounded_up(self.voices)))
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -500, 500))))


def interval(estimate: float, spread: float, errors: tuple[float, float, float], gradient: tuple[float, float]) -> tuple[float, float]:
    """95 % interval of a share: from the chance of each case (`spread`, a variance) and the error of the calibration.

    `errors` are the variance of the slope, the covariance, and the variance of the offset; `gradient` is how the estimate changes
    with slope and offset.
    """
    by_slope, by_offset = gradient
    calibration = by_slope**2 * errors[0] + 2 * by_slope * by_offset * errors[1] + by_offset**2 * errors[2]
    half = _Z * math.sqrt(max(0.0, spread + calibration))
    return max(0.0, estimate - half), min(1.0, estimate + half)
