"""Code similarity: whether two pieces of speech are one recording, by their codec tokens alone; no model runs.

Shapes: K codebooks, T frames.
"""

import numpy as np
from numpy.typing import NDArray

SAME_SOUND = 0.08
"""of the codes of the first codebook: copies that were resampled, shifted and changed in level share 0.08 and more in 31 of 32
cases, two other pieces of speech at most 0.03"""
_COMMON = 0.02
_OVERLAP = 0.75
"""of the shorter piece, what must lie on the longer one"""


def code_similarity(one_KT: NDArray[np.int16], other_KT: NDArray[np.int16]) -> float:
    """Share of equal codes of the first codebook, 0 to 1, where the two lie best on each other; 0 for no codes.

    Codes that fill more than a fiftieth of the shorter one, as those of pauses do, do not count: silence is alike everywhere.
    """
    short_T, long_T = sorted((one_KT[0], other_KT[0]), key=len)
    if not len(short_T):
        return 0.0
    rare_T = np.bincount(short_T)[short_T] <= max(1, _COMMON * len(short_T))
    edge = round((1 - _OVERLAP) * len(short_T))
    best = 0.0
    for lag in range(-edge, len(long_T) - len(short_T) + edge + 1):
        first, last = max(0, -lag), min(len(short_T), len(long_T) - lag)
        equal_T = short_T[first:last] == long_T[first + lag : last + lag]
        best = max(best, float(equal_T[rare_T[first:last]].mean()) if rare_T[first:last].any() else 0.0)
    return best
